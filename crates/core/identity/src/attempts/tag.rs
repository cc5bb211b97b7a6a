//! Keys of the tables: keyed digests, so that nobody outside can tell which keys share a place, and no name is kept.

use std::num::NonZeroU64;

use aws_lc_rs::hmac;

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
