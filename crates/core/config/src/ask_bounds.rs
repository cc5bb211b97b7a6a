//! What bounds the asking of a service who a client is.

use std::ops::RangeInclusive;

use toml::Spanned;

use crate::error::Faults;
use crate::outward::{count, time};

/// As written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskBoundsWritten<'a> {
    pub(crate) timeout_ms: Option<&'a Spanned<u32>>,
    pub(crate) outstanding: Option<&'a Spanned<u32>>,
    pub(crate) queue: Option<&'a Spanned<u32>>,
    pub(crate) cache_s: Option<&'a Spanned<u32>>,
    pub(crate) cache_max: Option<&'a Spanned<u32>>,
    pub(crate) failures: Option<&'a Spanned<u32>>,
    pub(crate) pause_ms: Option<&'a Spanned<u32>>,
}

/// As meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskBounds {
    /// Time for an answer, in milliseconds.
    pub timeout_ms: u32,
    /// Questions that may be under way at once.
    pub outstanding: u16,
    /// Questions that may wait for their turn.
    pub queue: u32,
    /// How long a permission is remembered, in seconds; 0: not at all.
    pub cache_s: u32,
    /// How many are remembered.
    pub cache_max: u32,
    /// Failures in a row after which the service is left alone.
    pub failures: u32,
    /// For how long, in milliseconds.
    pub pause_ms: u32,
}

impl AskBounds {
    pub(crate) fn from_written(written: AskBoundsWritten<'_>, faults: &mut Faults<'_>) -> Self {
        let timeout_ms = time("timeout_ms", written.timeout_ms, 3_000, faults);
        let pause_ms = time("pause_ms", written.pause_ms, 10_000, faults);
        let mut count =
            |key: &str, written: Option<&Spanned<u32>>, usual: u32, bounds: RangeInclusive<u32>| {
                count(key, written, usual, bounds, faults)
            };
        let outstanding = count("outstanding", written.outstanding, 16, 1..=64);
        Self {
            timeout_ms,
            outstanding: u16::try_from(outstanding).unwrap_or(64),
            queue: count("queue", written.queue, 1_024, 1..=100_000),
            cache_s: count("cache_s", written.cache_s, 60, 0..=86_400),
            cache_max: count("cache_max", written.cache_max, 10_000, 1..=1_000_000),
            failures: count("failures", written.failures, 5, 1..=1_000),
            pause_ms,
        }
    }

    pub(crate) fn to_toml(self) -> String {
        let Self { timeout_ms, outstanding, queue, cache_s, cache_max, failures, pause_ms } = self;
        format!(
            "timeout_ms = {timeout_ms}\noutstanding = {outstanding}\nqueue = {queue}\ncache_s = {cache_s}\ncache_max = {cache_max}\nfailures = {failures}\npause_ms = {pause_ms}"
        )
    }
}
