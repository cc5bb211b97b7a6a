//! What is in force, record by record, to be written elsewhere and taken back: another directory, another vault.
//!
//! A message comes before the first thing that refers to it, so that whoever takes the records back in this order, and ends
//! a commit behind one that is no message, has what each refers to.

use rustc_hash::FxHashSet;

use crate::disk::{Disk, DiskFile};
use crate::record::{PublicationRecord, SessionRecord, WillRecord};
use crate::snapshot::decode::{self, LastSource};

use super::batch::{Batch, Group, PublicationId, RetainedPlace, SessionId};
use super::block::{self, At, HEADER_BYTES};
use super::error::JournalError;
use super::publications::Place;
use super::queue::NO_PUBLICATION;
use super::read::BlockCache;
use super::record::{self, FLAG_RELEASED, Record};
use super::state::{Delivery, delivery};
use super::{Journal, index::SessionEntry};

/// A record in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Whose key seals it.
    pub group: Group,
    /// The record, for [`Batch::put_exported`].
    pub record: Vec<u8>,
    /// What it says.
    pub content: Content,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Facts of a Session.
    Session(SessionId, Box<SessionRecord>),
    /// A Will that waits.
    Will(SessionId, Box<WillRecord>),
    /// A message.
    Publication(PublicationId, Box<PublicationRecord>),
    /// A delivery that is not finished.
    Delivery(SessionId, Delivery),
    /// A QoS 2 publication that was received and not released, by its Packet Identifier.
    Inbound(SessionId, u16),
    /// The Retained Message of a topic.
    Retained(String, PublicationId),
    /// A fact and its value.
    Fact(String, Vec<u8>),
}

/// What an export came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportSummary {
    /// Records handed out.
    pub records: u64,
    /// Records that are in force and cannot be read: damaged, or their key was shredded.
    pub unreadable: u64,
}

/// Why bytes cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no record that a journal exports")]
pub struct NotExported;

impl Batch {
    /// Takes a record back that [`Journal::export`] handed out, and says whether it is a message: then the batch must not end
    /// with it, for a message that nothing refers to is forgotten. It is believed only as far as it is well formed.
    ///
    /// # Errors
    /// [`NotExported`]; nothing is added then.
    pub fn put_exported(&mut self, group: Group, bytes: &[u8]) -> Result<bool, NotExported> {
        let (record, length) = record::next(bytes).ok_or(NotExported)?;
        let is_whole = length == bytes.len()
            && match record {
                Record::PutSession { value, .. } => decode::session_facts(value).is_ok(),
                Record::PutWill { value, .. } => decode::will(value).is_ok(),
                Record::PutPublication { value, .. } => {
                    decode::publication(value, &mut LastSource::default()).is_ok()
                }
                Record::PutDelivery { shape, .. } => shape.is_empty() || decode::shape(shape).is_ok(),
                Record::PutInbound { .. } | Record::PutRetained { .. } | Record::PutFact { .. } => true,
                Record::SetState { .. }
                | Record::RemoveSession { .. }
                | Record::RemoveDelivery { .. }
                | Record::RemoveRetained { .. }
                | Record::RemoveWill { .. }
                | Record::RemoveFact { .. }
                | Record::RemoveInbound { .. } => false,
            };
        if !is_whole {
            return Err(NotExported);
        }
        if matches!(record, Record::PutRetained { .. }) {
            self.places.push(RetainedPlace::default());
        }
        self.add(group, |out| out.extend_from_slice(bytes));
        Ok(matches!(record, Record::PutPublication { .. }))
    }
}

/// Hands records out.
struct Exporter<'j, D: Disk, F> {
    journal: &'j Journal<D>,
    cache: BlockCache,
    each: F,
    written: FxHashSet<u64>,
    summary: ExportSummary,
}

impl<D: Disk> Journal<D> {
    /// Hands out every record in force, in an order in which they can be taken back.
    ///
    /// # Errors
    /// What `each` says, and [`JournalError::Disk`]. What cannot be read is counted and left out.
    pub fn export<E: From<JournalError>>(
        &self,
        each: impl FnMut(Exported) -> Result<(), E>,
    ) -> Result<ExportSummary, E> {
        let summary = ExportSummary::default();
        let written = FxHashSet::default();
        let mut exporter = Exporter { journal: self, cache: BlockCache::new(), each, written, summary };
        for (name, fact) in &self.index.facts {
            exporter.stored(fact.place, |record| match record {
                Record::PutFact { value, .. } => Ok(Some(Content::Fact(name.to_string(), value.to_vec()))),
                _ => Ok(None),
            })?;
        }
        let mut sessions: Vec<(&u64, &SessionEntry)> =
            self.index.sessions.iter().map(|(id, entry)| (id, &**entry)).collect();
        sessions.sort_unstable_by_key(|(id, _)| **id);
        for (id, entry) in sessions {
            exporter.session(*id, entry)?;
        }
        for (topic, entry) in &self.index.retained {
            if exporter.publication(entry.publication)? {
                let record = Record::PutRetained { publication: entry.publication, topic };
                let content = Content::Retained(topic.to_string(), PublicationId(entry.publication));
                exporter.common(&record, content)?;
            }
        }
        Ok(exporter.summary)
    }

