//! Keys of the tables: keyed digests, so that nobody outside can tell which keys share a place, and no name is kept.

use std::num::NonZeroU64;

use aws_lc_rs::hmac;

/// Sets in which what one owner has may be.
pub(crate) const OWNED_SETS: u64 = 8;
/// The bits of a mark that say whose it is.
const OWNER_BITS: u64 = 0xffff << 48;
/// Makes another kind of a kind.
const OWNER: u8 = 0x80;

/// A key of a table: where it belongs, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) place: u64,
    pub(crate) mark: NonZeroU64,
}

/// The secret of the digests. It is kept with the counters and is worth nothing elsewhere.
pub struct TagKey {
    secret: [u8; 32],
    key: hmac::Key,
}

impl Tag {
    /// Whether both are of one owner, as far as [`TagKey::owned`] tells.
    pub(crate) fn is_of_same_owner(self, other: NonZeroU64) -> bool {
        (self.mark.get() ^ other.get()) & OWNER_BITS == 0
    }
}

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey")
    }
}

impl TagKey {
    /// From 32 random bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), secret }
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The tag of something that an owner has more of. All of them are in a few sets next to each other and have bits of their
    /// mark in common, so that they displace one another and few others.
    pub(crate) fn owned(&self, kind: u8, owner: &[u8], parts: &[&[u8]]) -> Tag {
        let (home, own) = (self.tag(kind | OWNER, &[owner]), self.tag(kind, parts));
        let mark = home.mark.get() & OWNER_BITS | own.mark.get() & !OWNER_BITS;
        Tag {
            place: home.place.wrapping_add(own.place % OWNED_SETS),
            mark: NonZeroU64::new(mark).unwrap_or(NonZeroU64::MIN),
        }
    }

    /// The tag of a kind and its parts; each part counts with its length.
    pub(crate) fn tag(&self, kind: u8, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[kind]);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let digest = context.sign();
        let word = |from: usize| {
            let bytes = digest.as_ref().get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        Tag { place: word(0), mark: NonZeroU64::new(word(8)).unwrap_or(NonZeroU64::MIN) }
    }
}
