//! The one clock of the process; a worker reads it once a turn.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use motte_broker::Now;

/// Where monotonic milliseconds count from; a copy counts from the same instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The present time.
    pub(crate) fn now(self) -> Now {
        Now { mono_ms: millis(self.origin.elapsed()), unix_ms: unix_ms() }
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
