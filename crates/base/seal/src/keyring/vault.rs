//! The vault's file.
//!
//! Little-endian: `MOTTEVLT`, version (u16), length of the whole (u32), generation (u64), salt (32 bytes), slots (u8 count;
//! each: id, source (u8), for a passphrase memory, passes, lanes (u32 each) and salt (16), for a token the key
//! that it sealed (u16 length), label (u8 length), wrapped
//! master key), next key number (u32), keys (u32 count; each: number, group (u32 each), 1 and the wrapped key, or 0:
//! shredded), the tag of a seal by the master key over all of it, and CRC-32 of everything before.

use std::collections::{BTreeMap, HashMap};

use super::kek::{
    KekError, KekId, KeyEncryptionKey, KeySource, SALT_BYTES as PASSPHRASE_SALT, SEALED_BYTES_MAX,
};
use super::{Entry, Keyring, SLOTS_MAX, Slot};
use crate::envelope::{self, DataKey, NONCE_BYTES, SALT_BYTES, SealError, TAG_BYTES, WrappedKey};
use crate::password::HashParameters;

const MAGIC: &[u8; 8] = b"MOTTEVLT";
/// Version of the format written here.
const VERSION: u16 = 1;
/// Keeps the seal's key apart from others of the master key.
const PURPOSE: &[u8] = b"motte vault seal v1";
/// Bytes of the smallest entry of a key.
const ENTRY_BYTES_MIN: usize = 9;

/// Why a vault cannot be read, opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The file does not begin as a vault does.
    #[error("this is no vault: it does not begin with MOTTEVLT; put back the right file")]
    NotAVault,
    /// Another version of the format.
    #[error(
        "vault format {found} is not known here (this version reads format 1); start the version of motte that wrote it"
    )]
    Version {
        /// The version in the file.
        found: u16,
    },
    /// The content is not what was written.
    #[error("the vault is damaged ({what}); restore it from a backup: without it nothing sealed can be read")]
    Damaged {
        /// What shows it.
        what: &'static str,
    },
    /// None of the vault's keys was given.
    #[error(
        "the vault is opened by {wanted}; the {given_source} given is key {given}: give the one that is wanted"
    )]
    WrongKey {
        /// The keys that open it: where each comes from, its label and id.
        wanted: String,
        /// The one that was given.
        given: KekId,
        /// Where that one comes from.
        given_source: String,
    },
    /// A key-encryption key that is none of the vault's.
    #[error("the vault has no key {id}; `motte vault status` lists those it has")]
    NoSlot {
        /// The key.
        id: KekId,
    },
    /// As many slots as there can be.
    #[error("the vault has {SLOTS_MAX} keys, which is all it can have; remove one first")]
    Slots,
    /// The only way to open the vault cannot be taken away.
    #[error("this is the only key that opens the vault; add another one before it is removed")]
    LastSlot,
    /// A label that is too long.
    #[error("a label of {bytes} bytes is too long; 255 is the most")]
    Label {
        /// Bytes it has.
        bytes: usize,
    },
    /// All key numbers are used.
    #[error("the vault has used all its key numbers; export the state and start with a new state directory")]
    Keys,
    /// A key-encryption key could not be made.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// Sealing failed.
    #[error("the vault cannot seal: {0}")]
    Seal(SealError),
}

/// A vault that is read but not open.
#[derive(Debug)]
pub struct Vault<'a> {
    /// All bytes before the tag.
    sealed: &'a [u8],
    tag: [u8; TAG_BYTES],
    generation: u64,
    salt: [u8; SALT_BYTES],
    slots: Vec<Slot>,
    next: u32,
    keys: BTreeMap<u32, (u32, Option<WrappedKey>)>,
}

/// The vault's bytes.
pub(super) fn encode(ring: &Keyring) -> Result<Vec<u8>, VaultError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&ring.generation.to_le_bytes());
    out.extend_from_slice(&salt);
    out.push(u8::try_from(ring.slots.len()).map_err(|_| VaultError::Slots)?);
    for slot in &ring.slots {
        encode_slot(slot, &mut out);
    }
    out.extend_from_slice(&ring.next.to_le_bytes());
    out.extend_from_slice(&u32::try_from(ring.entries.len()).map_err(|_| VaultError::Keys)?.to_le_bytes());
    for (number, entry) in &ring.entries {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&entry.group.to_le_bytes());
        match &entry.key {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                out.extend_from_slice(&envelope::wrap(&ring.master, &name(*number, entry.group), key)?);
            }
        }
    }
    let length = u32::try_from(out.len() + TAG_BYTES + 4).map_err(|_| VaultError::Keys)?;
    if let Some(place) = out.get_mut(10..14) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let tag = ring.master.file_key(&salt, PURPOSE)?.seal([0; NONCE_BYTES], &out, &mut [])?;
    out.extend_from_slice(&tag);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(out)
}

