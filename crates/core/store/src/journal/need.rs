//! What of a segment is needed: records in force, and removals as long as what they removed can still be read.

use std::collections::BTreeSet;

use super::index::Index;
use super::publications::Place;
use super::record::{FLAG_RELEASED, Record, Span};

impl Index {
    /// The segments that may hold what a removal removes, if it were written into segment `own` now.
    pub(crate) fn span_of(&self, record: &Record<'_>, own: u32) -> Span {
        let since = |first: Option<u32>| Span { first: first.unwrap_or(own), last: own };
        match *record {
            Record::RemoveDelivery { session, seq, .. } => {
                let slot = self.sessions.get(&session).and_then(|entry| entry.queue.get(seq));
                slot.map_or(since(None), |slot| Span { first: slot.segment, last: slot.segment })
            }
            Record::RemoveSession { session, .. } => since(self.sessions.get(&session).and_then(|entry| {
                let versioned = [entry.facts, entry.will].into_iter().flatten().map(|v| v.first);
                let inbound = entry.inbound.values().map(|(first, _)| *first);
                let queue = entry.queue.iter_from(0).map(|(_, slot)| slot.segment);
                versioned.chain(inbound).chain(queue).min()
            })),
            Record::RemoveWill { session, .. } => {
                since(self.sessions.get(&session).and_then(|entry| entry.will).map(|will| will.first))
            }
            Record::RemoveInbound { session, packet_id, .. } => {
                let entry = self.sessions.get(&session);
                since(entry.and_then(|entry| entry.inbound.get(&packet_id)).map(|(first, _)| *first))
            }
            Record::RemoveRetained { topic, .. } => since(self.retained.get(topic).map(|entry| entry.first)),
            Record::RemoveFact { name, .. } => since(self.facts.get(name).map(|fact| fact.first)),
            Record::PutSession { .. }
            | Record::PutPublication { .. }
            | Record::PutDelivery { .. }
            | Record::SetState { .. }
            | Record::PutRetained { .. }
            | Record::PutWill { .. }
            | Record::PutFact { .. }
            | Record::PutInbound { .. } => since(None),
        }
    }

    /// What to write in place of a record at `at` when its segment goes: the record as it is in force, or `None` if it is
    /// not. `gone` are the segments that go together.
    pub(crate) fn survivor<'a>(
        &'a self,
        record: &Record<'a>,
        at: Place,
        gone: &BTreeSet<u32>,
    ) -> Option<Record<'a>> {
        let is_same =
            |place: Place| (place.segment, place.block, place.start) == (at.segment, at.block, at.start);
        if let Some(span) = record.span() {
            let mut others = self.usage.range(span.first..=span.last).map(|(id, _)| id);
            return others.any(|id| !gone.contains(id)).then_some(*record);
        }
        let is_in_force = match *record {
            Record::PutSession { session, .. } => {
                self.sessions.get(&session)?.facts.is_some_and(|facts| is_same(facts.place))
            }
            Record::PutWill { session, .. } => {
                self.sessions.get(&session)?.will.is_some_and(|will| is_same(will.place))
            }
            Record::PutFact { name, .. } => is_same(self.facts.get(name)?.place),
            Record::PutPublication { id, .. } => is_same(self.publications.get(id)?.place),
            Record::PutRetained { topic, publication } => {
                let entry = self.retained.get(topic)?;
                entry.segment == at.segment && entry.publication == publication
            }
            Record::PutInbound { session, packet_id } => {
                self.sessions.get(&session)?.inbound.get(&packet_id)?.1 == at.segment
            }
            Record::PutDelivery { session, seq, .. } => {
                let entry = self.sessions.get(&session)?;
                let slot = entry.queue.get(seq).filter(|slot| slot.segment == at.segment)?;
                return Some(Record::PutDelivery {
                    session,
                    seq,
                    publication: slot.publication(),
                    packet_id: slot.packet_id(),
                    flags: slot.flags,
                    shape: entry.shapes.shape(seq, slot.shape),
                });
            }
            Record::SetState { session, seq, .. } => {
                let entry = self.sessions.get(&session)?;
                entry.states.get(&seq).filter(|segment| **segment == at.segment)?;
                let slot = entry.queue.get(seq)?;
                let flags = slot.flags & FLAG_RELEASED;
                return Some(Record::SetState { session, seq, packet_id: slot.packet_id(), flags });
            }
            Record::RemoveSession { .. }
            | Record::RemoveDelivery { .. }
            | Record::RemoveRetained { .. }
            | Record::RemoveWill { .. }
            | Record::RemoveFact { .. }
            | Record::RemoveInbound { .. } => false,
        };
        is_in_force.then_some(*record)
    }

    /// Whether what a removal removed was put again since. Then the new version takes the removal's place, and whoever
    /// removes that one has to mention the segments of the old ones too.
    pub(crate) fn takes_place_of(&mut self, record: &Record<'_>) -> bool {
        let (span, first) = match *record {
            Record::RemoveRetained { span, topic } => {
                (span, self.retained.get_mut(topic).map(|entry| &mut entry.first))
            }
            Record::RemoveFact { span, name } => (span, self.facts.get_mut(name).map(|fact| &mut fact.first)),
            Record::RemoveWill { span, session } => {
                let will = self.sessions.get_mut(&session).and_then(|entry| entry.will.as_mut());
                (span, will.map(|will| &mut will.first))
            }
            Record::RemoveInbound { span, session, packet_id } => {
                let entry = self.sessions.get_mut(&session);
                let inbound = entry.and_then(|entry| entry.inbound.get_mut(&packet_id));
                (span, inbound.map(|(first, _)| first))
            }
            // Their numbers are never used again.
            Record::RemoveSession { .. } | Record::RemoveDelivery { .. } => return false,
            Record::PutSession { .. }
            | Record::PutPublication { .. }
            | Record::PutDelivery { .. }
            | Record::SetState { .. }
            | Record::PutRetained { .. }
            | Record::PutWill { .. }
            | Record::PutFact { .. }
            | Record::PutInbound { .. } => return false,
        };
        let Some(first) = first else { return false };
        *first = span.first.min(*first);
        true
    }

    /// The segments that nothing needs: no record in force, no removal that still matters. `active` is not among them.
    pub(crate) fn droppable(&self, active: u32) -> BTreeSet<u32> {
        let mut dropped = BTreeSet::new();
        loop {
            let before = dropped.len();
            for (id, usage) in &self.usage {
                let is_needed = *id == active
                    || usage.live > 0
                    || usage.is_damaged
                    || usage.spans.keys().any(|span| self.is_span_needed(*span, *id, &dropped));
                if !is_needed {
                    dropped.insert(*id);
                }
            }
            if dropped.len() == before {
                return dropped;
            }
        }
    }

    /// Bytes of a segment that would have to be written again if it went.
    pub(crate) fn needed_bytes(&self, segment: u32) -> u64 {
        let Some(usage) = self.usage.get(&segment) else { return 0 };
        let none = BTreeSet::new();
        let spans = usage.spans.iter().filter(|(span, _)| self.is_span_needed(**span, segment, &none));
        usage.live + spans.map(|(_, bytes)| bytes).sum::<u64>()
    }

    fn is_span_needed(&self, span: Span, own: u32, gone: &BTreeSet<u32>) -> bool {
        self.usage.range(span.first..=span.last).any(|(id, _)| *id != own && !gone.contains(id))
    }
}
