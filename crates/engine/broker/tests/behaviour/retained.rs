//! Retained Messages on disk are those that are in memory, whichever shard is the first to have its changes kept.

use motte_broker::{CommitResult, recover};
use motte_session::Durability;
use motte_store::disk::SimulatedDisk;
use motte_store::{Batch, Journal, JournalOptions};

use crate::shard::{Shard, Slot, string};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 64 * 1024, reserve_bytes: 0 };

fn open(disk: &SimulatedDisk) -> Journal<SimulatedDisk> {
    Journal::open(disk.clone(), None, OPTIONS).unwrap().0
}

/// What a restart would find: topic and payload.
fn kept(journal: Journal<SimulatedDisk>, disk: &SimulatedDisk) -> Vec<(String, String)> {
    journal.close().unwrap();
    let found = recover(&open(disk)).retained.into_iter();
    found.map(|one| (one.topic, String::from_utf8_lossy(&one.payload).into_owned())).collect()
}

/// Publishes with RETAIN, and gives the batch that has to be kept.
fn retain(shard: &mut Shard, slot: Slot, payload: &str) -> (u64, Batch) {
    shard.send_publish(slot, "state", 1, true, payload);
    shard.turn_over().remove(0)
}

#[test]
fn what_one_shard_takes_away_stays_away_when_another_is_late() {
    for last in ["", "newer"] {
        let disk = SimulatedDisk::new();
        let mut journal = open(&disk);
        let [mut first, mut second] = Shard::two_keeping();
        let (writer, other) = (first.at_home(0), second.at_home(1));
        let (_, late) = retain(&mut first, writer, "old");
        let (_, early) = retain(&mut second, other, last);
        journal.append([&early]).unwrap();
        journal.append([&late]).unwrap();
        let expected: Vec<_> =
            [("state".to_owned(), last.to_owned())].into_iter().filter(|_| !last.is_empty()).collect();
        assert_eq!(kept(journal, &disk), expected);
    }
}

#[test]
fn what_one_shard_takes_away_stays_away_when_the_disk_refused_another() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let [mut first, mut second] = Shard::two_keeping();
    let (writer, other) = (first.at_home(0), second.at_home(1));
    let (tag, refused) = retain(&mut first, writer, "old");
    first.committed(tag, CommitResult::Refused { batch: refused, cause: "no room".into() });
    let (tag, taken) = retain(&mut second, other, "");
    journal.append([&taken]).unwrap();
    second.committed(tag, CommitResult::Durable);
    // A change of another topic tells what is settled: the refused one is not.
    second.send_publish(other, "other", 1, true, "x");
    let (_, next) = second.turn_over().remove(0);
    journal.append([&next]).unwrap();
    first.wait(1);
    let (_, again) = first.turn_over().remove(0);
    journal.append([&again]).unwrap();
    assert_eq!(kept(journal, &disk), [("other".to_owned(), "x".to_owned())]);
}

#[test]
fn what_has_expired_leaves_the_disk() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut shard = Shard::keeping();
    let slot = shard.at_home(0);
    let mut body = string("state");
    body.extend([0, 7, 5, 2, 0, 0, 0, 10]);
    body.extend(b"short");
    shard.send(slot, 0x33, &body);
    let (tag, batch) = shard.turn_over().remove(0);
    journal.append([&batch]).unwrap();
    shard.committed(tag, CommitResult::Durable);
    assert_eq!(journal.retained().count(), 1);
    shard.wait(61);
    let (_, swept) = shard.turn_over().remove(0);
    journal.append([&swept]).unwrap();
    assert_eq!(journal.retained().count(), 0);
}

#[test]
fn what_is_not_kept_ends_what_was() {
    let disk = SimulatedDisk::new();
    let mut journal = open(&disk);
    let mut shard = Shard::keeping();
    let slot = shard.at_home(0);
    let (tag, batch) = retain(&mut shard, slot, "old");
    journal.append([&batch]).unwrap();
    shard.committed(tag, CommitResult::Durable);
    shard.durability = Durability::Memory;
    let slot = shard.at_home(1);
    let (tag, batch) = retain(&mut shard, slot, "in memory only");
    journal.append([&batch]).unwrap();
    shard.committed(tag, CommitResult::Durable);
    shard.send_publish(slot, "state", 1, true, "again");
    assert!(shard.turn_over().is_empty(), "nothing is on disk that it could end");
    assert!(kept(journal, &disk).is_empty(), "the old one does not come back");
}
