//! Syncs that are run while the journal is free for others.
//!
//! A system says once that a sync failed, to one of those who ask; what it forgot then stays forgotten, and the next sync of
//! the same file succeeds. So the syncs of a segment are run one after the other, and once one has failed, none succeeds.

use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, DiskError, DiskFile};

use super::Journal;

/// What became of the syncs of a segment: how the first one failed that did.
#[derive(Debug, Default)]
pub(super) struct Syncs(Mutex<Option<DiskError>>);

/// A sync to be run while the journal is free for readers.
#[derive(Debug)]
pub struct PendingSync<F> {
    file: Option<(Arc<F>, Arc<Syncs>)>,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) commit: u64,
}

impl<D: Disk> Journal<D> {
    /// What to sync now. [`PendingSync::run`] does it without the journal, [`Self::finish_sync`] takes the result.
    pub fn begin_sync(&self) -> PendingSync<D::File> {
        let segment = self.segments.get(&self.active);
        let file = segment.map(|segment| (Arc::clone(&segment.file), Arc::clone(&segment.syncs)));
        PendingSync { file, segment: self.active, offset: self.offset, commit: self.next_commit - 1 }
    }
}

impl<F: DiskFile> PendingSync<F> {
    /// Returns when it is done.
    ///
    /// # Errors
    /// [`DiskError`]: that of the first sync of this segment that failed.
    pub fn run(&self) -> Result<(), DiskError> {
        let Some((file, syncs)) = &self.file else { return Ok(()) };
        let mut failed = syncs.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cause) = &*failed {
            return Err(cause.clone());
        }
        file.sync().inspect_err(|cause| *failed = Some(cause.clone()))
    }
}
