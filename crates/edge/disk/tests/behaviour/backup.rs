//! Backups: taken while commits go on, and believed only as they were written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use motte_disk::backup::{self, BackupError, Manifest};
use motte_disk::{Committed, Committer, CommitterBounds, Directory, Lane, Submission};
use motte_store::{Batch, Journal, JournalOptions, SessionId};

use crate::kill::{open, store};

fn quiet() -> impl FnMut(u64, u64) {
    |_, _| {}
}

fn filled(path: &Path) {
    let (mut journal, _) = open(path, true);
    for number in 1..200 {
        let mut batch = Batch::new();
        store(&mut batch, number);
        journal.append([&batch]).unwrap();
    }
    journal.sync().unwrap();
}

#[test]
fn a_backup_taken_under_load_holds_what_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("state");
    let options = JournalOptions { segment_bytes: 64 * 1024, reserve_bytes: 0 };
    let (journal, _) = Journal::open(Directory::open(&from).unwrap(), None, options).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&acknowledged);
    let committer = Committer::start(journal, CommitterBounds::default(), move |done| {
        if let Committed::Durable(_) = done.result {
            seen.fetch_max(done.tag, Ordering::SeqCst);
        }
    })
    .unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut number, mut batch) = (0, Batch::new());
            while !over.load(Ordering::Relaxed) {
                number += 1;
                store(&mut batch, number);
                if number > 500 {
                    batch.remove_delivery(SessionId(1), number - 500);
                }
                loop {
                    match committer.submit(Lane::default(), number, std::mem::take(&mut batch), true) {
                        Submission::Taken(next) => break batch = next,
                        Submission::Full(back) => batch = back,
                    }
                    std::thread::yield_now();
                }
            }
        });
        for round in 0..5 {
            let wanted = (round + 1) * 2000;
            while acknowledged.load(Ordering::SeqCst) < wanted {
                std::thread::yield_now();
            }
            let to = dir.path().join(format!("backup-{round}"));
            let before = acknowledged.load(Ordering::SeqCst);
            backup::back_up(&from, &to, 7, &mut quiet()).unwrap();
            let again = dir.path().join(format!("again-{round}"));
            let manifest = backup::restore(&to, &again, &mut quiet()).unwrap();
            assert_eq!(manifest, backup::verify(&to, &mut quiet()).unwrap());
            let (journal, recovery) = Journal::look(Directory::look(&again).unwrap(), None).unwrap();
            assert!(recovery.is_whole(), "{recovery:?}");
            let queue = journal.deliveries(SessionId(1), 0, usize::MAX).unwrap();
            let last = queue.last().unwrap().seq;
            assert!(last >= before, "{last} is the last, {before} was acknowledged");
            assert!(queue.windows(2).all(|two| two[0].seq + 1 == two[1].seq), "without a hole");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn each_changed_byte_of_a_backup_is_a_named_error() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("state"), dir.path().join("backup"));
    filled(&from);
    let manifest = backup::back_up(&from, &to, 7, &mut quiet()).unwrap();
    let path = to.join(backup::MANIFEST);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(Manifest::decode(&whole), Ok(manifest.clone()));
    for at in 0..whole.len() {
        for mask in [1, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= mask;
            assert!(Manifest::decode(&changed).is_err(), "byte {at}");
        }
        assert!(Manifest::decode(&whole[..at]).is_err(), "{at} bytes");
    }
    for file in &manifest.files {
        let path = to.join(&file.name);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            let error = backup::verify(&to, &mut quiet()).unwrap_err();
            assert!(error.to_string().contains(&file.name), "byte {at}: {error}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(backup::verify(&to, &mut quiet()), Err(BackupError::Damaged { .. })));
        std::fs::write(&path, whole).unwrap();
    }
    backup::verify(&to, &mut quiet()).unwrap();
}

#[test]
fn a_manifest_that_names_files_elsewhere_is_refused() {
    for name in ["../vault", ".hidden", "a/b", ""] {
        let text = format!("motte-backup 1\nmade 7\nfile {name} 1 {}\n", "0".repeat(64));
        let end = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let end: String = end.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            Manifest::decode(format!("{text}end {end}\n").as_bytes()),
            Err("a line that is none of a file")
        );
    }
}

#[test]
fn a_copy_of_the_vault_is_replaced_whole_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("vault");
    for content in [b"one".as_slice(), b"another"] {
        backup::copy_vault(content, &copy).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), content);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    // Cut short between two of its steps, it goes on from there.
    std::fs::write(dir.path().join("vault.new"), "half").unwrap();
    std::fs::write(dir.path().join("vault.old"), "old").unwrap();
    backup::copy_vault(b"third", &copy).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), b"third");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_only_looked_at_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("state");
    filled(&from);
    std::fs::write(from.join("journal-000000ff.seg.new"), "unborn").unwrap();
    let contents = || {
        let mut all: Vec<_> = std::fs::read_dir(&from)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        all.sort();
        all
    };
    let before = contents();
    let keys = crate::kill::keyring(&from);
    let (mut journal, recovery) = Journal::look(Directory::look(&from).unwrap(), Some(keys)).unwrap();
    assert!(recovery.is_whole() && recovery.records > 0);
    let mut batch = Batch::new();
    batch.put_fact("a", b"b");
    assert!(journal.append([&batch]).is_err());
    assert_eq!(contents(), before);
}

#[test]
fn what_is_appended_while_a_backup_is_copied_makes_no_hole_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("state"), dir.path().join("backup"));
    let options = JournalOptions { reserve_bytes: 0, ..JournalOptions::default() };
    let (mut journal, _) = Journal::open(Directory::open(&from).unwrap(), None, options).unwrap();
    let mut number = 0;
    let mut append = |bytes: u64| {
        let until = journal.statistics().bytes + bytes;
        while journal.statistics().bytes < until {
            let mut batch = Batch::new();
            (0..120).for_each(|_| {
                number += 1;
                store(&mut batch, number);
            });
            journal.append([&batch]).unwrap();
            journal.sync().unwrap();
        }
        number
    };
    // The zeros ahead lie on both sides of where the copy stops first.
    let before = append(1_000_000);
    let mut is_first = true;
    let mut meanwhile = |_, _| {
        if std::mem::take(&mut is_first) {
            append(200_000);
        }
    };
    backup::back_up(&from, &to, 7, &mut meanwhile).unwrap();
    let (journal, recovery) = Journal::look(Directory::look(&to).unwrap(), None).unwrap();
    assert!(recovery.is_whole(), "{recovery:?}");
    assert_eq!(journal.queue_length(SessionId(1)) as u64, before);
}

#[test]
fn a_file_whose_replacement_was_killed_before_is_not_overwritten_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (file, old) = (dir.path().join("vault"), dir.path().join("vault.old"));
    std::fs::write(&file, "keys").unwrap();
    std::fs::hard_link(&file, &old).unwrap();
    // Ended again before the new one is in its place.
    assert!(backup::replace(&dir.path().join("missing"), &file).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"keys");
}
