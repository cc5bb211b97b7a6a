//! The keys of a state directory: data keys by group under a master key, the master key wrapped by key-encryption keys.
//!
//! A key-encryption key never touches what is stored, so it can be exchanged without writing that again. A group is a
//! device, or whatever is to be shredded as one: when its wrapped key is gone from the vault, all that was sealed with it
//! is noise. What an older copy of the vault holds can be opened with the key-encryption key of its time: exchange that
//! one too, and destroy it, when copies are to be worthless.

mod kek;
mod vault;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use kek::{KekError, KekId, KeyEncryptionKey, KeySource, SEALED_BYTES_MAX};
pub use vault::{Vault, VaultError};

use crate::envelope::{self, DataKey, KEY_BYTES, SealError, WrappedKey};
use crate::state_file::FileSeal;

/// Slots a vault can have: one in use, one for recovery, some while they are exchanged.
pub const SLOTS_MAX: usize = 8;
/// Bytes of a proof.
pub const PROOF_BYTES: usize = KEY_BYTES;
/// Keeps proofs apart from other uses of the master key.
const PROOF: &[u8] = b"motte vault proof v1";
/// Associated data of the master key in a slot.
const MASTER: &[u8] = b"motte vault master key v1";

/// One way to open the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which key-encryption key opens it.
    pub id: KekId,
    /// Where that key comes from.
    pub source: KeySource,
    /// What the operator calls it, at most 255 bytes, such as the path of the key file.
    pub label: String,
    master: WrappedKey,
}

impl Slot {
    /// A way to open a vault with this master key.
    ///
    /// # Errors
    /// [`VaultError::Label`], [`VaultError::Seal`].
    pub fn wrap(kek: &KeyEncryptionKey, label: &str, master: &DataKey) -> Result<Self, VaultError> {
        if label.len() > 255 {
            return Err(VaultError::Label { bytes: label.len() });
        }
        let wrapped = envelope::wrap(kek.key(), MASTER, master)?;
        Ok(Self { id: kek.id(), source: kek.source().clone(), label: label.to_owned(), master: wrapped })
    }

    /// The master key, with the key-encryption key of this slot.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] if it does not open with this one.
    pub fn unwrap(&self, kek: &KeyEncryptionKey) -> Result<DataKey, VaultError> {
        envelope::unwrap(kek.key(), MASTER, &self.master)
            .map_err(|_| VaultError::Damaged { what: "the master key does not open" })
    }

    /// Appends the slot as it stands in a vault's file.
    pub fn encode(&self, out: &mut Vec<u8>) {
        vault::encode_slot(self, out);
    }

    /// Reads slots that [`Self::encode`] wrote one behind the other, at most [`SLOTS_MAX`].
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, VaultError> {
        vault::decode_slots(bytes)
    }

    /// For people: where its key comes from, its number, and what the operator calls it.
    pub fn describe(&self) -> String {
        match self.label.as_str() {
            "" => format!("{} {}", self.source, self.id),
            label => format!("{} {} ({label})", self.source, self.id),
        }
    }
}

/// What there is of a data key.
#[derive(Debug)]
pub enum KeyState<'a> {
    /// The key.
    Usable(&'a DataKey),
    /// It was shredded; nothing opens what it sealed.
    Shredded,
    /// There never was such a key here.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    group: u32,
    /// `None`: shredded.
    key: Option<DataKey>,
}

/// An open vault.
#[derive(Debug)]
pub struct Keyring {
    master: DataKey,
    slots: Vec<Slot>,
    entries: BTreeMap<u32, Entry>,
    current: HashMap<u32, u32>,
    next: u32,
    /// Times the vault was written.
    generation: u64,
}

