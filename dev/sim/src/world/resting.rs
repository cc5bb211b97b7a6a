//! What arrives, and how everything comes to rest.

use std::collections::VecDeque;
use std::sync::Arc;

use motte_access::CompiledPolicy;
use motte_broker::{Input, Reload, ShardId};
use motte_session::SessionLimits;
use motte_wire::ReasonCode;

use super::{Asking, World};
use crate::client::Seen;
use crate::parts::{CLOSED, OPEN, policy};

impl World {
    /// A client reads everything that was written to it, and answers.
    pub(super) fn read(&mut self, index: usize) -> Result<(), String> {
        for _ in 0..1_000 {
            let Some((shard, conn)) = self.clients.get(index).and_then(|client| client.conn) else {
                return Ok(());
            };
            let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) else { return Ok(()) };
            let Some(output) = asked.outputs.get_mut(&conn) else { return Ok(()) };
            let mut bytes = Vec::new();
            while output.is_writable() {
                let mut slices = [std::io::IoSlice::new(&[]); 8];
                let count = output.slices(&mut slices);
                let before = bytes.len();
                slices.iter().take(count).for_each(|slice| bytes.extend_from_slice(slice));
                let n = bytes.len() - before;
                output.advance(n);
            }
            let closed = asked.closed.contains(&conn);
            if bytes.is_empty() && !closed {
                return Ok(());
            }
            let mut answer = Vec::new();
            let seen = match self.clients.get_mut(index) {
                Some(client) => client.read(&bytes, &mut answer)?,
                None => return Ok(()),
            };
            for one in seen {
                self.saw(index, one)?;
            }
            let sends_again =
                self.clients.get_mut(index).is_some_and(|client| std::mem::take(&mut client.sends_again));
            if closed {
                self.forget_output(index);
                self.ended(index);
                return Ok(());
            }
            self.send(index, &answer)?;
            if sends_again {
                self.republish(index)?;
            }
            self.handle(shard, Input::Drained { conn })?;
        }
        Err("a client and the broker talk without end".into())
    }

    pub(super) fn saw(&mut self, index: usize, seen: Seen) -> Result<(), String> {
        let (Some(ledger), Some(client)) = (self.ledgers.get_mut(index), self.clients.get_mut(index)) else {
            return Ok(());
        };
        match seen {
            Seen::Accepted { present } => {
                if !present {
                    if !ledger.subscriptions.is_empty() || !ledger.missing().is_empty() {
                        return Err(format!("{} came back and its Session was gone", client.id));
                    }
                    client.open.clear();
                    client.unacknowledged.clear();
                    ledger.end();
                }
            }
            Seen::Refused(reason) => return Err(format!("{} was refused: {}", client.id, reason.name())),
            Seen::Message { topic, number, qos, dup } => {
                let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get(n)) else {
                    return Err(format!("message {number} was never sent"));
                };
                if sent.topic != topic {
                    return Err(format!("message {number} arrived on {topic} instead of {}", sent.topic));
                }
                self.outcome.arrived += 1;
                ledger.arrived(number, qos, dup, sent).map_err(|what| format!("{}: {what}", client.id))?;
            }
            Seen::Subscribed(codes) => {
                let Some(Asking { filter, qos, is_closed }) = self.asked.remove(&index) else {
                    return Err("a SUBACK too many".into());
                };
                match codes.first() {
                    // All of it is denied under the closed policy.
                    Some(code) if code.is_failure() && is_closed && filter.starts_with("secret/") => {}
                    Some(code) if code.0 == qos => {
                        // What is between shards when a QoS is lowered arrives with the lower one.
                        if ledger.subscriptions.get(filter).is_some_and(|old| *old > qos) {
                            ledger.unsubscribed(filter, &self.sent);
                        }
                        ledger.subscriptions.insert(filter, qos);
                    }
                    other => return Err(format!("{filter} with QoS {qos} was answered with {other:?}")),
                }
            }
            Seen::Goodbye(reason) if reason == ReasonCode::SESSION_TAKEN_OVER => {}
            Seen::Goodbye(reason) => return Err(format!("{} was sent away: {}", client.id, reason.name())),
        }
        Ok(())
    }

    pub(super) fn deliver_inbox(&mut self) -> Result<(), String> {
        let shard = self.random.below(self.inboxes.len());
        let Some(message) = self.inboxes.get_mut(shard).and_then(VecDeque::pop_front) else { return Ok(()) };
        self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), Input::Shard(message))
    }

    /// Another policy: while it is closed nothing below `secret/` may be written to anybody.
    pub(super) fn reload(&mut self) {
        // What was written before is read before, so that anything read later was written later.
        for index in 0..self.clients.len() {
            let _ = self.read(index);
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
        for shard in 0..self.shards.len() {
            let _ = self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), reload(&policy, &limits));
        }
        if self.closed {
            for ledger in &mut self.ledgers {
                let sent = &self.sent;
                ledger.owed.retain(|number, _| {
                    let topic =
                        usize::try_from(*number).ok().and_then(|n| sent.get(n)).map_or("", |sent| sent.topic);
                    !topic.starts_with("secret/")
                });
            }
        }
    }

    pub(super) fn tick(&mut self) {
        for shard in 0..self.shards.len() {
            let _ = self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), Input::Tick);
        }
    }

    /// Everything comes to rest: all inboxes are emptied, everybody reads, whoever has a Session comes back for it.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        for _ in 0..8 {
            self.settle()?;
            for index in 0..self.clients.len() {
                let gone =
                    self.clients.get(index).is_some_and(|client| client.conn.is_none() && client.persistent);
                if gone {
                    self.connect(index, true)?;
                }
                self.read(index)?;
                self.settle()?;
                self.read(index)?;
            }
        }
        for (client, ledger) in self.clients.iter().zip(&self.ledgers) {
            let missing = ledger.missing();
            if let Some(first) = missing.first() {
                let sent = usize::try_from(*first).ok().and_then(|n| self.sent.get(n));
                return Err(format!(
                    "{} never got {} messages, the first {first}: {sent:?}",
                    client.id,
                    missing.len()
                ));
            }
        }
        Ok(())
    }
}
