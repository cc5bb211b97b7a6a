//! Reading the log back at a start.
//!
//! The newest header says which segments are in force and how long each is, so only the end of the newest is uncertain.
//! There, what cannot be read is a torn end if no later block says that it was on disk, and is cut; everything else that
//! cannot be read is damage, which is reported, and the rest is served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_seal::keyring::Keyring;

use crate::disk::{Disk, DiskError, DiskFault, DiskFile};

use super::block::HEADER_BYTES;
use super::error::JournalError;
use super::index::Index;
use super::keys::{DataKeys, FileKeys, KeyFault};
use super::order::RetainedOrder;
use super::scan::{Gap, Scan, gap};
use super::segment::{self, Header, HeaderFault};
use super::{Broken, Journal, JournalOptions, Segment};

/// Part of a segment that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub file: String,
    /// Where it begins.
    pub offset: u32,
    /// Bytes until the next block that can be read, or the end.
    pub bytes: u32,
    /// What is wrong.
    pub what: &'static str,
}

/// The torn end of a segment: commits that were being written when the process or the power went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub file: String,
    /// Where it begins.
    pub offset: u32,
    /// How much it is.
    pub bytes: u32,
}

/// What was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments read.
    pub segments: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
    /// Blocks that were sealed with keys that were shredded.
    pub shredded_blocks: u64,
    /// The torn end of the newest segment, if it has one.
    pub cut: Option<Cut>,
    /// What cannot be read.
    pub damages: Vec<Damage>,
    /// Files that should be there and are not.
    pub missing: Vec<String>,
    /// Files that were compacted away before, and that are removed now.
    pub stale: Vec<String>,
    /// Deliveries and Retained Messages whose message is lost by damage or shredded; they are gone.
    pub without_message: u64,
    /// Deliveries of Sessions whose facts are lost by damage or shredded; they are kept.
    pub without_session: u64,
}

impl Recovery {
    /// Whether nothing is wrong; a torn end is not.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty() && self.missing.is_empty()
    }
}

/// A segment's file with its header.
struct Found<F> {
    file: F,
    header: Header,
    header_bytes: usize,
    file_bytes: u64,
}

/// What is on the disk.
struct Inventory<F> {
    found: BTreeMap<u32, Found<F>>,
    last_id: u32,
}

pub(super) fn open<D: Disk>(
    disk: D,
    keyring: Option<Keyring>,
    options: JournalOptions,
) -> Result<(Journal<D>, Recovery), JournalError> {
    let (mut journal, recovery) = read_back(disk, keyring, options, Purpose::Open)?;
    let dropped = journal.index.droppable(u32::MAX);
    journal.begin_segment(&dropped)?;
    for name in &recovery.stale {
        // If it stays, the next start tries again: no header names it any more.
        let _ = journal.disk.remove(name);
    }
    // A disk without room for it is full at the first write, and that is answered then.
    let _ = journal.make_reserve();
    Ok((journal, recovery))
}

pub(super) fn look<D: Disk>(
    disk: D,
    keyring: Option<Keyring>,
) -> Result<(Journal<D>, Recovery), JournalError> {
    let (mut journal, recovery) = read_back(disk, keyring, JournalOptions::default(), Purpose::Look)?;
    let cause = DiskError {
        fault: DiskFault::ReadOnly,
        what: "write",
        name: "the journal".to_owned(),
        detail: "it is only looked at".to_owned(),
    };
    journal.broken = Some(Broken { cause, is_lost: false });
    Ok((journal, recovery))
}

/// What the log is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To go on with it.
    Open,
    /// To look at it: nothing on the disk is changed.
    Look,
}

