//! A simulation in time: attackers of several kinds beside a healthy fleet, with a table that is far too small.

use motte_identity::attempts::{AttemptLimits, Attempts, TagKey};

use crate::attempts::{attempt, fail, succeed};

const NOW: u64 = 1_800_000_000_000;

/// Numbers that look random, from a seed.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_siege_of_an_hour_costs_few_checks_and_no_healthy_device_its_login() {
    let limits = AttemptLimits { entries: 2_048, ..AttemptLimits::default() };
    let mut all = Attempts::new(limits, TagKey::new([9; 32]));
    let mut seed = Seed(0x5eed);
    let fleet: Vec<(String, String)> =
        (0..200).map(|number| (format!("198.51.100.{number}"), format!("dev-{number}"))).collect();
    for (address, name) in &fleet {
        assert!(succeed(&mut all, attempt(address, name, name), NOW));
    }
    let (mut tried, mut checked, mut refused) = (0, 0, 0);
    for second in 1..3_600_u64 {
        for _ in 0..28 {
            let now_ms = NOW + second * 1_000 + seed.below(1_000);
            // One address that tries all names, a network that tries one name, one that makes names up.
            let (address, name, id) = match seed.below(3) {
                0 => ("203.0.113.1".to_owned(), format!("dev-{}", seed.below(200)), "x".to_owned()),
                1 => (format!("192.0.2.{}", seed.below(256)), "dev-7".to_owned(), "dev-7".to_owned()),
                _ => ("203.0.114.9".to_owned(), format!("made-up-{}", seed.below(1 << 40)), String::new()),
            };
            tried += 1;
            checked += usize::from(fail(&mut all, attempt(&address, &name, &id), now_ms).is_some());
        }
        let (address, name) = &fleet[usize::try_from(seed.below(200)).unwrap()];
        refused += usize::from(!succeed(&mut all, attempt(address, name, name), NOW + second * 1_000));
    }
    assert_eq!(refused, 0, "healthy logins that were refused");
    assert!(tried > 100_000 && checked < 2_000, "{checked} of {tried} guesses were checked");
}

#[test]
fn names_that_are_made_up_do_not_flush_the_address_they_come_from() {
    let limits = AttemptLimits { entries: 64, ..AttemptLimits::default() };
    let mut all = Attempts::new(limits, TagKey::new([3; 32]));
    let mut checked = 0;
    for number in 0..100_000_u64 {
        let name = format!("made-up-{number}");
        checked += usize::from(fail(&mut all, attempt("192.0.2.1", &name, &name), NOW + number).is_some());
    }
    assert!(checked <= 16, "{checked}");
}

#[test]
fn a_target_cannot_be_flushed_by_spreading_over_names_and_addresses() {
    let limits = AttemptLimits { entries: 64, ..AttemptLimits::default() };
    let mut all = Attempts::new(limits, TagKey::new([4; 32]));
    let mut guesses = 0;
    for number in 0..200_000_u32 {
        // Every attempt from another network: a botnet that has no end. The table has room for 64.
        let address = format!("{}.{}.{}.1", 11 + (number >> 16), (number >> 8) & 255, number & 255);
        let now_ms = NOW + u64::from(number) * 10;
        let noise = format!("noise-{number}");
        let _ = fail(&mut all, attempt(&address, &noise, ""), now_ms);
        guesses += usize::from(fail(&mut all, attempt(&address, "target", ""), now_ms).is_some());
    }
    // 2,000 seconds: what is free, the delays up to the lockout, and two lockouts.
    assert!(guesses < 150, "{guesses} guesses at one name");
}
