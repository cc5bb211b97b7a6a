//! The keys of an issuer as they are held now: exchanged while tokens are judged, and good until a stated time.

use std::sync::{Arc, PoisonError, RwLock};

use crate::token::key_set::KeySet;

/// Keys of an issuer. Those that are fetched begin with none, and are of no use any more when they could not be fetched for
/// too long.
#[derive(Debug)]
pub struct HeldKeys {
    held: RwLock<Held>,
    is_fetched: bool,
}

#[derive(Debug)]
struct Held {
    set: Option<Arc<KeySet>>,
    good_until_s: u64,
}

/// What an exchange of keys changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyChange {
    /// Keys that were not there before.
    pub new: usize,
    /// Keys that are gone: what they signed proves nothing any more.
    pub gone: usize,
}

impl HeldKeys {
    /// Keys that stay as they are, from a file.
    pub fn fixed(set: KeySet) -> Arc<Self> {
        let held = RwLock::new(Held { set: Some(Arc::new(set)), good_until_s: u64::MAX });
        Arc::new(Self { held, is_fetched: false })
    }

    /// Keys that are fetched; none so far.
    pub fn to_fetch() -> Arc<Self> {
        Arc::new(Self { held: RwLock::new(Held { set: None, good_until_s: 0 }), is_fetched: true })
    }

    /// Holds these from now on, until `good_until_s` in seconds since 1970.
    pub fn put(&self, set: KeySet, good_until_s: u64) -> KeyChange {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let former = held.set.take().unwrap_or_default();
        let change = KeyChange { new: set.lacking_in(&former), gone: former.lacking_in(&set) };
        *held = Held { set: Some(Arc::new(set)), good_until_s };
        change
    }

    /// Whether they are fetched, so that there may be newer ones where they come from.
    pub fn is_fetched(&self) -> bool {
        self.is_fetched
    }

    /// Until when they are good, in seconds since 1970; `None`: none are held.
    pub fn good_until_s(&self) -> Option<u64> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.set.as_ref().map(|_| held.good_until_s)
    }

    /// The keys, if they are good at this time.
    pub(crate) fn at(&self, now_s: u64) -> Option<Arc<KeySet>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.set.clone().filter(|_| now_s < held.good_until_s)
    }

    /// Whether a key is known to be gone. Where none are held nothing is known.
    pub(crate) fn lacks(&self, fingerprint: &str) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.set.as_ref().is_some_and(|set| !set.has(fingerprint))
    }
}
