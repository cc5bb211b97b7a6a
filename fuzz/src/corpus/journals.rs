//! Segments of a journal, one with each kind of record, and vaults that nobody sealed.

use motte_store::disk::SimulatedDisk;
use motte_store::journal::Journal;
use motte_store::{
    Batch, Group, JournalOptions, NewDelivery, PrincipalRecord, Publication, PublicationId, SessionId,
    SessionRecord, WillRecord,
};

use super::Input;

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 * 1024, reserve_bytes: 0 };
const SESSION: SessionId = SessionId(1);

/// The segments.
pub(super) fn segments() -> Vec<Input> {
    let full = segment(&[session, message, state, retained, will, fact, inbound], true);
    let cut = full.get(..full.len() - 50).unwrap_or_default().to_vec();
    let with = |at: usize, value: u8| {
        let mut changed = full.clone();
        if let Some(byte) = changed.get_mut(at) {
            *byte = value;
        }
        changed
    };
    vec![
        ("empty", segment(&[], false)),
        ("full", full.clone()),
        ("full_cut", cut),
        ("full_damaged", with(200, 0xff)),
        ("later_version", with(8, 2)),
        ("no_segment", b"[listener]\n".to_vec()),
        ("session", segment(&[session], true)),
        ("message", segment(&[session, message], false)),
        ("state", segment(&[session, message, state], true)),
        ("retained", segment(&[retained], true)),
        ("will", segment(&[session, will], true)),
        ("fact", segment(&[fact], true)),
        ("inbound", segment(&[session, inbound], false)),
        ("removals", segment(&[session, message, retained, will, fact, inbound, removals], true)),
        ("records_of_a_block", records()),
    ]
}

/// A removal of a delivery and a fact, as records without a block.
fn records() -> Vec<u8> {
    let mut out = vec![25, 0, 0, 0, 6];
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&1_u64.to_le_bytes());
    out.extend_from_slice(&1_u64.to_le_bytes());
    out.extend_from_slice(&[8, 0, 0, 0, 11, 1, 0, 0, 0, b'a', b'1', b'2']);
    out
}

/// The newest segment after a commit of each.
fn segment(changes: &[fn(&mut Batch)], is_closed: bool) -> Vec<u8> {
    let disk = SimulatedDisk::new();
    let Ok((mut journal, _)) = Journal::open(disk.clone(), None, OPTIONS) else { return Vec::new() };
    for change in changes {
        let mut batch = Batch::new();
        change(&mut batch);
        if journal.append([&batch]).and_then(|_| journal.sync()).is_err() {
            return Vec::new();
        }
    }
    if is_closed && journal.close().is_err() {
        return Vec::new();
    }
    disk.bytes("journal-00000001.seg").unwrap_or_default()
}

fn principal() -> PrincipalRecord {
    PrincipalRecord { client_id: "c1".to_owned(), listener: "tls".to_owned(), ..PrincipalRecord::default() }
}

fn session(batch: &mut Batch) {
    let record = SessionRecord {
        principal: principal(),
        level: 5,
        expiry_s: 60,
        ends_at_ms: None,
        subscriptions: Vec::new(),
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    };
    batch.put_session(Group::COMMON, SESSION, &record);
}

fn put(batch: &mut Batch, id: u64) {
    let message = Publication {
        topic: "a/b",
        payload: b"21.5",
        qos: 1,
        retain: true,
        forwarded: &[],
        expires_at_ms: Some(1),
        source: &principal(),
    };
    batch.put_publication(Group::COMMON, PublicationId(id), &message);
}

fn message(batch: &mut Batch) {
    put(batch, 1);
    for seq in 1..=3 {
        batch.enqueue(&NewDelivery {
            session: SESSION,
            seq,
            publication: PublicationId(1),
            packet_id: 0,
            qos: 2,
            retain: false,
            identifiers: &[7, 700],
            shared: Some(&("g".to_owned(), "a/#".to_owned())),
        });
    }
}

fn state(batch: &mut Batch) {
    batch.set_state(SESSION, 1, 5, false);
    batch.set_state(SESSION, 2, 6, true);
}

fn retained(batch: &mut Batch) {
    put(batch, 2);
    batch.put_retained("a/b", PublicationId(2));
}

fn will(batch: &mut Batch) {
    let record = WillRecord {
        topic: "w".to_owned(),
        payload: b"gone".to_vec(),
        qos: 1,
        retain: false,
        forwarded: Vec::new(),
        message_expiry_s: Some(5),
        due_at_ms: 9,
    };
    batch.put_will(Group::COMMON, SESSION, &record);
}

fn fact(batch: &mut Batch) {
    batch.put_fact("ban/192.0.2.1", b"1700000000");
}

fn inbound(batch: &mut Batch) {
    batch.put_inbound(SESSION, 9);
}

