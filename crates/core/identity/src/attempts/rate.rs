//! How often somebody may connect: a bucket of tokens for each address and each network.

use std::net::IpAddr;

use super::limits::{AttemptLimits, NETWORK_FACTOR};
use super::table::{Entry, Table};
use super::tag::TagKey;

/// Seconds of connections that may come at once.
const BURST_S: u64 = 10;

/// How often somebody may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// Connections of one address in a second; 0: no bound. Ten seconds' worth may come at once; a network may have eight times
    /// as many.
    pub per_second: u32,
}

/// When the next token is due if they are taken one after the other, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    due_us: u64,
}

impl Entry for Bucket {
    fn is_over(&self, now_ms: u64) -> bool {
        self.due_us <= now_ms.saturating_mul(1_000)
    }

    fn rank(&self, _now_ms: u64) -> (bool, u32, u64) {
        (false, 0, self.due_us)
    }
}

impl Bucket {
    fn take(&mut self, now_ms: u64, per_second: u64) -> bool {
        let present = now_ms.saturating_mul(1_000);
        let each_us = 1_000_000 / per_second.max(1);
        let due_us = self.due_us.max(present);
        if due_us - present > BURST_S * 1_000_000 {
            return false;
        }
        self.due_us = due_us.saturating_add(each_us);
        true
    }
}

/// The buckets, in as much memory as [`AttemptLimits::entries`] permits.
#[derive(Debug)]
pub struct ConnectionRate {
    limits: RateLimits,
    networks: AttemptLimits,
    key: TagKey,
    buckets: Table<Bucket>,
}

impl ConnectionRate {
    /// With full buckets.
    pub fn new(limits: RateLimits, networks: AttemptLimits, key: TagKey) -> Self {
        Self { limits, buckets: Table::new(networks.entries), networks, key }
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: RateLimits, networks: AttemptLimits) {
        self.limits = limits;
        self.networks = AttemptLimits { entries: self.networks.entries, ..networks };
    }

    /// Whether there is any bound.
    pub fn is_bounded(&self) -> bool {
        self.limits.per_second > 0
    }

    /// One more connection of this address; false when it comes too soon.
    pub fn take(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let per_second = u64::from(self.limits.per_second);
        if per_second == 0 {
            return true;
        }
        let factor = u64::from(NETWORK_FACTOR);
        let both = [
            (0, self.networks.address(address), per_second),
            (1, self.networks.network(address), per_second * factor),
        ];
        for (kind, address, per_second) in both {
            let text = address.to_string();
            let tag = self.key.tag(kind, &[text.as_bytes()]);
            let bucket = self.buckets.entry(tag, now_ms, |displaced| displaced.copied().unwrap_or_default());
            if bucket.is_some_and(|bucket| !bucket.take(now_ms, per_second)) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32) -> ConnectionRate {
        let small = AttemptLimits { entries: 256, ..AttemptLimits::default() };
        ConnectionRate::new(RateLimits { per_second }, small, TagKey::new([7; 32]))
    }

    fn taken(rate: &mut ConnectionRate, address: &str, tries: u32, now_ms: u64) -> u32 {
        let address = address.parse().unwrap();
        (0..tries).map(|_| u32::from(rate.take(address, now_ms))).sum()
    }

    #[test]
    fn ten_seconds_worth_may_come_at_once_and_then_as_many_as_a_second_permits() {
        let mut rate = rate(5);
        assert_eq!(taken(&mut rate, "192.0.2.1", 100, 1_000), 51);
        assert_eq!(taken(&mut rate, "192.0.2.1", 100, 1_100), 0);
        assert_eq!(taken(&mut rate, "192.0.2.1", 100, 2_000), 5);
        assert_eq!(taken(&mut rate, "192.0.2.2", 100, 2_000), 51, "another address has its own");
    }

    #[test]
    fn a_network_has_a_bound_of_its_own() {
        let mut rate = rate(5);
        let all: u32 = (1..=60).map(|last| taken(&mut rate, &format!("192.0.2.{last}"), 51, 1_000)).sum();
        assert_eq!(all, 8 * 5 * 10 + 1);
        assert_eq!(taken(&mut rate, "198.51.100.1", 1, 1_000), 1);
    }

    #[test]
    fn zero_is_no_bound() {
        assert_eq!(taken(&mut rate(0), "192.0.2.1", 10_000, 1), 10_000);
    }
}
