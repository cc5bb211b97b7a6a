//! Appending, syncing, and what happens when the disk does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use motte_seal::envelope::{FileKey, SALT_BYTES, SealError};
use rustc_hash::FxHashSet;

use crate::disk::{Disk, DiskError, DiskFault, DiskFile};

use super::batch::{Batch, Group, PublicationId};
use super::block::{self, At, BODY_BYTES, HEADER_BYTES};
use super::error::JournalError;
use super::keys::KeyFault;
use super::publications::{Place, Size};
use super::queue::NO_PUBLICATION;
use super::record::{self, FLAG_RELEASED, Record};
use super::segment::{self, Header};
use super::{Broken, COMMIT_BYTES_MAX, CommitSeq, Journal, PendingSync, Segment};

/// Name of the file that is given up when the disk is full.
const RESERVE: &str = "journal.reserve";
/// Batches kept for their memory.
const SPARE_MAX: usize = 4;
/// A batch of more memory is not kept.
const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

impl<D: Disk> Journal<D> {
    /// Appends batches as one commit: after a crash all of it is there or nothing. It is on disk after the next
    /// [`Self::sync`].
    ///
    /// # Errors
    /// Nothing of it is stored then: [`JournalError::Disk`] the first time, [`JournalError::Refusing`] until
    /// [`Self::mend`] succeeds, [`JournalError::TooLarge`], [`JournalError::UnknownPublication`],
    /// [`JournalError::PublicationNumber`], [`JournalError::UnknownGroup`].
    pub fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a Batch>,
    ) -> Result<CommitSeq, JournalError> {
        if let Some(broken) = &self.broken {
            return Err(JournalError::Refusing(broken.cause.clone()));
        }
        let mut commit = self.spare.pop().unwrap_or_default();
        commit.clear();
        batches.into_iter().for_each(|batch| commit.extend(batch));
        let result = self.append_commit(&mut commit);
        match result {
            Ok(()) if !commit.is_empty() => {
                self.unsynced.push((self.next_commit, commit));
                self.next_commit += 1;
            }
            Ok(()) | Err(_) => self.keep_spare(commit),
        }
        result.map(|()| self.appended())
    }

    fn append_commit(&mut self, commit: &mut Batch) -> Result<(), JournalError> {
        if commit.is_empty() {
            return Ok(());
        }
        let change = self.order.leave_out_overtaken(commit);
        if !commit.is_empty() {
            self.make_place(commit.bytes())?;
            self.prepare(commit)?;
            self.write(commit)?;
        }
        self.order.wrote(change);
        Ok(())
    }

    /// Begins the next segment if the active one has no room for a commit of so many bytes.
    pub(super) fn make_place(&mut self, bytes: usize) -> Result<(), JournalError> {
        if bytes > COMMIT_BYTES_MAX {
            return Err(JournalError::TooLarge { bytes, max: COMMIT_BYTES_MAX });
        }
        let is_full = self.offset as usize + bytes > self.options.segment_bytes as usize;
        // A commit that has no room in any segment gets one of its own.
        if is_full && self.offset > 0 && self.segment_has_blocks() { self.roll() } else { Ok(()) }
    }

    fn segment_has_blocks(&self) -> bool {
        self.segments.get(&self.active).is_some_and(|segment| segment.length < self.offset)
    }

    /// Checks that what is referred to is there, and tells each removal where what it removes can be.
    fn prepare(&self, commit: &mut Batch) -> Result<(), JournalError> {
        let mut put = FxHashSet::default();
        let mut at = 0;
        while let Some((record, length)) = commit.bytes.get(at..).and_then(record::next) {
            match record {
                Record::PutPublication { id, .. } if id >= NO_PUBLICATION => {
                    return Err(JournalError::PublicationNumber(PublicationId(id)));
                }
                Record::PutPublication { id, .. } => {
                    put.insert(id);
                }
                Record::PutDelivery { publication: NO_PUBLICATION, flags, .. }
                    if flags & FLAG_RELEASED != 0 => {}
                Record::PutDelivery { publication, .. } | Record::PutRetained { publication, .. }
                    if !put.contains(&publication) && self.index.publications.get(publication).is_none() =>
                {
                    return Err(JournalError::UnknownPublication(PublicationId(publication)));
                }
                _ if record.span().is_some() => {
                    let span = self.index.span_of(&record, self.active);
                    record::set_span(span, commit.bytes.get_mut(at..).unwrap_or_default());
                }
                _ => {}
            }
            at += length;
        }
        Ok(())
    }

    /// Writes a commit at the end of the active segment and takes it into force.
    pub(super) fn write(&mut self, commit: &Batch) -> Result<(), JournalError> {
        self.build(commit)?;
        let segment = self.segments.get(&self.active);
        let Some(file) = segment.map(|segment| Arc::clone(&segment.file)) else {
            return Ok(());
        };
        if let Err(cause) = file.write_at(u64::from(self.offset), &self.out) {
            self.broken = Some(Broken { cause: cause.clone(), is_lost: false });
            return Err(JournalError::Disk(cause));
        }
        self.offset += u32::try_from(self.out.len()).unwrap_or(0);
        self.write_room_ahead(&file, self.out.len());
        let mut put = Vec::new();
        let mut at = 0;
        for place in &self.places {
            let Some((record, length)) = commit.bytes.get(at..).and_then(record::next) else { break };
            if let Record::PutPublication { id, .. } = record {
                put.push(id);
            }
            self.index.apply(&record, *place);
            at += length;
        }
        for id in put {
            if self.index.publications.get(id).is_some_and(|message| message.references == 0) {
                self.index.forget_publication(id);
            }
        }
        Ok(())
    }

    /// The blocks of a commit, into `out`, and where in them each record is, into `places`.
    fn build(&mut self, commit: &Batch) -> Result<(), JournalError> {
        self.out.clear();
        self.places.clear();
        let mut builder = Builder {
            segment: self.active,
            offset: self.offset,
            commit: self.next_commit,
            durable: self.synced,
            start: 0,
            key: 0,
            file_key: None,
        };
        let mut at = 0;
        for run in &commit.runs {
            let key = self.keys.data.current(run.group).ok_or(JournalError::UnknownGroup(run.group))?;
            let end = at + run.bytes;
            while let Some(record) = record_at(&commit.bytes, at).filter(|_| at < end) {
                let is_full = self.out.len() - builder.start >= HEADER_BYTES + BODY_BYTES;
                if self.out.is_empty() || key != builder.key || is_full {
                    if !self.out.is_empty() {
                        builder.finish(&mut self.out, 0)?;
                    }
                    self.begin_block(&mut builder, key)?;
                }
                self.places.push(Place {
                    segment: self.active,
                    block: builder.at().offset,
                    start: u16::try_from(self.out.len() - builder.start - HEADER_BYTES).unwrap_or(0),
                    size: Size::of(record.len()),
                });
                self.out.extend_from_slice(record);
                at += record.len();
            }
        }
        builder.finish(&mut self.out, block::LAST)?;
        let end = u64::from(self.offset) + self.out.len() as u64;
        if u32::try_from(end).is_err() {
            return Err(JournalError::TooLarge { bytes: self.out.len(), max: COMMIT_BYTES_MAX });
        }
        Ok(())
    }

    fn begin_block(&mut self, builder: &mut Builder, key: u32) -> Result<(), JournalError> {
        if key != builder.key {
            builder.key = key;
            builder.file_key = self.file_key(self.active, key)?;
            if let Some(segment) = self.segments.get_mut(&self.active) {
                segment.keys.insert(key);
            }
        }
        builder.start = self.out.len();
        self.out.resize(builder.start + HEADER_BYTES, 0);
        Ok(())
    }

    fn file_key(&self, segment: u32, key: u32) -> Result<Option<Arc<FileKey>>, JournalError> {
        self.keys.key(segment, key).map_err(|fault| match fault {
            KeyFault::Shredded | KeyFault::Unknown => JournalError::KeyWanted { segment, key },
            KeyFault::Seal(error) => JournalError::Seal(error),
        })
    }

    /// Returns when all that was appended is on disk, and says the last commit that is.
    ///
    /// # Errors
    /// [`JournalError::InDoubt`]: what was appended since the last success may be found after a restart or not. The
    /// journal appends it again to another segment before it says so, so the disk failed more than once.
    pub fn sync(&mut self) -> Result<CommitSeq, JournalError> {
        let pending = self.begin_sync();
        let result = pending.run();
        self.finish_sync(&pending, result)
    }

    /// Takes the result of a sync.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn finish_sync(
        &mut self,
        pending: &PendingSync<D::File>,
        result: Result<(), DiskError>,
    ) -> Result<CommitSeq, JournalError> {
        match result {
            // After a sync that failed, one that succeeds says nothing of what the first one lost.
            Ok(()) if self.broken.as_ref().is_some_and(|broken| broken.is_lost) => self.mend()?,
            Ok(()) => self.settle(pending.segment, pending.offset, pending.commit),
            Err(cause) => {
                self.broken = Some(Broken { cause, is_lost: true });
                self.mend()?;
            }
        }
        Ok(self.durable())
    }

    /// Everything up to here is on disk.
    fn settle(&mut self, segment: u32, offset: u32, commit: u64) {
        if segment == self.active {
            // What somebody else synced meanwhile goes further.
            self.synced = self.synced.max(offset);
        }
        self.durable = self.durable.max(commit);
        while self.unsynced.first().is_some_and(|(first, _)| *first <= commit) {
            let (_, batch) = self.unsynced.remove(0);
            self.keep_spare(batch);
        }
    }

    fn keep_spare(&mut self, batch: Batch) {
        if self.spare.len() < SPARE_MAX && batch.bytes.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(batch);
        }
    }

    /// Tries to go on after a failure: begins a segment and appends again what a failed sync may have lost. Does nothing
    /// if nothing is broken. To be called now and then while [`Self::refusal`] says something.
    ///
    /// # Errors
    /// [`JournalError::InDoubt`] if commits may be lost, else [`JournalError::Disk`]; the failure is not mended then.
    pub fn mend(&mut self) -> Result<(), JournalError> {
        let Some(broken) = self.broken.clone() else { return Ok(()) };
        let result = self.try_mend(&broken);
        let Err(error) = result else { return Ok(()) };
        let is_lost = broken.is_lost || self.broken.as_ref().is_some_and(|broken| broken.is_lost);
        let (JournalError::Disk(cause) | JournalError::InDoubt(cause) | JournalError::Refusing(cause)) =
            error
        else {
            return Err(error);
        };
        self.broken = Some(Broken { cause: cause.clone(), is_lost });
        Err(if is_lost { JournalError::InDoubt(cause) } else { JournalError::Disk(cause) })
    }

    fn try_mend(&mut self, broken: &Broken) -> Result<(), JournalError> {
        if broken.cause.fault == DiskFault::Full {
            // Room is proved by a reserve; until there is one, only what makes room is done.
            let had_reserve = std::mem::take(&mut self.has_reserve);
            if had_reserve {
                self.disk.remove(RESERVE)?;
            }
            if broken.is_lost {
                self.roll()?;
                // Without it the journal only has less to get out of the next full disk with.
                let _ = self.make_reserve();
                return Ok(());
            }
            if !self.index.droppable(self.active).is_empty() {
                self.roll()?;
                self.broken = Some(broken.clone());
            }
            self.make_reserve()?;
        }
        self.roll()
    }

    /// Writes the reserve if it is not there.
    pub(super) fn make_reserve(&mut self) -> Result<(), DiskError> {
        if self.has_reserve || self.options.reserve_bytes == 0 {
            return Ok(());
        }
        match self.disk.remove(RESERVE) {
            Ok(()) => {}
            Err(error) if error.fault == DiskFault::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = self.disk.create(RESERVE)?;
        let zeros = vec![0; self.options.reserve_bytes as usize];
        let written = file.write_at(0, &zeros).and_then(|()| file.sync());
        if let Err(error) = written {
            let _ = self.disk.remove(RESERVE);
            return Err(error);
        }
        self.has_reserve = true;
        Ok(())
    }

    /// Ends the active segment and begins the next, which leaves out those that nothing needs.
    pub(super) fn roll(&mut self) -> Result<(), JournalError> {
        let mut is_lost = self.broken.as_ref().is_some_and(|broken| broken.is_lost);
        if !is_lost && self.synced < self.offset {
            let pending = self.begin_sync();
            match pending.run() {
                Ok(()) => self.settle(pending.segment, pending.offset, pending.commit),
                Err(cause) => {
                    is_lost = true;
                    self.broken = Some(Broken { cause, is_lost });
                }
            }
        }
        // What is not on disk yet may be a removal: as long as it can be lost, what it removes must not be.
        let dropped = if is_lost { BTreeSet::new() } else { self.index.droppable(u32::MAX) };
        let end = self.synced;
        if let Some(segment) = self.segments.get_mut(&self.active) {
            segment.length = end;
        }
        if let Err(error) = self.begin_segment(&dropped) {
            // A header may be on disk that names the active segment as long as it is now: nothing more goes there.
            if let (JournalError::Disk(cause), None) = (&error, &self.broken) {
                self.broken = Some(Broken { cause: cause.clone(), is_lost });
            }
            return Err(error);
        }
        self.write_again()
    }

    /// Appends what may be lost to the new segment, and waits until it is on disk.
    fn write_again(&mut self) -> Result<(), JournalError> {
        // As one commit, so that a failure in the middle leaves nothing half in force.
        let mut again = Batch::new();
        self.unsynced.iter().for_each(|(_, batch)| again.extend(batch));
        if !again.is_empty() {
            if let Err(error) = self.write(&again) {
                if let Some(broken) = &mut self.broken {
                    broken.is_lost = true;
                }
                return Err(error);
            }
            self.unsynced = vec![(self.next_commit, again)];
            self.next_commit += 1;
        }
        self.broken = None;
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let pending = self.begin_sync();
        match pending.run() {
            Ok(()) => {
                self.settle(pending.segment, pending.offset, pending.commit);
                Ok(())
            }
            Err(cause) => {
                self.broken = Some(Broken { cause: cause.clone(), is_lost: true });
                Err(JournalError::InDoubt(cause))
            }
        }
    }

    /// Begins a segment whose header leaves out `dropped`, and removes those. Under another name first, so that a segment
    /// has a whole header or is none.
    pub(super) fn begin_segment(&mut self, dropped: &BTreeSet<u32>) -> Result<(), JournalError> {
        let id = self.next_segment;
        self.next_segment = id.checked_add(1).ok_or(JournalError::SegmentNumbers)?;
        let mut salt = [0; SALT_BYTES];
        let mut key = 0;
        if self.keys.data.is_sealed() {
            getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
            key = self.keys.data.current(Group::COMMON).ok_or(JournalError::UnknownGroup(Group::COMMON))?;
        }
        self.keys.add_segment(id, salt);
        let older = self.segments.iter().filter(|(id, _)| !dropped.contains(id));
        let older = older.map(|(id, segment)| (*id, segment.length)).collect();
        let header = Header { id, first_commit: self.next_commit, key, salt, older };
        let bytes = header.encode(self.file_key(id, key)?.as_deref())?;
        let (name, new) = (segment::file_name(id), format!("{}.new", segment::file_name(id)));
        let file = self.disk.create(&new)?;
        let made = file
            .write_at(0, &bytes)
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.rename(&new, &name))
            .and_then(|()| self.disk.sync_names());
        if let Err(error) = made {
            let _ = self.disk.remove(&new);
            return Err(error.into());
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let keys = BTreeSet::from([key]);
        self.segments.insert(id, Segment { file: Arc::new(file), length, keys, syncs: Arc::default() });
        self.index.usage.entry(id).or_default();
        (self.active, self.offset, self.synced, self.room) = (id, length, length, 0);
        for id in dropped {
            self.segments.remove(id);
            self.index.usage.remove(id);
            self.keys.remove_segment(*id);
            // If it stays, the next start removes it: no header names it any more.
            let _ = self.disk.remove(&segment::file_name(*id));
        }
        Ok(())
    }

    /// Ends the journal so that the next start knows that nothing is missing.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn close(mut self) -> Result<CommitSeq, JournalError> {
        self.mend()?;
        self.sync()?;
        let key = self.keys.data.current(Group::COMMON).ok_or(JournalError::UnknownGroup(Group::COMMON))?;
        let file_key = self.file_key(self.active, key)?;
        let mut builder = Builder {
            segment: self.active,
            offset: self.offset,
            commit: self.next_commit,
            durable: self.synced,
            start: 0,
            key,
            file_key,
        };
        self.out.clear();
        self.out.resize(HEADER_BYTES, 0);
        builder.finish(&mut self.out, block::LAST | block::CLOSED)?;
        if let Some(segment) = self.segments.get(&self.active) {
            segment.file.write_at(u64::from(self.offset), &self.out)?;
            segment.file.sync()?;
        }
        Ok(self.durable())
    }
}

/// The record at this offset, whole.
fn record_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    rest.get(..length.checked_add(4)?)
}

/// The block that is being built.
struct Builder {
    segment: u32,
    /// Offset in the segment of what is built.
    offset: u32,
    commit: u64,
    durable: u32,
    /// Offset of the block in what is built.
    start: usize,
    key: u32,
    file_key: Option<Arc<FileKey>>,
}

impl Builder {
    fn at(&self) -> At {
        let offset = self.offset.saturating_add(u32::try_from(self.start).unwrap_or(u32::MAX));
        At { segment: self.segment, offset }
    }

    fn finish(&mut self, out: &mut Vec<u8>, flags: u8) -> Result<(), SealError> {
        let header =
            block::Header { flags, body: 0, key: self.key, commit: self.commit, durable: self.durable };
        block::finish(out, self.start, self.at(), header, self.file_key.as_deref())
    }
}