fn read_back<D: Disk>(
    disk: D,
    keyring: Option<Keyring>,
    options: JournalOptions,
    purpose: Purpose,
) -> Result<(Journal<D>, Recovery), JournalError> {
    let keys = Arc::new(FileKeys::new(DataKeys::new(keyring)));
    let mut recovery = Recovery::default();
    let inventory = inventory(&disk, &keys, purpose, &mut recovery)?;
    let last_id = inventory.last_id;
    let in_force = in_force(inventory, &mut recovery);
    let mut index = Index { is_recovering: true, ..Index::default() };
    let mut segments = BTreeMap::new();
    let mut last_commit = 0;
    for (id, (found, length)) in in_force {
        if length.is_none() && purpose == Purpose::Open {
            // After a kill it may be in memory only; from now on it is promised.
            found.file.sync()?;
        }
        let (segment, last) = replay(id, found, length, &keys, &mut index, &mut recovery)?;
        last_commit = last_commit.max(last);
        segments.insert(id, segment);
    }
    (recovery.without_message, recovery.without_session) = index.finish_recovery();
    let journal = Journal {
        disk,
        options,
        keys,
        index,
        segments,
        active: 0,
        offset: 0,
        synced: 0,
        room: 0,
        next_segment: last_id.checked_add(1).ok_or(JournalError::SegmentNumbers)?,
        next_commit: last_commit + 1,
        durable: last_commit,
        unsynced: Vec::new(),
        order: RetainedOrder::default(),
        spare: Vec::new(),
        broken: None,
        has_reserve: false,
        out: Vec::new(),
        places: Vec::new(),
    };
    Ok((journal, recovery))
}

/// The files of the segments in force with the bytes of each that count, as the newest header names them; `None` for the
/// newest, which is appended to. Needs no keys: a header is checked by its checksum only.
///
/// # Errors
/// [`JournalError::Disk`], [`JournalError::Version`]; [`JournalError::Damaged`] if the newest header cannot be read.
pub fn segments_of<D: Disk>(disk: &D) -> Result<Vec<(String, Option<u32>)>, JournalError> {
    let Some(newest) = disk.names()?.iter().filter_map(|name| segment::id_of(name)).max() else {
        return Ok(Vec::new());
    };
    let name = segment::file_name(newest);
    let file = disk.open(&name)?;
    let (_, header) = read_header(&file, file.length()?)?;
    match header {
        Ok((header, _)) if header.id == newest => {
            let older = header.older.iter().map(|(id, length)| (segment::file_name(*id), Some(*length)));
            Ok(older.chain([(name, None)]).collect())
        }
        Err(HeaderFault::Version(found)) => Err(JournalError::Version { segment: newest, found }),
        Ok(_) | Err(_) => Err(JournalError::Damaged { segment: newest, offset: 0 }),
    }
}

/// Finds the segments and reads their headers.
fn inventory<D: Disk>(
    disk: &D,
    keys: &FileKeys,
    purpose: Purpose,
    recovery: &mut Recovery,
) -> Result<Inventory<D::File>, JournalError> {
    let mut inventory = Inventory { found: BTreeMap::new(), last_id: 0 };
    for name in disk.names()? {
        if segment::is_unborn(&name) {
            if purpose == Purpose::Open {
                disk.remove(&name)?;
            }
            continue;
        }
        let Some(id) = segment::id_of(&name) else { continue };
        inventory.last_id = inventory.last_id.max(id);
        let file = disk.open(&name)?;
        let file_bytes = file.length()?;
        let (bytes, header) = read_header(&file, file_bytes)?;
        let fault = match header {
            Ok((header, header_bytes)) if header.id == id => {
                keys.add_segment(id, header.salt);
                match header_fault(&header, header_bytes, &bytes, keys)? {
                    None => {
                        inventory.found.insert(id, Found { file, header, header_bytes, file_bytes });
                        continue;
                    }
                    Some(what) => what,
                }
            }
            Ok(_) => "it is a segment of another number",
            Err(HeaderFault::Version(found)) => return Err(JournalError::Version { segment: id, found }),
            Err(HeaderFault::NotASegment) => "it does not begin as a segment does",
            Err(HeaderFault::Damaged) => "its header is damaged",
        };
        let bytes = u32::try_from(file_bytes).unwrap_or(u32::MAX);
        recovery.damages.push(Damage { file: name, offset: 0, bytes, what: fault });
    }
    Ok(inventory)
}

type DecodedHeader = Result<(Header, usize), HeaderFault>;

