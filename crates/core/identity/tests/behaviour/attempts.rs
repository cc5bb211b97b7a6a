//! What may be tried, what is held, what has an allowance of its own.

use std::net::IpAddr;

use motte_identity::attempts::{Attempt, AttemptLimits, Attempts, Begun, Failed, Scope, TagKey};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 3_600 * 1_000;

pub fn limits() -> AttemptLimits {
    AttemptLimits { entries: 1_024, ..AttemptLimits::default() }
}

pub fn attempts() -> Attempts {
    Attempts::new(limits(), TagKey::new([1; 32]))
}

pub fn attempt<'a>(address: &str, name: &'a str, client_id: &'a str) -> Attempt<'a> {
    Attempt { address: Some(address.parse().unwrap()), name, client_id, certificate: None }
}

/// One failure; `None` when it was held.
pub fn fail(attempts: &mut Attempts, attempt: Attempt<'_>, now_ms: u64) -> Option<Failed> {
    match attempts.begin(attempt, now_ms) {
        Begun::Admitted(charge) => Some(attempts.failed(&charge, now_ms)),
        Begun::Held { .. } => None,
    }
}

/// One success; false when it was held.
pub fn succeed(attempts: &mut Attempts, attempt: Attempt<'_>, now_ms: u64) -> bool {
    match attempts.begin(attempt, now_ms) {
        Begun::Admitted(charge) => {
            attempts.succeeded(&charge, now_ms);
            true
        }
        Begun::Held { .. } => false,
    }
}

/// Fails as often as it is let, for a time; how often that was, and what was locked.
pub fn hammer(
    attempts: &mut Attempts,
    attempt: Attempt<'_>,
    from_ms: u64,
    for_ms: u64,
) -> (usize, Vec<Scope>) {
    let (mut failures, mut locked) = (0, Vec::new());
    for second in 0..for_ms / 1_000 {
        if let Some(failed) = fail(attempts, attempt, from_ms + second * 1_000) {
            failures += 1;
            locked.extend(failed.locked);
        }
    }
    (failures, locked)
}

#[test]
fn some_failures_are_free_then_answers_come_later_and_then_nobody_is_asked() {
    let mut all = attempts();
    let guess = attempt("192.0.2.1", "dev", "c");
    let mut now_ms = NOW;
    let mut delays = Vec::new();
    let locked = loop {
        match all.begin(guess, now_ms) {
            Begun::Admitted(charge) => {
                let failed = all.failed(&charge, now_ms);
                delays.push(failed.answer_delay_ms);
                if !failed.locked.is_empty() {
                    break failed;
                }
            }
            Begun::Held { until_ms, .. } => now_ms = until_ms,
        }
    };
    assert_eq!(delays.len(), usize::from(limits().lockout_after));
    assert_eq!(delays[..12], [0, 0, 0, 0, 0, 0, 0, 0, 1_000, 2_000, 4_000, 5_000]);
    assert_eq!(locked.locked, [Scope::Address, Scope::Identity, Scope::ClientId]);
    let end = now_ms + limits().lockout_ms;
    assert!(matches!(all.begin(guess, end - 1), Begun::Held { until_ms, .. } if until_ms == end));
    assert!(
        matches!(all.begin(guess, end), Begun::Admitted(charge) if {
            all.abandoned(&charge, end);
            true
        }),
        "it ends by itself"
    );
}

#[test]
fn many_at_once_are_not_more_than_many_in_turn() {
    let mut all = attempts();
    let names: Vec<String> = (0..1_000).map(|number| format!("name-{number}")).collect();
    let mut charges = Vec::new();
    for name in &names {
        let Begun::Admitted(charge) = all.begin(attempt("192.0.2.1", name, ""), NOW) else {
            panic!("a fleet behind one address may come at once")
        };
        charges.push(charge);
    }
    let mut checked = 0;
    for charge in charges {
        if all.held_meanwhile(&charge, NOW).is_some() {
            all.abandoned(&charge, NOW);
        } else {
            checked += 1;
            let _ = all.failed(&charge, NOW);
        }
    }
    assert_eq!(checked, limits().free + 1);
}

#[test]
fn a_fleet_of_a_thousand_behind_one_address_logs_in_at_once() {
    let mut all = attempts();
    let begun = |all: &mut Attempts, name: &str| match all.begin(attempt("192.0.2.1", name, name), NOW) {
        Begun::Admitted(charge) => charge,
        Begun::Held { .. } => panic!("held"),
    };
    let charges: Vec<_> = (0..1_000).map(|number| begun(&mut all, &format!("dev-{number}"))).collect();
    for charge in charges {
        assert_eq!(all.held_meanwhile(&charge, NOW), None);
        all.succeeded(&charge, NOW);
    }
}

#[test]
fn what_comes_to_nothing_is_not_counted() {
    let mut all = attempts();
    for _ in 0..1_000 {
        let Begun::Admitted(charge) = all.begin(attempt("192.0.2.1", "dev", "d"), NOW) else {
            panic!("held")
        };
        all.abandoned(&charge, NOW);
    }
    assert!(succeed(&mut all, attempt("192.0.2.1", "dev", "d"), NOW));
}

#[test]
fn whoever_knows_a_name_does_not_lock_out_the_device_that_has_it() {
    let mut all = attempts();
    let device = attempt("198.51.100.7", "dev", "dev-1");
    assert!(succeed(&mut all, device, NOW));
    // From a thousand addresses, with its name and its Client Identifier.
    for number in 0..1_000_u32 {
        let address = format!("10.{}.{}.1", number / 250, number % 250);
        let _ = fail(&mut all, attempt(&address, "dev", "dev-1"), NOW + u64::from(number) * 1_000);
    }
    let later = NOW + 1_000_000;
    assert!(succeed(&mut all, device, later), "from where it always came");
    assert!(succeed(&mut all, attempt("198.51.100.99", "dev", "x"), later), "from its network");
    assert!(fail(&mut all, attempt("203.0.113.1", "dev", "y"), later).is_none(), "a stranger is held");
}

