//! Blocks: the unit that is written, checked and sealed. A block holds records of one commit under one key.
//!
//! Header, 28 bytes, little-endian: `B7`, flags (u8), 0 (u8), length of the body (u32), key (u32; 0 is none), commit
//! (u64), how much of the segment was known to be on disk when it was written (u32), CRC-32 of segment, offset and the
//! header before it. Behind the body stands a CRC-32 of header and body, or the tag of the seal.

use motte_seal::envelope::{FileKey, NONCE_BYTES, TAG_BYTES};

use super::record::Cursor;

/// Bytes of a block's header.
pub(crate) const HEADER_BYTES: usize = 28;
/// Bytes of the checksum behind a body that is not sealed.
pub(crate) const CHECKSUM_BYTES: usize = 4;
/// A block that has as many bytes takes no further record.
pub(crate) const BODY_BYTES: usize = 16 * 1024;
const MARK: [u8; 2] = [0xb7, 0x4d];

/// The commit ends with this block.
pub(crate) const LAST: u8 = 1;
/// The segment ends with this block: the journal was closed.
pub(crate) const CLOSED: u8 = 2;

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) body: u32,
    pub(crate) key: u32,
    pub(crate) commit: u64,
    pub(crate) durable: u32,
}

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

impl Header {
    /// Bytes behind the body.
    pub(crate) fn trailer(&self) -> usize {
        if self.key == 0 { CHECKSUM_BYTES } else { TAG_BYTES }
    }

    /// Bytes of the whole block.
    pub(crate) fn block_bytes(&self) -> u64 {
        (HEADER_BYTES + self.trailer()) as u64 + u64::from(self.body)
    }

    fn encode(&self, at: At) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let fields = MARK
            .into_iter()
            .chain([self.flags, 0])
            .chain(self.body.to_le_bytes())
            .chain(self.key.to_le_bytes())
            .chain(self.commit.to_le_bytes())
            .chain(self.durable.to_le_bytes());
        out.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        let checksum = placed(at, out.get(..HEADER_BYTES - 4).unwrap_or_default());
        if let Some(place) = out.last_chunk_mut::<4>() {
            *place = checksum.to_le_bytes();
        }
        out
    }

    /// The header at the front of the bytes, if there is one and it belongs here.
    pub(crate) fn decode(at: At, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let mut c = Cursor(bytes);
        let (mark, flags, zero) = (c.array::<2>()?, c.u8()?, c.u8()?);
        let (body, key, commit, durable) = (c.u32()?, c.u32()?, c.u64()?, c.u32()?);
        let is_own = mark == MARK && zero == 0 && flags <= (LAST | CLOSED);
        let checksum = c.u32()?;
        let is_whole = is_own && checksum == placed(at, bytes.get(..HEADER_BYTES - 4)?);
        is_whole.then_some(Self { flags, body, key, commit, durable })
    }
}

/// CRC-32 of the place and the bytes.
fn placed(at: At, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.segment.to_le_bytes());
    hasher.update(&at.offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Nonce of the block at this offset: each offset of a segment is written once.
fn nonce(at: At) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(at.offset.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

/// The nonce of a segment's header, which no block has.
pub(crate) const HEADER_NONCE: [u8; NONCE_BYTES] = [0xff; NONCE_BYTES];

/// Ends the block that begins at `start` of `out` with room for its header and the body behind: writes the header, seals
/// the body if there is a key, appends checksum or tag.
pub(crate) fn finish(
    out: &mut Vec<u8>,
    start: usize,
    at: At,
    mut header: Header,
    key: Option<&FileKey>,
) -> Result<(), motte_seal::envelope::SealError> {
    header.body = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX);
    let encoded = header.encode(at);
    let Some((place, body)) = out.get_mut(start..).and_then(|block| block.split_at_mut_checked(HEADER_BYTES))
    else {
        return Ok(());
    };
    place.copy_from_slice(&encoded);
    match key {
        Some(key) => {
            let tag = key.seal(nonce(at), &associated(at, &encoded), body)?;
            out.extend_from_slice(&tag);
        }
        None => {
            let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&checksum.to_le_bytes());
        }
    }
    Ok(())
}

/// The body of a whole block, opened in place; `None` if it is not what was written here.
pub(crate) fn open<'a>(at: At, block: &'a mut [u8], key: Option<&FileKey>) -> Option<&'a [u8]> {
    match key {
        Some(key) => {
            let (header, rest) = block.split_at_mut_checked(HEADER_BYTES)?;
            let associated = associated(at, header.first_chunk::<HEADER_BYTES>()?);
            key.open(nonce(at), &associated, rest).ok().map(|body| &*body)
        }
        None => {
            let (checked, checksum) = block.split_last_chunk::<CHECKSUM_BYTES>()?;
            let is_whole = u32::from_le_bytes(*checksum) == crc32fast::hash(checked);
            checked.get(HEADER_BYTES..).filter(|_| is_whole)
        }
    }
}

/// What a sealed body is bound to: its segment, its offset, its header.
fn associated(at: At, header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES + 8] {
    let mut out = [0; HEADER_BYTES + 8];
    let parts = at.segment.to_le_bytes().into_iter().chain(at.offset.to_le_bytes());
    out.iter_mut().zip(parts.chain(*header)).for_each(|(to, from)| *to = from);
    out
}
