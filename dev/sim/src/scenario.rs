//! What is simulated: a seed with its sizes, and what was left out of it.

use std::collections::BTreeSet;

/// The sizes of a run. Everything else follows from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Everything follows from it.
    pub seed: u64,
    /// Clients.
    pub clients: usize,
    /// Shards.
    pub shards: u16,
    /// Steps before everything is brought to rest.
    pub steps: usize,
    /// In how many of a thousand steps the broker ends: by a power cut or killed.
    pub crashes: usize,
    /// In how many of a thousand steps the disk begins to fail.
    pub faults: usize,
    /// Queues hold few messages, and what is beyond is dropped.
    pub has_small_queues: bool,
    /// The memory budget is small and messages are large.
    pub has_little_memory: bool,
    /// Most messages go to Shared Subscriptions, and most subscriptions are shared.
    pub shares_much: bool,
}

/// The memory budget of those who have little, in bytes.
pub(crate) const LITTLE_MEMORY_BYTES: u64 = 96 * 1024;

impl Setup {
    /// The sizes that a seed gives: most runs are small, some are large; some have crashes, failing disks, small queues,
    /// much that is shared.
    pub fn of(seed: u64) -> Self {
        let is_large = seed % 100 == 99;
        let shares_much = seed % 10 == 8;
        let clients = if is_large { 100 + seed % 101 } else { 3 + seed % 8 };
        let clients = if shares_much { clients.max(6) } else { clients };
        Self {
            seed,
            clients: usize::try_from(clients).unwrap_or(3),
            shards: 1 + u16::try_from(seed % 3).unwrap_or(0),
            steps: if is_large { 4_000 } else { 400 },
            crashes: if seed % 2 == 1 { 15 } else { 0 },
            faults: if seed % 4 == 3 { 8 } else { 0 },
            has_small_queues: seed % 10 == 6,
            has_little_memory: seed % 10 == 4,
            shares_much,
        }
    }

    /// Bytes of a payload at least.
    pub(crate) fn padding(&self) -> usize {
        if self.has_little_memory { 2_000 } else { 0 }
    }

    /// The memory budget, in bytes.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        if self.has_little_memory { LITTLE_MEMORY_BYTES } else { 1 << 40 }
    }
}

/// A run, less what was left out to make it smaller. A step does the same whatever other steps are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The sizes.
    pub setup: Setup,
    /// The steps that are done, in order.
    pub steps: Vec<usize>,
    /// Clients that do nothing.
    pub absent: BTreeSet<usize>,
    /// What happens is printed.
    pub is_told: bool,
}

impl Scenario {
    /// All of it.
    pub fn whole(setup: Setup) -> Self {
        Self { setup, steps: (0..setup.steps).collect(), absent: BTreeSet::new(), is_told: false }
    }
}

/// Numbers as short text: `0-4,7`.
pub fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let word = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(word).collect::<Vec<_>>().join(",")
}

/// The numbers of such a text; `None` if it is none.
pub fn numbers(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{numbers, ranges};

    #[test]
    fn steps_are_written_short_and_read_back() {
        let some = vec![0, 1, 2, 5, 7, 8];
        assert_eq!(ranges(&some), "0-2,5,7-8");
        assert_eq!(numbers(&ranges(&some)), Some(some));
        assert_eq!(numbers("1-x"), None);
    }
}
