//! What is exported and taken back is the same, and what is no export is refused.

use motte_store::disk::SimulatedDisk;
use motte_store::journal::{Exported, Journal, JournalError, JournalOptions};
use motte_store::{
    Batch, Disk, DiskFile, Group, NewDelivery, Publication, PublicationId, SessionId, WillRecord,
};
use proptest::prelude::*;

use crate::workload::{Sizes, publication, session};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 8 * 1024, reserve_bytes: 0 };
const SIZES: Sizes = Sizes { payload_max: 400, groups: 1 };

/// Everything that a journal can hold: shared messages, flows in each state, Wills, retained and facts.
fn filled(disk: &SimulatedDisk) -> Journal<SimulatedDisk> {
    let (mut journal, _) = Journal::open(disk.clone(), None, OPTIONS).unwrap();
    let mut batch = Batch::new();
    for number in 1..4 {
        batch.put_session(Group::COMMON, SessionId(number), &session(number, 1));
        batch.put_inbound(SessionId(number), 7);
    }
    let will = WillRecord {
        topic: "will".to_owned(),
        payload: b"gone".to_vec(),
        qos: 1,
        retain: true,
        forwarded: Vec::new(),
        message_expiry_s: Some(9),
        due_at_ms: 77,
    };
    batch.put_will(Group::COMMON, SessionId(2), &will);
    batch.put_fact("device/press", &7_u32.to_le_bytes());
    for id in 1..60 {
        batch.put_publication(Group::COMMON, PublicationId(id), &Publication::from(&publication(id, SIZES)));
        for number in 1..4 {
            let shared = ("group".to_owned(), "a/#".to_owned());
            batch.enqueue(&NewDelivery {
                packet_id: 0,
                session: SessionId(number),
                seq: id,
                publication: PublicationId(id),
                qos: 2,
                retain: id % 2 == 0,
                identifiers: if id % 3 == 0 { &[5, 6] } else { &[] },
                shared: (id % 5 == 0).then_some(&shared),
            });
        }
    }
    batch.put_retained("a/b", PublicationId(9));
    journal.append([&batch]).unwrap();
    batch.clear();
    for id in 1..20 {
        batch.set_state(SessionId(1), id, u16::try_from(id).unwrap(), id % 2 == 0);
        batch.remove_delivery(SessionId(2), id);
    }
    journal.append([&batch]).unwrap();
    journal.sync().unwrap();
    journal
}

fn export(journal: &Journal<SimulatedDisk>) -> (Vec<Exported>, u64) {
    let mut all = Vec::new();
    let summary = journal.export::<JournalError>(|one| {
        all.push(one);
        Ok(())
    });
    let summary = summary.unwrap();
    assert_eq!(summary.records, all.len() as u64);
    (all, summary.unreadable)
}

#[test]
fn what_is_exported_is_taken_back_as_it_was() {
    let journal = filled(&SimulatedDisk::new());
    let (all, unreadable) = export(&journal);
    assert_eq!(unreadable, 0);
    let other = SimulatedDisk::new();
    let (mut taker, _) = Journal::open(other.clone(), None, OPTIONS).unwrap();
    let mut batch = Batch::new();
    for one in &all {
        let is_message = batch.put_exported(one.group, &one.record).unwrap();
        if !is_message {
            // As small commits as can be: a message goes with what refers to it first.
            taker.append([&batch]).unwrap();
            batch.clear();
        }
    }
    taker.close().unwrap();
    let (reopened, recovery) = Journal::open(other.killed(), None, OPTIONS).unwrap();
    assert!(recovery.is_whole());
    assert_eq!(export(&reopened).0, all);
    assert_eq!(reopened.inbound(SessionId(3)), [7]);
    assert_eq!(
        reopened.deliveries(SessionId(1), 0, 100).unwrap(),
        journal.deliveries(SessionId(1), 0, 100).unwrap()
    );
}

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_is_exported() {
    let disk = SimulatedDisk::new();
    let journal = filled(&disk);
    let (all, _) = export(&journal);
    journal.close().unwrap();
    let mut names = disk.names().unwrap();
    names.sort();
    let file = disk.open(&names[0]).unwrap();
    // In the first block, where Sessions and the first messages are.
    file.write_at(400, &[0xa5; 8]).unwrap();
    let (journal, recovery) = Journal::look(disk.clone(), None).unwrap();
    assert!(!recovery.is_whole());
    let (left, _) = export(&journal);
    assert!(!left.is_empty() && left.len() < all.len() && left.iter().all(|one| all.contains(one)));
}

proptest! {
    #[test]
    fn no_bytes_do_harm_as_an_export(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0_u8..16) {
        let mut bytes = bytes;
        // A length that fits lets more of them through.
        let length = u32::try_from(bytes.len() + 1).unwrap();
        bytes.insert(0, kind);
        let record = [length.to_le_bytes().as_slice(), &bytes].concat();
        let mut batch = Batch::new();
        if batch.put_exported(Group::COMMON, &record).is_ok() {
            let (mut journal, _) = Journal::open(SimulatedDisk::new(), None, OPTIONS).unwrap();
            let _ = journal.append([&batch]);
            export(&journal);
        }
    }
}
