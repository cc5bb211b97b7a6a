//! Segments of the journal: whatever is in one, the journal opens or says why not, and what it served it serves again
//! after the next start.

use motte_store::disk::SimulatedDisk;
use motte_store::journal::Journal;
use motte_store::{BlockCache, Disk, JournalOptions};

/// The file that is read.
const NAME: &str = "journal-00000001.seg";
/// Bytes of a block's header, and of its checksum at their end.
const HEADER: usize = 28;
const CHECKSUM: usize = 4;
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 * 1024, reserve_bytes: 0 };

/// Runs the bytes as a segment, and once more as the records of a block whose header and checksums fit.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    check(data);
    if let Some(forged) = sealed(data) {
        check(&forged);
    }
}

fn check(segment: &[u8]) {
    let disk = SimulatedDisk::new();
    disk.put(NAME, segment);
    let (journal, _) = match Journal::open(disk.clone(), None, OPTIONS) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without words");
            return;
        }
    };
    let first = served(&journal);
    drop(journal);
    let Ok((again, recovery)) = Journal::open(disk.killed(), None, OPTIONS) else {
        super::fail("what opened once does not open again");
    };
    assert!(recovery.cut.is_none(), "a torn end was not cut the first time");
    assert_eq!(first, served(&again), "another state after another start");
}

/// What a journal serves, in words; records that cannot be read are errors, which have words too.
fn served<D: Disk>(journal: &Journal<D>) -> Vec<String> {
    let cache = &mut BlockCache::new();
    let mut all = Vec::new();
    for id in journal.sessions() {
        let deliveries = journal.deliveries(id, 0, usize::MAX);
        for delivery in deliveries.iter().flatten() {
            let message = delivery.publication.map(|id| journal.read(id, cache));
            all.push(format!("{delivery:?} {}", message.is_some_and(|message| message.is_ok())));
        }
        all.push(format!("{id:?} {:?} {:?}", deliveries.map(|all| all.len()).ok(), journal.inbound(id)));
        all.push(format!("{:?} {:?}", journal.session(id, cache).ok(), journal.will(id, cache).ok()));
    }
    all.extend(journal.retained().map(|(topic, id)| format!("{topic} {id:?}")));
    let facts = journal.fact_names().map(|name| format!("{name} {:?}", journal.fact(name, cache).ok()));
    all.extend(facts);
    all.sort();
    all
}

/// An empty segment with one block that has the bytes as its body.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let disk = SimulatedDisk::new();
    Journal::open(disk.clone(), None, OPTIONS).ok()?;
    let mut segment = disk.bytes(NAME)?;
    let offset = u32::try_from(segment.len()).ok()?;
    let start = segment.len();
    segment.extend_from_slice(&[0xb7, 0x4d, 1, 0]);
    segment.extend_from_slice(&u32::try_from(data.len()).ok()?.to_le_bytes());
    segment.extend_from_slice(&0_u32.to_le_bytes());
    segment.extend_from_slice(&1_u64.to_le_bytes());
    segment.extend_from_slice(&offset.to_le_bytes());
    let placed = [&1_u32.to_le_bytes(), &offset.to_le_bytes(), segment.get(start..)?].concat();
    segment.extend_from_slice(&crc32fast::hash(&placed).to_le_bytes());
    assert_eq!(segment.len() - start, HEADER, "the header has another length");
    segment.extend_from_slice(data);
    let checksum = crc32fast::hash(segment.get(start..)?);
    segment.extend_from_slice(&checksum.to_le_bytes()[..CHECKSUM]);
    Some(segment)
}
