//! The disk of the simulation: commits that come late, the power that is cut, and the start after it.

use std::sync::Arc;

use motte_broker::{
    Broker, CommitResult, Exchange, Input, LoadRequest, Loaded, Numbers, RetainedLimits, Settings, ShardId,
    home, note_homes, recover, stored_from,
};
use motte_store::{BlockCache, Journal, JournalOptions, PublicationRecord, SessionId};

use super::World;
use crate::parts::{Asked, CLOSED, OPEN, policy};

/// Small segments, so that many are begun and removed.
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 * 1024, reserve_bytes: 4096 };

impl World {
    /// The shards start from what is on the disk.
    pub(super) fn power_on(&mut self, shards: u16) -> Result<(), String> {
        let opened = Journal::open(self.disk.clone(), None, OPTIONS);
        let (mut journal, recovery) = opened.map_err(|error| error.to_string())?;
        if !recovery.is_whole() {
            return Err(format!("the journal is damaged: {recovery:?}"));
        }
        let retained = RetainedLimits { messages_max: 1_000, bytes_max: 1 << 30 };
        let exchange = Exchange::new(retained, 1 << 40);
        let numbers = Numbers::after(&journal);
        let policy = policy(if self.closed { CLOSED } else { OPEN }, self.generation);
        let made = (0..shards).map(|shard| {
            let settings = Settings {
                shard: ShardId(shard),
                shards,
                home_key: self.home_key,
                policy: Arc::clone(&policy),
                exchange: exchange.clone(),
                report_no_subscribers: true,
                numbers: Some(Arc::clone(&numbers)),
            };
            (Broker::new(settings), Asked::default())
        });
        self.shards = made.collect();
        let recovered = recover(&journal);
        note_homes(&mut journal, self.home_key, shards).map_err(|error| error.to_string())?;
        self.journal = Some(journal);
        if let Some(fault) = recovered.faults.first() {
            return Err(format!("the journal has lost something: {fault}"));
        }
        for record in &recovered.retained {
            if let Some((principal, publication)) = stored_from(record, self.now) {
                self.handle(ShardId(0), Input::RestoreRetained { principal, publication })?;
            }
        }
        for session in recovered.sessions {
            let shard = home(&session.record.principal.client_id, self.home_key, shards);
            let restored = session.with_limits(Arc::clone(&self.limits));
            self.handle(shard, Input::Restore(Box::new(restored)))?;
        }
        for arrival in recovered.arrivals {
            self.handle(arrival.home.shard, Input::Arrive(Box::new(arrival)))?;
        }
        Ok(())
    }

    /// The power is cut: what was not synced may be gone, and every connection is.
    pub(super) fn cut_power(&mut self) -> Result<(), String> {
        self.outcome.power_cuts += 1;
        self.journal = None;
        let random = &mut self.random;
        self.disk = self.disk.power_cut(&mut || random.bits());
        self.submitted.clear();
        self.kept.clear();
        self.inboxes.iter_mut().for_each(std::collections::VecDeque::clear);
        for index in 0..self.clients.len() {
            self.ended(index);
            if let Some(client) = self.clients.get_mut(index) {
                client.is_unsure |= client.is_connecting;
            }
        }
        let clients = &self.clients;
        let is_acknowledged = |number| clients.iter().any(|client| client.acknowledged.contains(&number));
        for ledger in &mut self.ledgers {
            ledger.server_ended(is_acknowledged);
        }
        let shards = u16::try_from(self.shards.len()).unwrap_or(1);
        self.power_on(shards)
    }

    /// A turn ends, some of what waits is kept, some shards hear of it.
    pub(super) fn some_commits(&mut self) -> Result<(), String> {
        let shard = ShardId(u16::try_from(self.random.below(self.shards.len())).unwrap_or(0));
        let is_full = self.random.chance(5);
        if let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) {
            asked.is_full = is_full;
        }
        self.handle(shard, Input::TurnOver)?;
        if self.random.chance(60) {
            let count = self.random.below(self.submitted.len() + 1);
            self.commit(count)?;
        }
        let count = self.random.below(self.kept.len() + 1);
        self.tell(count)
    }

    /// Appends so many batches and syncs, unless the power is cut in between some time later.
    fn commit(&mut self, count: usize) -> Result<(), String> {
        let some: Vec<_> = self.submitted.drain(..count).collect();
        let Some(journal) = self.journal.as_mut() else { return Ok(()) };
        journal.append(some.iter().map(|(.., batch)| batch)).map_err(|error| error.to_string())?;
        journal.sync().map_err(|error| error.to_string())?;
        self.kept.extend(some.into_iter().map(|(shard, tag, _)| (shard, tag)));
        Ok(())
    }

    /// Tells shards of so many batches that they are kept.
    fn tell(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let Some((shard, tag)) = self.kept.pop_front() else { break };
            self.handle(shard, Input::Committed { tag, result: CommitResult::Durable })?;
        }
        Ok(())
    }

    /// Until nothing is on its way between shards and the disk.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..10_000 {
            self.now.mono_ms += 2;
            for shard in 0..self.shards.len() {
                let id = ShardId(u16::try_from(shard).unwrap_or(0));
                if let Some((_, asked)) = self.shards.get_mut(shard) {
                    asked.is_full = false;
                }
                self.handle(id, Input::Tick)?;
                self.handle(id, Input::TurnOver)?;
            }
            self.commit(self.submitted.len())?;
            self.tell(self.kept.len())?;
            let are_empty = self.inboxes.iter().all(std::collections::VecDeque::is_empty);
            if are_empty && self.shards.iter().all(|(broker, _)| broker.is_settled()) {
                return Ok(());
            }
            while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
                self.deliver_inbox()?;
            }
        }
        Err("shards and disk talk without end".into())
    }

    /// Reads deliveries that wait on disk.
    pub(super) fn load(&mut self, shard: ShardId, request: LoadRequest) -> Result<(), String> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut cache = BlockCache::new();
        let found = journal.deliveries(SessionId(request.number), request.from, request.max);
        let mut deliveries = Vec::new();
        for delivery in found.map_err(|error| error.to_string())? {
            let message: Option<PublicationRecord> = match delivery.publication {
                Some(id) => journal.read(id, &mut cache).map_err(|error| error.to_string())?,
                None => None,
            };
            deliveries.push(Loaded { delivery, message: message.map(Arc::new) });
        }
        self.handle(shard, Input::Loaded { session: request.session, deliveries })
    }
}
