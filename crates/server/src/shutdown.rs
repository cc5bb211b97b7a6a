//! The clean stop, in steps that all workers take together.
//!
//! Goodbye: no new connections, DISCONNECT to every client, Wills. Settle: what shards still owe each other is delivered.
//! Finish: the last bytes are written and what has to be kept is, or their time is up. Leave: the worker ends. A worker
//! acknowledges each step; the supervisor sends the next one when all have.

use std::sync::mpsc::SyncSender;

use motte_broker::{ConnId, Input};

use crate::connection::Phase;
use crate::worker::Worker;

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

impl Worker {
    /// Takes a step of the clean stop.
    pub(crate) fn stop(&mut self, step: Step) {
        match &step.what {
            What::Goodbye => {
                for door in &mut self.doors {
                    door.deregister(self.poll.registry());
                }
                self.doors.clear();
                self.stopping = true;
                self.system_topics = None;
                self.input(Input::Shutdown);
                let waiting: Vec<ConnId> = self
                    .world
                    .connections
                    .iter_mut()
                    .filter(|c| c.phase == Phase::Opening)
                    .map(|c| c.id)
                    .collect();
                for id in waiting {
                    self.remove(id);
                }
                self.hand_over_changes();
                self.world.post();
                step.acknowledge();
            }
            What::Settle => {
                self.hand_over_changes();
                self.world.post();
                step.acknowledge();
            }
            What::Finish => self.finishing = Some((step, self.world.now.mono_ms + FINISH_MS)),
            What::Leave => {
                self.over = true;
                step.acknowledge();
            }
        }
    }

    /// Acknowledges the finishing step once all is written, or its time is up.
    pub(crate) fn finish_step(&mut self) {
        let Some((step, until_ms)) = &self.finishing else { return };
        let unwritten = self.world.connections.iter_mut().any(|c| c.phase != Phase::Lingering);
        if !unwritten && self.broker.is_settled() || self.world.now.mono_ms >= *until_ms {
            step.acknowledge();
            self.finishing = None;
        }
    }
}
