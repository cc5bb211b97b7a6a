//! Policies that change, time that passes.

use std::sync::Arc;

use motte_access::CompiledPolicy;
use motte_broker::{Input, Reload, ShardId};
use motte_session::SessionLimits;

use super::World;
use crate::parts::{CLOSED, OPEN, policy};

impl World {
    /// Another policy: while it is closed nothing below `secret/` may be written to anybody.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        // What was written before is read before, so that anything read later was written later.
        for index in 0..self.clients.len() {
            self.read(index)?;
        }
        self.closed = !self.closed;
        self.generation += 1;
        self.outcome.reloads += 1;
        let policy = policy(if self.closed { CLOSED } else { OPEN }, self.generation);
        let limits = Arc::clone(&self.limits);
        let reload = |policy: &Arc<CompiledPolicy>, limits: &Arc<SessionLimits>| {
            let limits = Arc::clone(limits);
            Input::Reload(Reload {
                policy: Arc::clone(policy),
                still_valid: Arc::new(|_| Ok(())),
                limits: Arc::new(move |_| Some(Arc::clone(&limits))),
            })
        };
        for shard in self.all_shards() {
            self.handle(shard, reload(&policy, &limits))?;
        }
        if !self.closed {
            return Ok(());
        }
        for ledger in &mut self.ledgers {
            let sent = &self.sent;
            ledger.owed.retain(|number, _| {
                let topic =
                    usize::try_from(*number).ok().and_then(|n| sent.get(n)).map_or("", |sent| sent.topic);
                !topic.starts_with("secret/")
            });
        }
        for client in &mut self.clients {
            let output = client.conn.and_then(|(shard, conn)| {
                self.shards.get(usize::from(shard.0)).and_then(|(_, asked)| asked.outputs.get(&conn))
            });
            // What waits for the disk was decided before.
            client.may_read_secrets = output.is_some_and(|output| !output.is_empty());
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Result<(), String> {
        for shard in self.all_shards() {
            self.handle(shard, Input::Tick)?;
        }
        self.ticked_ms = self.now.mono_ms;
        self.wills_are_due();
        Ok(())
    }

    pub(super) fn all_shards(&self) -> Vec<ShardId> {
        (0..self.setup.shards).map(ShardId).collect()
    }
}
