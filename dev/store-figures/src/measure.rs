//! The workloads: messages of 64 bytes to offline Sessions, stored, recovered, drained.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use motte_disk::{Committed, Committer, CommitterBounds, Directory, Lane, Submission};
use motte_seal::SecretBytes;
use motte_seal::keyring::{KeyEncryptionKey, Keyring};
use motte_store::{
    Batch, BlockCache, Group, Journal, JournalOptions, NewDelivery, PrincipalRecord, Publication,
    PublicationId, SessionId,
};

/// Messages of one commit: what waits together under load.
const COMMIT: u64 = 100;
/// Commits of one sync.
const SYNC: u64 = 4;
const SESSIONS: u64 = 10;
/// Messages that a client has in flight while it drains: those of a commit come from all of them.
const WINDOW: usize = 10;

/// Time of the world and of the process.
pub struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    /// Starts both.
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.wall.elapsed().as_secs_f64()
    }

    /// Seconds of CPU of the process since the start, the kernel's for it among them.
    pub fn cpu_seconds(&self) -> f64 {
        cpu() - self.cpu
    }
}

fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u32::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    f64::from(seconds.unwrap_or(0)) + f64::from(nanos.unwrap_or(0)) / 1e9
}

/// What storing and draining cost.
pub struct Row {
    pub per_second: f64,
    pub cpu_us: f64,
    pub store_us: f64,
    pub drain_us: f64,
    pub amplification: f64,
    pub peak_bytes: u64,
    pub end_bytes: u64,
}

fn keyring(is_sealed: bool) -> Option<Keyring> {
    is_sealed.then(|| {
        let key =
            KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![7; 32])).expect("32 bytes are a key");
        Keyring::create(&key, "figures").expect("a vault")
    })
}

fn open(path: &Path, keyring: Option<Keyring>) -> Journal<Directory> {
    let disk = Directory::open(path).expect("a directory");
    Journal::open(disk, keyring, JournalOptions::default()).expect("a journal").0
}

fn source() -> PrincipalRecord {
    PrincipalRecord {
        identity: "sensor-17".to_owned(),
        client_id: "sensor-17".to_owned(),
        listener: "tls".to_owned(),
        address: Some("192.0.2.17:51234".to_owned()),
        ..PrincipalRecord::default()
    }
}

fn store(batch: &mut Batch, number: u64, source: &PrincipalRecord) {
    let message = Publication {
        topic: "plant/line-4/sensor-17/temperature",
        payload: &[b'x'; 64],
        qos: 1,
        retain: false,
        forwarded: &[],
        expires_at_ms: None,
        source,
    };
    batch.put_publication(Group::COMMON, PublicationId(number), &message);
    enqueue(batch, number % SESSIONS, number / SESSIONS, number);
}

fn enqueue(batch: &mut Batch, session: u64, seq: u64, number: u64) {
    batch.enqueue(&NewDelivery {
        session: SessionId(session),
        seq,
        publication: PublicationId(number),
        packet_id: 0,
        qos: 1,
        retain: false,
        identifiers: &[],
        shared: None,
    });
}

fn store_all(journal: &mut Journal<Directory>, messages: u64) -> u64 {
    let (source, mut batch) = (source(), Batch::new());
    let mut written = 0;
    for commit in 0..messages.div_ceil(COMMIT) {
        let first = commit * COMMIT;
        batch.clear();
        (first..messages.min(first + COMMIT)).for_each(|number| store(&mut batch, number, &source));
        written += batch.bytes() as u64;
        journal.append([&batch]).expect("an append");
        if commit.is_multiple_of(SYNC) {
            journal.sync().expect("a sync");
        }
    }
    journal.sync().expect("a sync");
    written
}

fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn ratio(a: u64, b: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let ratio = a as f64 / b as f64;
    ratio
}

/// Stores messages, then reads and removes them, a hundred of each Session at a time, as its client would.
pub fn drained(directory: &Path, messages: u64, is_sealed: bool) -> Row {
    let folder = tempfile::tempdir_in(directory).expect("a directory");
    let mut journal = open(folder.path(), keyring(is_sealed));
    let (before, clock) = (bytes_written(), Clock::start());
    store_all(&mut journal, messages);
    let (store_cpu, peak_bytes) = (clock.cpu_seconds(), journal.statistics().bytes);
    let (mut cache, mut batch, mut drained) = (BlockCache::new(), Batch::new(), 0);
    while drained < messages {
        batch.clear();
        // Each client reads at its own pace; the blocks that all of them want are read once.
        for session in 0..SESSIONS {
            let deliveries = journal.deliveries(SessionId(session), 0, WINDOW);
            for delivery in deliveries.expect("deliveries") {
                let id = delivery.publication.expect("a message");
                let message = journal.read(id, &mut cache).expect("a read").expect("a message");
                assert_eq!(message.payload.len(), 64);
                batch.remove_delivery(SessionId(session), delivery.seq);
                drained += 1;
            }
        }
        journal.append([&batch]).expect("an append");
        if (drained / COMMIT).is_multiple_of(SYNC) {
            journal.sync().expect("a sync");
        }
        if (drained / COMMIT).is_multiple_of(256) && journal.wants_compaction() {
            journal.compact(64 << 20).expect("a compaction");
        }
    }
    journal.sync().expect("a sync");
    let (cpu, seconds) = (clock.cpu_seconds(), clock.seconds());
    journal.compact(u64::MAX).expect("a compaction");
    let payload = messages * (64 + 34);
    let each = ratio(1_000_000, messages);
    Row {
        per_second: ratio(messages, 1) / seconds,
        cpu_us: cpu * each,
        store_us: store_cpu * each,
        drain_us: (cpu - store_cpu) * each,
        amplification: ratio(bytes_written() - before, payload),
        peak_bytes,
        end_bytes: journal.statistics().bytes,
    }
}

