//! What is in force, in memory: where each record is, what waits for whom, and how much of each segment is still needed.

use std::collections::{BTreeMap, HashMap};

use rustc_hash::FxBuildHasher;

use super::publications::{Place, Publications};
use super::queue::{NO_PUBLICATION, Queue, Shapes, Slot};
use super::record::{DELIVERY_BYTES, FLAG_RELEASED, HEAD_BYTES, INBOUND_BYTES, Record, STATE_BYTES, Span};

/// A record whose value is on disk and which can be put again: the oldest segment that may hold a version of it, too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Versioned {
    pub(crate) place: Place,
    pub(crate) first: u32,
}

/// A Session.
#[derive(Debug, Default)]
pub(crate) struct SessionEntry {
    pub(crate) facts: Option<Versioned>,
    pub(crate) will: Option<Versioned>,
    pub(crate) queue: Queue,
    pub(crate) shapes: Shapes,
    /// Segment of the state's record of those deliveries that have one.
    pub(crate) states: BTreeMap<u64, u32>,
    /// Oldest and present segment of each Packet Identifier's record.
    pub(crate) inbound: BTreeMap<u16, (u32, u32)>,
}

impl SessionEntry {
    fn is_empty(&self) -> bool {
        self.facts.is_none() && self.will.is_none() && self.queue.len() == 0 && self.inbound.is_empty()
    }
}

/// A Retained Message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetainedEntry {
    pub(crate) publication: u64,
    pub(crate) first: u32,
    pub(crate) segment: u32,
}

/// How much of a segment is needed.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of records in force.
    pub(crate) live: u64,
    /// Bytes of removals, by the segments for which they are needed.
    pub(crate) spans: BTreeMap<Span, u64>,
    /// It is damaged and stays as it is.
    pub(crate) is_damaged: bool,
}

/// All that is in force.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) sessions: HashMap<u64, Box<SessionEntry>, FxBuildHasher>,
    pub(crate) publications: Publications,
    pub(crate) retained: BTreeMap<Box<str>, RetainedEntry>,
    pub(crate) facts: BTreeMap<Box<str>, Versioned>,
    pub(crate) usage: BTreeMap<u32, Usage>,
    /// Deliveries of all Sessions.
    pub(crate) deliveries: u64,
    /// While the log is read again, a message that nobody refers to may still be referred to later.
    pub(crate) is_recovering: bool,
}

impl Index {
    /// Takes a record that is at `at` into force.
    pub(crate) fn apply(&mut self, record: &Record<'_>, at: Place) {
        if let Some(span) = record.span() {
            self.note_span(span, at);
        }
        match *record {
            Record::PutSession { session, .. } => {
                let old = self.session(session).facts;
                let new = self.replace(old, at);
                self.session(session).facts = Some(new);
            }
            Record::RemoveSession { session, .. } => self.remove_session(session),
            Record::PutPublication { id, .. } => self.put_publication(id, at),
            Record::PutDelivery { session, seq, publication, packet_id, flags, shape } => {
                self.put_delivery(session, seq, (publication, packet_id, flags), shape, at);
            }
            Record::SetState { session, seq, packet_id, flags } => {
                self.set_state(session, seq, packet_id, flags, at);
            }
            Record::RemoveDelivery { session, seq, .. } => self.remove_delivery(session, seq),
            Record::PutRetained { publication, topic } => self.put_retained(publication, topic, at),
            Record::RemoveRetained { topic, .. } => {
                if let Some(old) = self.retained.remove(topic) {
                    self.spend(old.segment, retained_bytes(topic));
                    self.release(old.publication);
                }
            }
            Record::PutWill { session, .. } => {
                let old = self.session(session).will;
                let new = self.replace(old, at);
                self.session(session).will = Some(new);
            }
            Record::RemoveWill { session, .. } => {
                let old = self.sessions.get_mut(&session).and_then(|entry| entry.will.take());
                self.spend_versioned(old);
                self.tidy(session);
            }
            Record::PutFact { name, .. } => {
                let old = self.facts.get(name).copied();
                let new = self.replace(old, at);
                self.facts.insert(name.into(), new);
            }
            Record::RemoveFact { name, .. } => {
                let old = self.facts.remove(name);
                self.spend_versioned(old);
            }
            Record::PutInbound { session, packet_id } => self.put_inbound(session, packet_id, at),
            Record::RemoveInbound { session, packet_id, .. } => {
                let entry = self.sessions.get_mut(&session);
                if let Some((_, segment)) = entry.and_then(|entry| entry.inbound.remove(&packet_id)) {
                    self.spend(segment, INBOUND_BYTES as u64);
                }
                self.tidy(session);
            }
        }
    }

