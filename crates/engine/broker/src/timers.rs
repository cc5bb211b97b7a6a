//! Deadlines of a shard. An entry is never taken back: when it comes up, its owner says whether it still holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::input::ConnId;
use crate::sessions::SessionKey;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Look whether a connection was silent for too long.
    KeepAlive(ConnId),
    /// Look whether what a client proved itself with has ended.
    CredentialEnd(ConnId),
    /// Look whether a client that began to authenticate again has come to an end.
    Reauthentication(ConnId),
    /// A Session without connection ends.
    SessionEnd(SessionKey),
    /// A delayed Will is to be published.
    WillDue(SessionKey),
    /// Read again what waits on disk for a Session.
    Load(SessionKey),
    /// Forget expired Retained Messages.
    Sweep,
}

/// All deadlines, the earliest first.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, Timer)>>,
}

impl Timers {
    /// Sets a deadline in monotonic milliseconds.
    pub fn set(&mut self, at_ms: u64, timer: Timer) {
        self.heap.push(Reverse((at_ms, timer)));
    }

    /// The earliest deadline.
    pub fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The earliest entry that is due at `now_ms`.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }

    /// How many entries there are, held ones and outdated ones.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that no longer hold, when they have become many: a client that reconnects in a loop must not
    /// grow the heap.
    pub fn compact(&mut self, mut holds: impl FnMut(u64, Timer) -> bool) {
        self.heap.retain(|Reverse((at, timer))| holds(*at, *timer));
    }
}

/// A time that may not be set, in eight bytes: there is one for each Session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeMs(u64);

impl MaybeMs {
    /// Not set.
    pub const NONE: Self = Self(u64::MAX);

    /// This time, in monotonic milliseconds.
    pub fn at(at_ms: u64) -> Self {
        Self(at_ms.min(u64::MAX - 1))
    }

    /// The time, if it is set.
    pub fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl From<Option<u64>> for MaybeMs {
    fn from(at_ms: Option<u64>) -> Self {
        at_ms.map_or(Self::NONE, Self::at)
    }
}
