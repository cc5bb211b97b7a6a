//! What is stored sealed is found nowhere on the disk.

use std::path::Path;

use motte_store::{Batch, Group, PrincipalRecord, PublicationId, SessionId, SessionRecord, WillRecord};

use crate::kill::{open, store};

const CANARY: &[u8] = b"canary";

/// Files below the directory that have the canary in them.
fn telltales(path: &Path) -> Vec<String> {
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let has_canary = |file: &std::path::PathBuf| {
        std::fs::read(file).unwrap().windows(CANARY.len()).any(|part| part == CANARY)
    };
    files.filter(has_canary).map(|file| file.display().to_string()).collect()
}

fn fill(path: &Path, is_sealed: bool) {
    let (mut journal, _) = open(path, is_sealed);
    let session = SessionRecord {
        principal: PrincipalRecord { client_id: "canary".to_owned(), ..PrincipalRecord::default() },
        level: 5,
        expiry_s: 60,
        ends_at_ms: None,
        subscriptions: Vec::new(),
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    };
    let will = WillRecord {
        topic: "canary".to_owned(),
        payload: CANARY.to_vec(),
        qos: 1,
        retain: false,
        forwarded: Vec::new(),
        message_expiry_s: None,
        due_at_ms: 5,
    };
    for number in 1..2000 {
        let mut batch = Batch::new();
        store(&mut batch, number);
        batch.put_retained(&format!("canary/{}", number % 10), PublicationId(number));
        batch.put_session(Group::COMMON, SessionId(1), &session);
        batch.put_will(Group::COMMON, SessionId(1), &will);
        batch.put_fact("canary", CANARY);
        if number > 50 {
            batch.remove_delivery(SessionId(1), number - 50);
        }
        journal.append([&batch]).unwrap();
    }
    journal.sync().unwrap();
    journal.compact(u64::MAX).unwrap();
    journal.close().unwrap();
}

#[test]
fn a_canary_is_found_nowhere_when_sealed() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), true);
    assert_eq!(telltales(folder.path()), [""; 0]);
    assert_eq!(open(folder.path(), true).0.queue_length(SessionId(1)), 50);
}

#[test]
fn a_canary_is_found_when_it_is_not_sealed_so_that_looking_proves_something() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), false);
    assert!(!telltales(folder.path()).is_empty());
}