    /// Forgets messages that nobody refers to, and says of how many deliveries and Retained Messages the message is
    /// missing; these are forgotten too.
    pub(crate) fn finish_recovery(&mut self) -> (u64, u64) {
        self.is_recovering = false;
        let unused: Vec<u64> =
            self.publications.iter().filter(|(_, m)| m.references == 0).map(|(id, _)| id).collect();
        for id in unused {
            self.forget_publication(id);
        }
        let missing = |index: &Self, id: u64| {
            id != NO_PUBLICATION
                && !index.publications.get(id).is_some_and(super::publications::Message::is_there)
        };
        let mut lost = Vec::new();
        for (session, entry) in &self.sessions {
            let slots = entry.queue.iter_from(0);
            lost.extend(
                slots.filter(|(_, s)| missing(self, s.publication())).map(|(seq, _)| (*session, seq)),
            );
        }
        for (session, seq) in &lost {
            self.remove_delivery(*session, *seq);
        }
        let topics: Vec<Box<str>> = self
            .retained
            .iter()
            .filter(|(_, e)| missing(self, e.publication))
            .map(|(t, _)| t.clone())
            .collect();
        for topic in &topics {
            if let Some(old) = self.retained.remove(topic) {
                self.spend(old.segment, retained_bytes(topic));
                self.release(old.publication);
            }
        }
        let orphans: Vec<u64> =
            self.sessions.iter().filter(|(_, e)| e.facts.is_none()).map(|(id, _)| *id).collect();
        let mut orphaned = 0;
        for session in orphans {
            let entry = self.sessions.get(&session);
            orphaned += entry.map_or(0, |entry| entry.queue.len() as u64);
        }
        (lost.len() as u64 + topics.len() as u64, orphaned)
    }

    /// The entry of a Session, made if there is none.
    pub(crate) fn session(&mut self, session: u64) -> &mut SessionEntry {
        self.sessions.entry(session).or_default()
    }

    fn put_publication(&mut self, id: u64, at: Place) {
        let Some(message) = self.publications.entry(id) else { return };
        let old = std::mem::replace(&mut message.place, at);
        self.earn(at.segment, at.size.bytes());
        self.spend(old.segment, old.size.bytes());
    }

    fn put_delivery(
        &mut self,
        session: u64,
        seq: u64,
        (publication, packet_id, flags): (u64, u16, u8),
        shape: &[u8],
        at: Place,
    ) {
        let entry = self.session(session);
        let number = entry.shapes.number(seq, shape);
        let mut slot = Slot::new(publication, at.segment, number, flags);
        slot.set_packet_id(packet_id);
        let old = entry.queue.insert(seq, slot);
        let state = entry.states.remove(&seq);
        self.earn(at.segment, (DELIVERY_BYTES + shape.len()) as u64);
        // First the new reference, then the old one: it may be the last of the same message.
        if publication != NO_PUBLICATION
            && let Some(message) = self.publications.entry(publication)
        {
            message.references += 1;
        }
        match old {
            Some(old) => {
                self.spend(old.segment, (DELIVERY_BYTES + shape.len()) as u64);
                self.release(old.publication());
            }
            None => self.deliveries += 1,
        }
        if let Some(segment) = state {
            self.spend(segment, STATE_BYTES as u64);
        }
    }

