//! The journal: durable state as a log of changes with an index in memory, made for queues, in which what is appended is
//! mostly removed soon.
//!
//! Changes go to the end of the newest segment, many at once, and are kept by one sync. The index says where each message
//! is; deliveries are in it whole, 16 bytes each. A segment that nothing needs any more is removed when the next one is
//! begun; one that is mostly unneeded is written again at the end of the log (`Journal::compact`). A segment is never
//! written to after a restart or a failure, so that an offset of it is written once and its nonces are used once.

mod append;
mod batch;
mod block;
mod compact;
mod error;
mod index;
mod keys;
mod need;
mod order;
mod publications;
mod queue;
mod read;
mod record;
mod recover;
mod room;
mod scan;
mod segment;
mod state;
mod sync;
mod transfer;

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_seal::keyring::Keyring;

use crate::disk::{Disk, DiskError};

pub use batch::{Batch, Group, NewDelivery, PublicationId, RetainedPlace, SessionId};
pub use compact::Compaction;
pub use error::JournalError;
pub use read::{BlockCache, Located};
pub use recover::{Cut, Damage, Recovery, segments_of};
pub use state::{Delivery, Statistics};
pub use sync::PendingSync;
pub use transfer::{Content, ExportSummary, Exported, NotExported};

use index::Index;
use keys::FileKeys;
use order::RetainedOrder;
use publications::Place;

/// Number of a commit: later ones have larger numbers, also after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitSeq(pub u64);

/// Sizes of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes after which the next segment is begun; a larger commit has one of its own. 4 KiB to 1 GiB.
    pub segment_bytes: u32,
    /// Bytes kept aside to get out of a full disk with.
    pub reserve_bytes: u32,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024, reserve_bytes: 1024 * 1024 }
    }
}

/// Records of one commit in bytes, at most.
const COMMIT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A segment.
#[derive(Debug)]
struct Segment<F> {
    file: Arc<F>,
    /// Bytes that count.
    length: u32,
    /// Data keys its blocks are sealed with.
    keys: std::collections::BTreeSet<u32>,
    /// What became of its syncs.
    syncs: Arc<sync::Syncs>,
}

/// Why nothing is appended at the moment.
#[derive(Debug, Clone)]
struct Broken {
    cause: DiskError,
    /// A sync failed: what was appended since the one before is lost, as far as is known.
    is_lost: bool,
}

/// Durable state on a disk. One thread appends; others read what [`Journal::locate`] gave without holding the journal.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    options: JournalOptions,
    keys: Arc<FileKeys>,
    index: Index,
    segments: BTreeMap<u32, Segment<D::File>>,
    active: u32,
    /// Bytes of the active segment that are written, and that are known to be on disk.
    offset: u32,
    synced: u32,
    /// Up to here there are zeros behind the end, or were.
    room: u32,
    next_segment: u32,
    next_commit: u64,
    durable: u64,
    /// What was appended since the last sync, to be appended again if that fails.
    unsynced: Vec<(u64, Batch)>,
    order: RetainedOrder,
    spare: Vec<Batch>,
    broken: Option<Broken>,
    has_reserve: bool,
    /// Buffers of an append, kept.
    out: Vec<u8>,
    places: Vec<Place>,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal of a disk, reading back all that is in force; an empty disk gives an empty journal. With a
    /// keyring all that is written is sealed, and nothing that is not sealed is believed.
    ///
    /// # Errors
    /// [`JournalError::Disk`]; [`JournalError::Version`], [`JournalError::KeyWanted`], [`JournalError::NotSealed`] if a
    /// segment cannot be read with what is given. Damage is no error: what can be read is served and the rest is in
    /// [`Recovery`].
    pub fn open(
        disk: D,
        keyring: Option<Keyring>,
        options: JournalOptions,
    ) -> Result<(Self, Recovery), JournalError> {
        recover::open(disk, keyring, options)
    }

    /// Reads the journal of a disk as [`Self::open`] does and changes nothing there, not even what a broker that runs would
    /// change at a start; it takes nothing either. The end of a log that is being written may seem torn.
    ///
    /// # Errors
    /// As [`Self::open`]; [`crate::DiskFault::NotFound`] if a segment went while it was looked at: look again.
    pub fn look(disk: D, keyring: Option<Keyring>) -> Result<(Self, Recovery), JournalError> {
        recover::look(disk, keyring)
    }

    /// The commit after which everything is on disk.
    pub fn durable(&self) -> CommitSeq {
        CommitSeq(self.durable)
    }

    /// The last commit.
    pub fn appended(&self) -> CommitSeq {
        CommitSeq(self.next_commit - 1)
    }

    /// Why nothing durable is taken at the moment, if so.
    pub fn refusal(&self) -> Option<&DiskError> {
        self.broken.as_ref().map(|broken| &broken.cause)
    }

    /// Where a message is; `None` if it is not there.
    pub fn locate(&self, id: PublicationId) -> Option<Located<D::File>> {
        let message = self.index.publications.get(id.0).filter(|message| message.is_there())?;
        self.located(message.place)
    }

    /// Reads a message; `None` if it is not there.
    ///
    /// # Errors
    /// Those of [`Located::publication`].
    pub fn read(
        &self,
        id: PublicationId,
        cache: &mut BlockCache,
    ) -> Result<Option<crate::record::PublicationRecord>, JournalError> {
        self.locate(id).map(|located| located.publication(cache)).transpose()
    }

    /// Runs something on the keyring, such as adding a group or shredding one; `None` if nothing is sealed. Whoever
    /// changes it writes the vault before anything else is appended. Keys derived before are forgotten.
    pub fn with_keyring<T>(&mut self, run: impl FnOnce(&mut Keyring) -> T) -> Option<T> {
        let result = self.keys.data.with_ring(run);
        self.keys.forget_derived();
        result
    }

    /// Looks at the keyring; `None` if nothing is sealed.
    pub fn look_at_keyring<T>(&self, look: impl FnOnce(&Keyring) -> T) -> Option<T> {
        self.keys.data.look_at_ring(look)
    }

    /// Numbers of the data keys that something in the journal is or was sealed with.
    pub fn keys_in_use(&self) -> std::collections::BTreeSet<u32> {
        self.segments.values().flat_map(|segment| segment.keys.iter().copied()).collect()
    }

    fn located(&self, place: Place) -> Option<Located<D::File>> {
        let segment = self.segments.get(&place.segment)?;
        Some(Located { file: Arc::clone(&segment.file), keys: Arc::clone(&self.keys), place })
    }
}
