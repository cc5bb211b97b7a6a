//! Records back from the disk, a block at a time.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::record::PublicationRecord;
use crate::snapshot::decode::{self, LastSource};

use super::block::{self, At, BODY_BYTES, HEADER_BYTES};
use super::error::JournalError;
use super::keys::{FileKeys, KeyFault};
use super::publications::Place;
use super::record::{self, Record};

/// Read at once: a block of the usual size with what surrounds its body.
const READ_BYTES: usize = BODY_BYTES + 4096;
/// Blocks a cache keeps.
const CACHED_BLOCKS: usize = 16;
/// A body beyond this is not kept.
const CACHED_BODY_BYTES: usize = 256 * 1024;

/// Blocks that were read and opened, kept by whoever reads: messages of a queue lie beside each other. At most 4 MiB,
/// usually 300 KiB.
#[derive(Debug, Default)]
pub struct BlockCache {
    blocks: Vec<(At, Vec<u8>)>,
    next: usize,
    last_source: LastSource,
}

impl BlockCache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn body(&self, at: At) -> Option<&[u8]> {
        self.blocks.iter().find(|(known, _)| *known == at).map(|(_, body)| body.as_slice())
    }

    fn keep(&mut self, at: At, body: Vec<u8>) {
        if body.len() > CACHED_BODY_BYTES {
            return;
        }
        match self.blocks.get_mut(self.next) {
            Some(place) => *place = (at, body),
            None => self.blocks.push((at, body)),
        }
        self.next = (self.next + 1) % CACHED_BLOCKS;
    }
}

/// Where a record is and all that is needed to read it, so that the journal need not be held meanwhile.
#[derive(Debug, Clone)]
pub struct Located<F> {
    pub(super) file: Arc<F>,
    pub(super) keys: Arc<FileKeys>,
    pub(super) place: Place,
}

impl<F: DiskFile> Located<F> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`JournalError::Disk`], [`JournalError::Damaged`], [`JournalError::Shredded`], [`JournalError::Record`].
    pub fn publication(&self, cache: &mut BlockCache) -> Result<PublicationRecord, JournalError> {
        let mut last = std::mem::take(&mut cache.last_source);
        let read = self.with(cache, |record| match record {
            Record::PutPublication { value, .. } => Ok(Some(decode::publication(value, &mut last)?)),
            _ => Ok(None),
        });
        cache.last_source = last;
        read
    }

    /// Hands the record to `take`, which says `None` if it is not of the kind that should be here.
    pub(super) fn with<T>(
        &self,
        cache: &mut BlockCache,
        take: impl FnOnce(&Record<'_>) -> Result<Option<T>, JournalError>,
    ) -> Result<T, JournalError> {
        let at = At { segment: self.place.segment, offset: self.place.block };
        let damaged = JournalError::Damaged { segment: at.segment, offset: at.offset };
        let start = usize::from(self.place.start);
        if let Some(body) = cache.body(at) {
            let record = body.get(start..).and_then(record::next);
            return record.map_or(Ok(None), |(record, _)| take(&record))?.ok_or(damaged);
        }
        let body = read_block(&*self.file, at, &self.keys)?;
        let record = body.get(start..).and_then(record::next);
        let taken = record.map_or(Ok(None), |(record, _)| take(&record))?.ok_or(damaged)?;
        cache.keep(at, body);
        Ok(taken)
    }
}

/// The body of the block at this place.
fn read_block<F: DiskFile>(file: &F, at: At, keys: &FileKeys) -> Result<Vec<u8>, JournalError> {
    let damaged = || JournalError::Damaged { segment: at.segment, offset: at.offset };
    let mut bytes = vec![0; READ_BYTES];
    let read = file.read_at(u64::from(at.offset), &mut bytes)?;
    bytes.truncate(read);
    let header = block::Header::decode(at, &bytes).ok_or_else(damaged)?;
    let whole = usize::try_from(header.block_bytes()).map_err(|_| damaged())?;
    if bytes.len() < whole {
        if file.length()? < u64::from(at.offset) + header.block_bytes() {
            return Err(damaged());
        }
        let had = bytes.len();
        bytes.resize(whole, 0);
        let rest = bytes.get_mut(had..).unwrap_or_default();
        if file.read_at(u64::from(at.offset) + had as u64, rest)? < whole - had {
            return Err(damaged());
        }
    }
    bytes.truncate(whole);
    let key = keys.key(at.segment, header.key).map_err(|fault| match fault {
        KeyFault::Shredded => JournalError::Shredded { segment: at.segment, offset: at.offset },
        KeyFault::Unknown => JournalError::KeyWanted { segment: at.segment, key: header.key },
        KeyFault::Seal(error) => JournalError::Seal(error),
    })?;
    let body = block::open(at, &mut bytes, key.as_deref()).ok_or_else(damaged)?.len();
    bytes.drain(..HEADER_BYTES);
    bytes.truncate(body);
    Ok(bytes)
}
