//! The keys of segments: derived from the data keys once for each segment and key, kept while they fit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use motte_seal::envelope::{FileKey, SALT_BYTES, SealError};
use motte_seal::keyring::{KeyState, Keyring};
use rustc_hash::FxBuildHasher;

use super::batch::Group;

/// Keeps the keys of segments apart from those for anything else.
const PURPOSE: &[u8] = b"motte journal segment v1";
/// Derived keys that are kept; each takes some hundred bytes and 2 us to make.
const KEPT_MAX: usize = 4096;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFault {
    Shredded,
    Unknown,
    Seal(SealError),
}

/// The data keys of a journal, if it is sealed, shared by those who read and write.
#[derive(Debug)]
pub(crate) struct DataKeys {
    ring: Option<RwLock<Keyring>>,
}

impl DataKeys {
    pub(crate) fn new(ring: Option<Keyring>) -> Self {
        Self { ring: ring.map(RwLock::new) }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.ring.is_some()
    }

    /// Number of the key that seals what is written for this group now; 0 if nothing is sealed, `None` if it has no key.
    pub(crate) fn current(&self, group: Group) -> Option<u32> {
        let Some(ring) = &self.ring else { return Some(0) };
        ring.read().unwrap_or_else(PoisonError::into_inner).current(group.0)
    }

    /// Runs something on the keyring; `None` if nothing is sealed.
    pub(crate) fn with_ring<T>(&self, run: impl FnOnce(&mut Keyring) -> T) -> Option<T> {
        let ring = self.ring.as_ref()?;
        Some(run(&mut ring.write().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks at the keyring; `None` if nothing is sealed.
    pub(crate) fn look_at_ring<T>(&self, look: impl FnOnce(&Keyring) -> T) -> Option<T> {
        let ring = self.ring.as_ref()?;
        Some(look(&ring.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn derive(&self, number: u32, salt: &[u8; SALT_BYTES]) -> Result<FileKey, KeyFault> {
        let ring = self.ring.as_ref().ok_or(KeyFault::Unknown)?;
        let ring = ring.read().unwrap_or_else(PoisonError::into_inner);
        match ring.key(number) {
            KeyState::Usable(key) => key.file_key(salt, PURPOSE).map_err(KeyFault::Seal),
            KeyState::Shredded => Err(KeyFault::Shredded),
            KeyState::Unknown => Err(KeyFault::Unknown),
        }
    }
}

/// The keys of all segments.
#[derive(Debug)]
pub(crate) struct FileKeys {
    pub(crate) data: DataKeys,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    salts: HashMap<u32, [u8; SALT_BYTES], FxBuildHasher>,
    derived: HashMap<(u32, u32), Arc<FileKey>, FxBuildHasher>,
}

impl FileKeys {
    pub(crate) fn new(data: DataKeys) -> Self {
        Self { data, inner: Mutex::default() }
    }

    /// Makes the salt of a segment known.
    pub(crate) fn add_segment(&self, segment: u32, salt: [u8; SALT_BYTES]) {
        self.lock().salts.insert(segment, salt);
    }

    /// Forgets a segment that is gone.
    pub(crate) fn remove_segment(&self, segment: u32) {
        let mut inner = self.lock();
        inner.salts.remove(&segment);
        inner.derived.retain(|(of, _), _| *of != segment);
    }

    /// Forgets what was derived, because keys were shredded.
    pub(crate) fn forget_derived(&self) {
        self.lock().derived.clear();
    }

    /// The key of a segment; `None` for number 0, which seals nothing.
    pub(crate) fn key(&self, segment: u32, number: u32) -> Result<Option<Arc<FileKey>>, KeyFault> {
        if number == 0 {
            // In a sealed journal nothing is believed that is not sealed.
            return if self.data.is_sealed() { Err(KeyFault::Unknown) } else { Ok(None) };
        }
        let salt = {
            let inner = self.lock();
            if let Some(key) = inner.derived.get(&(segment, number)) {
                return Ok(Some(Arc::clone(key)));
            }
            *inner.salts.get(&segment).ok_or(KeyFault::Unknown)?
        };
        let key = Arc::new(self.data.derive(number, &salt)?);
        let mut inner = self.lock();
        if inner.derived.len() >= KEPT_MAX {
            inner.derived.clear();
        }
        inner.derived.insert((segment, number), Arc::clone(&key));
        Ok(Some(key))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
