//! What is in force, for those who start from it or look at it.

use crate::disk::Disk;
use crate::record::{SessionRecord, WillRecord};
use crate::snapshot::decode;

use super::batch::{PublicationId, SessionId};
use super::error::JournalError;
use super::queue::{NO_PUBLICATION, Slot};
use super::read::BlockCache;
use super::record::{FLAG_RELEASED, FLAG_RETAIN, Record};
use super::{Journal, index::SessionEntry};

/// A delivery that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the Session's queue.
    pub seq: u64,
    /// The message; `None` once PUBREL was sent.
    pub publication: Option<PublicationId>,
    /// Packet Identifier it was sent with; 0: none yet.
    pub packet_id: u16,
    /// QoS of the delivery.
    pub qos: u8,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers.
    pub identifiers: Vec<u32>,
    /// Share Name and Topic Filter, when it came through a Shared Subscription.
    pub shared: Option<(String, String)>,
}

/// How large a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Files of the log.
    pub segments: usize,
    /// Bytes in them that count.
    pub bytes: u64,
    /// Bytes of records in force and of removals that still matter.
    pub needed_bytes: u64,
    /// Sessions.
    pub sessions: usize,
    /// Deliveries that are not finished.
    pub deliveries: u64,
    /// Retained Messages.
    pub retained: usize,
}

impl<D: Disk> Journal<D> {
    /// The Sessions, in no order. One that has a Will only is among them.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.index.sessions.keys().copied().map(SessionId)
    }

    /// The facts of a Session, without what is on its way; `None` if it has none.
    ///
    /// # Errors
    /// Those of [`super::Located::publication`].
    pub fn session(
        &self,
        id: SessionId,
        cache: &mut BlockCache,
    ) -> Result<Option<SessionRecord>, JournalError> {
        let Some(facts) = self.entry(id).and_then(|entry| entry.facts) else { return Ok(None) };
        let Some(located) = self.located(facts.place) else { return Ok(None) };
        let record = located.with(cache, |record| match record {
            Record::PutSession { value, .. } => Ok(Some(decode::session_facts(value)?)),
            _ => Ok(None),
        });
        record.map(Some)
    }

    /// The Will that waits for its delay; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`super::Located::publication`].
    pub fn will(&self, id: SessionId, cache: &mut BlockCache) -> Result<Option<WillRecord>, JournalError> {
        let Some(will) = self.entry(id).and_then(|entry| entry.will) else { return Ok(None) };
        let Some(located) = self.located(will.place) else { return Ok(None) };
        let record = located.with(cache, |record| match record {
            Record::PutWill { value, .. } => Ok(Some(decode::will(value)?)),
            _ => Ok(None),
        });
        record.map(Some)
    }

    /// Deliveries that a Session has not finished.
    pub fn queue_length(&self, id: SessionId) -> usize {
        self.entry(id).map_or(0, |entry| entry.queue.len())
    }

    /// The last place in a Session's queue; `None` if it is empty.
    pub fn last_delivery(&self, id: SessionId) -> Option<u64> {
        self.entry(id).and_then(|entry| entry.queue.last())
    }

    /// Deliveries of a Session from this place of its queue on, in order, at most `max` of them.
    ///
    /// # Errors
    /// [`JournalError::Record`] if what a delivery has from its subscriptions cannot be understood.
    pub fn deliveries(&self, id: SessionId, from: u64, max: usize) -> Result<Vec<Delivery>, JournalError> {
        let Some(entry) = self.entry(id) else { return Ok(Vec::new()) };
        entry.queue.iter_from(from).take(max).map(|(seq, slot)| delivery(entry, seq, slot)).collect()
    }

    /// Packet Identifiers of QoS 2 publications received and not released, in order.
    pub fn inbound(&self, id: SessionId) -> Vec<u16> {
        self.entry(id).map_or_else(Vec::new, |entry| entry.inbound.keys().copied().collect())
    }

    /// Topics with a Retained Message, in order, and the message of each.
    pub fn retained(&self) -> impl Iterator<Item = (&str, PublicationId)> {
        self.index.retained.iter().map(|(topic, entry)| (&**topic, PublicationId(entry.publication)))
    }

    /// Names of facts, in order.
    pub fn fact_names(&self) -> impl Iterator<Item = &str> {
        self.index.facts.keys().map(|name| &**name)
    }

    /// The value of a fact; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`super::Located::publication`].
    pub fn fact(&self, name: &str, cache: &mut BlockCache) -> Result<Option<Vec<u8>>, JournalError> {
        let Some(fact) = self.index.facts.get(name) else { return Ok(None) };
        let Some(located) = self.located(fact.place) else { return Ok(None) };
        let value = located.with(cache, |record| match record {
            Record::PutFact { value, .. } => Ok(Some(value.to_vec())),
            _ => Ok(None),
        });
        value.map(Some)
    }

    /// The largest message number that is in use; new ones begin above it.
    pub fn last_publication(&self) -> Option<PublicationId> {
        self.index.publications.iter().map(|(id, _)| id).max().map(PublicationId)
    }

    /// How large it is. Looks at every segment.
    pub fn statistics(&self) -> Statistics {
        let lengths = self.segments.iter();
        let length = |(id, segment): (&u32, &super::Segment<D::File>)| {
            u64::from(if *id == self.active { self.offset } else { segment.length })
        };
        Statistics {
            segments: self.segments.len(),
            bytes: lengths.map(length).sum(),
            needed_bytes: self.segments.keys().map(|id| self.index.needed_bytes(*id)).sum(),
            sessions: self.index.sessions.len(),
            deliveries: self.index.deliveries,
            retained: self.index.retained.len(),
        }
    }

    fn entry(&self, id: SessionId) -> Option<&SessionEntry> {
        self.index.sessions.get(&id.0).map(|entry| &**entry)
    }
}

pub(super) fn delivery(entry: &SessionEntry, seq: u64, slot: &Slot) -> Result<Delivery, JournalError> {
    let shape = entry.shapes.shape(seq, slot.shape);
    let (identifiers, shared) = if shape.is_empty() { (Vec::new(), None) } else { decode::shape(shape)? };
    let is_released = slot.flags & FLAG_RELEASED != 0 || slot.publication() == NO_PUBLICATION;
    Ok(Delivery {
        seq,
        publication: (!is_released).then(|| PublicationId(slot.publication())),
        packet_id: slot.packet_id(),
        qos: slot.flags & 3,
        retain: slot.flags & FLAG_RETAIN != 0,
        identifiers,
        shared,
    })
}
