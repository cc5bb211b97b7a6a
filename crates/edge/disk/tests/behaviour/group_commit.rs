//! One thread commits for many.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use motte_disk::{Committed, Committer, CommitterBounds, Completion, Lane, Submission};
use motte_store::disk::{DiskFaults, SimulatedDisk};
use motte_store::{Batch, BlockCache, CommitSeq, Journal, JournalOptions, PublicationId, SessionId};

use crate::kill::store;

type Told = std::sync::mpsc::Receiver<Completion>;

fn start(disk: &SimulatedDisk, bounds: CommitterBounds) -> (Committer<SimulatedDisk>, Told) {
    let (journal, _) = Journal::open(disk.clone(), None, JournalOptions::default()).unwrap();
    let (tell, told) = sync_channel(4096);
    let done = move |completion| tell.send(completion).unwrap();
    (Committer::start(journal, bounds, done).unwrap(), told)
}

fn message(number: u64) -> Batch {
    let mut batch = Batch::new();
    store(&mut batch, number);
    batch
}

#[test]
fn many_workers_are_told_in_order_and_share_syncs() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let committer = &committer;
            scope.spawn(move || {
                for number in 0..200 {
                    let taken = committer.submit(
                        Lane::default(),
                        worker << 32 | number,
                        message(worker << 32 | (number + 1)),
                        true,
                    );
                    assert!(matches!(taken, Submission::Taken(_)));
                }
            });
        }
    });
    let mut last = [None; 4];
    for _ in 0..800 {
        let Completion { tag, result, .. } = told.recv().unwrap();
        assert!(matches!(result, Committed::Durable(_)), "{result:?}");
        let worker = usize::try_from(tag >> 32).unwrap();
        assert!(last[worker] < Some(tag), "a worker's batches are committed in its order");
        last[worker] = Some(tag);
    }
    let located = committer.locate(&[PublicationId(1), PublicationId(999)]);
    assert!(located[1].is_none());
    let record = located[0].as_ref().unwrap().publication(&mut BlockCache::new()).unwrap();
    assert_eq!(record.topic, "canary/topic");
    assert_eq!(committer.statistics().deliveries, 800);
    committer.stop().unwrap().close().unwrap();
    let (journal, recovery) = Journal::open(disk.killed(), None, JournalOptions::default()).unwrap();
    assert!(recovery.cut.is_none() && recovery.is_whole());
    assert_eq!(journal.queue_length(SessionId(1)), 800);
}

#[test]
fn what_waits_is_bounded_and_what_is_refused_comes_back() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds { batches_max: 2, bytes_max: 1 });
    // While the journal is held nothing is taken from the queue but what the thread took before.
    let refused = committer
        .with_journal(|_| {
            let submissions =
                (1..100).map(|number| committer.submit(Lane::default(), number, message(number), true));
            submissions
                .filter(|submission| matches!(submission, Submission::Full(batch) if batch.bytes() > 0))
                .count()
        })
        .unwrap();
    assert!((95..99).contains(&refused), "{refused}");
    for _ in 0..99 - refused {
        assert!(matches!(told.recv().unwrap().result, Committed::Durable(_)));
    }
}

#[test]
fn one_worker_s_mistake_is_not_another_s() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    let mut wrong = Batch::new();
    wrong.put_retained("a", PublicationId(77));
    let _ = committer.with_journal(|_| {
        for (number, batch) in [(1, message(1)), (2, wrong), (3, message(3))] {
            let lane = Lane { number, refusals_heard: 0 };
            assert!(matches!(committer.submit(lane, number.into(), batch, true), Submission::Taken(_)));
        }
    });
    let results: Vec<bool> =
        (0..3).map(|_| matches!(told.recv().unwrap().result, Committed::Durable(_))).collect();
    assert_eq!(results, [true, false, true]);
}

