//! The snapshot: every Session and Retained Message at the moment of a clean stop, and its file format.
//!
//! Layout, all integers little-endian: `MOTTESNP`, format version (u16), body length (u64), the body, and CRC-32 (u32) of
//! everything before it. Inside the body, lengths and counts are LEB128; every one is compared with the bytes that are
//! left before anything is allocated for it. The checksum finds accidents, not forgers: the file is for its owner alone.

pub(crate) mod decode;
pub(crate) mod encode;
#[cfg(test)]
mod tests;

use crate::record::{PublicationRecord, SessionRecord};

/// First bytes of a snapshot file.
const MAGIC: &[u8; 8] = b"MOTTESNP";
/// Version of the format written here.
const VERSION: u16 = 1;
/// Magic, version and body length.
const HEADER_BYTES: usize = 18;
/// CRC-32 at the end.
const TRAILER_BYTES: usize = 4;

/// Everything that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Unix milliseconds when it was taken.
    pub taken_at_ms: u64,
    /// Each message once, however many deliveries refer to it.
    pub publications: Vec<PublicationRecord>,
    /// Sessions.
    pub sessions: Vec<SessionRecord>,
    /// Retained Messages, as indexes into `publications`.
    pub retained: Vec<u32>,
}

impl Snapshot {
    /// The snapshot as the bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        encode::file(self)
    }

    /// Reads the bytes of a snapshot file.
    ///
    /// # Errors
    /// Whatever is not exactly what [`Snapshot::encode`] writes, with the offset in the file where that shows.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        decode::file(bytes)
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The file does not begin as a snapshot does.
    #[error(
        "this is no snapshot: it does not begin with MOTTESNP; put back the right file, or move this one away to start empty"
    )]
    NotASnapshot,
    /// Another version of the format.
    #[error(
        "snapshot format {found} is not known here (this version reads format 1); start the version of motte that wrote it"
    )]
    Version {
        /// The version in the file.
        found: u16,
    },
    /// The file ends too early.
    #[error(
        "the snapshot ends at byte {at}, in the middle of {what}; restore it from a backup, or move it away to start empty"
    )]
    Truncated {
        /// Offset in the file where more was expected.
        at: usize,
        /// What was being read.
        what: &'static str,
    },
    /// Bytes follow the end.
    #[error(
        "the snapshot goes on after its end at byte {at}; restore it from a backup, or move it away to start empty"
    )]
    Trailing {
        /// Offset in the file of the first byte too many.
        at: usize,
    },
    /// The content is not what was written.
    #[error(
        "the snapshot is damaged: checksum {computed:08x} instead of {stored:08x}; restore it from a backup, or move it away to start empty"
    )]
    Checksum {
        /// CRC-32 in the file.
        stored: u32,
        /// CRC-32 of what is in the file.
        computed: u32,
    },
    /// A value that its field cannot have.
    #[error(
        "the snapshot holds an impossible {what} ({value}) at byte {at}; it was not written by motte; move it away to start empty"
    )]
    Value {
        /// The field.
        what: &'static str,
        /// The value.
        value: u64,
        /// Offset in the file just behind it.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error(
        "the snapshot's {what} before byte {at} is not UTF-8; it was not written by motte; move it away to start empty"
    )]
    Text {
        /// The field.
        what: &'static str,
        /// Offset in the file just behind it.
        at: usize,
    },
}
