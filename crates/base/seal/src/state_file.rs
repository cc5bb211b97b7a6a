//! Small files beside the journal: written whole, each time sealed with a key of its own, bound to their name and numbered.
//!
//! Little-endian: `MOTTEFIL`, version (u16), kind (u16), number (u64), salt (32 bytes), length of the body (u32), body, tag of
//! the seal, and CRC-32 of everything before. What stands before the body and the name of the file are in the associated data.
//! The key follows from the master key of the vault, the salt and the name, so that exchanging data keys leaves these files
//! as they are. [`lines`] is the form that grows.

pub mod lines;

use crate::envelope::{DataKey, FileKey, NONCE_BYTES, SALT_BYTES, SealError, TAG_BYTES};

const MAGIC: &[u8; 8] = b"MOTTEFIL";
/// Version of the format written here.
const VERSION: u16 = 1;
/// Bytes before the salt: magic, version, kind, number.
const FIXED_BYTES: usize = 20;
/// Bytes before the body.
const HEAD_BYTES: usize = FIXED_BYTES + SALT_BYTES;
/// Written whole.
const WHOLE: u16 = 0;
/// Lines are put at its end.
const LINES: u16 = 1;
/// Keeps the key of these files apart from other uses of the master key.
const PURPOSE: &[u8] = b"motte state files v1";

/// Why a file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// It does not begin as a sealed file does.
    #[error("it is not sealed, or its beginning is damaged")]
    NotSealed,
    /// Another version of the format.
    #[error(
        "its format {found} is not known here (this version reads format 1); start the version of motte that wrote it"
    )]
    Version {
        /// The version in the file.
        found: u16,
    },
    /// Its bytes are not those that were written.
    #[error("it is damaged ({what})")]
    Damaged {
        /// What shows it.
        what: &'static str,
    },
    /// It is whole and sealed, and not with this vault for this name.
    #[error(
        "it was not sealed for this name with the keys of this vault: it is another file, or of another state directory"
    )]
    Stranger,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Which writing of this file it is: later ones have larger numbers.
    pub number: u64,
    /// What was sealed.
    pub plain: Vec<u8>,
}

/// The key of all small files of a state directory.
#[derive(Debug)]
pub struct FileSeal {
    key: DataKey,
}

impl FileSeal {
    pub(crate) fn of(master: &DataKey) -> Result<Self, SealError> {
        master.derive(b"", PURPOSE).map(|key| Self { key: DataKey::from_bytes(key) })
    }

    /// The bytes of a file of this name with this content.
    ///
    /// # Errors
    /// [`SealError::Random`]; [`SealError::Refused`] for more than 4 GiB.
    pub fn seal(&self, name: &str, number: u64, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut out = begin(WHOLE, number)?;
        let length = u32::try_from(plain.len()).map_err(|_| SealError::Refused)?;
        out.extend_from_slice(&length.to_le_bytes());
        let associated = associated(&out, name);
        let body = out.len();
        out.extend_from_slice(plain);
        let key = self.file_key(&out, name)?;
        let sealed = out.get_mut(body..).unwrap_or_default();
        let tag = key.seal([0; NONCE_BYTES], &associated, sealed)?;
        out.extend_from_slice(&tag);
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(out)
    }

    /// The content of a file of this name.
    ///
    /// # Errors
    /// [`FileFault`].
    pub fn open(&self, name: &str, bytes: &[u8]) -> Result<Content, FileFault> {
        let number = head(bytes, WHOLE)?;
        let damaged = |what| FileFault::Damaged { what };
        let (checked, checksum) = bytes.split_last_chunk::<4>().ok_or(damaged("it is cut short"))?;
        let (head, rest) = checked.split_at_checked(HEAD_BYTES + 4).ok_or(damaged("it is cut short"))?;
        let length = head.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
        if usize::try_from(length).ok().and_then(|length| length.checked_add(TAG_BYTES)) != Some(rest.len()) {
            return Err(damaged("its length is another"));
        }
        if u32::from_le_bytes(*checksum) != crc32fast::hash(checked) {
            return Err(damaged("its checksum is another"));
        }
        let key = self.file_key(head, name).map_err(|_| FileFault::Stranger)?;
        let mut plain = rest.to_vec();
        let opened = key.open([0; NONCE_BYTES], &associated(head, name), &mut plain);
        let length = opened.map_err(|_| FileFault::Stranger)?.len();
        plain.truncate(length);
        Ok(Content { number, plain })
    }

