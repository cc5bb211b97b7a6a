//! The clean stop, in steps that all workers take together.
//!
//! Goodbye: no new connections, DISCONNECT to every client, Wills. Settle: what shards still owe each other is delivered.
//! Finish: the last bytes are written and what has to be kept is, or their time is up. Leave: the worker ends. A worker
//! acknowledges each step; the supervisor sends the next one when all have.

use std::sync::mpsc::SyncSender;

/// Time for the last bytes to leave, in milliseconds.
pub(crate) const FINISH_MS: u64 = 5_000;
/// Rounds of settling: one for messages that were under way, one for Shared Subscriptions that had to look elsewhere.
pub(crate) const SETTLE_ROUNDS: usize = 2;

/// What a worker does.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Goodbye,
    Settle,
    Finish,
    Leave,
}

/// A step with the way to say that it is done.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) done: SyncSender<()>,
}

impl Step {
    /// Says that the step is done; a supervisor that is gone does not wait for it.
    pub(crate) fn acknowledge(&self) {
        let _ = self.done.try_send(());
    }
}