fn read_header<F: DiskFile>(file: &F, file_bytes: u64) -> Result<(Vec<u8>, DecodedHeader), JournalError> {
    let mut size = 4096;
    loop {
        let mut bytes = vec![0; size];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        let header = Header::decode(&bytes);
        let may_be_longer = (size as u64) < file_bytes && size < segment::HEADER_BYTES_MAX;
        if header.is_ok() || !may_be_longer {
            return Ok((bytes, header));
        }
        size = (size * 16).min(segment::HEADER_BYTES_MAX);
    }
}

/// What is wrong with the seal of a header, if something is.
fn header_fault(
    header: &Header,
    header_bytes: usize,
    bytes: &[u8],
    keys: &FileKeys,
) -> Result<Option<&'static str>, JournalError> {
    match keys.key(header.id, header.key) {
        Ok(None) => Ok(None),
        Ok(Some(key)) if Header::is_genuine(bytes, header_bytes, &key) => Ok(None),
        Ok(Some(_)) => Ok(Some("its header is not what was sealed")),
        Err(KeyFault::Seal(error)) => Err(error.into()),
        Err(_) if header.key == 0 => Err(JournalError::NotSealed { segment: header.id }),
        Err(_) => Err(JournalError::KeyWanted { segment: header.id, key: header.key }),
    }
}

/// The segments in force with the bytes of each that count; `None` for the newest, whose end is not known.
fn in_force<F>(inventory: Inventory<F>, recovery: &mut Recovery) -> BTreeMap<u32, (Found<F>, Option<u32>)> {
    let mut in_force = BTreeMap::new();
    let mut found = inventory.found;
    let Some((newest, last)) = found.pop_last() else { return in_force };
    for (id, length) in &last.header.older {
        let name = segment::file_name(*id);
        match found.remove(id) {
            Some(segment) => {
                in_force.insert(*id, (segment, Some(*length)));
            }
            None if recovery.damages.iter().any(|damage| damage.file == name) => {}
            None => recovery.missing.push(name),
        }
    }
    in_force.insert(newest, (last, None));
    recovery.stale.extend(found.into_keys().map(segment::file_name));
    in_force
}

/// Takes what is in a segment into force; gives the segment and its last commit.
fn replay<F: DiskFile>(
    id: u32,
    found: Found<F>,
    length: Option<u32>,
    keys: &FileKeys,
    index: &mut Index,
    recovery: &mut Recovery,
) -> Result<(Segment<F>, u64), JournalError> {
    let file = segment::file_name(id);
    let mut bytes = vec![0; length.map_or(found.file_bytes, u64::from).try_into().unwrap_or(0)];
    let read = found.file.read_at(0, &mut bytes)?;
    let mut damages = Vec::new();
    if read < bytes.len() {
        damages.push(gap(read, bytes.len(), "the file is shorter than it was"));
        bytes.truncate(read);
    }
    let scan = Scan::of(id, &mut bytes, keys, length.is_none())?;
    damages.extend(&scan.damages);
    index.usage.entry(id).or_default();
    let mut used = BTreeSet::from([found.header.key]);
    let mut last_commit = found.header.first_commit.saturating_sub(1);
    for block in &scan.blocks {
        used.insert(block.key);
        last_commit = last_commit.max(block.commit);
        let is_whole = block.records(&bytes, |record, place| {
            index.apply(record, place);
            recovery.records += 1;
        });
        if !is_whole {
            let end = block.offset as usize + HEADER_BYTES + block.body as usize;
            damages.push(gap(block.offset as usize, end, "a block holds something else than records"));
        }
    }
    let end = scan.cut.map_or(scan.end, |cut| cut.offset as usize).max(found.header_bytes);
    recovery.segments += 1;
    recovery.bytes += bytes.len() as u64;
    recovery.shredded_blocks += scan.shredded;
    if let Some(usage) = index.usage.get_mut(&id) {
        usage.is_damaged = !damages.is_empty();
    }
    if let Some(Gap { offset, bytes, .. }) = scan.cut {
        recovery.cut = Some(Cut { file: file.clone(), offset, bytes });
    }
    recovery.damages.extend(damages.into_iter().map(|gap| gap.damage(&file)));
    let length = length.unwrap_or_else(|| u32::try_from(end).unwrap_or(u32::MAX));
    let segment = Segment { file: Arc::new(found.file), length, keys: used, syncs: Arc::default() };
    Ok((segment, last_commit))
}
