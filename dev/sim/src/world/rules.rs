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
        let revoked = self.random.below(3 * self.setup.clients);
        self.closed = !self.closed;
        self.generation += 1;
        self.outcome.reloads += 1;
        let policy = policy(if self.closed { CLOSED } else { OPEN }, self.generation);
        let limits = Arc::clone(&self.limits);
        let reload = |policy: &Arc<CompiledPolicy>, limits: &Arc<SessionLimits>| {
            let limits = Arc::clone(limits);
            let gone = format!("c{revoked}");
            Input::Reload(Reload {
                policy: Arc::clone(policy),
                still_valid: Arc::new(move |client| {
                    if *client.client_id == *gone {
                        Err("its right was taken away".to_owned())
                    } else {
                        Ok(())
                    }
                }),
                limits: Arc::new(move |_| Some(Arc::clone(&limits))),
            })
        };
        for shard in self.all_shards() {
            self.handle(shard, reload(&policy, &limits))?;
        }
        self.is_revoked(revoked)?;
        if !self.closed {
            return Ok(());
        }
        let sent = &self.sent;
        let is_open = |number: &u64| {
            let sent = usize::try_from(*number).ok().and_then(|n| sent.get(n));
            sent.is_none_or(|sent| !sent.topic.starts_with("secret/"))
        };
        for ledger in &mut self.ledgers {
            ledger.owed.retain(|number, _| is_open(number));
            // What is on its way is denied, and not delivered when it is sent again later.
            ledger.let_go.retain(is_open);
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

    /// A client may not be there any more: its connection and its Session end, its Will goes out.
    fn is_revoked(&mut self, index: usize) -> Result<(), String> {
        if index >= self.setup.clients || self.absent.contains(&index) {
            return Ok(());
        }
        let conn = self.clients.get(index).and_then(|client| client.conn);
        if conn.is_some_and(|conn| !self.is_closed(conn)) {
            return Err(format!("c{index} may not be there any more and is still connected"));
        }
        self.tell(|_| format!("c{index} may not be there any more"));
        self.outcome.revoked += 1;
        self.will_of_replaced(index, true);
        self.forget_output(index);
        if let Some(client) = self.clients.get_mut(index) {
            client.outlives = false;
            // Nobody was told, so that it may be undone by a crash.
            client.is_unkept = true;
        }
        self.ended(index);
        self.end_session(index);
        Ok(())
    }

    /// Nothing happens for a while but that clients show that they are there.
    pub(super) fn long_pause(&mut self) -> Result<(), String> {
        let mut left_ms = 5_000 + self.random.clone().bits() % 30_000;
        while left_ms > 0 {
            let part_ms = left_ms.min(5_000);
            left_ms -= part_ms;
            self.pass(part_ms);
            self.ping()?;
        }
        self.tick()
    }

    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.ping()?;
        for shard in self.all_shards() {
            self.handle(shard, Input::Tick)?;
        }
        self.ticked_ms = self.now.mono_ms;
        self.check_silence()?;
        self.wills_are_due();
        Ok(())
    }

    pub(super) fn all_shards(&self) -> Vec<ShardId> {
        (0..self.setup.shards).map(ShardId).collect()
    }
}
