//! A real process that stores and removes is killed again and again; whatever it said was on disk must be.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use motte_disk::{Committed, Committer, CommitterBounds, Completion, Directory, Lane, Submission};
use motte_seal::SecretBytes;
use motte_seal::keyring::{KeyEncryptionKey, Keyring, Vault};
use motte_store::disk::{read_whole, write_whole};
use motte_store::{
    Batch, BlockCache, Group, Journal, JournalOptions, NewDelivery, PrincipalRecord, Publication,
    PublicationId, Recovery, SessionId,
};

const ROUNDS: u64 = 30;
const SESSION: SessionId = SessionId(1);
/// Batches on their way at once.
const WINDOW: u64 = 32;
/// Small segments, so that many are begun and compacted while it is killed.
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 64 * 1024, reserve_bytes: 4096 };
/// Marks the lines that are meant for the parent, and the tags of batches that remove something as well.
const SAID: &str = "said";
const REMOVAL: u64 = 1 << 60;

pub fn payload(number: u64) -> Vec<u8> {
    (0..number % 300).map(|at| u8::try_from((at * 7 + number) % 251).unwrap()).collect()
}

pub fn kek() -> KeyEncryptionKey {
    KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![9; 32])).unwrap()
}

/// The keys of a directory that was opened sealed.
pub fn keyring(path: &Path) -> Keyring {
    let vault = read_whole(&Directory::open(path).unwrap(), "vault", 1 << 20).unwrap().unwrap();
    Vault::decode(&vault).unwrap().open(&kek()).unwrap()
}

pub fn open(path: &Path, is_sealed: bool) -> (Journal<Directory>, Recovery) {
    let disk = Directory::open(path).unwrap();
    let ring = is_sealed.then(|| match read_whole(&disk, "vault", 1 << 20).unwrap() {
        Some(vault) => Vault::decode(&vault).unwrap().open(&kek()).unwrap(),
        None => {
            let mut ring = Keyring::create(&kek(), "test").unwrap();
            write_whole(&disk, "vault", &ring.encode().unwrap()).unwrap();
            ring
        }
    });
    Journal::open(disk, ring, OPTIONS).unwrap()
}

pub fn store(batch: &mut Batch, number: u64) {
    let source = PrincipalRecord { client_id: "canary-client".to_owned(), ..PrincipalRecord::default() };
    let message = Publication {
        topic: "canary/topic",
        payload: &payload(number),
        qos: 1,
        retain: false,
        forwarded: &[],
        expires_at_ms: None,
        source: &source,
    };
    batch.put_publication(Group::COMMON, PublicationId(number), &message);
    batch.enqueue(&NewDelivery {
        session: SESSION,
        seq: number,
        publication: PublicationId(number),
        packet_id: 0,
        qos: 1,
        retain: false,
        identifiers: &[],
        shared: None,
    });
}

/// Not a test of its own: the process that is killed. It says what it is about to remove, and what is on disk.
#[test]
fn child() {
    let Ok(path) = std::env::var("MOTTE_DISK_CHILD") else { return };
    let (journal, _) = open(Path::new(&path), std::env::var("MOTTE_DISK_SEALED").is_ok());
    let mut number = journal.last_publication().map_or(1, |last| last.0 + 1).max(journal.appended().0);
    let (tell, told) = sync_channel(1024);
    let committer = Committer::start(journal, CommitterBounds::default(), move |completion: Completion| {
        assert!(matches!(completion.result, Committed::Durable(_)));
        let what = if completion.tag & REMOVAL == 0 { "stored" } else { "exchanged" };
        let number = completion.tag & !REMOVAL;
        println!("{SAID} {what} {number}");
        tell.send(()).unwrap();
    })
    .unwrap();
    let submit = |tag, batch| {
        assert!(matches!(committer.submit(Lane::default(), tag, batch, true), Submission::Taken(_)));
    };
    for _ in 0..WINDOW {
        number += 1;
        let mut batch = Batch::new();
        store(&mut batch, number);
        submit(number, batch);
    }
    // It ends by being killed, or by itself should the parent be gone.
    for _ in 0..1_000_000 {
        told.recv().unwrap();
        number += 1;
        let mut batch = Batch::new();
        if number.is_multiple_of(10) {
            store(&mut batch, number);
            submit(number, batch);
        } else {
            // Most of what was stored is removed again: its own number minus some is long on disk.
            let old = number - WINDOW * 3;
            println!("{SAID} removing {old}");
            std::io::stdout().flush().unwrap();
            batch.remove_delivery(SESSION, old);
            store(&mut batch, number);
            submit(number | REMOVAL, batch);
        }
    }
}

#[derive(Default)]
struct Said {
    stored: BTreeSet<u64>,
    /// Stored, with a removal in the same batch.
    exchanged: BTreeSet<u64>,
    removing: BTreeSet<u64>,
}

/// Runs the child until it has said so many things, and kills it.
fn kill_after(path: &Path, is_sealed: bool, lines: u64, said: &mut Said) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture"]).env("MOTTE_DISK_CHILD", path);
    if is_sealed {
        command.env("MOTTE_DISK_SEALED", "1");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut heard = 0;
    let mut is_killed = false;
    // After the kill, what is in the pipe still counts: it was said before.
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        let mut words = line.split(SAID).nth(1).unwrap_or_default().split_whitespace();
        let (Some(what), Some(number)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse() else { continue };
        match what {
            "stored" => said.stored.insert(number),
            "exchanged" => said.exchanged.insert(number) && said.stored.insert(number),
            _ => said.removing.insert(number),
        };
        heard += 1;
        if heard >= lines && !is_killed {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(is_killed, "the child ended by itself");
    child.wait().unwrap();
}

fn rounds(is_sealed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for round in 0..ROUNDS {
        kill_after(folder.path(), is_sealed, 1 + round * round * 7 % 900, &mut said);
        let (journal, recovery) = open(folder.path(), is_sealed);
        assert!(recovery.is_whole() && recovery.without_message == 0, "round {round}: {recovery:?}");
        let cache = &mut BlockCache::new();
        let present: BTreeSet<u64> =
            journal.deliveries(SESSION, 0, usize::MAX).unwrap().iter().map(|delivery| delivery.seq).collect();
        for number in &present {
            let message = journal.read(PublicationId(*number), cache).unwrap().unwrap();
            assert_eq!(*message.payload, payload(*number), "round {round}: message {number}");
        }
        for number in said.stored.difference(&said.removing) {
            assert!(present.contains(number), "round {round}: message {number} is lost");
        }
        for number in &said.exchanged {
            let old = number.saturating_sub(WINDOW * 3);
            assert!(!present.contains(&old), "round {round}: message {old} came back");
        }
        // What was being removed and is still there can be removed another time.
        said.stored.retain(|number| present.contains(number));
        said.removing.clear();
        journal.close().unwrap();
    }
    assert!(!said.stored.is_empty());
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    rounds(false);
}

#[test]
fn what_a_killed_process_acknowledged_is_there_when_sealed() {
    rounds(true);
}
