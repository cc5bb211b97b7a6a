//! A disk that is full, and one of which the n-th operation fails.

use std::collections::BTreeSet;

use motte_store::disk::{DiskFault, DiskFaults, SimulatedDisk};
use motte_store::journal::{Journal, JournalError, JournalOptions};
use motte_store::{Batch, BlockCache, Group, NewDelivery, Publication, PublicationId, SessionId};

use crate::workload::{Model, Random, Sizes, differences, observe, publication, session};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 * 1024, reserve_bytes: 4096 };
const SIZES: Sizes = Sizes { payload_max: 400, groups: 1 };

fn message(number: u64) -> Batch {
    let mut batch = Batch::new();
    let record = publication(number, SIZES);
    batch.put_publication(Group::COMMON, PublicationId(number), &Publication::from(&record));
    batch.enqueue(&NewDelivery {
        session: SessionId(1),
        seq: number,
        publication: PublicationId(number),
        packet_id: 0,
        qos: 1,
        retain: false,
        identifiers: &[],
        shared: None,
    });
    batch
}

#[test]
fn a_full_disk_refuses_serves_what_it_has_and_goes_on_when_there_is_room() {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
    let mut first = Batch::new();
    first.put_session(Group::COMMON, SessionId(1), &session(1, 1));
    journal.append([&first]).unwrap();
    disk.set_faults(DiskFaults { capacity_bytes: Some(100_000), ..DiskFaults::default() });
    let mut stored = 0;
    let error = loop {
        match journal.append([&message(stored + 1)]).and_then(|_| journal.sync()) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, JournalError::Disk(cause) if cause.fault == DiskFault::Full), "{error}");
    assert!(stored > 100);
    let again = journal.append([&message(stored + 1)]).unwrap_err();
    assert!(matches!(again, JournalError::Refusing(_)), "{again}");
    assert!(journal.mend().is_err(), "there is no room yet");
    let cache = &mut BlockCache::new();
    for number in 1..=stored {
        assert_eq!(journal.read(PublicationId(number), cache).unwrap(), Some(publication(number, SIZES)));
    }
    disk.set_faults(DiskFaults { capacity_bytes: Some(120_000), ..DiskFaults::default() });
    journal.mend().unwrap();
    journal.append([&message(stored + 1)]).unwrap();
    journal.sync().unwrap();
    let (journal, recovery) = Journal::open(disk.killed(), None, OPTIONS).unwrap();
    assert!(recovery.is_whole(), "{recovery:?}");
    assert_eq!(journal.queue_length(SessionId(1)) as u64, stored + 1);
}

#[test]
fn a_full_disk_is_freed_of_what_was_drained_without_help() {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
    disk.set_faults(DiskFaults { capacity_bytes: Some(100_000), ..DiskFaults::default() });
    let mut refusals = 0;
    for number in 1..5000 {
        let mut batch = message(number);
        if number > 20 {
            batch.remove_delivery(SessionId(1), number - 20);
        }
        while journal.append([&batch]).and_then(|_| journal.sync()).is_err() {
            refusals += 1;
            assert!(refusals < 1000, "it does not get out of the full disk");
            journal.mend().unwrap();
        }
    }
    assert!(disk.bytes_used() <= 100_000);
    assert_eq!(journal.queue_length(SessionId(1)), 20);
}

/// Commits, compactions and a clean stop, of which the n-th write or sync fails; what was synced is there afterwards.
fn nth_fails(faults: impl Fn(u32) -> DiskFaults) {
    for n in 0..90 {
        let disk = SimulatedDisk::new();
        let (mut journal, _) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
        disk.set_faults(faults(n));
        let (mut model, mut random) = (Model::default(), Random::new(3));
        let mended = |journal: &mut Journal<SimulatedDisk>| {
            // While it fails, mending fails or not; afterwards it does not.
            let _ = journal.mend();
            disk.set_faults(DiskFaults::default());
            journal.mend().unwrap();
        };
        for step in 0..60 {
            let mut next = model.clone();
            let batch = next.step(&mut random, SIZES);
            if journal.append([&batch]).is_err() {
                mended(&mut journal);
                journal.append([&batch]).unwrap();
            }
            model = next;
            if journal.sync().is_err() {
                mended(&mut journal);
            }
            if step % 20 == 19 && journal.compact(u64::MAX).is_err() {
                mended(&mut journal);
            }
        }
        disk.set_faults(DiskFaults::default());
        journal.mend().unwrap();
        assert_eq!(differences(&observe(&journal, SIZES), &model.in_force()), [""; 0], "n = {n}");
        let (journal, recovery) = Journal::open(disk.power_cut(&mut || 0), None, OPTIONS).unwrap();
        assert!(recovery.is_whole(), "n = {n}: {recovery:?}");
        assert_eq!(differences(&observe(&journal, SIZES), &model.in_force()), [""; 0], "n = {n}");
    }
}

#[test]
fn whichever_write_fails_nothing_that_was_promised_is_lost() {
    nth_fails(|n| DiskFaults { writes_until_fault: Some(n), ..DiskFaults::default() });
}

#[test]
fn whichever_sync_fails_nothing_that_was_promised_is_lost() {
    nth_fails(|n| DiskFaults { syncs_until_fault: Some(n), ..DiskFaults::default() });
}

/// A commit that is synced by somebody else than who keeps the journal, as the thread that commits does.
fn with_one_on_its_way() -> (SimulatedDisk, Journal<SimulatedDisk>) {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
    let mut first = message(1);
    first.put_session(Group::COMMON, SessionId(1), &session(1, 1));
    journal.append([&first]).unwrap();
    (disk, journal)
}

#[test]
fn what_a_sync_lost_is_written_again_although_somebody_else_synced_meanwhile() {
    let (disk, mut journal) = with_one_on_its_way();
    let pending = journal.begin_sync();
    disk.set_faults(DiskFaults { syncs_until_fault: Some(0), ..DiskFaults::default() });
    let lost = pending.run();
    assert!(lost.is_err());
    disk.set_faults(DiskFaults::default());
    // Work on the keys goes on before the thread that commits says what became of its sync.
    journal.begin_rewrite(&BTreeSet::new()).unwrap();
    journal.finish_sync(&pending, lost).unwrap();
    let (journal, _) = Journal::open(disk.power_cut(&mut || 0), None, OPTIONS).unwrap();
    assert_eq!(journal.queue_length(SessionId(1)), 1, "it was said to be on disk");
}

#[test]
fn a_sync_that_is_told_late_takes_nothing_back() {
    let (disk, mut journal) = with_one_on_its_way();
    let pending = journal.begin_sync();
    let synced = pending.run();
    journal.append([&message(2)]).unwrap();
    journal.sync().unwrap();
    journal.finish_sync(&pending, synced).unwrap();
    disk.set_faults(DiskFaults { syncs_until_fault: Some(0), ..DiskFaults::default() });
    journal.append([&message(3)]).unwrap();
    let pending = journal.begin_sync();
    let lost = pending.run();
    disk.set_faults(DiskFaults::default());
    journal.finish_sync(&pending, lost).unwrap();
    let (journal, _) = Journal::open(disk.power_cut(&mut || 0), None, OPTIONS).unwrap();
    assert_eq!(journal.queue_length(SessionId(1)), 3);
}
