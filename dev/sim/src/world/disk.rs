//! The disk of the simulation: commits that come late, a disk that fails, the power that is cut, and the start after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use motte_broker::{
    Broker, CommitResult, Exchange, Input, LoadRequest, Loaded, Numbers, RetainedLimits, Settings, ShardId,
    home, note_homes, recover, stored_from,
};
use motte_store::disk::{Disk, DiskFaults};
use motte_store::{Batch, BlockCache, Journal, JournalError, JournalOptions, PublicationRecord, SessionId};

use super::World;
use crate::parts::{Asked, CLOSED, OPEN, policy};

/// Small segments, so that many are begun and removed.
pub(super) const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 * 1024, reserve_bytes: 4096 };
/// Bytes written again by a compaction at most.
const COMPACT_BYTES: u64 = 60_000;

impl World {
    /// The shards start from what is on the disk.
    pub(super) fn power_on(&mut self) -> Result<(), String> {
        let shards = self.setup.shards;
        let opened = Journal::open(self.disk.clone(), None, OPTIONS);
        let (mut journal, recovery) = opened.map_err(|error| error.to_string())?;
        if !recovery.is_whole() {
            return Err(format!("the journal is damaged: {recovery:?}"));
        }
        let retained = RetainedLimits { messages_max: 1_000, bytes_max: 1 << 30 };
        let exchange = Exchange::new(retained, self.setup.memory_bytes_max());
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
        self.exchange = Some(exchange);
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

    /// The broker ends at once: by the power, when what was not synced may be gone, or killed, when it is not. Every
    /// connection is gone.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        self.outcome.crashes += 1;
        self.tell(|_| "the broker ends".into());
        self.journal = None;
        let random = &mut self.random;
        self.disk = match random.below(3) {
            0 => self.disk.killed(),
            _ => self.disk.power_cut(&mut || random.bits()),
        };
        self.is_faulty = false;
        self.submitted.clear();
        self.decided.clear();
        self.slow_until_ms = 0;
        self.inboxes.iter_mut().for_each(std::collections::VecDeque::clear);
        let jump_ms = if self.random.chance(10) { self.random.bits() % 60_000 } else { 0 };
        self.clocks_jump(jump_ms);
        self.wills_after_crash(self.is_clock_exact);
        let now = self.now.mono_ms;
        for index in 0..self.clients.len() {
            self.ended(index);
            if let Some(client) = self.clients.get_mut(index) {
                client.is_unsure |= client.is_connecting || client.is_unkept;
                client.away = client.away.map(|(from, _)| (from, now));
            }
        }
        self.let_go();
        self.power_on()?;
        if self.random.chance(50) { self.tick() } else { Ok(()) }
    }

    /// The clock on the wall goes forward or back while the broker is not there.
    fn clocks_jump(&mut self, ms: u64) {
        self.is_clock_exact &= ms == 0 && !std::mem::take(&mut self.has_jumped);
        self.now.unix_ms = if ms.is_multiple_of(2) { self.now.unix_ms + ms } else { self.now.unix_ms - ms };
    }

    /// The clock on the wall goes forward or back while the broker runs: nothing changes but the dates of what is kept.
    pub(super) fn clock_jumps(&mut self) {
        let ms = self.random.bits() % 60_000;
        self.has_jumped = true;
        self.tell(|_| format!("the clock on the wall jumps by {ms} ms"));
        self.now.unix_ms = if ms.is_multiple_of(2) { self.now.unix_ms + ms } else { self.now.unix_ms - ms };
    }

    /// From now on the disk takes its time.
    pub(super) fn disk_is_slow(&mut self) {
        self.slow_until_ms = self.now.mono_ms + self.random.bits() % 3_000;
        self.tell(|world| format!("the disk is slow until {} ms", world.slow_until_ms));
    }

    /// What was not acknowledged is let go.
    fn let_go(&mut self) {
        let mut acknowledged = std::collections::BTreeSet::new();
        self.clients.iter().for_each(|client| acknowledged.extend(client.acknowledged.iter().copied()));
        let is_acknowledged = |number: u64| acknowledged.contains(&number);
        for ledger in &mut self.ledgers {
            ledger.server_ended(is_acknowledged);
        }
        self.groups.server_ended();
        self.groups.let_go(|number| !is_acknowledged(number));
        self.register.server_ended(is_acknowledged);
        for (number, sent) in (0..).zip(self.sent.iter_mut()) {
            sent.is_doubtful |= !acknowledged.contains(&number);
        }
    }

    /// From now on something goes wrong with the disk.
    pub(super) fn fail(&mut self) {
        if self.is_faulty {
            return;
        }
        self.is_faulty = true;
        self.outcome.faults += 1;
        let mut faults = DiskFaults::default();
        match self.random.below(3) {
            0 => faults.capacity_bytes = Some(self.disk.bytes_used() + self.random.bits() % 6_000),
            1 => faults.writes_until_fault = u32::try_from(self.random.below(6)).ok(),
            _ => faults.syncs_until_fault = u32::try_from(self.random.below(4)).ok(),
        }
        self.tell(|_| format!("the disk begins to fail: {faults:?}"));
        self.disk.set_faults(faults);
    }