#[test]
fn a_neighbour_who_uses_up_the_networks_allowance_leaves_the_devices_own() {
    let mut all = attempts();
    let device = attempt("198.51.100.7", "dev", "dev-1");
    assert!(succeed(&mut all, device, NOW));
    hammer(&mut all, attempt("198.51.100.8", "dev", "dev-1"), NOW, 3_600_000);
    let later = NOW + 3_600_000;
    assert!(fail(&mut all, attempt("198.51.100.9", "dev", "z"), later).is_none(), "the network's is gone");
    assert!(succeed(&mut all, device, later));
    // Behind the same address only the Client Identifier tells them apart.
    hammer(&mut all, attempt("198.51.100.7", "dev", "guess"), later, 3_600_000);
    assert!(succeed(&mut all, device, later + 3_600_000));
}

#[test]
fn a_certificate_has_an_allowance_of_its_own() {
    let mut all = attempts();
    let plain = attempt("192.0.2.1", "dev", "c");
    hammer(&mut all, plain, NOW, 3_600_000);
    let later = NOW + 3_600_000;
    assert!(fail(&mut all, plain, later).is_none());
    let with = Attempt { certificate: Some("aa"), ..plain };
    assert!(succeed(&mut all, with, later));
    let (failures, _) = hammer(&mut all, Attempt { certificate: Some("bb"), ..plain }, later, 3_600_000);
    assert!(failures < 100, "but not without bound: {failures}");
}

#[test]
fn a_success_does_not_wash_the_address_of_its_failures() {
    let mut all = attempts();
    for round in 0..100 {
        let now_ms = NOW + round;
        let _ = fail(&mut all, attempt("192.0.2.1", &format!("victim-{round}"), ""), now_ms);
        let _ = succeed(&mut all, attempt("192.0.2.1", "mine", ""), now_ms);
    }
    assert!(fail(&mut all, attempt("192.0.2.1", "victim", ""), NOW + 100).is_none());
}

#[test]
fn failures_are_forgotten_after_the_window_and_what_is_known_after_30_days() {
    let mut all = attempts();
    for number in 0..8 {
        assert!(fail(&mut all, attempt("192.0.2.1", &format!("n{number}"), ""), NOW).is_some());
    }
    let later = NOW + limits().window_ms + 30_000;
    assert_eq!(fail(&mut all, attempt("192.0.2.1", "n", ""), later).unwrap().answer_delay_ms, 0);
    assert!(succeed(&mut all, attempt("192.0.2.9", "dev", "d"), NOW));
    let address: IpAddr = "192.0.2.9".parse().unwrap();
    assert!(all.is_healthy(address, NOW + 30 * DAY - 1) && !all.is_healthy(address, NOW + 30 * DAY));
}

#[test]
fn counters_are_kept_over_a_restart_and_damage_is_noticed() {
    let mut all = attempts();
    let (device, guess) = (attempt("198.51.100.7", "dev", "d"), attempt("192.0.2.1", "dev", "d"));
    assert!(succeed(&mut all, device, NOW));
    hammer(&mut all, guess, NOW, 600_000);
    let later = NOW + 600_000;
    assert!(fail(&mut all, guess, later).is_none());
    let bytes = all.encode(later);
    let mut again = Attempts::decode(&bytes, limits(), later).unwrap();
    assert!(fail(&mut again, guess, later).is_none(), "what was held is held");
    assert!(succeed(&mut again, device, later), "what was known is known");
    let mut early = Attempts::decode(&bytes, limits(), NOW - 400 * DAY).unwrap();
    assert!(fail(&mut early, guess, NOW - 400 * DAY + limits().lockout_ms).is_some(), "a clock set back");
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Attempts::decode(&damaged, limits(), later).is_err());
        assert!(Attempts::decode(&bytes[..at], limits(), later).is_err());
    }
}

proptest! {
    #[test]
    fn nothing_is_held_longer_than_a_lockout(
        steps in prop::collection::vec((0_u8..6, 0_u8..4, 0_u8..4, 0_u64..40_000, any::<bool>()), 1..400)
    ) {
        let mut all = attempts();
        let mut now_ms = NOW;
        for (address, name, id, pause_ms, right) in steps {
            now_ms += pause_ms;
            let (address, name, id) =
                (format!("192.0.2.{address}"), format!("n{name}"), format!("c{id}"));
            match all.begin(attempt(&address, &name, &id), now_ms) {
                Begun::Admitted(charge) if right => all.succeeded(&charge, now_ms),
                Begun::Admitted(charge) => drop(all.failed(&charge, now_ms)),
                Begun::Held { until_ms, .. } => {
                    prop_assert!(until_ms > now_ms && until_ms - now_ms <= limits().lockout_ms);
                    let later = now_ms + limits().lockout_ms;
                    let begun = all.begin(attempt(&address, &name, &id), later);
                    let Begun::Admitted(charge) = begun else { panic!("still held: {begun:?}") };
                    all.abandoned(&charge, later);
                }
            }
        }
    }

    #[test]
    fn what_is_read_back_from_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut sealed = bytes.clone();
        sealed.insert(0, 1);
        let checksum = crc32fast::hash(&sealed);
        sealed.extend(checksum.to_le_bytes());
        let _ = Attempts::decode(&sealed, limits(), NOW);
        let _ = motte_identity::bans::Bans::decode(&sealed, NOW);
    }
}