/// A thousand Sessions that wait for the same ten thousand messages: what the process grew by, bytes on disk, seconds to
/// store them and to open the journal again. To be measured first, while the process has nothing to use again.
pub fn fan_out(directory: &Path) -> (u64, u64, f64, f64) {
    const WAITING: u64 = 1000;
    let folder = tempfile::tempdir_in(directory).expect("a directory");
    let (before, clock) = (resident(), Clock::start());
    let mut journal = open(folder.path(), None);
    let (source, mut batch) = (source(), Batch::new());
    for number in 0..10_000 {
        batch.clear();
        store(&mut batch, number, &source);
        for session in SESSIONS..SESSIONS + WAITING - 1 {
            enqueue(&mut batch, session, number, number);
        }
        journal.append([&batch]).expect("an append");
        if number.is_multiple_of(SYNC * COMMIT) {
            journal.sync().expect("a sync");
        }
    }
    journal.sync().expect("a sync");
    let (grown, seconds) = (resident().saturating_sub(before), clock.seconds());
    let statistics = journal.statistics();
    assert_eq!(statistics.deliveries, 10_000 * WAITING);
    drop(journal);
    let clock = Clock::start();
    let journal = open(folder.path(), None);
    assert_eq!(journal.statistics().deliveries, 10_000 * WAITING);
    (grown, statistics.bytes, seconds, clock.seconds())
}

/// Seconds to open a journal with so many messages queued, and its bytes on disk.
pub fn recovery(directory: &Path, messages: u64, is_sealed: bool) -> (f64, u64) {
    let folder = tempfile::tempdir_in(directory).expect("a directory");
    let key = KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![7; 32])).expect("32 bytes are a key");
    let mut ring = keyring(is_sealed);
    let vault = ring.as_mut().map(|ring| ring.encode().expect("a vault"));
    let mut journal = open(folder.path(), ring);
    store_all(&mut journal, messages);
    drop(journal);
    let ring = vault.map(|bytes| {
        motte_seal::keyring::Vault::decode(&bytes)
            .and_then(|vault| vault.open(&key))
            .expect("the vault again")
    });
    let clock = Clock::start();
    let journal = open(folder.path(), ring);
    let seconds = clock.seconds();
    let statistics = journal.statistics();
    assert_eq!(statistics.deliveries, messages);
    (seconds, statistics.bytes)
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Messages stored a second by four workers with a hundred in flight each, and microseconds of one alone.
pub fn committer(directory: &Path, messages: u64, is_sealed: bool) -> (f64, f64) {
    let folder = tempfile::tempdir_in(directory).expect("a directory");
    let journal = open(folder.path(), keyring(is_sealed));
    let (tell, told) = sync_channel(4096);
    let done = move |completion: motte_disk::Completion| {
        assert!(matches!(completion.result, Committed::Durable(_)), "{:?}", completion.result);
        // The receiver is gone only when the figures are taken.
        let _ = tell.send(completion.tag);
    };
    let committer = Committer::start(journal, CommitterBounds::default(), done).expect("a thread");
    let (source, mut batch) = (source(), Batch::new());
    let mut submit = |number: u64| {
        store(&mut batch, number, &source);
        match committer.submit(Lane::default(), number, std::mem::take(&mut batch), true) {
            Submission::Taken(spare) => batch = spare,
            Submission::Full(_) => unreachable!("400 in flight are fewer than the bound"),
        }
    };
    let clock = Clock::start();
    let (mut sent, mut received) = (0, 0);
    while received < messages {
        while sent < messages && sent - received < 400 {
            submit(sent);
            sent += 1;
        }
        told.recv().expect("a completion");
        received += 1;
    }
    let per_second = ratio(messages, 1) / clock.seconds();
    let clock = Clock::start();
    for number in messages..messages + 100 {
        submit(number);
        told.recv().expect("a completion");
    }
    (per_second, clock.seconds() * 1e4)
}
