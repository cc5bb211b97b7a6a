//! A table of fixed size: sets of eight places, chosen by a keyed digest.
//!
//! When a set is full, a newcomer takes the place of an entry that is over, otherwise of the one that ranks lowest, and is shown
//! what it displaces. Entries that are held rank above all others and many failures above few, so whoever wants an entry out
//! has to bring eight that rank higher into a set nobody knows, that is, to fail more often than the entry did, in the whole
//! table; and who comes back takes over what the displaced entry had.

use std::num::NonZeroU64;

use super::tag::Tag;

/// Places of a set.
const WAYS: usize = 8;

/// Places of a set that one owner may have.
pub(crate) const OWNED_WAYS: usize = 4;

/// What a table holds.
pub(crate) trait Entry: Default {
    /// Whether it says nothing any more.
    fn is_over(&self, now_ms: u64) -> bool;
    /// The lowest goes first.
    fn rank(&self, now_ms: u64) -> (bool, u32, u64);
}

#[derive(Debug)]
struct Slot<E> {
    place: u64,
    mark: NonZeroU64,
    entry: E,
}

/// A set that is in use.
type Set<E> = Box<[Option<Slot<E>>; WAYS]>;

/// The table; sets take memory from their first use on.
#[derive(Debug)]
pub(crate) struct Table<E> {
    sets: Vec<Option<Set<E>>>,
}

impl<E: Entry> Table<E> {
    /// With room for about this many entries.
    pub(crate) fn new(entries: usize) -> Self {
        Self { sets: (0..entries.div_ceil(WAYS).max(1)).map(|_| None).collect() }
    }

    fn at(&self, tag: Tag) -> usize {
        usize::try_from(tag.place % self.sets.len() as u64).unwrap_or(0)
    }

    /// The entry of a key.
    pub(crate) fn get(&self, tag: Tag) -> Option<&E> {
        let set = self.sets.get(self.at(tag))?.as_ref()?;
        set.iter().flatten().find(|slot| slot.mark == tag.mark).map(|slot| &slot.entry)
    }

    /// The entry of a key, to change.
    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut E> {
        let at = self.at(tag);
        let set = self.sets.get_mut(at)?.as_mut()?;
        set.iter_mut().flatten().find(|slot| slot.mark == tag.mark).map(|slot| &mut slot.entry)
    }

    /// The entry of a key, made if there is none; `make` sees what it displaces.
    pub(crate) fn entry(
        &mut self,
        tag: Tag,
        now_ms: u64,
        make: impl FnOnce(Option<&E>) -> E,
    ) -> Option<&mut E> {
        let at = self.at(tag);
        let set = self.sets.get_mut(at)?.get_or_insert_with(|| Box::new(std::array::from_fn(|_| None)));
        let known = set.iter().position(|slot| slot.as_ref().is_some_and(|slot| slot.mark == tag.mark));
        let number = match known {
            Some(number) => number,
            None => lowest(set, now_ms),
        };
        let slot = set.get_mut(number)?;
        if known.is_none() {
            let displaced = slot.as_ref().map(|slot| &slot.entry).filter(|entry| !entry.is_over(now_ms));
            let entry = make(displaced);
            *slot = Some(Slot { place: tag.place, mark: tag.mark, entry });
        }
        slot.as_mut().map(|slot| &mut slot.entry)
    }

    /// As [`Table::entry`], of something that its owner has more of: in a set he has [`OWNED_WAYS`] places at most, and what he
    /// brings beyond that displaces his own.
    pub(crate) fn owned_entry(
        &mut self,
        tag: Tag,
        now_ms: u64,
        make: impl FnOnce(Option<&E>) -> E,
    ) -> Option<&mut E> {
        let at = self.at(tag);
        let is_own = |slot: &&mut Option<Slot<E>>| {
            slot.as_ref().is_some_and(|slot| slot.mark != tag.mark && tag.is_of_same_owner(slot.mark))
        };
        if self.get(tag).is_none()
            && let Some(set) = self.sets.get_mut(at)?.as_mut()
        {
            let mut own: Vec<&mut Option<Slot<E>>> = set.iter_mut().filter(is_own).collect();
            let rank = |slot: &Option<Slot<E>>| slot.as_ref().map(|slot| slot.entry.rank(now_ms));
            own.sort_by_key(|slot| rank(slot));
            let spare = (own.len() + 1).saturating_sub(OWNED_WAYS);
            own.into_iter().take(spare).for_each(|slot| *slot = None);
        }
        self.entry(tag, now_ms, make)
    }

    /// All entries that still say something.
    pub(crate) fn entries(&self, now_ms: u64) -> impl Iterator<Item = (Tag, &E)> {
        let slots = self.sets.iter().flatten().flat_map(|set| set.iter().flatten());
        slots
            .filter(move |slot| !slot.entry.is_over(now_ms))
            .map(|slot| (Tag { place: slot.place, mark: slot.mark }, &slot.entry))
    }
}

fn lowest<E: Entry>(set: &[Option<Slot<E>>; WAYS], now_ms: u64) -> usize {
    let rank = |slot: &Option<Slot<E>>| {
        slot.as_ref().filter(|slot| !slot.entry.is_over(now_ms)).map(|slot| slot.entry.rank(now_ms))
    };
    // `None`, which is free or over, is less than any rank.
    set.iter().enumerate().min_by_key(|(_, slot)| rank(slot)).map_or(0, |(number, _)| number)
}
