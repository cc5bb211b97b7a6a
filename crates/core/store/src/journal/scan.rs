//! What is in a segment: its blocks, what cannot be read, and whether that is damage or a torn end.

use super::block::{self, At, CLOSED, HEADER_BYTES, LAST};
use super::error::JournalError;
use super::keys::{FileKeys, KeyFault};
use super::publications::{Place, Size};
use super::record::{self, Record};
use super::recover::Damage;
use super::segment::Header;

/// A whole block in a segment's bytes, opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockAt {
    segment: u32,
    pub(super) offset: u32,
    pub(super) body: u32,
    pub(super) key: u32,
    pub(super) commit: u64,
    flags: u8,
}

impl BlockAt {
    /// Hands each record with its place to `take`; false if the body is no sequence of records.
    pub(super) fn records<'a>(&self, bytes: &'a [u8], mut take: impl FnMut(&Record<'a>, Place)) -> bool {
        let start = self.offset as usize + HEADER_BYTES;
        let Some(body) = bytes.get(start..start + self.body as usize) else { return false };
        let mut at = 0;
        while let Some((record, length)) = body.get(at..).and_then(record::next) {
            let start = u16::try_from(at).unwrap_or(u16::MAX);
            let size = Size::of(length);
            take(&record, Place { segment: self.segment, block: self.offset, start, size });
            at += length;
        }
        at == body.len()
    }
}

/// A part that cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) what: &'static str,
}

impl Gap {
    pub(super) fn damage(self, file: &str) -> Damage {
        Damage { file: file.to_owned(), offset: self.offset, bytes: self.bytes, what: self.what }
    }
}

/// What is in a segment.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) blocks: Vec<BlockAt>,
    pub(super) damages: Vec<Gap>,
    pub(super) cut: Option<Gap>,
    pub(super) shredded: u64,
    /// Where it ends: behind the last block that is there.
    pub(super) end: usize,
}

impl Scan {
    /// Opens the blocks of a segment in place. Of the newest segment the end is not known: what cannot be read there is
    /// cut if nothing says that it was on disk.
    pub(super) fn of(
        segment: u32,
        bytes: &mut [u8],
        keys: &FileKeys,
        is_newest: bool,
    ) -> Result<Self, JournalError> {
        let mut scan = Self::default();
        let mut gaps: Vec<Gap> = Vec::new();
        let mut at = Header::decode(bytes).map_or(0, |(_, length)| length);
        let mut durable = if is_newest { 0 } else { u32::MAX };
        while at < bytes.len() {
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            let place = At { segment, offset };
            let header = bytes.get(at..).and_then(|rest| block::Header::decode(place, rest));
            let is_room = || bytes.iter().skip(at).all(|byte| *byte == 0);
            if header.is_none() && is_newest && is_room() {
                break;
            }
            let Some(header) = header else {
                let next = next_header(segment, bytes, at + 1);
                gaps.push(gap(at, next, "no block begins here"));
                at = next;
                continue;
            };
            let end = usize::try_from(header.block_bytes()).unwrap_or(usize::MAX).saturating_add(at);
            let Some(block) = bytes.get_mut(at..end) else {
                let next = next_header(segment, bytes, at + 1);
                gaps.push(gap(at, next, "a block is longer than the file"));
                at = next;
                continue;
            };
            match keys.key(segment, header.key) {
                Err(KeyFault::Shredded) => {
                    scan.shredded += 1;
                    durable = durable.max(header.durable);
                }
                Err(KeyFault::Unknown) if header.key == 0 => return Err(JournalError::NotSealed { segment }),
                Err(KeyFault::Unknown) => return Err(JournalError::KeyWanted { segment, key: header.key }),
                Err(KeyFault::Seal(error)) => return Err(error.into()),
                Ok(key) => match block::open(place, block, key.as_deref()) {
                    None => gaps.push(gap(at, end, "a block is not what was written")),
                    Some(_) => {
                        durable = durable.max(header.durable);
                        if header.flags & CLOSED != 0 {
                            durable = u32::MAX;
                        }
                        let block::Header { flags, body, key, commit, .. } = header;
                        scan.blocks.push(BlockAt { segment, offset, body, key, commit, flags });
                    }
                },
            }
            at = end;
        }
        scan.end = at.min(bytes.len());
        scan.judge(&gaps, durable, scan.end);
        Ok(scan)
    }

    /// Tells damage from a torn end: `durable` bytes are known to have been on disk.
    fn judge(&mut self, gaps: &[Gap], durable: u32, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        for gap in gaps {
            if gap.offset < durable {
                self.damages.push(*gap);
            } else {
                self.cut = Some(Gap { bytes: length - gap.offset, ..*gap });
                break;
            }
        }
        if let Some(cut) = self.cut {
            self.blocks.retain(|block| block.offset < cut.offset);
        }
        if durable == u32::MAX {
            return;
        }
        // A commit whose last block is not there did not happen. Were it damaged, a later block would tell.
        let whole = self.blocks.iter().rposition(|block| block.flags & LAST != 0).map_or(0, |at| at + 1);
        let rest = self.blocks.get(whole).map(|block| block.offset).filter(|offset| *offset >= durable);
        if let Some(offset) = rest {
            self.cut = Some(Gap { offset, bytes: length - offset, what: "a commit has no end" });
            self.blocks.retain(|block| block.offset < offset);
        }
    }
}

pub(super) fn gap(from: usize, to: usize, what: &'static str) -> Gap {
    let offset = u32::try_from(from).unwrap_or(u32::MAX);
    Gap { offset, bytes: u32::try_from(to - from).unwrap_or(u32::MAX), what }
}

/// Where the next block's header begins, at or behind `from`; the end if there is none.
fn next_header(segment: u32, bytes: &[u8], from: usize) -> usize {
    let is_header = |at: &usize| {
        let place = At { segment, offset: u32::try_from(*at).unwrap_or(u32::MAX) };
        bytes.get(*at..).is_some_and(|rest| block::Header::decode(place, rest).is_some())
    };
    (from..bytes.len()).find(is_header).unwrap_or(bytes.len())
}
