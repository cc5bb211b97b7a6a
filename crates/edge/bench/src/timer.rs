//! A timer that wakes a poll to the microsecond; the poll's own timeout counts in milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::schedule::SECOND_NS;

/// A timer of the system.
#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// Makes it, and lets it wake the poll with this token.
    ///
    /// # Errors
    /// The system has no more files.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Wakes once after this many nanoseconds; 0 is taken as 1, since 0 would stop the timer.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn wake_in(&self, ns: u64) -> io::Result<()> {
        let ns = ns.max(1);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = Timespec {
            tv_sec: i64::try_from(ns / SECOND_NS).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ns % SECOND_NS).unwrap_or(0),
        };
        // Setting it also clears what it counted, so it is never read; the poll sees each expiry as a new edge.
        let spec = Itimerspec { it_interval: zero, it_value: wait };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }
}
