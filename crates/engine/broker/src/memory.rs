//! The memory budget of the process: what waits for clients and what is retained, counted, and the order in which load
//! is shed when the budget is used up.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How full the budget is. The order of shedding: new connections first, then QoS 0 to slow consumers, then new
/// messages that would have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below nine tenths.
    None,
    /// Above nine tenths: new connections are refused.
    High,
    /// The budget is used up: QoS 0 goes only to clients that keep up, and nothing new is queued or retained.
    Full,
}

/// The ledger of bytes; shards add their differences at the end of a turn.
#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    max: AtomicU64,
    told: AtomicU8,
}

impl Memory {
    /// An empty ledger with a budget in bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { used: AtomicU64::new(0), max: AtomicU64::new(bytes_max), told: AtomicU8::new(0) }
    }

    /// Changes the budget.
    pub fn set_max(&self, bytes_max: u64) {
        self.max.store(bytes_max, Ordering::Relaxed);
    }

    /// Adds a difference.
    pub fn add(&self, difference: i64) {
        // A write that other shards must see costs as much as a small delivery.
        if difference == 0 {
            return;
        }
        if difference > 0 {
            self.used.fetch_add(difference.unsigned_abs(), Ordering::Relaxed);
        } else {
            // Saturating: a counting fault must not turn into an enormous amount.
            let less = difference.unsigned_abs();
            let _ = self
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(less)));
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// How full it is, when that is something else than what was given here last, to whichever shard asked.
    pub fn turned(&self) -> Option<Pressure> {
        let pressure = self.pressure();
        let number = pressure as u8;
        let changed = self.told.load(Ordering::Relaxed) != number
            && self.told.swap(number, Ordering::Relaxed) != number;
        changed.then_some(pressure)
    }

    /// How full it is.
    pub fn pressure(&self) -> Pressure {
        let (used, max) = (self.used(), self.max.load(Ordering::Relaxed));
        if used >= max {
            Pressure::Full
        } else if used >= max / 10 * 9 {
            Pressure::High
        } else {
            Pressure::None
        }
    }
}

/// How much more is held than before, in bytes.
pub fn difference(before: usize, now: usize) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
}

/// Differences that a shard has not told the process yet. Telling is a write that all shards see, so small ones are
/// gathered: the budget may be wrong by this much for each shard.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: i64,
}

/// Bytes from which a difference is told.
const TOLD_FROM: u64 = 64 * 1024;

impl Ledger {
    /// Notes a difference in bytes.
    pub fn add(&mut self, difference: i64, memory: &Memory) {
        self.owed = self.owed.saturating_add(difference);
        if self.owed.unsigned_abs() >= TOLD_FROM {
            self.tell(memory);
        }
    }

    /// Notes what is held now in place of what was held before.
    pub fn change(&mut self, before: usize, now: usize, memory: &Memory) {
        self.add(difference(before, now), memory);
    }

    /// Tells the process.
    pub fn tell(&mut self, memory: &Memory) {
        memory.add(std::mem::take(&mut self.owed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_with_use_and_never_wraps() {
        let memory = Memory::new(100);
        assert_eq!(memory.pressure(), Pressure::None);
        memory.add(95);
        assert_eq!(memory.pressure(), Pressure::High);
        memory.add(10);
        assert_eq!(memory.pressure(), Pressure::Full);
        assert_eq!((memory.turned(), memory.turned()), (Some(Pressure::Full), None));
        memory.add(-500);
        assert_eq!(memory.turned(), Some(Pressure::None));
        assert_eq!(memory.used(), 0);
    }
}
