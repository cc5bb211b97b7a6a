//! Compaction: segments that are mostly unneeded are written again, as far as they are needed, at the end of the log.
//!
//! Nothing is lost by a crash in the middle: until the header of a later segment leaves the old ones out, both versions
//! are read, the copies last.

use std::collections::BTreeSet;

use crate::disk::{Disk, DiskFile};

use super::batch::{Batch, Group};
use super::error::JournalError;
use super::publications::Place;
use super::record::Record;
use super::scan::{BlockAt, Scan};
use super::{Journal, Segment};

/// Records that are copied in one commit.
const COPY_BYTES: usize = 1024 * 1024;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// Segments that are gone.
    pub segments: usize,
    /// Bytes they had.
    pub freed_bytes: u64,
    /// Bytes written again.
    pub copied_bytes: u64,
}

impl<D: Disk> Journal<D> {
    /// Whether [`Self::compact`] would free as much as a segment holds: less is not worth beginning one for.
    pub fn wants_compaction(&self) -> bool {
        let closed = self.segments.iter().filter(|(id, _)| **id != self.active);
        let unneeded = closed.map(|(id, segment)| {
            let (needed, length) = (self.index.needed_bytes(*id), u64::from(segment.length));
            let is_damaged = self.index.usage.get(id).is_none_or(|usage| usage.is_damaged);
            if needed * 2 < length && !is_damaged { length - needed } else { 0 }
        });
        unneeded.sum::<u64>() >= u64::from(self.options.segment_bytes)
    }

    /// Frees what is not needed: segments of which nothing is needed go, and those of which less than half is needed are
    /// written again first, up to `bytes_max` bytes of segments and at least one. Takes as long as reading so much and
    /// writing half of it at most.
    ///
    /// # Errors
    /// Those of [`Self::append`] and [`Self::sync`]; nothing is lost then.
    pub fn compact(&mut self, bytes_max: u64) -> Result<Compaction, JournalError> {
        let gone = self.candidates(bytes_max);
        self.rewrite(&gone)
    }

