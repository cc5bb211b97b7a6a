//! The order of changes to Retained Messages, which come from several workers: each change has its place in the order in
//! which they were made, and one that comes behind a newer one of its topic is left out.
//!
//! So the log has them in that order, and who reads it back needs no places. They are remembered only as long as an older
//! change may still come.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::batch::{Batch, RetainedPlace};
use super::record::{self, Record};

/// The newest change of each topic, as long as older ones may come.
#[derive(Debug, Default)]
pub(super) struct RetainedOrder {
    newest: FxHashMap<Arc<str>, RetainedPlace>,
    topics: BTreeMap<RetainedPlace, Arc<str>>,
}

/// What a commit changes in the order, once it is written.
#[derive(Debug, Default)]
pub(super) struct OrderChange {
    newest: FxHashMap<Arc<str>, RetainedPlace>,
    /// No change before this one comes any more.
    settled: RetainedPlace,
}

impl RetainedOrder {
    /// Leaves out of a commit what newer changes have overtaken, there or before.
    pub(super) fn leave_out_overtaken(&self, commit: &mut Batch) -> OrderChange {
        let mut change = OrderChange { newest: FxHashMap::default(), settled: commit.settled };
        if commit.places.is_empty() {
            return change;
        }
        let mut places = commit.places.iter();
        let mut overtaken = Vec::new();
        let mut at = 0;
        while let Some((record, length)) = commit.bytes.get(at..).and_then(record::next) {
            if let Record::PutRetained { topic, .. } | Record::RemoveRetained { topic, .. } = record {
                let place = places.next().copied().unwrap_or_default();
                let newest = change.newest.get(topic).or_else(|| self.newest.get(topic));
                if place == RetainedPlace::default() {
                    // It comes from nobody who has others beside him.
                } else if newest.is_some_and(|newest| *newest > place) {
                    overtaken.push(at);
                } else {
                    change.newest.insert(topic.into(), place);
                }
            }
            at += length;
        }
        if !overtaken.is_empty() {
            commit.leave_out(&overtaken);
        }
        change
    }

    /// A commit was written.
    pub(super) fn wrote(&mut self, change: OrderChange) {
        for (topic, place) in change.newest {
            if let Some(old) = self.newest.insert(Arc::clone(&topic), place) {
                self.topics.remove(&old);
            }
            self.topics.insert(place, topic);
        }
        while let Some(first) = self.topics.first_entry().filter(|first| *first.key() < change.settled) {
            self.newest.remove(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Group, PublicationId};
    use super::super::record::Span;
    use super::*;

    fn batch(changes: &[(&str, Option<u64>, u64)]) -> Batch {
        let mut batch = Batch::new();
        for (topic, publication, place) in changes {
            batch.change_retained(topic, publication.map(PublicationId), RetainedPlace(*place));
        }
        batch
    }

    fn appended(order: &mut RetainedOrder, mut commit: Batch) -> usize {
        let change = order.leave_out_overtaken(&mut commit);
        order.wrote(change);
        assert_eq!(commit.bytes.len(), commit.runs.iter().map(|run| run.bytes).sum());
        commit.records()
    }

    #[test]
    fn what_a_newer_change_has_overtaken_is_left_out() {
        let mut order = RetainedOrder::default();
        assert_eq!(appended(&mut order, batch(&[("a", None, 5)])), 1);
        assert_eq!(appended(&mut order, batch(&[("a", Some(1), 4), ("b", Some(2), 3)])), 1, "only that of a");
        assert_eq!(
            appended(&mut order, batch(&[("a", Some(3), 6), ("a", None, 2)])),
            1,
            "also in one commit"
        );
        assert_eq!(appended(&mut order, batch(&[("a", Some(4), 0)])), 1, "one without a place counts");
    }

    #[test]
    fn the_records_of_others_stay_where_they_are() {
        let mut order = RetainedOrder::default();
        appended(&mut order, batch(&[("a", None, 5)]));
        let mut commit = batch(&[("a", Some(1), 4)]);
        commit.add(Group(7), |out| Record::RemoveFact { span: Span::default(), name: "f" }.encode(out));
        commit.extend(&batch(&[("a", None, 3), ("b", None, 2)]));
        assert_eq!(appended(&mut order, commit), 2);
    }

    #[test]
    fn a_topic_is_remembered_as_long_as_an_older_change_may_come() {
        let mut order = RetainedOrder::default();
        appended(&mut order, batch(&[("a", None, 5), ("b", None, 7)]));
        let mut settled = batch(&[("c", None, 9)]);
        settled.settle_retained(RetainedPlace(7));
        appended(&mut order, settled);
        assert_eq!((order.newest.len(), order.topics.len()), (2, 2), "a is forgotten");
        assert_eq!(appended(&mut order, batch(&[("b", Some(1), 7)])), 1);
    }

    #[test]
    fn what_was_not_written_overtakes_nothing() {
        let mut order = RetainedOrder::default();
        let _refused = order.leave_out_overtaken(&mut batch(&[("a", None, 5)]));
        assert_eq!(appended(&mut order, batch(&[("a", Some(1), 4)])), 1);
    }
}
