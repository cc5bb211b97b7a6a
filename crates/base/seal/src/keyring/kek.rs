//! Key-encryption keys: from a key file, a systemd credential, a passphrase, or made for recovery.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::envelope::{DataKey, KEY_BYTES, SealError};
use crate::password::HashParameters;
use crate::secret::{SecretBytes, SecretString};

/// Bytes of a passphrase's salt.
pub(super) const SALT_BYTES: usize = 16;
/// A vault that asks for more memory to open than this was not made here.
pub(super) const MEMORY_KIB_MAX: u32 = 4 * 1024 * 1024;
/// Longest key that a token sealed: RSA with 8,192 bits.
pub const SEALED_BYTES_MAX: usize = 1_024;
/// Likewise for passes.
pub(super) const PASSES_MAX: u32 = 64;

/// Which key-encryption key: eight bytes that follow from the key and tell nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(pub [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a key-encryption key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file of 32 bytes, or of 64 hexadecimal digits.
    KeyFile,
    /// A credential that systemd hands to the service, with the content of a key file.
    Credential,
    /// A passphrase through Argon2id.
    Passphrase {
        /// Memory, passes and lanes.
        parameters: HashParameters,
        /// Its salt.
        salt: [u8; SALT_BYTES],
    },
    /// Made once, shown once, kept by the operator.
    Recovery,
    /// Sealed by a key that never leaves its PKCS#11 token.
    Token {
        /// What the token opens, at most [`SEALED_BYTES_MAX`].
        sealed: Vec<u8>,
    },
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyFile => "key file",
            Self::Credential => "systemd credential",
            Self::Passphrase { .. } => "passphrase",
            Self::Recovery => "recovery key",
            Self::Token { .. } => "PKCS#11 key",
        })
    }
}

/// Why a key-encryption key cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekError {
    /// The content is no key.
    #[error(
        "{bytes} bytes are no key: a key file or credential holds 32 random bytes or 64 hexadecimal digits; make one with `openssl rand -hex 32`"
    )]
    Length {
        /// Bytes it has, without white space at the end.
        bytes: usize,
    },
    /// The passphrase is too short to protect anything.
    #[error("a passphrase of {bytes} bytes is too short; use at least 12, or a key file")]
    Passphrase {
        /// Bytes it has.
        bytes: usize,
    },
    /// Argon2id does not run with these parameters.
    #[error("the vault asks for Argon2id with parameters that cannot be used; restore it from a backup")]
    Parameters,
    /// The library failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A key that opens a vault.
#[derive(Debug)]
pub struct KeyEncryptionKey {
    key: DataKey,
    id: KekId,
    source: KeySource,
}

impl KeyEncryptionKey {
    /// From the content of a key file.
    ///
    /// # Errors
    /// [`KekError::Length`].
    pub fn from_key_file(content: &SecretBytes) -> Result<Self, KekError> {
        Self::new(parse(content.expose())?, KeySource::KeyFile)
    }

    /// From the content of a systemd credential.
    ///
    /// # Errors
    /// [`KekError::Length`].
    pub fn from_credential(content: &SecretBytes) -> Result<Self, KekError> {
        Self::new(parse(content.expose())?, KeySource::Credential)
    }

    /// From a key that a token seals and opens; `sealed` is what it made of it.
    ///
    /// # Errors
    /// [`KekError::Length`] if the token made more of it than a vault keeps.
    pub fn from_token(key: DataKey, sealed: Vec<u8>) -> Result<Self, KekError> {
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(KekError::Length { bytes: sealed.len() });
        }
        Self::new(key, KeySource::Token { sealed })
    }

    /// From a recovery key in the form that [`Self::recovery`] gave.
    ///
    /// # Errors
    /// [`KekError::Length`].
    pub fn from_recovery(text: &SecretString) -> Result<Self, KekError> {
        let digits: Zeroizing<Vec<u8>> =
            Zeroizing::new(text.expose().bytes().filter(u8::is_ascii_hexdigit).collect());
        Self::new(parse(&digits)?, KeySource::Recovery)
    }

    /// From a passphrase for a new slot, with a new salt.
    ///
    /// # Errors
    /// [`KekError`].
    pub fn new_passphrase(passphrase: &SecretBytes, parameters: HashParameters) -> Result<Self, KekError> {
        if passphrase.expose().len() < 12 {
            return Err(KekError::Passphrase { bytes: passphrase.expose().len() });
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
        Self::from_source(passphrase, &KeySource::Passphrase { parameters, salt })
    }

    /// From a secret for a slot of this source: the passphrase, or the content of the file. Takes as long and as much
    /// memory as the slot's parameters say.
    ///
    /// # Errors
    /// [`KekError`].
    pub fn from_source(secret: &SecretBytes, source: &KeySource) -> Result<Self, KekError> {
        let KeySource::Passphrase { parameters, salt } = source else {
            return Self::new(parse(secret.expose())?, source.clone());
        };
        let HashParameters { memory_kib, passes, lanes } = *parameters;
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
            return Err(KekError::Parameters);
        }
        let params =
            Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(|_| KekError::Parameters)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret.expose(), salt, key.as_mut_slice())
            .map_err(|_| KekError::Parameters)?;
        Self::new(DataKey::from_bytes(key), source.clone())
    }

    /// A new recovery key and its text: 64 hexadecimal digits in groups of eight, to be shown once.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn recovery() -> Result<(Self, SecretString), KekError> {
        let key = DataKey::generate()?;
        let digits: Vec<String> = key
            .expose()
            .chunks(4)
            .map(|part| part.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let text = SecretString::new(digits.join("-"));
        Ok((Self::new(key, KeySource::Recovery)?, text))
    }

    /// Which key it is.
    pub fn id(&self) -> KekId {
        self.id
    }

    /// Where it comes from.
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    pub(super) fn key(&self) -> &DataKey {
        &self.key
    }

    fn new(key: DataKey, source: KeySource) -> Result<Self, KekError> {
        let derived = key.derive(b"", b"motte key-encryption key id v1")?;
        let id = derived.first_chunk::<8>().copied().ok_or(SealError::Refused)?;
        Ok(Self { key, id: KekId(id), source })
    }
}

/// The key in the content of a file.
fn parse(content: &[u8]) -> Result<DataKey, KekError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if content.len() == KEY_BYTES {
        key.iter_mut().zip(content).for_each(|(to, from)| *to = *from);
        return Ok(DataKey::from_bytes(key));
    }
    let content = content.trim_ascii_end();
    let wrong = KekError::Length { bytes: content.len() };
    if content.len() != KEY_BYTES * 2 {
        return Err(wrong);
    }
    for (to, pair) in key.iter_mut().zip(content.chunks_exact(2)) {
        let [high, low] = pair else { return Err(wrong) };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(wrong) };
        *to = high << 4 | low;
    }
    Ok(DataKey::from_bytes(key))
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
