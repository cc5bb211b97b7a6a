//! Segments: the files of the journal. Each names those that were in force when it was begun and how long each was, so that
//! a file that is missing, too short, or should be gone is known.
//!
//! Header, little-endian: `MOTTESEG`, version (u16), flags (u16; 1: sealed), header length (u32), segment (u32), first
//! commit (u64), key of the header (u32), salt (32 bytes), count (u32), then segment and length (u32 each) of those in
//! force, and at the end the tag of the header's seal (if sealed) and CRC-32 of everything before it.

use motte_seal::envelope::{FileKey, SALT_BYTES, TAG_BYTES};

use super::block::HEADER_NONCE;
use super::record::Cursor;

const MAGIC: &[u8; 8] = b"MOTTESEG";
/// Version of the format written here.
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 8 + 2 + 2 + 4 + 4 + 8 + 4 + SALT_BYTES + 4;
/// More segments than a journal ever has.
const SEGMENTS_MAX: usize = 1 << 20;
/// A header is never longer.
pub(crate) const HEADER_BYTES_MAX: usize = FIXED_BYTES + SEGMENTS_MAX * 8 + TAG_BYTES + 4;

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u32,
    pub(crate) first_commit: u64,
    /// Key that seals the header; 0: none, the segment is not sealed.
    pub(crate) key: u32,
    pub(crate) salt: [u8; SALT_BYTES],
    /// Older segments in force, with the bytes of each that count, in order.
    pub(crate) older: Vec<(u32, u32)>,
}

/// Why a header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    NotASegment,
    Version(u16),
    Damaged,
}

impl Header {
    /// The header's bytes; `key` seals it if it has a key.
    pub(crate) fn encode(&self, key: Option<&FileKey>) -> Result<Vec<u8>, motte_seal::envelope::SealError> {
        let tag_bytes = if self.key == 0 { 0 } else { TAG_BYTES };
        let length = FIXED_BYTES + self.older.len() * 8 + tag_bytes + 4;
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u16::from(self.key != 0).to_le_bytes());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.first_commit.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&u32::try_from(self.older.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (id, length) in &self.older {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
        if let Some(key) = key {
            let tag = key.seal(HEADER_NONCE, &out, &mut [])?;
            out.extend_from_slice(&tag);
        }
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(out)
    }

    /// Reads the header at the front of the bytes and says how long it is. Its seal is checked by [`Self::is_genuine`],
    /// once the key is known.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, usize), HeaderFault> {
        let mut c = Cursor(bytes);
        if c.array::<8>() != Some(*MAGIC) {
            return Err(HeaderFault::NotASegment);
        }
        let version = c.u16().ok_or(HeaderFault::Damaged)?;
        // A later version is believed only if the rest is whole as far as this version can tell.
        let header = Self::fields(&mut c, bytes).ok_or(match version {
            VERSION => HeaderFault::Damaged,
            other => HeaderFault::Version(other),
        })?;
        if version == VERSION { Ok(header) } else { Err(HeaderFault::Version(version)) }
    }

    fn fields(c: &mut Cursor<'_>, bytes: &[u8]) -> Option<(Self, usize)> {
        let is_sealed = match c.u16()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let length = usize::try_from(c.u32()?).ok()?;
        let (id, first_commit, key, salt) = (c.u32()?, c.u64()?, c.u32()?, c.array::<SALT_BYTES>()?);
        let count = usize::try_from(c.u32()?).ok().filter(|count| *count <= SEGMENTS_MAX)?;
        let tag_bytes = if is_sealed { TAG_BYTES } else { 0 };
        if length != FIXED_BYTES + count * 8 + tag_bytes + 4 || is_sealed != (key != 0) {
            return None;
        }
        let (checked, checksum) = bytes.get(..length)?.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(checked) {
            return None;
        }
        let mut older = Vec::with_capacity(count);
        for _ in 0..count {
            older.push((c.u32()?, c.u32()?));
        }
        let is_in_order = older.is_sorted_by(|a, b| a.0 < b.0) && older.last().is_none_or(|last| last.0 < id);
        is_in_order.then_some((Self { id, first_commit, key, salt, older }, length))
    }

    /// Whether the seal of a header that was read from these bytes is that of this key.
    pub(crate) fn is_genuine(bytes: &[u8], length: usize, key: &FileKey) -> bool {
        let Some(header) = bytes.get(..length.saturating_sub(TAG_BYTES + 4)) else { return false };
        let Some(tag) = bytes.get(header.len()..header.len() + TAG_BYTES) else { return false };
        let mut tag = tag.to_vec();
        key.open(HEADER_NONCE, header, &mut tag).is_ok()
    }
}

/// The name of a segment's file.
pub(crate) fn file_name(id: u32) -> String {
    format!("journal-{id:08x}.seg")
}

/// The segment whose file has this name.
pub(crate) fn id_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (file_name(id) == name).then_some(id)
}

/// Whether a file is a segment whose making was cut short.
pub(crate) fn is_unborn(name: &str) -> bool {
    name.strip_suffix(".new").and_then(id_of).is_some()
}