fn removals(batch: &mut Batch) {
    batch.remove_delivery(SESSION, 1);
    batch.remove_retained("a/b");
    batch.remove_will(SESSION);
    batch.remove_fact("ban/192.0.2.1");
    batch.remove_inbound(SESSION, 9);
    batch.remove_session(SESSION);
}

/// Slots of a vault: their bytes, with a label.
fn slot(source: &[u8]) -> Vec<u8> {
    [&[9; 8], source, &[4], b"file", &[3; 60]].concat()
}

/// A vault of these slots and keys, with a checksum that fits and a seal that does not.
fn vault(slots: &[Vec<u8>], keys: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"MOTTEVLT\x01\x00\x00\x00\x00\x00".to_vec();
    out.extend_from_slice(&3_u64.to_le_bytes());
    out.extend_from_slice(&[5; 32]);
    out.push(u8::try_from(slots.len()).unwrap_or(u8::MAX));
    out.extend(slots.iter().flatten());
    out.extend_from_slice(&100_u32.to_le_bytes());
    out.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(keys.iter().flatten());
    out.extend_from_slice(&[6; 16]);
    let length = u32::try_from(out.len() + 4).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(place) = out.get_mut(10..14) {
        place.copy_from_slice(&length);
    }
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The small files: of each kind, with lengths and checksums that fit or do not.
pub(super) fn state_files() -> Vec<Input> {
    let front = |version: u16, kind: u16| {
        let salt = [5; 32];
        [&b"MOTTEFIL"[..], &version.to_le_bytes(), &kind.to_le_bytes(), &7_u64.to_le_bytes(), &salt].concat()
    };
    let whole = |length: u32, body: &[u8]| {
        let mut file = [&front(1, 0), &length.to_le_bytes()[..], body, &[9; 16]].concat();
        let checksum = crc32fast::hash(&file);
        file.extend_from_slice(&checksum.to_le_bytes());
        file
    };
    let record = |offset: u64, length: u16, body: &[u8]| {
        let head = [&length.to_le_bytes()[..], &3_u64.to_le_bytes()].concat();
        let checksum = crc32fast::hash(&[&offset.to_le_bytes()[..], &head].concat());
        [&head, &checksum.to_le_bytes()[..], body].concat()
    };
    let first = record(52, 0, &[9; 16]);
    let lines = |records: &[u8]| [&front(1, 1), &first[..], records].concat();
    vec![
        ("empty", Vec::new()),
        ("front", front(1, 0)),
        ("front_cut", front(1, 0).get(..11).unwrap_or_default().to_vec()),
        ("another_version", [front(2, 0), vec![0; 30]].concat()),
        ("another_kind", front(1, 9)),
        ("whole", whole(5, b"bytes")),
        ("whole_of_nothing", whole(0, b"")),
        ("whole_too_long", whole(6, b"bytes")),
        ("whole_longest", whole(u32::MAX, b"bytes")),
        ("lines_of_nothing", front(1, 1)),
        ("lines", lines(&record(82, 3, &[1; 19]))),
        ("lines_torn", lines(&record(82, 3, &[1; 7]))),
        ("lines_longest", lines(&record(82, u16::MAX, &[1; 7]))),
        ("lines_elsewhere", lines(&record(99, 3, &[1; 19]))),
    ]
}

/// The vaults.
pub(super) fn vaults() -> Vec<Input> {
    let key = |number: u32, group: u32| {
        [number.to_le_bytes().as_slice(), &group.to_le_bytes(), &[1], &[8; 60]].concat()
    };
    let shredded = |number: u32| [number.to_le_bytes().as_slice(), &[0; 4], &[0]].concat();
    let passphrase = slot(&[&[2, 0, 0x4c, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0], [7; 16].as_slice()].concat());
    // The id that the key of the target has: its slot is tried.
    let tried = [&[0x0a; 8], [0].as_slice(), &[0], &[3; 60]].concat();
    let full = vault(&[slot(&[0]), passphrase.clone(), slot(&[3])], &[key(1, 0), key(2, 7), shredded(3)]);
    let mut later = full.clone();
    if let Some(byte) = later.get_mut(8) {
        *byte = 2;
    }
    vec![
        ("empty", vault(&[], &[])),
        ("full", full.clone()),
        ("full_cut", full.get(..full.len() / 2).unwrap_or_default().to_vec()),
        ("key_file", vault(&[slot(&[0])], &[key(1, 0)])),
        ("credential", vault(&[slot(&[1])], &[key(1, 0)])),
        ("passphrase", vault(&[passphrase], &[key(1, 0)])),
        ("recovery", vault(&[slot(&[3])], &[key(1, 0)])),
        ("another_slot", vault(&[tried], &[key(1, 0)])),
        ("later_version", later),
        ("keys_not_in_order", vault(&[slot(&[0])], &[key(2, 0), key(1, 0)])),
        ("shredded", vault(&[slot(&[0])], &[shredded(1), shredded(2)])),
        ("no_vault", b"[listener]\n".to_vec()),
    ]
}