    fn set_state(&mut self, session: u64, seq: u64, packet_id: u16, flags: u8, at: Place) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(slot) = entry.queue.get_mut(seq) else { return };
        slot.set_packet_id(packet_id);
        slot.flags = slot.flags & !FLAG_RELEASED | flags & FLAG_RELEASED;
        let publication = slot.publication();
        let is_released = flags & FLAG_RELEASED != 0;
        if is_released {
            slot.set_publication(NO_PUBLICATION);
        }
        let old = entry.states.insert(seq, at.segment);
        self.earn(at.segment, STATE_BYTES as u64);
        if let Some(segment) = old {
            self.spend(segment, STATE_BYTES as u64);
        }
        if is_released {
            self.release(publication);
        }
    }

    fn remove_delivery(&mut self, session: u64, seq: u64) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(slot) = entry.queue.remove(seq) else { return };
        let state = entry.states.remove(&seq);
        let shape = entry.shapes.shape(seq, slot.shape).len();
        let is_last = entry.queue.len() == 0;
        entry.shapes.forget(seq, slot.shape, is_last);
        self.spend_delivery(&slot, shape, state);
        if is_last {
            self.tidy(session);
        }
    }

    fn spend_delivery(&mut self, slot: &Slot, shape: usize, state: Option<u32>) {
        self.deliveries -= 1;
        self.spend(slot.segment, (DELIVERY_BYTES + shape) as u64);
        if let Some(segment) = state {
            self.spend(segment, STATE_BYTES as u64);
        }
        self.release(slot.publication());
    }

    fn remove_session(&mut self, session: u64) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        self.spend_versioned(entry.facts);
        self.spend_versioned(entry.will);
        for (_, segment) in entry.inbound.values() {
            self.spend(*segment, INBOUND_BYTES as u64);
        }
        for (seq, slot) in entry.queue.iter_from(0) {
            let shape = entry.shapes.shape(seq, slot.shape).len();
            self.spend_delivery(slot, shape, entry.states.get(&seq).copied());
        }
    }

    fn put_retained(&mut self, publication: u64, topic: &str, at: Place) {
        if let Some(message) = self.publications.entry(publication) {
            message.references += 1;
        }
        self.earn(at.segment, retained_bytes(topic));
        if let Some(entry) = self.retained.get_mut(topic) {
            let old = *entry;
            *entry = RetainedEntry { publication, first: old.first, segment: at.segment };
            self.spend(old.segment, retained_bytes(topic));
            self.release(old.publication);
        } else {
            let entry = RetainedEntry { publication, first: at.segment, segment: at.segment };
            self.retained.insert(topic.into(), entry);
        }
    }

    fn put_inbound(&mut self, session: u64, packet_id: u16, at: Place) {
        let entry = self.session(session);
        let old = entry.inbound.get(&packet_id).copied();
        let first = old.map_or(at.segment, |(first, _)| first);
        entry.inbound.insert(packet_id, (first, at.segment));
        self.earn(at.segment, INBOUND_BYTES as u64);
        if let Some((_, segment)) = old {
            self.spend(segment, INBOUND_BYTES as u64);
        }
    }

    /// One that referred to a message does so no more.
    fn release(&mut self, publication: u64) {
        if publication == NO_PUBLICATION {
            return;
        }
        let is_recovering = self.is_recovering;
        let Some(message) = self.publications.entry(publication) else { return };
        message.references = message.references.saturating_sub(1);
        if message.references == 0 && !is_recovering {
            self.forget_publication(publication);
        }
    }

    pub(crate) fn forget_publication(&mut self, id: u64) {
        if let Some(message) = self.publications.get(id).copied() {
            self.spend(message.place.segment, message.place.size.bytes());
            self.publications.remove(id);
        }
    }

    fn replace(&mut self, old: Option<Versioned>, at: Place) -> Versioned {
        self.earn(at.segment, at.size.bytes());
        self.spend_versioned(old);
        Versioned { place: at, first: old.map_or(at.segment, |old| old.first) }
    }

    fn spend_versioned(&mut self, old: Option<Versioned>) {
        if let Some(old) = old {
            self.spend(old.place.segment, old.place.size.bytes());
        }
    }

    fn tidy(&mut self, session: u64) {
        if self.sessions.get(&session).is_some_and(|entry| entry.is_empty()) {
            self.sessions.remove(&session);
        }
    }

    fn note_span(&mut self, span: Span, at: Place) {
        if span.first < at.segment || span.last < at.segment {
            *self.usage.entry(at.segment).or_default().spans.entry(span).or_default() += at.size.bytes();
        }
    }

    fn earn(&mut self, segment: u32, bytes: u64) {
        if let Some(usage) = self.usage.get_mut(&segment) {
            usage.live += bytes;
        }
    }

    fn spend(&mut self, segment: u32, bytes: u64) {
        if let Some(usage) = self.usage.get_mut(&segment) {
            usage.live = usage.live.saturating_sub(bytes);
        }
    }
}

fn retained_bytes(topic: &str) -> u64 {
    (HEAD_BYTES + 8 + topic.len()) as u64
}