    /// Writes all segments again that hold something sealed with one of these data keys, so that the keys can be
    /// forgotten.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub fn rewrite_keys(&mut self, keys: &BTreeSet<u32>) -> Result<Compaction, JournalError> {
        // The active segment, too: it must not be among those that are written again.
        self.mend()?;
        self.roll()?;
        let uses = |segment: &Segment<D::File>| !segment.keys.is_disjoint(keys);
        let closed = self.segments.iter().filter(|(id, _)| **id != self.active);
        let gone = closed.filter(|(_, segment)| uses(segment)).map(|(id, _)| *id).collect();
        let done = self.rewrite(&gone)?;
        // They must not come back from a power cut once their keys are forgotten.
        self.disk.sync_names()?;
        Ok(done)
    }

    /// Begins what [`Self::rewrite_next`] goes on with, and says how many bytes of segments there are to be written again.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub fn begin_rewrite(&mut self, keys: &BTreeSet<u32>) -> Result<u64, JournalError> {
        self.mend()?;
        self.roll()?;
        let uses = self.segments.values().filter(|segment| !segment.keys.is_disjoint(keys));
        Ok(uses.map(|segment| u64::from(segment.length)).sum())
    }

    /// Writes the next segment again that holds something sealed with one of these data keys, as [`Self::rewrite_keys`] does with
    /// all of them at once, so that others get at the journal in between. Gives the bytes that segment had; `None` when there is
    /// none left.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub fn rewrite_next(&mut self, keys: &BTreeSet<u32>) -> Result<Option<u64>, JournalError> {
        let uses = |(id, segment): &(&u32, &Segment<D::File>)| {
            **id != self.active && !segment.keys.is_disjoint(keys)
        };
        let Some((id, bytes)) = self.segments.iter().find(uses).map(|(id, segment)| (*id, segment.length))
        else {
            // The segments must not come back from a power cut once their keys are forgotten.
            self.disk.sync_names()?;
            return Ok(None);
        };
        self.rewrite(&BTreeSet::from([id]))?;
        if self.segments.contains_key(&id) {
            // Its blocks were copied; what keeps it is not in the copies.
            return Err(JournalError::Damaged { segment: id, offset: 0 });
        }
        Ok(Some(u64::from(bytes)))
    }

    /// Segments of which something is needed, but less than half: those with the least first, up to so many bytes.
    fn candidates(&self, bytes_max: u64) -> BTreeSet<u32> {
        let droppable = self.index.droppable(self.active);
        let mut found = Vec::new();
        for (id, segment) in &self.segments {
            let is_damaged = self.index.usage.get(id).is_none_or(|usage| usage.is_damaged);
            let (needed, length) = (self.index.needed_bytes(*id), u64::from(segment.length));
            if *id != self.active && !is_damaged && !droppable.contains(id) && needed * 2 < length {
                found.push((needed * 256 / length.max(1), *id, length));
            }
        }
        found.sort_unstable();
        let mut bytes = 0;
        let fits = |(_, _, length): &(u64, u32, u64)| {
            let is_first = bytes == 0;
            bytes += length;
            is_first || bytes <= bytes_max
        };
        found.into_iter().take_while(fits).map(|(_, id, _)| id).collect()
    }

    fn rewrite(&mut self, gone: &BTreeSet<u32>) -> Result<Compaction, JournalError> {
        if let Some(broken) = &self.broken {
            return Err(JournalError::Refusing(broken.cause.clone()));
        }
        let before = self.statistics();
        let mut done = Compaction::default();
        for id in gone {
            done.copied_bytes += self.copy(*id, gone)?;
        }
        self.sync()?;
        self.roll()?;
        let after = self.statistics();
        done.segments = (before.segments + 1).saturating_sub(after.segments);
        done.freed_bytes = before.bytes.saturating_sub(after.bytes);
        Ok(done)
    }

    /// Appends what is needed of a segment, and says how much that was.
    fn copy(&mut self, id: u32, gone: &BTreeSet<u32>) -> Result<u64, JournalError> {
        let Some(segment) = self.segments.get(&id) else { return Ok(0) };
        let mut bytes = vec![0; segment.length as usize];
        let read = segment.file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        let scan = Scan::of(id, &mut bytes, &self.keys, false)?;
        if let Some(damage) = scan.damages.first() {
            // It stays as it is; what is whole in it is still served.
            self.index.usage.entry(id).or_default().is_damaged = true;
            return Err(JournalError::Damaged { segment: id, offset: damage.offset });
        }
        let mut copies = Batch::new();
        let mut written = 0;
        for block in &scan.blocks {
            let group =
                self.keys.data.with_ring(|ring| ring.group(block.key)).flatten().map_or(Group::COMMON, Group);
            self.copy_block(block, &bytes, group, gone, &mut copies);
            if copies.bytes() >= COPY_BYTES {
                written += self.append_copies(&mut copies)?;
            }
        }
        written += self.append_copies(&mut copies)?;
        if let Some(usage) = self.index.usage.get_mut(&id) {
            // Its removals are at the end of the log now, so it need not stay for them.
            usage.spans.clear();
        }
        Ok(written)
    }

    fn copy_block(
        &mut self,
        block: &BlockAt,
        bytes: &[u8],
        group: Group,
        gone: &BTreeSet<u32>,
        copies: &mut Batch,
    ) {
        let index = &mut self.index;
        block.records(bytes, |record: &Record<'_>, place: Place| {
            if index.takes_place_of(record) {
                return;
            }
            if let Some(survivor) = index.survivor(record, place, gone) {
                copies.add(group, |out| survivor.encode(out));
            }
        });
    }

    fn append_copies(&mut self, copies: &mut Batch) -> Result<u64, JournalError> {
        if copies.is_empty() {
            return Ok(0);
        }
        self.make_place(copies.bytes())?;
        self.write(copies)?;
        let bytes = copies.bytes() as u64;
        self.unsynced.push((self.next_commit, std::mem::take(copies)));
        self.next_commit += 1;
        Ok(bytes)
    }
}
