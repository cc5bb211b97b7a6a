//! How everything comes to rest, and what must be true then.

use std::collections::VecDeque;

use motte_broker::{Input, ShardId};
use motte_wire::{
    PacketId, ProtocolVersion, QoS, RetainHandling, Subscribe, SubscribeEntry, SubscribeOptions,
};

use super::World;
use crate::retained::Looked;

/// Longer than any delay or expiry here, also by a clock that jumped twice, and than the time after which what has expired
/// is forgotten; and what passes of it at once, in milliseconds.
const LONG_MS: (u64, u64) = (200_000, 10_000);
/// Memory that may be counted at the end for each client, and for each shard that has not told yet, in bytes.
const REST_BYTES: (u64, u64) = (16 * 1024, 128 * 1024);
/// Turns more in which everybody reads and acknowledges, at most.
const TURNS_MAX: usize = 60;

impl World {
    pub(super) fn deliver_inbox(&mut self) -> Result<(), String> {
        let shard = self.random.below(self.inboxes.len());
        let Some(message) = self.inboxes.get_mut(shard).and_then(VecDeque::pop_front) else { return Ok(()) };
        self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), Input::Shard(message))
    }

    /// Compares the Retained Messages with those that must be there.
    pub(super) fn look(&mut self) -> Result<(), String> {
        self.heal()?;
        self.settle()?;
        if self.setup.has_little_memory && self.memory_used() > self.setup.memory_bytes_max() / 2 {
            // Nobody new is let in.
            return Ok(());
        }
        let from_ms = self.now.mono_ms;
        let probe = self.setup.clients;
        self.found.clear();
        self.connect(probe, false)?;
        self.settle()?;
        self.read(probe)?;
        let mut bytes = Vec::new();
        let mut options = SubscribeOptions::qos(QoS::AtMostOnce);
        options.retain_handling = RetainHandling::Always;
        let Some(id) = PacketId::new(1) else { return Ok(()) };
        let entry = SubscribeEntry { filter: "r/+", options };
        Subscribe::encode_new(ProtocolVersion::V5, id, None, &[entry], &mut bytes);
        self.asked.insert(probe, super::Asking::Subscription { filter: "r/+", qos: 0, is_closed: false });
        self.send(probe, &bytes)?;
        self.settle()?;
        self.read(probe)?;
        self.disconnect(probe)?;
        self.outcome.looks += 1;
        let looked = Looked { from_ms, to_ms: self.now.mono_ms, is_clock_exact: self.is_clock_exact };
        self.register.seen(&self.found, looked)
    }

    /// What is retained is on disk, and nothing else.
    fn check_kept(&mut self) -> Result<(), String> {
        self.settle()?;
        let Some(journal) = &self.journal else { return Ok(()) };
        let kept: Vec<&str> = journal.retained().map(|(topic, _)| topic).collect();
        let found: Vec<&str> = self.found.keys().map(String::as_str).collect();
        if kept == found {
            Ok(())
        } else {
            Err(format!("{kept:?} are retained on disk, and {found:?} are there"))
        }
    }

    /// All inboxes are emptied, everybody reads, whoever has a Session comes back for it.
    fn everybody(&mut self) -> Result<(), String> {
        self.settle()?;
        for index in 0..self.setup.clients {
            let client = self.clients.get(index);
            let is_gone = client.is_some_and(|client| client.conn.is_none() && client.persistent);
            if is_gone && !self.absent.contains(&index) {
                self.connect(index, true)?;
            }
            if self.clients.get(index).is_some_and(|client| client.is_half_open) {
                self.lose(index)?;
                self.connect(index, true)?;
            }
            self.read(index)?;
            self.settle()?;
            self.read(index)?;
        }
        Ok(())
    }

    fn check_missing(&self, with_wills: bool) -> Result<(), String> {
        for (client, ledger) in self.clients.iter().zip(&self.ledgers) {
            let mut missing = ledger.missing();
            missing.retain(|number| {
                let sent = usize::try_from(*number).ok().and_then(|n| self.sent.get(n));
                with_wills || sent.is_some_and(|sent| !sent.is_will)
            });
            if let Some(first) = missing.first() {
                let sent = usize::try_from(*first).ok().and_then(|n| self.sent.get(n));
                return Err(format!(
                    "{} never got {} messages, the first {first}: {sent:?}",
                    client.id,
                    missing.len()
                ));
            }
        }
        match self.groups.missing() {
            Some((filter, number)) => Err(format!("nobody of {filter} got message {number}")),
            None => Ok(()),
        }
    }

    /// A long queue takes as many turns as its window permits.
    fn until_nothing_is_missing(&mut self, with_wills: bool) -> Result<(), String> {
        for _ in 0..TURNS_MAX {
            if self.check_missing(with_wills).is_ok() {
                break;
            }
            self.everybody()?;
        }
        self.check_missing(with_wills)
    }

    /// Everything comes to rest: nothing is missing, and nothing is kept that nobody needs.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        self.heal()?;
        for _ in 0..if self.setup.clients > 50 { 3 } else { 6 } {
            self.everybody()?;
        }
        self.until_nothing_is_missing(false)?;
        self.look()?;
        for _ in 0..LONG_MS.0 / LONG_MS.1 {
            self.pass(LONG_MS.1);
            self.tick()?;
        }
        for _ in 0..3 {
            self.everybody()?;
        }
        self.until_nothing_is_missing(true)?;
        self.look()?;
        self.check_kept()?;
        let used = self.memory_used();
        let most = REST_BYTES.0 * self.clients.len() as u64 + REST_BYTES.1 * u64::from(self.setup.shards);
        if used > most {
            return Err(format!("{used} bytes of memory are counted when nothing waits"));
        }
        Ok(())
    }
}
