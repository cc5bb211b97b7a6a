//! Sealing of what is stored: AES-256-GCM with a key for each file, derived from a data key and the file's salt, so that a
//! nonce has to be unique within one file only. What a thing is and where it lies is in the associated data, so that it
//! opens nowhere else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the salt of a file.
pub const SALT_BYTES: usize = 32;
/// Bytes of the tag behind what is sealed.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = NONCE_LEN;

/// Why something could not be sealed or opened. It says no more on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not sealed with this key for this place, or it was changed.
    #[error("it was not sealed with this key for this place, or it was changed since")]
    Refused,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Random,
}

/// A key from which those of files are derived. It is wiped when dropped, never printed and never copied.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(hidden)")
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl DataKey {
    /// A new one.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn generate() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).map_err(|_| SealError::Random)?;
        Ok(Self(key))
    }

    /// From the bytes of a key.
    pub fn from_bytes(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(key)
    }

    /// The bytes, for the moment of use.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key of one file; `purpose` keeps keys for different uses apart.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library does not derive it, which it always does.
    pub fn file_key(&self, salt: &[u8; SALT_BYTES], purpose: &[u8]) -> Result<FileKey, SealError> {
        let key = self.derive(salt, purpose)?;
        FileKey::new(&key)
    }

    /// Other bytes from this key.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library does not derive them, which it always does.
    pub fn derive(&self, salt: &[u8], purpose: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealError> {
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        let prk = Salt::new(HKDF_SHA256, salt).extract(self.0.as_slice());
        prk.expand(&[purpose], Length(KEY_BYTES))
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .map_err(|_| SealError::Refused)?;
        Ok(out)
    }
}

/// The key of one file.
pub struct FileKey(LessSafeKey);

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(hidden)")
    }
}

impl FileKey {
    fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Refused)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals in place and gives the tag. The nonce must never have been used with this key.
    ///
    /// # Errors
    /// [`SealError::Refused`] for more than 64 GiB.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], SealError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), bytes);
        let tag = tag.map_err(|_| SealError::Refused)?;
        tag.as_ref().try_into().map_err(|_| SealError::Refused)
    }

    /// Opens in place what [`Self::seal`] gave, with the tag behind it, and gives what was sealed.
    ///
    /// # Errors
    /// [`SealError::Refused`]; the bytes are worth nothing then.
    pub fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &'a mut [u8],
    ) -> Result<&'a mut [u8], SealError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(associated), bytes).map_err(|_| SealError::Refused)
    }
}

/// A key sealed by another: nonce, sealed key and tag.
pub type WrappedKey = [u8; NONCE_BYTES + KEY_BYTES + TAG_BYTES];

/// Wraps `key` with `by`; `associated` says what key it is.
///
/// # Errors
/// [`SealError::Random`].
pub fn wrap(by: &DataKey, associated: &[u8], key: &DataKey) -> Result<WrappedKey, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
    let mut sealed = Zeroizing::new(*key.expose());
    let tag = FileKey::new(by.expose())?.seal(nonce, associated, sealed.as_mut_slice())?;
    let mut out = [0; NONCE_BYTES + KEY_BYTES + TAG_BYTES];
    let parts = nonce.iter().chain(sealed.iter()).chain(tag.iter());
    out.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    Ok(out)
}

/// Opens what [`wrap`] gave.
///
/// # Errors
/// [`SealError::Refused`].
pub fn unwrap(by: &DataKey, associated: &[u8], wrapped: &WrappedKey) -> Result<DataKey, SealError> {
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Refused)?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let key = FileKey::new(by.expose())?.open(*nonce, associated, &mut sealed)?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes.iter_mut().zip(key.iter()).for_each(|(to, from)| *to = *from);
    Ok(DataKey(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let key = DataKey::generate().unwrap();
        let file = key.file_key(&[1; SALT_BYTES], b"segment").unwrap();
        let mut bytes = b"a message".to_vec();
        let tag = file.seal([7; NONCE_BYTES], b"place", &mut bytes).unwrap();
        bytes.extend_from_slice(&tag);
        assert!(!bytes.windows(5).any(|part| part == b"messa"));
        let open = |key: &FileKey, nonce, place: &[u8], mut bytes: Vec<u8>| {
            key.open(nonce, place, &mut bytes).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&file, [7; NONCE_BYTES], b"place", bytes.clone()).unwrap(), b"a message");
        assert_eq!(open(&file, [8; NONCE_BYTES], b"place", bytes.clone()), Err(SealError::Refused));
        assert_eq!(open(&file, [7; NONCE_BYTES], b"other", bytes.clone()), Err(SealError::Refused));
        for (salt, purpose) in [([2; SALT_BYTES], b"segment"), ([1; SALT_BYTES], b"another")] {
            let other = key.file_key(&salt, purpose).unwrap();
            assert_eq!(open(&other, [7; NONCE_BYTES], b"place", bytes.clone()), Err(SealError::Refused));
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(open(&file, [7; NONCE_BYTES], b"place", changed), Err(SealError::Refused));
        }
    }

    #[test]
    fn a_wrapped_key_opens_with_its_key_and_purpose_only() {
        let (outer, inner) = (DataKey::generate().unwrap(), DataKey::generate().unwrap());
        let wrapped = wrap(&outer, b"group 7", &inner).unwrap();
        assert_eq!(unwrap(&outer, b"group 7", &wrapped).unwrap().expose(), inner.expose());
        assert!(unwrap(&outer, b"group 8", &wrapped).is_err());
        assert!(unwrap(&inner, b"group 7", &wrapped).is_err());
    }
}