#[test]
fn a_full_disk_refuses_and_is_used_again_when_there_is_room() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    disk.set_faults(DiskFaults { capacity_bytes: Some(disk.bytes_used() + 100), ..DiskFaults::default() });
    assert!(matches!(committer.submit(Lane::default(), 1, message(299), true), Submission::Taken(_)));
    let Committed::Refused(error) = told.recv().unwrap().result else { panic!("there was no room") };
    assert!(error.to_string().contains("make room"), "{error}");
    assert!(committer.refusal().is_some());
    disk.set_faults(DiskFaults::default());
    // The thread looks again by itself; here it is asked, so as not to wait.
    committer.with_journal(Journal::mend).unwrap().unwrap();
    let heard = Lane { number: 0, refusals_heard: 1 };
    assert!(matches!(committer.submit(heard, 2, message(299), true), Submission::Taken(_)));
    assert!(matches!(told.recv().unwrap().result, Committed::Durable(seq) if seq > CommitSeq(0)));
}

#[test]
fn what_is_refused_meanwhile_does_not_put_off_the_next_attempt() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    disk.set_faults(DiskFaults { capacity_bytes: Some(disk.bytes_used() + 100), ..DiskFaults::default() });
    let mut refused = 0;
    loop {
        let lane = Lane { number: 0, refusals_heard: refused };
        assert!(matches!(committer.submit(lane, 1, message(299), true), Submission::Taken(_)));
        if !matches!(told.recv().unwrap().result, Committed::Refused(_)) {
            break;
        }
        refused += 1;
        disk.set_faults(DiskFaults::default());
        assert!(refused < 200, "it is asked all the time, and does not look whether there is room");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(refused > 0 && committer.refusal().is_none());
}

#[test]
fn what_was_submitted_before_a_refusal_was_heard_is_refused_as_well() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    disk.set_faults(DiskFaults { capacity_bytes: Some(disk.bytes_used() + 100), ..DiskFaults::default() });
    let lane = |number, refusals_heard| Lane { number, refusals_heard };
    assert!(matches!(committer.submit(lane(1, 0), 1, message(299), true), Submission::Taken(_)));
    let refused = told.recv().unwrap();
    assert!(refused.batch.is_some() && matches!(refused.result, Committed::Refused(_)));
    disk.set_faults(DiskFaults::default());
    committer.with_journal(Journal::mend).unwrap().unwrap();
    // There is room again, but the worker has not heard yet: this would be stored before what it tries again.
    assert!(matches!(committer.submit(lane(1, 0), 2, message(1), true), Submission::Taken(_)));
    let early = told.recv().unwrap();
    assert!(
        matches!(&early.result, Committed::Refused(error) if error.to_string().contains("before what was refused"))
    );
    // Another worker is not concerned; and this one goes on where it was once it has heard of both.
    assert!(matches!(committer.submit(lane(2, 0), 3, message(2), true), Submission::Taken(_)));
    assert!(matches!(told.recv().unwrap().result, Committed::Durable(_)));
    for (tag, batch) in [(4, refused.batch.unwrap()), (5, early.batch.unwrap())] {
        assert!(matches!(committer.submit(lane(1, 2), tag, batch, true), Submission::Taken(_)));
        assert!(matches!(told.recv().unwrap().result, Committed::Durable(_)));
    }
}

#[test]
fn a_disk_that_does_not_sync_leaves_doubt_and_says_so() {
    let disk = SimulatedDisk::new();
    let (committer, told) = start(&disk, CommitterBounds::default());
    disk.set_faults(DiskFaults { syncs_until_fault: Some(0), ..DiskFaults::default() });
    // One failed sync is mended by appending again to another segment.
    assert!(matches!(committer.submit(Lane::default(), 1, message(1), true), Submission::Taken(_)));
    let first = told.recv().unwrap().result;
    assert!(matches!(first, Committed::InDoubt(_)), "{first:?}");
    disk.set_faults(DiskFaults::default());
    committer.with_journal(Journal::mend).unwrap().unwrap();
    let (journal, _) = Journal::open(disk.killed(), None, JournalOptions::default()).unwrap();
    assert_eq!(journal.queue_length(SessionId(1)), 1, "in doubt, and kept");
}
