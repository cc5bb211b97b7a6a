//! How many failures are free, and what comes after them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many times as many failures a network may have as one address of it.
pub(crate) const NETWORK_FACTOR: u16 = 8;
/// How long something that proved itself is remembered, in milliseconds: 30 days.
pub(crate) const KNOWN_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// Longest time for which an answer is put off, in milliseconds; the hold behind it may be longer.
const ANSWER_DELAY_MS_MAX: u64 = 5_000;

/// How many failures are free, and what comes after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures are forgotten when none was added for this long, in milliseconds.
    pub window_ms: u64,
    /// Failures without consequence, at least 1.
    pub free: u16,
    /// The first delay, in milliseconds; each further failure doubles it.
    pub delay_base_ms: u64,
    /// The longest delay, in milliseconds.
    pub delay_max_ms: u64,
    /// Failures from which on nobody is asked for [`Self::lockout_ms`].
    pub lockout_after: u16,
    /// How long, in milliseconds.
    pub lockout_ms: u64,
    /// Bits of an IPv4 address that are its network.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that are one subscriber, counted as one address.
    pub address_v6: u8,
    /// Bits of an IPv6 address that are its network.
    pub prefix_v6: u8,
    /// Keys remembered of each kind; memory is at most 40 bytes for each, of seven kinds.
    pub entries: usize,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self {
            window_ms: 15 * 60 * 1_000,
            free: 8,
            delay_base_ms: 1_000,
            delay_max_ms: 30_000,
            lockout_after: 32,
            lockout_ms: 15 * 60 * 1_000,
            prefix_v4: 24,
            address_v6: 64,
            prefix_v6: 48,
            entries: 16_384,
        }
    }
}

impl AttemptLimits {
    /// The delay after so many failures, in milliseconds.
    pub(crate) fn delay_ms(&self, failures: u16, factor: u16) -> u64 {
        let beyond = u32::from(failures.saturating_sub(self.free.saturating_mul(factor)));
        if beyond == 0 {
            return 0;
        }
        let doubled = 1_u64.checked_shl(beyond - 1).unwrap_or(u64::MAX);
        self.delay_base_ms.saturating_mul(doubled).min(self.delay_max_ms)
    }

    /// For how long an answer is put off when a hold of this length begins, in milliseconds.
    pub(crate) fn answer_delay_ms(hold_ms: u64) -> u64 {
        hold_ms.min(ANSWER_DELAY_MS_MAX)
    }

    /// The longest hold there can be, in milliseconds.
    pub(crate) fn hold_max_ms(&self) -> u64 {
        self.lockout_ms.max(self.delay_max_ms)
    }

    /// What is counted as one address: IPv4 whole, of IPv6 what one subscriber has.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        masked(address, 32, self.address_v6)
    }

    /// How many bits of it that are.
    pub fn address_bits(&self, address: IpAddr) -> u8 {
        if address.to_canonical().is_ipv4() { 32 } else { self.address_v6.min(128) }
    }

    /// The network around an address.
    pub fn network(&self, address: IpAddr) -> IpAddr {
        masked(address, self.prefix_v4, self.prefix_v6)
    }
}

/// The first bits of an address, the rest zero.
pub(crate) fn masked(address: IpAddr, bits_v4: u8, bits_v6: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(bits_v4))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(bits_v6))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_first_failure_that_is_not_free_and_are_bounded() {
        let limits = AttemptLimits { free: 3, delay_base_ms: 100, delay_max_ms: 900, ..Default::default() };
        let delays: Vec<u64> = (2..9).map(|failures| limits.delay_ms(failures, 1)).collect();
        assert_eq!(delays, [0, 0, 100, 200, 400, 800, 900]);
        assert_eq!(limits.delay_ms(u16::MAX, 1), 900);
        assert_eq!((limits.delay_ms(24, 8), limits.delay_ms(25, 8)), (0, 100));
    }

    #[test]
    fn addresses_and_networks_are_cut_where_the_limits_say() {
        let limits = AttemptLimits::default();
        let of = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            (limits.address(address).to_string(), limits.network(address).to_string())
        };
        assert_eq!(of("192.0.2.77"), ("192.0.2.77".into(), "192.0.2.0".into()));
        assert_eq!(of("::ffff:192.0.2.77"), ("192.0.2.77".into(), "192.0.2.0".into()));
        assert_eq!(of("2001:db8:1:2:3::4"), ("2001:db8:1:2::".into(), "2001:db8:1::".into()));
        assert_eq!(masked("192.0.2.77".parse().unwrap(), 0, 0).to_string(), "0.0.0.0");
        assert_eq!(masked("2001:db8::1".parse().unwrap(), 0, 0).to_string(), "::");
    }
}
