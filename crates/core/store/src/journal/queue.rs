//! A Session's deliveries in memory: 16 bytes each, in chunks of 16, in order of their sequence.

use std::collections::BTreeMap;

/// Deliveries of a chunk: their sequences share all but the lowest bits.
const CHUNK: usize = 16;
/// Stands for a message that is not needed any more.
pub(crate) const NO_PUBLICATION: u64 = (1 << 48) - 1;

/// One delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Lower 48 bits the message, upper 16 the Packet Identifier.
    message: u64,
    /// Segment of its record.
    pub(crate) segment: u32,
    /// Number of its shape; see `Shapes`.
    pub(crate) shape: u16,
    /// QoS, RETAIN, released.
    pub(crate) flags: u8,
    is_there: bool,
}

impl Slot {
    const NONE: Self = Self { message: 0, segment: 0, shape: 0, flags: 0, is_there: false };

    pub(crate) fn new(publication: u64, segment: u32, shape: u16, flags: u8) -> Self {
        Self { message: publication & NO_PUBLICATION, segment, shape, flags, is_there: true }
    }

    pub(crate) fn publication(&self) -> u64 {
        self.message & NO_PUBLICATION
    }

    pub(crate) fn set_publication(&mut self, publication: u64) {
        self.message = self.message & !NO_PUBLICATION | publication & NO_PUBLICATION;
    }

    pub(crate) fn packet_id(&self) -> u16 {
        u16::try_from(self.message >> 48).unwrap_or(0)
    }

    pub(crate) fn set_packet_id(&mut self, packet_id: u16) {
        self.message = self.message & NO_PUBLICATION | u64::from(packet_id) << 48;
    }
}

const _: () = assert!(size_of::<Slot>() == 16, "what a waiting delivery costs in memory");

/// Deliveries by sequence.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: BTreeMap<u64, Box<[Slot; CHUNK]>>,
    length: usize,
}

fn place(seq: u64) -> (u64, usize) {
    (seq / CHUNK as u64, usize::try_from(seq % CHUNK as u64).unwrap_or(0))
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Slot> {
        let (chunk, at) = place(seq);
        self.chunks.get(&chunk)?.get(at).filter(|slot| slot.is_there)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        let (chunk, at) = place(seq);
        self.chunks.get_mut(&chunk)?.get_mut(at).filter(|slot| slot.is_there)
    }

    /// Puts a delivery; gives back the one that was there.
    pub(crate) fn insert(&mut self, seq: u64, slot: Slot) -> Option<Slot> {
        let (chunk, at) = place(seq);
        let chunk = self.chunks.entry(chunk).or_insert_with(|| Box::new([Slot::NONE; CHUNK]));
        let old = std::mem::replace(chunk.get_mut(at)?, slot);
        if old.is_there {
            return Some(old);
        }
        self.length += 1;
        None
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Slot> {
        let (number, at) = place(seq);
        let chunk = self.chunks.get_mut(&number)?;
        let old = std::mem::replace(chunk.get_mut(at)?, Slot::NONE);
        if !old.is_there {
            return None;
        }
        self.length -= 1;
        if chunk.iter().all(|slot| !slot.is_there) {
            self.chunks.remove(&number);
        }
        Some(old)
    }

    /// The last sequence.
    pub(crate) fn last(&self) -> Option<u64> {
        let (number, chunk) = self.chunks.last_key_value()?;
        let place = chunk.iter().rposition(|slot| slot.is_there)?;
        Some(number * CHUNK as u64 + place as u64)
    }

    /// Deliveries from this sequence on, in order.
    pub(crate) fn iter_from(&self, seq: u64) -> impl Iterator<Item = (u64, &Slot)> {
        let chunks = self.chunks.range(seq / CHUNK as u64..);
        chunks
            .flat_map(|(number, chunk)| (number * CHUNK as u64..).zip(chunk.iter()))
            .filter(move |(at, slot)| slot.is_there && *at >= seq)
    }
}

/// What deliveries have from their subscriptions, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    known: Vec<Box<[u8]>>,
    /// Of deliveries that came when `known` was full.
    odd: BTreeMap<u64, Box<[u8]>>,
}

/// Shapes a Session keeps once; searched one by one, so not many.
const SHAPES_MAX: usize = 64;
/// Number that stands for a shape in `odd`.
const ODD: u16 = u16::MAX;

impl Shapes {
    /// Number of a shape; 0 is the empty one.
    pub(crate) fn number(&mut self, seq: u64, shape: &[u8]) -> u16 {
        if shape.is_empty() {
            return 0;
        }
        let known = self.known.iter().position(|known| **known == *shape).or_else(|| {
            (self.known.len() < SHAPES_MAX).then(|| {
                self.known.push(shape.into());
                self.known.len() - 1
            })
        });
        match known.and_then(|at| u16::try_from(at + 1).ok()) {
            Some(number) => number,
            None => {
                self.odd.insert(seq, shape.into());
                ODD
            }
        }
    }

    pub(crate) fn shape(&self, seq: u64, number: u16) -> &[u8] {
        match number {
            0 => &[],
            ODD => self.odd.get(&seq).map_or(&[], |shape| shape),
            number => self.known.get(usize::from(number) - 1).map_or(&[], |shape| shape),
        }
    }

    /// A delivery of this number is gone.
    pub(crate) fn forget(&mut self, seq: u64, number: u16, queue_is_empty: bool) {
        if number == ODD {
            self.odd.remove(&seq);
        }
        if queue_is_empty {
            self.known.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_a_map_in_order() {
        let mut queue = Queue::default();
        for seq in [5, 70, 6, 1_000_000, 0] {
            assert_eq!(queue.insert(seq, Slot::new(seq * 2, 1, 0, 1)), None);
        }
        assert_eq!(queue.iter_from(5).map(|(seq, _)| seq).collect::<Vec<_>>(), [5, 6, 70, 1_000_000]);
        assert_eq!(queue.get(70).unwrap().publication(), 140);
        assert!(queue.remove(70).is_some() && queue.remove(70).is_none() && queue.get(7).is_none());
        assert_eq!((queue.len(), queue.chunks.len()), (4, 2));
    }

    #[test]
    fn a_slot_keeps_message_and_packet_identifier_apart() {
        let mut slot = Slot::new(77, 1, 0, 0);
        slot.set_packet_id(u16::MAX);
        assert_eq!((slot.publication(), slot.packet_id()), (77, u16::MAX));
        slot.set_publication(NO_PUBLICATION);
        assert_eq!((slot.publication(), slot.packet_id()), (NO_PUBLICATION, u16::MAX));
    }

    #[test]
    fn more_shapes_than_are_kept_once_are_kept_each() {
        let mut shapes = Shapes::default();
        let text = |n: u16| n.to_le_bytes();
        let numbers: Vec<u16> = (0..100).map(|n| shapes.number(u64::from(n), &text(n))).collect();
        for n in 0..100_u16 {
            assert_eq!(shapes.shape(u64::from(n), numbers[usize::from(n)]), text(n));
        }
        assert_eq!(shapes.number(200, &text(3)), numbers[3]);
    }
}
