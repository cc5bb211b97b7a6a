//! The journal at a start: what is in it for each shard, and a snapshot of an earlier version into it.

use std::collections::HashMap;
use std::sync::Arc;

use motte_store::{
    Batch, BlockCache, Delivery, Disk, Group, Journal, JournalError, NewDelivery, Publication, PublicationId,
    PublicationRecord, SessionId, Snapshot,
};

use crate::deliver::Home;
use crate::input::{Arrival, Loaded};
use crate::numbers::Numbers;
use crate::restoring::Restored;
use crate::transit::Transit;

/// Deliveries looked at in one go.
const LOOKED_AT: usize = 4_096;
/// Bytes after which a part of a snapshot is committed.
const IMPORT_BYTES: usize = 4 * 1024 * 1024;

/// What a journal holds for a broker.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions, in no order, each with the name of its listener's limits to be filled in.
    pub sessions: Vec<KeptSession>,
    /// Retained Messages.
    pub retained: Vec<PublicationRecord>,
    /// Messages that were on their way between shards.
    pub arrivals: Vec<Arrival>,
    /// The shards of the last run, with the key by which identifiers were spread over them.
    pub homes: Option<([u64; 2], u16)>,
    /// Deliveries that are not finished.
    pub deliveries: u64,
    /// What could not be read, in words for the log.
    pub faults: Vec<String>,
}

/// A Session that was kept.
#[derive(Debug)]
pub struct KeptSession {
    /// Its number.
    pub number: SessionId,
    /// Its facts, inbound Packet Identifiers and Will.
    pub record: motte_store::SessionRecord,
    /// Deliveries that were sent and are not finished, in order.
    pub flows: Vec<Loaded>,
    /// Place of the first of those that wait.
    pub waiting_from: u64,
    /// How many wait.
    pub waiting: usize,
    /// Place of the last delivery.
    pub last_seq: u64,
}

impl KeptSession {
    /// Ready to be restored under these limits.
    pub fn with_limits(self, limits: Arc<motte_session::SessionLimits>) -> Restored {
        let Self { number, record, flows, waiting_from, waiting, last_seq } = self;
        Restored { number, record, flows, waiting_from, waiting, last_seq, limits }
    }
}

/// Reads what a journal holds. Messages that wait stay there.
pub fn recover<D: Disk>(journal: &Journal<D>) -> Recovered {
    let mut found = Recovered::default();
    let mut cache = BlockCache::new();
    found.homes = homes(journal, &mut cache);
    let (key, shards) = found.homes.unwrap_or_default();
    let mut queues: Vec<SessionId> = journal.sessions().filter(|id| id.0 <= Transit::QUEUES).collect();
    queues.sort_unstable();
    for queue in queues {
        match journal.deliveries(queue, 0, usize::MAX) {
            Ok(deliveries) => found.arrivals.extend(deliveries.into_iter().map(|delivery| {
                let transit = Transit { queue, seq: delivery.seq, message: delivery.publication };
                let home = Home { shard: Transit::destination(queue), key, shards };
                let shared = delivery.shared.clone();
                Arrival {
                    transit: Some(transit),
                    home,
                    shared,
                    message: load(journal, delivery, &mut cache).message,
                }
            })),
            Err(error) => found.faults.push(format!("messages between shards: {error}")),
        }
    }
    for id in journal.sessions().filter(|id| id.0 > Transit::QUEUES) {
        match session(journal, id, &mut cache) {
            Ok(Some(session)) => {
                found.deliveries += (session.flows.len() + session.waiting) as u64;
                found.sessions.push(session);
            }
            // It is not known whose it was.
            Ok(None) => found.faults.push(format!("Session {} has lost its facts", id.0)),
            Err(error) => found.faults.push(format!("Session {}: {error}", id.0)),
        }
    }
    for (topic, id) in journal.retained() {
        match journal.read(id, &mut cache) {
            Ok(Some(message)) => found.retained.push(message),
            Ok(None) => found.faults.push(format!("Retained Message of {topic} is lost")),
            Err(error) => found.faults.push(format!("Retained Message of {topic}: {error}")),
        }
    }
    found
}

fn session<D: Disk>(
    journal: &Journal<D>,
    id: SessionId,
    cache: &mut BlockCache,
) -> Result<Option<KeptSession>, JournalError> {
    let Some(mut record) = journal.session(id, cache)? else { return Ok(None) };
    record.inbound = journal.inbound(id);
    record.will = journal.will(id, cache)?;
    let total = journal.queue_length(id);
    let mut kept =
        KeptSession { number: id, record, flows: Vec::new(), waiting_from: 0, waiting: total, last_seq: 0 };
    kept.last_seq = journal.last_delivery(id).unwrap_or(0);
    let mut from = 0;
    loop {
        let deliveries = journal.deliveries(id, from, LOOKED_AT)?;
        let Some(last) = deliveries.last() else { return Ok(Some(kept)) };
        from = last.seq + 1;
        for delivery in deliveries {
            // Identifiers are handed out in the order of the queue.
            if delivery.packet_id == 0 {
                kept.waiting_from = delivery.seq;
                return Ok(Some(kept));
            }
            kept.waiting -= 1;
            kept.flows.push(load(journal, delivery, cache));
        }
    }
}

