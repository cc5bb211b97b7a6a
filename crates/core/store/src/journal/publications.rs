//! Where each message is and how many refer to it: 16 bytes each, in chunks of 16.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// Messages of a chunk: their numbers share all but the lowest bits.
const CHUNK: usize = 16;

/// A length in 16 bits: exact below 2,048, within a thousandth above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size(u16);

impl Size {
    pub(crate) fn of(bytes: usize) -> Self {
        let bits = usize::BITS - bytes.leading_zeros();
        let shift = bits.saturating_sub(11);
        let code = (shift << 11) as usize | bytes >> shift;
        Self(u16::try_from(code).unwrap_or(u16::MAX))
    }

    /// The length this stands for: the same for the same number, always.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.0 & 0x7ff) << (self.0 >> 11)
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    /// Offset of its block in the segment.
    pub(crate) block: u32,
    /// Offset of the record in the block's body.
    pub(crate) start: u16,
    pub(crate) size: Size,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// Its size is 0 as long as its record was not seen.
    pub(crate) place: Place,
    /// Deliveries and Retained Messages that refer to it.
    pub(crate) references: u32,
}

const _: () = assert!(size_of::<Message>() == 16, "what a message costs in memory");

impl Message {
    pub(crate) fn is_there(&self) -> bool {
        self.place.size != Size(0)
    }
}

/// Messages by number.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    chunks: HashMap<u64, Box<[Message; CHUNK]>, FxBuildHasher>,
}

fn place(id: u64) -> (u64, usize) {
    (id / CHUNK as u64, usize::try_from(id % CHUNK as u64).unwrap_or(0))
}

impl Publications {
    pub(crate) fn get(&self, id: u64) -> Option<&Message> {
        let (chunk, at) = place(id);
        self.chunks.get(&chunk)?.get(at).filter(|message| **message != Message::default())
    }

    /// The entry of a message, made if there is none.
    pub(crate) fn entry(&mut self, id: u64) -> Option<&mut Message> {
        let (chunk, at) = place(id);
        self.chunks.entry(chunk).or_default().get_mut(at)
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let (number, at) = place(id);
        let Some(chunk) = self.chunks.get_mut(&number) else { return };
        if let Some(message) = chunk.get_mut(at) {
            *message = Message::default();
        }
        if **chunk == [Message::default(); CHUNK] {
            self.chunks.remove(&number);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Message)> {
        let chunks = self.chunks.iter();
        chunks
            .flat_map(|(number, chunk)| (number * CHUNK as u64..).zip(chunk.iter()))
            .filter(|(_, message)| **message != Message::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_exact_when_small_and_near_when_large() {
        for bytes in (0..5000).chain([1 << 20, 123_456_789, u32::MAX as usize]) {
            let stands_for = Size::of(bytes).bytes();
            let off = (bytes as u64).abs_diff(stands_for);
            assert!(off * 1000 <= bytes as u64, "{bytes} is {stands_for}");
            assert!(bytes >= 2048 || off == 0);
        }
    }

    #[test]
    fn an_entry_lasts_until_it_is_removed() {
        let mut publications = Publications::default();
        publications.entry(40).unwrap().references = 1;
        publications.entry(41).unwrap().references = 2;
        publications.remove(40);
        assert!(publications.get(40).is_none());
        assert_eq!(publications.iter().count(), 1);
        publications.remove(41);
        assert!(publications.chunks.is_empty());
    }
}