    /// The group whose key seals the block of this place.
    fn group_of(&self, place: Place) -> Result<Group, JournalError> {
        let Some(segment) = self.segments.get(&place.segment) else { return Ok(Group::COMMON) };
        let mut bytes = [0; HEADER_BYTES];
        segment.file.read_at(u64::from(place.block), &mut bytes)?;
        let at = At { segment: place.segment, offset: place.block };
        let key = block::Header::decode(at, &bytes).map_or(0, |header| header.key);
        let group = self.keys.data.with_ring(|ring| ring.group(key)).flatten();
        Ok(group.map_or(Group::COMMON, Group))
    }
}

impl<D: Disk, E: From<JournalError>, F: FnMut(Exported) -> Result<(), E>> Exporter<'_, D, F> {
    fn session(&mut self, id: u64, entry: &SessionEntry) -> Result<(), E> {
        let session = SessionId(id);
        if let Some(facts) = entry.facts {
            self.stored(facts.place, |record| match record {
                Record::PutSession { value, .. } => {
                    Ok(Some(Content::Session(session, Box::new(decode::session_facts(value)?))))
                }
                _ => Ok(None),
            })?;
        }
        if let Some(will) = entry.will {
            self.stored(will.place, |record| match record {
                Record::PutWill { value, .. } => {
                    Ok(Some(Content::Will(session, Box::new(decode::will(value)?))))
                }
                _ => Ok(None),
            })?;
        }
        for packet_id in entry.inbound.keys() {
            let record = Record::PutInbound { session: id, packet_id: *packet_id };
            self.common(&record, Content::Inbound(session, *packet_id))?;
        }
        for (seq, slot) in entry.queue.iter_from(0) {
            let publication = slot.publication();
            let is_released = slot.flags & FLAG_RELEASED != 0 || publication == NO_PUBLICATION;
            if !is_released && !self.publication(publication)? {
                continue;
            }
            let record = Record::PutDelivery {
                session: id,
                seq,
                publication,
                packet_id: slot.packet_id(),
                flags: slot.flags,
                shape: entry.shapes.shape(seq, slot.shape),
            };
            let content = Content::Delivery(session, delivery(entry, seq, slot)?);
            self.common(&record, content)?;
        }
        Ok(())
    }

    /// Hands a message out unless it was; false if it cannot be read.
    fn publication(&mut self, id: u64) -> Result<bool, E> {
        if self.written.contains(&id) {
            return Ok(true);
        }
        let message = self.journal.index.publications.get(id).filter(|message| message.is_there());
        let Some(place) = message.map(|message| message.place) else {
            self.summary.unreadable += 1;
            return Ok(false);
        };
        let is_read = self.stored(place, |record| match record {
            Record::PutPublication { value, .. } => Ok(Some(Content::Publication(
                PublicationId(id),
                Box::new(decode::publication(value, &mut LastSource::default())?),
            ))),
            _ => Ok(None),
        })?;
        if is_read {
            self.written.insert(id);
        }
        Ok(is_read)
    }

    /// Hands a record out that is read from its place; false if it cannot be read.
    fn stored(
        &mut self,
        place: Place,
        content: impl FnOnce(&Record<'_>) -> Result<Option<Content>, JournalError>,
    ) -> Result<bool, E> {
        let Some(located) = self.journal.located(place) else {
            self.summary.unreadable += 1;
            return Ok(false);
        };
        let read = located.with(&mut self.cache, |record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            Ok(content(record)?.map(|content| (bytes, content)))
        });
        match read {
            Ok((record, content)) => {
                let group = self.journal.group_of(place)?;
                self.hand_out(Exported { group, record, content })?;
                Ok(true)
            }
            Err(JournalError::Disk(error)) => Err(JournalError::Disk(error).into()),
            Err(_) => {
                self.summary.unreadable += 1;
                Ok(false)
            }
        }
    }

    /// Hands a record out that is in the index whole.
    fn common(&mut self, record: &Record<'_>, content: Content) -> Result<(), E> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.hand_out(Exported { group: Group::COMMON, record: bytes, content })
    }

    fn hand_out(&mut self, exported: Exported) -> Result<(), E> {
        self.summary.records += 1;
        (self.each)(exported)
    }
}
