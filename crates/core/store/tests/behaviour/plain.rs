//! What the journal promises, one thing at a time.

use motte_store::disk::SimulatedDisk;
use motte_store::journal::{Journal, JournalError, JournalOptions};
use motte_store::{
    Batch, BlockCache, CommitSeq, Group, NewDelivery, Publication, PublicationId, PublicationRecord,
    SessionId,
};

use crate::workload::{Sizes, publication, session};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 64 * 1024, reserve_bytes: 0 };
const SIZES: Sizes = Sizes { payload_max: 400, groups: 1 };

fn open(disk: &SimulatedDisk) -> Journal<SimulatedDisk> {
    let (journal, recovery) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
    assert!(recovery.is_whole() && recovery.cut.is_none(), "{recovery:?}");
    journal
}

fn put(batch: &mut Batch, record: &PublicationRecord, id: u64) {
    batch.put_publication(Group::COMMON, PublicationId(id), &Publication::from(record));
}

fn enqueue(batch: &mut Batch, session: u64, seq: u64, id: u64) {
    batch.enqueue(&NewDelivery {
        session: SessionId(session),
        seq,
        publication: PublicationId(id),
        packet_id: 0,
        qos: 1,
        retain: false,
        identifiers: &[],
        shared: None,
    });
}

#[test]
fn a_payload_is_stored_once_however_many_wait_for_it() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let record = PublicationRecord { payload: vec![7; 20_000].into(), ..publication(1, SIZES) };
    let before = disk.bytes_written();
    let mut batch = Batch::new();
    put(&mut batch, &record, 1);
    (1..=100).for_each(|session| enqueue(&mut batch, session, 1, 1));
    journal.append([&batch]).unwrap();
    assert!(disk.bytes_written() - before < 25_000);
    let cache = &mut BlockCache::new();
    for session in 1..100 {
        batch.clear();
        batch.remove_delivery(SessionId(session), 1);
        journal.append([&batch]).unwrap();
        assert_eq!(journal.read(PublicationId(1), cache).unwrap().as_ref(), Some(&record));
    }
    batch.clear();
    batch.remove_delivery(SessionId(100), 1);
    journal.append([&batch]).unwrap();
    assert!(journal.locate(PublicationId(1)).is_none(), "the last one took it away");
}

#[test]
fn space_after_much_was_stored_and_drained_is_bounded() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut batch = Batch::new();
    // Something that stays, between what comes and goes.
    batch.put_session(Group::COMMON, SessionId(1), &session(1, 1));
    journal.append([&batch]).unwrap();
    let mut most = 0;
    for id in 1..40_000 {
        batch.clear();
        put(&mut batch, &publication(id, SIZES), id);
        enqueue(&mut batch, 1, id, id);
        if id % 200 == 0 {
            // One in two hundred waits for ever.
            enqueue(&mut batch, 2, id, id);
        }
        if id > 100 {
            batch.remove_delivery(SessionId(1), id - 100);
        }
        journal.append([&batch]).unwrap();
        if id % 50 == 0 && journal.wants_compaction() {
            journal.compact(200_000).unwrap();
        }
        most = most.max(journal.statistics().bytes);
    }
    let (needed, written) = (journal.statistics().needed_bytes, disk.bytes_written());
    assert!(most < 2 * needed + 4 * u64::from(OPTIONS.segment_bytes), "{most} for {needed}");
    // Zeros ahead of small commits are written, too, and counted here; on a disk they save the writes of a new length.
    assert!(written < 40_000_000, "{written} written for about 14 MB of messages");
}

#[test]
fn a_commit_is_whole_or_not_there() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut batch = Batch::new();
    // More than a block, so that it can be torn between two.
    (1..=300).for_each(|id| put(&mut batch, &publication(id, SIZES), id));
    (1..=300).for_each(|id| enqueue(&mut batch, 1, id, id));
    batch.put_session(Group::COMMON, SessionId(1), &session(1, 1));
    journal.append([&batch]).unwrap();
    let mut seen = [false; 2];
    for seed in 0..200_u64 {
        let mut state = seed;
        let after = disk.power_cut(&mut || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        });
        let (journal, recovery) = Journal::open(after, None, OPTIONS).unwrap();
        assert!(recovery.is_whole(), "{recovery:?}");
        let length = journal.queue_length(SessionId(1));
        assert!(length == 0 || length == 300, "{length}");
        seen[usize::from(length > 0)] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn numbers_of_commits_go_on_after_a_restart() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut batch = Batch::new();
    batch.put_fact("a", b"1");
    assert_eq!(journal.append([&batch]).unwrap(), CommitSeq(1));
    assert_eq!(journal.durable(), CommitSeq(0));
    assert_eq!(journal.append([&batch, &batch]).unwrap(), CommitSeq(2));
    assert_eq!(journal.sync().unwrap(), CommitSeq(2));
    assert_eq!(journal.close().unwrap(), CommitSeq(2));
    let mut journal = open(&disk.killed());
    assert!(journal.append([&batch]).unwrap() > CommitSeq(2));
}

#[test]
fn what_refers_to_nothing_is_refused_and_nothing_of_it_is_stored() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut batch = Batch::new();
    batch.put_fact("before", b"1");
    enqueue(&mut batch, 1, 1, 99);
    assert!(matches!(journal.append([&batch]), Err(JournalError::UnknownPublication(PublicationId(99)))));
    batch.clear();
    put(&mut batch, &publication(1, SIZES), PublicationId::MAX.0);
    assert!(matches!(journal.append([&batch]), Err(JournalError::PublicationNumber(_))));
    assert_eq!(journal.fact_names().count(), 0);
    batch.clear();
    put(&mut batch, &publication(1, SIZES), 1);
    journal.append([&batch]).unwrap();
    assert!(journal.locate(PublicationId(1)).is_none(), "nothing referred to it");
}