/// Name of the fact that says how identifiers are spread over shards.
const HOMES: &str = "homes";

/// Notes how identifiers are spread over shards in this run.
///
/// # Errors
/// Those of [`Journal::append`] and [`Journal::sync`].
pub fn note_homes<D: Disk>(journal: &mut Journal<D>, key: [u64; 2], shards: u16) -> Result<(), JournalError> {
    let [first, last] = key;
    let value = [&first.to_le_bytes()[..], &last.to_le_bytes(), &shards.to_le_bytes()].concat();
    let mut batch = Batch::new();
    batch.put_fact(HOMES, &value);
    journal.append([&batch])?;
    journal.sync()?;
    Ok(())
}

fn homes<D: Disk>(journal: &Journal<D>, cache: &mut BlockCache) -> Option<([u64; 2], u16)> {
    let value = journal.fact(HOMES, cache).ok().flatten()?;
    let (first, rest) = value.split_first_chunk::<8>()?;
    let (last, shards) = rest.split_first_chunk::<8>()?;
    let shards = u16::from_le_bytes(*shards.first_chunk()?);
    Some(([u64::from_le_bytes(*first), u64::from_le_bytes(*last)], shards))
}

fn load<D: Disk>(journal: &Journal<D>, delivery: Delivery, cache: &mut BlockCache) -> Loaded {
    let message = delivery.publication.and_then(|id| journal.read(id, cache).ok().flatten()).map(Arc::new);
    Loaded { delivery, message }
}

/// Puts a snapshot into an empty journal and syncs it.
///
/// # Errors
/// Those of [`Journal::append`] and [`Journal::sync`].
pub fn adopt_snapshot<D: Disk>(
    snapshot: &Snapshot,
    journal: &mut Journal<D>,
    numbers: &Numbers,
) -> Result<(), JournalError> {
    let mut batch = Batch::new();
    let mut put: HashMap<u32, PublicationId> = HashMap::new();
    for index in &snapshot.retained {
        let Some(record) = snapshot.publications.get(*index as usize) else { continue };
        let id = PublicationId(numbers.publications(1));
        batch.put_publication(Group::COMMON, id, &Publication::from(record));
        batch.put_retained(&record.topic, id);
        commit_some(&mut batch, &mut put, journal)?;
    }
    for session in &snapshot.sessions {
        let number = numbers.session();
        batch.put_session(Group::COMMON, number, session);
        session.inbound.iter().for_each(|id| batch.put_inbound(number, *id));
        if let Some(will) = &session.will {
            batch.put_will(Group::COMMON, number, will);
        }
        let flows = session.flows.iter().map(|flow| (flow.packet_id, flow.delivery.as_ref()));
        let queued = session.queued.iter().map(|delivery| (0, Some(delivery)));
        for (seq, (packet_id, delivery)) in (numbers.first_seq()..).zip(flows.chain(queued)) {
            // Of a flow that was released only its identifier matters; it borrows a message for a moment.
            let index = delivery.map_or(0, |delivery| delivery.publication);
            let empty = empty();
            let record = snapshot.publications.get(index as usize).filter(|_| delivery.is_some());
            let publication = match put.get(&index).filter(|_| delivery.is_some()) {
                Some(id) => *id,
                None => {
                    let id = PublicationId(numbers.publications(1));
                    batch.put_publication(Group::COMMON, id, &Publication::from(record.unwrap_or(&empty)));
                    if delivery.is_some() {
                        put.insert(index, id);
                    }
                    id
                }
            };
            batch.enqueue(&NewDelivery {
                session: number,
                seq,
                publication,
                packet_id,
                qos: delivery.map_or(2, |delivery| delivery.qos),
                retain: delivery.is_some_and(|delivery| delivery.retain),
                identifiers: delivery.map_or(&[], |delivery| &delivery.identifiers),
                shared: delivery.and_then(|delivery| delivery.shared.as_ref()),
            });
            if delivery.is_none() {
                batch.set_state(number, seq, packet_id, true);
            }
        }
        commit_some(&mut batch, &mut put, journal)?;
    }
    journal.append([&batch])?;
    journal.sync()?;
    Ok(())
}

/// Commits what was gathered once it is much. Messages are put again afterwards: they are on disk once for each part.
fn commit_some<D: Disk>(
    batch: &mut Batch,
    put: &mut HashMap<u32, PublicationId>,
    journal: &mut Journal<D>,
) -> Result<(), JournalError> {
    if batch.bytes() < IMPORT_BYTES {
        return Ok(());
    }
    journal.append([&*batch])?;
    batch.clear();
    put.clear();
    Ok(())
}

fn empty() -> PublicationRecord {
    PublicationRecord {
        topic: "released".to_owned(),
        payload: Arc::from(&[][..]),
        qos: 2,
        retain: false,
        forwarded: Vec::new(),
        expires_at_ms: None,
        source: Arc::new(motte_store::PrincipalRecord { kind: 4, ..motte_store::PrincipalRecord::default() }),
    }
}