pub(super) fn encode_slot(slot: &Slot, out: &mut Vec<u8>) {
    out.extend_from_slice(&slot.id.0);
    match &slot.source {
        KeySource::KeyFile => out.push(0),
        KeySource::Credential => out.push(1),
        KeySource::Passphrase { parameters, salt } => {
            out.push(2);
            for number in [parameters.memory_kib, parameters.passes, parameters.lanes] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(salt);
        }
        KeySource::Recovery => out.push(3),
        KeySource::Token { sealed } => {
            out.push(4);
            // Nothing longer can be made.
            out.extend_from_slice(&u16::try_from(sealed.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(sealed);
        }
    }
    out.push(u8::try_from(slot.label.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(slot.label.as_bytes());
    out.extend_from_slice(&slot.master);
}

/// Slots one behind the other.
pub(super) fn decode_slots(bytes: &[u8]) -> Result<Vec<Slot>, VaultError> {
    let mut reader = Reader(bytes);
    let mut slots = Vec::new();
    while !reader.0.is_empty() {
        if slots.len() >= SLOTS_MAX {
            return Err(VaultError::Slots);
        }
        slots.push(reader.slot()?);
    }
    Ok(slots)
}

/// Associated data of a wrapped data key.
fn name(number: u32, group: u32) -> Vec<u8> {
    [b"motte data key v1".as_slice(), &number.to_le_bytes(), &group.to_le_bytes()].concat()
}

impl<'a> Vault<'a> {
    /// Reads the bytes of a vault's file.
    ///
    /// # Errors
    /// [`VaultError::NotAVault`], [`VaultError::Version`], [`VaultError::Damaged`].
    pub fn decode(file: &'a [u8]) -> Result<Self, VaultError> {
        if file.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            return Err(VaultError::NotAVault);
        }
        let damaged = |what| VaultError::Damaged { what };
        let mut c = Reader(file.get(MAGIC.len()..).unwrap_or_default());
        let version = u16::from_le_bytes(c.array("its version")?);
        if version != VERSION {
            return Err(VaultError::Version { found: version });
        }
        let length = usize::try_from(c.u32("its length")?).map_err(|_| damaged("its length"))?;
        if length != file.len() {
            return Err(damaged("it is not as long as it says"));
        }
        let (checked, checksum) = file.split_last_chunk::<4>().ok_or(damaged("its length"))?;
        if u32::from_le_bytes(*checksum) != crc32fast::hash(checked) {
            return Err(damaged("its checksum is another"));
        }
        let (sealed, tag) = checked.split_last_chunk::<TAG_BYTES>().ok_or(damaged("its length"))?;
        let mut c = Reader(sealed.get(14..).unwrap_or_default());
        let generation = u64::from_le_bytes(c.array("its generation")?);
        let salt = c.array("its salt")?;
        let slots = c.slots()?;
        let next = c.u32("its next number")?;
        let keys = c.keys(next)?;
        if !c.0.is_empty() {
            return Err(damaged("it goes on after its keys"));
        }
        Ok(Self { sealed, tag: *tag, generation, salt, slots, next, keys })
    }

    /// The ways to open it.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Times it was written.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Data keys in it, and those that were shredded.
    pub fn keys(&self) -> (usize, usize) {
        let shredded = self.keys.values().filter(|(_, key)| key.is_none()).count();
        (self.keys.len() - shredded, shredded)
    }

    /// What opens it, for people.
    pub fn wanted(&self) -> String {
        wanted(&self.slots)
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] if the key is none of the vault's; [`VaultError::Damaged`] if it was changed by someone
    /// who made the checksum fit.
    pub fn open(self, kek: &KeyEncryptionKey) -> Result<Keyring, VaultError> {
        let slot =
            self.slots.iter().find(|slot| slot.id == kek.id()).ok_or_else(|| VaultError::WrongKey {
                wanted: wanted(&self.slots),
                given: kek.id(),
                given_source: kek.source().to_string(),
            })?;
        let master = slot.unwrap(kek)?;
        self.open_with(master)
    }

    /// Opens it with the master key that a slot gave.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] if it is another's, or the vault was changed by someone who made the checksum fit.
    pub fn open_with(self, master: DataKey) -> Result<Keyring, VaultError> {
        let damaged = |what| VaultError::Damaged { what };
        let mut tag = self.tag.to_vec();
        master
            .file_key(&self.salt, PURPOSE)?
            .open([0; NONCE_BYTES], self.sealed, &mut tag)
            .map_err(|_| damaged("its seal is another"))?;
        let mut entries = BTreeMap::new();
        let mut current = HashMap::new();
        for (number, (group, wrapped)) in &self.keys {
            let open = |wrapped: &WrappedKey| -> Result<DataKey, VaultError> {
                envelope::unwrap(&master, &name(*number, *group), wrapped)
                    .map_err(|_| damaged("a data key does not open"))
            };
            let key = wrapped.as_ref().map(open).transpose()?;
            if key.is_some() {
                // Numbers go up, so the last one of a group is its newest.
                current.insert(*group, *number);
            }
            entries.insert(*number, Entry { group: *group, key });
        }
        let Self { slots, next, generation, .. } = self;
        Ok(Keyring { master, slots, entries, current, next, generation })
    }
}

fn wanted(slots: &[Slot]) -> String {
    let all: Vec<String> = slots.iter().map(Slot::describe).collect();
    if all.is_empty() { "no key at all".to_owned() } else { all.join(" or ") }
}

/// Reads from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], VaultError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(VaultError::Damaged { what })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], VaultError> {
        self.take(N, what)?.try_into().map_err(|_| VaultError::Damaged { what })
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, VaultError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, VaultError> {
        self.array(what).map(|[byte]| byte)
    }

    fn slots(&mut self) -> Result<Vec<Slot>, VaultError> {
        let count = usize::from(self.byte("its slots")?);
        if count > SLOTS_MAX {
            return Err(VaultError::Damaged { what: "it has more slots than there can be" });
        }
        (0..count).map(|_| self.slot()).collect()
    }

    fn slot(&mut self) -> Result<Slot, VaultError> {
        let id = KekId(self.array("a slot")?);
        let source = match self.byte("a slot")? {
            0 => KeySource::KeyFile,
            1 => KeySource::Credential,
            2 => {
                let (memory_kib, passes, lanes) =
                    (self.u32("a slot")?, self.u32("a slot")?, self.u32("a slot")?);
                let parameters = HashParameters { memory_kib, passes, lanes };
                KeySource::Passphrase { parameters, salt: self.array::<PASSPHRASE_SALT>("a slot")? }
            }
            3 => KeySource::Recovery,
            4 => {
                let length = usize::from(u16::from_le_bytes(self.array("a slot")?));
                if length > SEALED_BYTES_MAX {
                    return Err(VaultError::Damaged { what: "a slot's sealed key is too long" });
                }
                KeySource::Token { sealed: self.take(length, "a slot")?.to_vec() }
            }
            _ => return Err(VaultError::Damaged { what: "a slot of no known source" }),
        };
        let length = usize::from(self.byte("a label")?);
        let label = std::str::from_utf8(self.take(length, "a label")?)
            .map_err(|_| VaultError::Damaged { what: "a label that is no text" })?
            .to_owned();
        Ok(Slot { id, source, label, master: self.array("a slot")? })
    }

    fn keys(&mut self, next: u32) -> Result<BTreeMap<u32, (u32, Option<WrappedKey>)>, VaultError> {
        let count = usize::try_from(self.u32("its keys")?).unwrap_or(usize::MAX);
        if count > self.0.len() / ENTRY_BYTES_MIN {
            return Err(VaultError::Damaged { what: "it says it has more keys than fit" });
        }
        let mut keys = BTreeMap::new();
        for _ in 0..count {
            let (number, group) = (self.u32("a key")?, self.u32("a key")?);
            let wrapped = match self.byte("a key")? {
                0 => None,
                1 => Some(self.array("a key")?),
                _ => return Err(VaultError::Damaged { what: "a key in no known state" }),
            };
            let is_next = keys.last_key_value().is_none_or(|(last, _)| *last < number);
            if number == 0 || number >= next || !is_next {
                return Err(VaultError::Damaged { what: "keys that are not in order" });
            }
            keys.insert(number, (group, wrapped));
        }
        Ok(keys)
    }
}