    /// The disk works again, and what waited for it is kept.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        if !self.is_faulty {
            return Ok(());
        }
        self.disk.set_faults(DiskFaults::default());
        if let Some(journal) = self.journal.as_mut() {
            journal.mend().map_err(|error| error.to_string())?;
        }
        self.settle()?;
        for index in 0..self.clients.len() {
            self.read(index)?;
        }
        self.is_faulty = false;
        self.clients.iter_mut().for_each(|client| client.is_unkept = false);
        Ok(())
    }

    /// A turn ends, some of what waits is kept, some shards hear of it.
    pub(super) fn some_commits(&mut self) -> Result<(), String> {
        let shard = self.shard_of();
        let is_full = self.random.chance(5);
        if let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) {
            asked.is_full = is_full;
        }
        self.handle(shard, Input::TurnOver)?;
        if self.random.chance(60) {
            let count = self.random.below(self.submitted.len() + 1);
            self.commit(count)?;
        }
        if self.random.chance(5)
            && let Some(journal) = self.journal.as_mut()
        {
            let compacted = journal.compact(COMPACT_BYTES);
            if let Err(error) = compacted.map(drop)
                && !self.is_faulty
            {
                return Err(error.to_string());
            }
        }
        let count = self.random.below(self.decided.len() + 1);
        self.notify(count)
    }

    /// Until a shard has heard of a refusal, nothing of it is taken: its changes would be kept out of order.
    fn refuse_what_follows(&mut self) {
        for (shard, tag, batch) in std::mem::take(&mut self.submitted) {
            if self.has_not_heard(shard) {
                let cause = "the one before was refused".to_owned();
                self.decided.push_back((shard, tag, CommitResult::Refused { batch, cause }));
            } else {
                self.submitted.push_back((shard, tag, batch));
            }
        }
    }

    /// Appends so many batches and syncs.
    fn commit(&mut self, count: usize) -> Result<(), String> {
        self.refuse_what_follows();
        let count = if self.now.mono_ms < self.slow_until_ms { 0 } else { count };
        let some: Vec<_> = self.submitted.drain(..count.min(self.submitted.len())).collect();
        let Some(journal) = self.journal.as_mut() else { return Ok(()) };
        if some.is_empty() {
            return Ok(());
        }
        let appended = append(journal, &some);
        let synced = if appended.iter().any(Result::is_ok) { journal.sync().map(drop) } else { Ok(()) };
        for ((shard, tag, batch), appended) in some.into_iter().zip(appended) {
            let result = match (appended, &synced) {
                (Ok(()), Ok(())) => CommitResult::Durable,
                (Err(error), _) => CommitResult::Refused { batch, cause: error },
                (Ok(()), Err(error)) => CommitResult::InDoubt { cause: error.to_string() },
            };
            if let CommitResult::Refused { cause, .. } | CommitResult::InDoubt { cause } = &result {
                self.tell(|_| format!("not kept: {cause}"));
                if !self.is_faulty {
                    return Err(cause.clone());
                }
            }
            self.decided.push_back((shard, tag, result));
        }
        self.refuse_what_follows();
        Ok(())
    }

    fn has_not_heard(&self, shard: ShardId) -> bool {
        let is_refusal = |result: &CommitResult| matches!(result, CommitResult::Refused { .. });
        self.decided.iter().any(|(of, _, result)| *of == shard && is_refusal(result))
    }

    /// Tells shards of so many batches what became of them.
    fn notify(&mut self, count: usize) -> Result<(), String> {
        self.refuse_what_follows();
        for _ in 0..count {
            let Some((shard, tag, result)) = self.decided.pop_front() else { break };
            self.tell(|_| {
                let word = match &result {
                    CommitResult::Durable => "kept",
                    CommitResult::Refused { .. } => "refused",
                    CommitResult::InDoubt { .. } => "in doubt",
                };
                format!("shard {} hears that {tag} is {word}", shard.0)
            });
            self.handle(shard, Input::Committed { tag, result })?;
        }
        Ok(())
    }

    /// Until nothing is on its way between shards and the disk.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.slow_until_ms = 0;
        for _ in 0..10_000 {
            self.pass(2);
            self.ping()?;
            for shard in self.all_shards() {
                if let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) {
                    asked.is_full = false;
                }
                self.handle(shard, Input::Tick)?;
                self.handle(shard, Input::TurnOver)?;
            }
            self.ticked_ms = self.now.mono_ms;
            self.check_silence()?;
            self.wills_are_due();
            self.commit(self.submitted.len())?;
            self.notify(self.decided.len())?;
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

/// Appends batches as one commit, or each alone if one of them cannot be, as whoever commits for all shards does.
fn append<D: Disk>(journal: &mut Journal<D>, some: &[(ShardId, u64, Batch)]) -> Vec<Result<(), String>> {
    match journal.append(some.iter().map(|(.., batch)| batch)) {
        Ok(_) => vec![Ok(()); some.len()],
        Err(error @ (JournalError::Disk(_) | JournalError::Refusing(_) | JournalError::InDoubt(_))) => {
            vec![Err(error.to_string()); some.len()]
        }
        // As the committer does it: one that is wrong is no reason to refuse others, but those of its shard that follow.
        Err(_) => {
            let mut refused = BTreeSet::new();
            let one = |(shard, _, batch): &(ShardId, u64, Batch)| {
                if refused.contains(&shard.0) {
                    return Err("the one before was refused".to_owned());
                }
                let appended = journal.append([batch]).map(drop).map_err(|error| error.to_string());
                if appended.is_err() {
                    refused.insert(shard.0);
                }
                appended
            };
            some.iter().map(one).collect()
        }
    }
}
