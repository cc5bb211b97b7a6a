//! A batch: changes that reach the disk together or not at all.

use crate::record::{Publication, SessionRecord, WillRecord};
use crate::snapshot::encode;

use super::record::{self, FLAG_RELEASED, FLAG_RETAIN, Record, Span};

/// A Session's number: chosen by the caller once, never used again for another Session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A message's number: chosen by the caller once, below 2^48, never used again. Numbers near each other cost less memory,
/// so count up; workers can take the upper bits to themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationId(pub u64);

impl PublicationId {
    /// The largest number.
    pub const MAX: Self = Self((1 << 48) - 1);
}

/// Whose data key seals a record. Group 0 is everybody's; others are a device or whatever is to be shredded as one. An
/// unsealed journal keeps no groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Group(pub u32);

impl Group {
    /// The group of what belongs to nobody alone.
    pub const COMMON: Self = Self(0);
}

/// One delivery to a Session: QoS, RETAIN and what it has from the subscriptions it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDelivery<'a> {
    /// To whom.
    pub session: SessionId,
    /// Its place in the Session's queue: larger than any before, and never used again by this Session.
    pub seq: u64,
    /// The message, put in this batch or before and still referred to.
    pub publication: PublicationId,
    /// Packet Identifier it is sent with; 0: none yet.
    pub packet_id: u16,
    /// QoS 0, 1 or 2 of the delivery.
    pub qos: u8,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers.
    pub identifiers: &'a [u32],
    /// Share Name and Topic Filter, when it came through a Shared Subscription.
    pub shared: Option<&'a (String, String)>,
}

/// Place of a change in the order in which Retained Messages were changed in this process, from 1; 0 is a change that has
/// none beside it and counts as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RetainedPlace(pub u64);

/// Changes that reach the disk together or not at all. It can be cleared and filled again without allocating.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Vec<Run>,
    pub(super) records: usize,
    /// Places of the changes to Retained Messages, in their order in `bytes`.
    pub(super) places: Vec<RetainedPlace>,
    /// No change before this one comes any more.
    pub(super) settled: RetainedPlace,
}

