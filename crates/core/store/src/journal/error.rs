//! What can go wrong with a journal.

use motte_seal::envelope::SealError;

use crate::disk::DiskError;
use crate::snapshot::SnapshotError;

use super::batch::{Group, PublicationId};

/// Why the journal did not do it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk did not; nothing of the batch is stored.
    #[error("the journal stored nothing of this: {0}")]
    Disk(#[from] DiskError),
    /// The disk did not confirm; what was appended since the last sync may be found after a restart or not.
    #[error("the journal cannot say whether this is stored: {0}")]
    InDoubt(DiskError),
    /// An earlier failure is not mended; nothing of the batch is stored.
    #[error("the journal takes nothing durable until this is mended: {0}")]
    Refusing(DiskError),
    /// What its worker submitted before was refused, and the worker had not heard of it; nothing of the batch is stored.
    #[error("the journal stores nothing of this before what was refused earlier")]
    OutOfTurn,
    /// More than fits into one commit.
    #[error("a commit of {bytes} bytes is more than the {max} it can have; commit less at once")]
    TooLarge {
        /// Bytes of the records.
        bytes: usize,
        /// What is possible.
        max: usize,
    },
    /// A delivery or Retained Message refers to a message that is not there.
    #[error("message {} is not in the journal; put it in the same batch, before what refers to it", .0.0)]
    UnknownPublication(PublicationId),
    /// A number beyond what the journal keeps.
    #[error("message number {} is above 2^48 - 2; start again with a new state directory", .0.0)]
    PublicationNumber(PublicationId),
    /// The group has no key.
    #[error("group {} has no data key; add one to the vault before anything is stored for it", .0.0)]
    UnknownGroup(Group),
    /// The key of this record was shredded.
    #[error("segment {segment}, byte {offset}: the key it was sealed with was shredded")]
    Shredded {
        /// The segment.
        segment: u32,
        /// Offset of the block.
        offset: u32,
    },
    /// A key that is wanted is not there.
    #[error(
        "segment {segment} is sealed with data key {key}, which is not in the vault given; give the vault of this state directory, or restore it from a backup"
    )]
    KeyWanted {
        /// The segment.
        segment: u32,
        /// Number of the data key.
        key: u32,
    },
    /// A segment is not sealed but must be.
    #[error(
        "segment {segment} is not sealed, but this journal is; it was not written with these keys: move it away, or start without a vault"
    )]
    NotSealed {
        /// The segment.
        segment: u32,
    },
    /// A segment of another version.
    #[error(
        "segment {segment} has format {found}, which is not known here (this version reads format 1); start the version of motte that wrote it"
    )]
    Version {
        /// The segment.
        segment: u32,
        /// Its version.
        found: u16,
    },
    /// What is read back is not what was written.
    #[error(
        "segment {segment}, byte {offset}: damaged; the rest is served; look at the device, then restore from a backup or let the loss be"
    )]
    Damaged {
        /// The segment.
        segment: u32,
        /// Offset of the block.
        offset: u32,
    },
    /// A record that was written whole cannot be understood.
    #[error("a record of the journal cannot be read: {0}")]
    Record(#[from] SnapshotError),
    /// Sealing failed.
    #[error("the journal cannot seal: {0}")]
    Seal(#[from] SealError),
    /// All segment numbers are used.
    #[error(
        "the journal has used all its segment numbers; export the state and start with a new state directory"
    )]
    SegmentNumbers,
}
