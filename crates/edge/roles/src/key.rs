//! Keys as messages name them: by the digest of their public half, and where a private half is read.

use std::path::PathBuf;
use std::sync::Arc;

use motte_seal::SecretString;

use crate::cursor::{Cursor, Malformed, put_bytes, put_count, put_path, put_text_cut};

/// Keys that one broker may have.
pub const KEYS_MAX: usize = 256;
/// Longest message that is signed; those of TLS have 146 bytes and up to 400.
pub const SIGNED_BYTES_MAX: usize = 1_024;
/// Longest signature: RSA with 16,384 bits.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 2_048;
/// Longest public key.
const SPKI_BYTES_MAX: usize = 4_096;
/// Signature schemes that a key may have.
const SCHEMES_MAX: usize = 16;
/// Longest fault that is told.
pub(crate) const FAULT_BYTES_MAX: usize = 8 * 1_024;
/// Longest passphrase, and longest name of a credential.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 4_096;

/// The name of a key: the SHA-256 digest of its public half. The same key has the same name after a reload or a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// The name of the key with this SubjectPublicKeyInfo.
    pub fn of(spki: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki);
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(id)
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyId(")?;
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// What everybody may know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name.
    pub id: KeyId,
    /// Its public half, a SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    /// TLS signature algorithm, as in RFC 5246: 1 RSA, 3 ECDSA, 7 Ed25519.
    pub algorithm: u8,
    /// TLS signature schemes in the order the key prefers them.
    pub schemes: Vec<u16>,
}

/// A key file and what came of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The file.
    pub path: PathBuf,
    /// The key, or what is wrong with the file and what to do.
    pub outcome: Result<PublicKey, String>,
}

/// Where the passphrase of a key is.
#[derive(Debug, Clone)]
pub enum Passphrase {
    /// The key has none.
    None,
    /// In a file.
    File(PathBuf),
    /// In a credential that systemd gave, by its name.
    Credential(String),
    /// Here: it came from a descriptor or a person and cannot be read again.
    Known(Arc<SecretString>),
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Credential(a), Self::Credential(b)) => a == b,
            (Self::Known(a), Self::Known(b)) => a.expose() == b.expose(),
            (Self::None | Self::File(_) | Self::Credential(_) | Self::Known(_), _) => false,
        }
    }
}

/// A key file and how it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its passphrase.
    pub passphrase: Passphrase,
}

impl Source {
    /// Whether the key is in a token, and no file.
    pub fn is_token(&self) -> bool {
        self.path.to_str().is_some_and(|path| path.starts_with(crate::token::SCHEME))
    }
}

pub(crate) fn put_source(out: &mut Vec<u8>, source: &Source) {
    put_path(out, &source.path);
    put_passphrase(out, &source.passphrase);
}

pub(crate) fn put_passphrase(out: &mut Vec<u8>, passphrase: &Passphrase) {
    match passphrase {
        Passphrase::None => out.push(0),
        Passphrase::File(path) => {
            out.push(1);
            put_path(out, path);
        }
        Passphrase::Credential(name) => {
            out.push(2);
            put_bytes(out, name.as_bytes());
        }
        Passphrase::Known(secret) => {
            out.push(3);
            put_bytes(out, secret.expose().as_bytes());
        }
    }
}

pub(crate) fn source(cursor: &mut Cursor<'_>) -> Result<Source, Malformed> {
    Ok(Source { path: cursor.path()?, passphrase: passphrase(cursor)? })
}

pub(crate) fn passphrase(cursor: &mut Cursor<'_>) -> Result<Passphrase, Malformed> {
    match cursor.u8()? {
        0 => Ok(Passphrase::None),
        1 => Ok(Passphrase::File(cursor.path()?)),
        2 => Ok(Passphrase::Credential(cursor.text(PASSPHRASE_BYTES_MAX)?)),
        3 => Ok(Passphrase::Known(Arc::new(SecretString::new(cursor.text(PASSPHRASE_BYTES_MAX)?)))),
        _ => Err(Malformed::Unknown),
    }
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &KeyEntry) {
    put_path(out, &entry.path);
    match &entry.outcome {
        Ok(key) => {
            out.push(0);
            out.extend_from_slice(&key.id.0);
            put_bytes(out, &key.spki);
            out.push(key.algorithm);
            put_count(out, key.schemes.len());
            for scheme in &key.schemes {
                out.extend_from_slice(&scheme.to_le_bytes());
            }
        }
        Err(fault) => {
            out.push(1);
            put_text_cut(out, fault, FAULT_BYTES_MAX);
        }
    }
}

pub(crate) fn entry(cursor: &mut Cursor<'_>) -> Result<KeyEntry, Malformed> {
    let path = cursor.path()?;
    let outcome = match cursor.u8()? {
        0 => Ok(PublicKey {
            id: KeyId(cursor.array()?),
            spki: cursor.bytes(SPKI_BYTES_MAX)?.to_vec(),
            algorithm: cursor.u8()?,
            schemes: cursor.list(SCHEMES_MAX, Cursor::u16)?,
        }),
        1 => Err(cursor.text(FAULT_BYTES_MAX)?),
        _ => return Err(Malformed::Unknown),
    };
    Ok(KeyEntry { path, outcome })
}