/// Records in a row that the same key seals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) group: Group,
    pub(super) bytes: usize,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of its records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Records in it.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Makes it empty and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.records = 0;
        self.places.clear();
        self.settled = RetainedPlace::default();
    }

    /// A Session's facts, new or in place of the old ones. What is on its way (`flows`, `queued`, `inbound`) and its Will
    /// are changes of their own and left out here.
    pub fn put_session(&mut self, group: Group, session: SessionId, record: &SessionRecord) {
        self.add(group, |out| {
            let at = record::begin(1, out);
            out.extend_from_slice(&session.0.to_le_bytes());
            encode::session_facts(record, out);
            record::end(at, out);
        });
    }

    /// Ends a Session: its facts, deliveries, inbound Packet Identifiers and its Will are gone.
    pub fn remove_session(&mut self, session: SessionId) {
        self.put(&Record::RemoveSession { span: Span::default(), session: session.0 });
    }

    /// A message. Something in this batch must refer to it; it lasts as long as something does.
    pub fn put_publication(&mut self, group: Group, id: PublicationId, message: &Publication<'_>) {
        self.add(group, |out| {
            let at = record::begin(3, out);
            out.extend_from_slice(&id.0.to_le_bytes());
            encode::parts(message, out);
            record::end(at, out);
        });
    }

    /// Puts a message into a Session's queue.
    pub fn enqueue(&mut self, delivery: &NewDelivery<'_>) {
        self.add(Group::COMMON, |out| {
            let at = record::begin(4, out);
            out.extend_from_slice(&delivery.session.0.to_le_bytes());
            out.extend_from_slice(&delivery.seq.to_le_bytes());
            out.extend_from_slice(&delivery.publication.0.to_le_bytes());
            out.extend_from_slice(&delivery.packet_id.to_le_bytes());
            out.push(delivery.qos.min(2) | if delivery.retain { FLAG_RETAIN } else { 0 });
            if !delivery.identifiers.is_empty() || delivery.shared.is_some() {
                encode::shape(delivery.identifiers, delivery.shared, out);
            }
            record::end(at, out);
        });
    }

    /// A delivery was sent with this Packet Identifier (0: none), and perhaps released: PUBREL was sent, its message is
    /// not needed any more.
    pub fn set_state(&mut self, session: SessionId, seq: u64, packet_id: u16, is_released: bool) {
        let flags = if is_released { FLAG_RELEASED } else { 0 };
        self.put(&Record::SetState { session: session.0, seq, packet_id, flags });
    }

    /// A delivery is finished or dropped.
    pub fn remove_delivery(&mut self, session: SessionId, seq: u64) {
        self.put(&Record::RemoveDelivery { span: Span::default(), session: session.0, seq });
    }

    /// A QoS 2 publication with this Packet Identifier was received and is not released yet.
    pub fn put_inbound(&mut self, session: SessionId, packet_id: u16) {
        self.put(&Record::PutInbound { session: session.0, packet_id });
    }

    /// The publication with this Packet Identifier was released.
    pub fn remove_inbound(&mut self, session: SessionId, packet_id: u16) {
        self.put(&Record::RemoveInbound { span: Span::default(), session: session.0, packet_id });
    }

    /// The Retained Message of a topic, new or in place of the old one; the message as in [`Self::enqueue`].
    pub fn put_retained(&mut self, topic: &str, publication: PublicationId) {
        self.change_retained(topic, Some(publication), RetainedPlace::default());
    }

    /// A topic has no Retained Message any more.
    pub fn remove_retained(&mut self, topic: &str) {
        self.change_retained(topic, None, RetainedPlace::default());
    }

    /// Puts or takes away the Retained Message of a topic at this place of the order. When a change of the same topic with a
    /// later place was appended before, it is left out.
    pub fn change_retained(&mut self, topic: &str, publication: Option<PublicationId>, place: RetainedPlace) {
        self.places.push(place);
        match publication {
            Some(id) => self.put(&Record::PutRetained { publication: id.0, topic }),
            None => self.put(&Record::RemoveRetained { span: Span::default(), topic }),
        }
    }

    /// No batch that is appended after this one has a change before `place`.
    pub fn settle_retained(&mut self, place: RetainedPlace) {
        self.settled = self.settled.max(place);
    }

    /// The first place of the changes to Retained Messages in it.
    pub fn first_retained(&self) -> Option<RetainedPlace> {
        self.places.iter().copied().filter(|place| *place > RetainedPlace::default()).min()
    }

    /// A Will that waits for its delay.
    pub fn put_will(&mut self, group: Group, session: SessionId, record: &WillRecord) {
        self.add(group, |out| {
            let at = record::begin(9, out);
            out.extend_from_slice(&session.0.to_le_bytes());
            encode::will(record, out);
            record::end(at, out);
        });
    }

    /// A Will was published or taken back.
    pub fn remove_will(&mut self, session: SessionId) {
        self.put(&Record::RemoveWill { span: Span::default(), session: session.0 });
    }

    /// A small named fact: a ban, a counter. The value is the caller's, a few KiB at most.
    pub fn put_fact(&mut self, name: &str, value: &[u8]) {
        self.put(&Record::PutFact { name, value });
    }

    /// A fact holds no more.
    pub fn remove_fact(&mut self, name: &str) {
        self.put(&Record::RemoveFact { span: Span::default(), name });
    }

    fn put(&mut self, record: &Record<'_>) {
        self.add(Group::COMMON, |out| record.encode(out));
    }

    /// Appends a record that `encode` writes.
    pub(super) fn add(&mut self, group: Group, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        encode(&mut self.bytes);
        let bytes = self.bytes.len() - before;
        self.records += 1;
        match self.runs.last_mut() {
            Some(run) if run.group == group => run.bytes += bytes,
            _ => self.runs.push(Run { group, bytes }),
        }
    }

    /// Appends another batch.
    pub fn extend(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.records += other.records;
        self.places.extend_from_slice(&other.places);
        self.settled = self.settled.max(other.settled);
        for run in &other.runs {
            match self.runs.last_mut() {
                Some(last) if last.group == run.group => last.bytes += run.bytes,
                _ => self.runs.push(*run),
            }
        }
    }

    /// Leaves records out, by their offsets in order.
    pub(super) fn leave_out(&mut self, offsets: &[usize]) {
        let mut rest = Self::new();
        let mut offsets = offsets.iter().copied().peekable();
        let (mut at, mut run_end) = (0, 0);
        for run in std::mem::take(&mut self.runs) {
            run_end += run.bytes;
            while let Some((_, length)) = self.bytes.get(at..).filter(|_| at < run_end).and_then(record::next)
            {
                if offsets.next_if_eq(&at).is_none() {
                    rest.add(run.group, |out| {
                        out.extend_from_slice(self.bytes.get(at..at + length).unwrap_or_default());
                    });
                }
                at += length;
            }
        }
        // The places have done their work.
        *self = rest;
    }
}