    /// The key of the file that begins with `head`.
    fn file_key(&self, head: &[u8], name: &str) -> Result<FileKey, SealError> {
        let salt = head.get(FIXED_BYTES..HEAD_BYTES).and_then(|salt| salt.first_chunk::<SALT_BYTES>());
        self.key.file_key(salt.ok_or(SealError::Refused)?, name.as_bytes())
    }
}

/// Whether a file of any name begins as a sealed one does.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The beginning of a file, with a new salt.
fn begin(kind: u16, number: u64) -> Result<Vec<u8>, SealError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| SealError::Random)?;
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&salt);
    Ok(out)
}

/// The number of a file of this kind.
fn head(bytes: &[u8], kind: u16) -> Result<u64, FileFault> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(FileFault::NotSealed)?;
    let short = FileFault::Damaged { what: "it is cut short" };
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(short.clone())?;
    let (found_kind, rest) = rest.split_first_chunk::<2>().ok_or(short.clone())?;
    let number = rest.first_chunk::<8>().ok_or(short)?;
    match (u16::from_le_bytes(*version), u16::from_le_bytes(*found_kind)) {
        (VERSION, found) if found == kind => Ok(u64::from_le_bytes(*number)),
        (VERSION, _) => Err(FileFault::Damaged { what: "it is of another kind" }),
        (found, _) => Err(FileFault::Version { found }),
    }
}

/// What a body is bound to: all before it, and the name.
fn associated(head: &[u8], name: &str) -> Vec<u8> {
    [head, name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    #[test]
    fn a_file_opens_under_its_name_with_its_vault_only() {
        let (own, other) = (Keyring::closed().unwrap(), Keyring::closed().unwrap());
        let seal = own.file_seal().unwrap();
        let bytes = seal.seal("bans.state", 7, b"192.0.2.1").unwrap();
        assert!(is_sealed(&bytes) && !bytes.windows(5).any(|part| part == b"192.0"));
        let content = seal.open("bans.state", &bytes).unwrap();
        assert_eq!((content.number, content.plain.as_slice()), (7, &b"192.0.2.1"[..]));
        assert_eq!(seal.open("attempts.state", &bytes), Err(FileFault::Stranger));
        assert_eq!(other.file_seal().unwrap().open("bans.state", &bytes), Err(FileFault::Stranger));
        assert_eq!(own.file_seal().unwrap().open("bans.state", &bytes).unwrap().number, 7);
        assert!(seal.open("bans.state", b"192.0.2.1").is_err_and(|fault| fault == FileFault::NotSealed));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let seal = Keyring::closed().unwrap().file_seal().unwrap();
        let bytes = seal.seal("usage.record", 1, &[9; 100]).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(seal.open("usage.record", &changed).is_err(), "byte {at}");
            assert!(seal.open("usage.record", &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(seal.open("usage.record", &[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn a_proof_is_of_one_vault_and_one_saying() {
        let (own, other) = (Keyring::closed().unwrap(), Keyring::closed().unwrap());
        assert_eq!(own.proof(b"slots").unwrap(), own.proof(b"slots").unwrap());
        assert_ne!(own.proof(b"slots").unwrap(), own.proof(b"others").unwrap());
        assert_ne!(own.proof(b"slots").unwrap(), other.proof(b"slots").unwrap());
    }
}