impl Keyring {
    /// A new vault with a key for group 0, opened by one key-encryption key.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn create(kek: &KeyEncryptionKey, label: &str) -> Result<Self, VaultError> {
        let mut ring = Self::closed()?;
        ring.add_slot(kek, label)?;
        Ok(ring)
    }

    /// A new vault with a key for group 0 and no way to open it yet: [`Self::put_slot`] adds one.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn closed() -> Result<Self, VaultError> {
        let mut ring = Self {
            master: DataKey::generate()?,
            slots: Vec::new(),
            entries: BTreeMap::new(),
            current: HashMap::new(),
            next: 1,
            generation: 0,
        };
        ring.add_group(0)?;
        Ok(ring)
    }

    /// The key that wraps all data keys, for whoever wraps it with a key-encryption key.
    pub fn master(&self) -> &DataKey {
        &self.master
    }

    /// The key of the small files beside the journal; it stays the same as long as the vault does.
    ///
    /// # Errors
    /// [`VaultError::Seal`] if the library does not derive it, which it always does.
    pub fn file_seal(&self) -> Result<FileSeal, VaultError> {
        Ok(FileSeal::of(&self.master)?)
    }

    /// Proves that whoever says `what` has opened this vault: 32 bytes that only its master key gives.
    ///
    /// # Errors
    /// [`VaultError::Seal`] if the library does not derive them, which it always does.
    pub fn proof(&self, what: &[u8]) -> Result<[u8; PROOF_BYTES], VaultError> {
        Ok(*self.master.derive(what, PROOF)?)
    }

    /// Takes these slots in place of those it has. They hold this vault's master key: see [`Self::proof`].
    ///
    /// # Errors
    /// [`VaultError::LastSlot`] if there is none, [`VaultError::Slots`] if there are too many.
    pub fn set_slots(&mut self, slots: Vec<Slot>) -> Result<(), VaultError> {
        if slots.is_empty() {
            return Err(VaultError::LastSlot);
        }
        if slots.len() > SLOTS_MAX {
            return Err(VaultError::Slots);
        }
        self.slots = slots;
        Ok(())
    }

    /// Adds a slot that holds this vault's master key, in place of one with the same key.
    ///
    /// # Errors
    /// [`VaultError::Slots`] if there are as many as there can be.
    pub fn put_slot(&mut self, slot: Slot) -> Result<(), VaultError> {
        self.slots.retain(|other| other.id != slot.id);
        if self.slots.len() >= SLOTS_MAX {
            return Err(VaultError::Slots);
        }
        self.slots.push(slot);
        Ok(())
    }

    /// Takes a way to open the vault away, unless it is the last one.
    ///
    /// # Errors
    /// [`VaultError::NoSlot`] if there is no such way, [`VaultError::LastSlot`].
    pub fn remove_slot(&mut self, id: KekId) -> Result<(), VaultError> {
        let at = self.slots.iter().position(|slot| slot.id == id).ok_or(VaultError::NoSlot { id })?;
        if self.slots.len() == 1 {
            return Err(VaultError::LastSlot);
        }
        self.slots.remove(at);
        Ok(())
    }

    /// The vault's bytes, to be written whole in place of the old file before anything is sealed with a key that is new
    /// in it.
    ///
    /// # Errors
    /// [`VaultError::Seal`].
    pub fn encode(&mut self) -> Result<Vec<u8>, VaultError> {
        self.generation += 1;
        vault::encode(self)
    }

    /// The ways to open the vault.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Times the vault was written: a smaller number than was seen before is an older copy.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Another way to open the vault, such as a recovery key.
    ///
    /// # Errors
    /// [`VaultError::Slots`] if there are as many as there can be, [`VaultError::Label`], [`VaultError::Seal`].
    pub fn add_slot(&mut self, kek: &KeyEncryptionKey, label: &str) -> Result<(), VaultError> {
        let slot = Slot::wrap(kek, label, &self.master)?;
        self.put_slot(slot)
    }

    /// Exchanges a key-encryption key: `new` opens the vault and `old` does no more. Nothing sealed is written again.
    ///
    /// # Errors
    /// [`VaultError::NoSlot`] if `old` is none of the vault's, and those of [`Self::add_slot`].
    pub fn rotate_kek(&mut self, old: KekId, new: &KeyEncryptionKey, label: &str) -> Result<(), VaultError> {
        let at = self.slots.iter().position(|slot| slot.id == old).ok_or(VaultError::NoSlot { id: old })?;
        let removed = self.slots.remove(at);
        if let Err(error) = self.add_slot(new, label) {
            self.slots.push(removed);
            return Err(error);
        }
        Ok(())
    }

    /// Gives a group a key if it has none; gives the key's number. Write the vault before the key is used.
    ///
    /// # Errors
    /// [`VaultError::Keys`] if all numbers are used, [`VaultError::Seal`].
    pub fn add_group(&mut self, group: u32) -> Result<u32, VaultError> {
        match self.current.get(&group) {
            Some(number) => Ok(*number),
            None => self.rotate_dek(group),
        }
    }

    /// Gives a group a new key; the old one only opens. Write the vault before the key is used.
    ///
    /// # Errors
    /// As [`Self::add_group`].
    pub fn rotate_dek(&mut self, group: u32) -> Result<u32, VaultError> {
        let number = self.next;
        let next = number.checked_add(1).ok_or(VaultError::Keys)?;
        let key = DataKey::generate()?;
        self.next = next;
        self.entries.insert(number, Entry { group, key: Some(key) });
        self.current.insert(group, number);
        Ok(number)
    }

    /// Takes new keys of groups back, given in the order in which [`Self::rotate_dek`] gave them, because the vault could
    /// not be written; nothing may have been sealed with them.
    pub fn take_back(&mut self, numbers: &[u32]) {
        for number in numbers.iter().rev() {
            let Some(entry) = self.entries.remove(number) else { continue };
            let former = self
                .entries
                .iter()
                .rev()
                .find(|(_, other)| other.group == entry.group && other.key.is_some());
            match former.map(|(number, _)| *number) {
                Some(former) => self.current.insert(entry.group, former),
                None => self.current.remove(&entry.group),
            };
        }
    }

    /// Data keys, and those that were shredded.
    pub fn counts(&self) -> (usize, usize) {
        let shredded = self.entries.values().filter(|entry| entry.key.is_none()).count();
        (self.entries.len() - shredded, shredded)
    }

    /// Keys that only open: of groups that have a newer one.
    pub fn retired(&self) -> impl Iterator<Item = u32> {
        let retired = |(number, entry): (&u32, &Entry)| {
            let is_retired = entry.key.is_some() && self.current.get(&entry.group) != Some(number);
            is_retired.then_some(*number)
        };
        self.entries.iter().filter_map(retired)
    }

    /// Forgets a retired key that nothing is sealed with any more; false if it is in use or not there.
    pub fn forget(&mut self, number: u32) -> bool {
        let Some(entry) = self.entries.get(&number) else { return false };
        self.current.get(&entry.group) != Some(&number) && self.entries.remove(&number).is_some()
    }

    /// Destroys the keys of a group that a newer one took the place of, and gives their numbers. Done once the vault is
    /// written; then nothing opens what they sealed.
    pub fn shred_retired(&mut self, group: u32) -> Vec<u32> {
        let current = self.current.get(&group).copied();
        let retired = self
            .entries
            .iter_mut()
            .filter(|(number, entry)| entry.group == group && Some(**number) != current);
        retired.filter_map(|(number, entry)| entry.key.take().map(|_| *number)).collect()
    }

    /// Destroys all keys of a group and gives their number. Done once the vault is written; then nothing opens what they
    /// sealed.
    pub fn shred(&mut self, group: u32) -> usize {
        self.current.remove(&group);
        let keys = self.entries.values_mut().filter(|entry| entry.group == group);
        keys.filter_map(|entry| entry.key.take()).count()
    }

    /// The key that seals what is new in a group.
    pub fn current(&self, group: u32) -> Option<u32> {
        self.current.get(&group).copied()
    }

    /// A key by its number.
    pub fn key(&self, number: u32) -> KeyState<'_> {
        match self.entries.get(&number) {
            None => KeyState::Unknown,
            Some(Entry { key: None, .. }) => KeyState::Shredded,
            Some(Entry { key: Some(key), .. }) => KeyState::Usable(key),
        }
    }

    /// The group of a key; `None` if there is no such key.
    pub fn group(&self, number: u32) -> Option<u32> {
        self.entries.get(&number).map(|entry| entry.group)
    }

    /// Numbers of the keys of a group, also of those that were shredded, in order.
    pub fn numbers_of(&self, group: u32) -> Vec<u32> {
        self.entries.iter().filter(|(_, entry)| entry.group == group).map(|(number, _)| *number).collect()
    }

    /// The numbers of the groups that have a key, in no order.
    pub fn group_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.current.keys().copied()
    }

    /// The largest number that a group has or, if its keys were shredded, had.
    pub fn last_group(&self) -> u32 {
        self.entries.values().map(|entry| entry.group).max().unwrap_or(0)
    }

    /// Groups that have a key.
    pub fn groups(&self) -> usize {
        self.current.len()
    }
}

impl From<SealError> for VaultError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}
