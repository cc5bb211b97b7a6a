//! The key that opens the vault of a state directory: where it is read, and the one thing it does, which is to wrap and
//! unwrap the vault's master key. Where there is a key process it is in that one only.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use motte_seal::envelope::{DataKey, KEY_BYTES};
use motte_seal::keyring::{KekId, KeyEncryptionKey, KeySource, Slot};
use motte_seal::{HashParameters, SecretBytes, SecretString};
use zeroize::Zeroizing;

use crate::cursor::{Cursor, Malformed, put_bytes};
use crate::key::{Passphrase, passphrase, put_passphrase};
use crate::source::{credential, key_file_fault, passphrase_from};
use crate::token::TokenSecret;

/// A file with more bytes is no key.
const FILE_BYTES_MAX: u64 = 4_096;
/// Longest address of a key in a token.
const ADDRESS_BYTES_MAX: usize = 4_096;
/// Argon2id for a new passphrase: 64 MiB and three passes, about 0.2 s at each start.
pub const PASSPHRASE_PARAMETERS: HashParameters = HashParameters { memory_kib: 65_536, passes: 3, lanes: 1 };

/// What kind of key opens the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultKind {
    /// 32 bytes or 64 hexadecimal digits in a file or credential.
    Key,
    /// A passphrase.
    Passphrase,
    /// A recovery key.
    Recovery,
    /// A key in a PKCS#11 token, by its address; the secret is the token's PIN.
    Token(String),
}

/// Where the key that opens the vault is read.
#[derive(Debug, Clone, PartialEq)]
pub struct VaultSource {
    /// What kind of key.
    pub kind: VaultKind,
    /// Where it is, or its passphrase or PIN.
    pub secret: Passphrase,
}

impl VaultSource {
    /// A key file.
    pub fn file(path: PathBuf) -> Self {
        Self { kind: VaultKind::Key, secret: Passphrase::File(path) }
    }

    /// What is read, for people; it is also the label of the slot.
    pub fn label(&self) -> String {
        match (&self.kind, &self.secret) {
            (VaultKind::Token(address), _) => address.clone(),
            (_, Passphrase::File(path)) => path.display().to_string(),
            (_, Passphrase::Credential(name)) => name.clone(),
            (VaultKind::Recovery, _) => "shown once".to_owned(),
            (VaultKind::Key | VaultKind::Passphrase, _) => "asked for at the start".to_owned(),
        }
    }

    /// Files that are read, and the token's address where there is one.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let token = if let VaultKind::Token(address) = &self.kind { Some(Path::new(address)) } else { None };
        let file = if let Passphrase::File(path) = &self.secret { Some(path.as_path()) } else { None };
        token.into_iter().chain(file)
    }
}

pub(crate) fn put_vault_source(out: &mut Vec<u8>, source: &VaultSource) {
    match &source.kind {
        VaultKind::Key => out.push(0),
        VaultKind::Passphrase => out.push(1),
        VaultKind::Recovery => out.push(2),
        VaultKind::Token(address) => {
            out.push(3);
            put_bytes(out, address.as_bytes());
        }
    }
    put_passphrase(out, &source.secret);
}

pub(crate) fn vault_source(cursor: &mut Cursor<'_>) -> Result<VaultSource, Malformed> {
    let kind = match cursor.u8()? {
        0 => VaultKind::Key,
        1 => VaultKind::Passphrase,
        2 => VaultKind::Recovery,
        3 => VaultKind::Token(cursor.text(ADDRESS_BYTES_MAX)?),
        _ => return Err(Malformed::Unknown),
    };
    Ok(VaultSource { kind, secret: passphrase(cursor)? })
}

/// The vault's master key on its way between the processes. It is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// A copy for the way.
    pub fn of(key: &DataKey) -> Self {
        Self(Zeroizing::new(*key.expose()))
    }

    /// The key.
    pub fn into_key(self) -> DataKey {
        DataKey::from_bytes(self.0)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_slice());
    }

    pub(crate) fn take(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.array().map(|key| Self(Zeroizing::new(key)))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// What was read.
enum Held {
    Key(KeyEncryptionKey),
    Passphrase(SecretBytes),
    Token(TokenSecret),
}

/// The key that opens the vault.
pub struct VaultKey {
    held: Held,
    label: String,
    /// Goes into the next vault that is made, and is forgotten then.
    recovery: Mutex<Option<KeyEncryptionKey>>,
}

impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultKey").field("label", &self.label).finish_non_exhaustive()
    }
}

impl VaultKey {
    /// Reads the key; `credentials` is the directory that systemd gave, if it did.
    ///
    /// # Errors
    /// What is wrong, where, and what to do.
    pub fn read(source: &VaultSource, credentials: Option<&Path>) -> Result<Self, String> {
        let held = match &source.kind {
            VaultKind::Key => Held::Key(key(&source.secret, credentials)?),
            VaultKind::Passphrase => Held::Passphrase(SecretBytes::new(
                text(&source.secret, credentials)?.expose().as_bytes().to_vec(),
            )),
            VaultKind::Recovery => {
                let key = KeyEncryptionKey::from_recovery(&*text(&source.secret, credentials)?);
                Held::Key(key.map_err(|_| NO_RECOVERY.to_owned())?)
            }
            VaultKind::Token(address) => {
                Held::Token(TokenSecret::find(address, &*text(&source.secret, credentials)?)?)
            }
        };
        Ok(Self { held, label: source.label(), recovery: Mutex::default() })
    }

    /// A recovery key that goes into the next vault that is made.
    ///
    /// # Errors
    /// When the text is no recovery key.
    pub fn with_recovery(self, text: &SecretString) -> Result<Self, String> {
        let key = KeyEncryptionKey::from_recovery(text).map_err(|_| NO_RECOVERY.to_owned())?;
        *self.recovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(self)
    }

    /// Slots that open a vault with this master key.
    ///
    /// # Errors
    /// For people.
    pub fn wrap(&self, master: &DataKey) -> Result<Vec<Slot>, String> {
        let fault = |error: &dyn std::fmt::Display| format!("the key of the vault ({}): {error}", self.label);
        let made;
        let kek = match &self.held {
            Held::Key(kek) => kek,
            Held::Passphrase(phrase) => {
                made = KeyEncryptionKey::new_passphrase(phrase, PASSPHRASE_PARAMETERS)
                    .map_err(|error| fault(&error))?;
                &made
            }
            Held::Token(token) => {
                let key = DataKey::generate().map_err(|error| fault(&error))?;
                let sealed = token.seal(key.expose()).map_err(|error| fault(&error))?;
                made = KeyEncryptionKey::from_token(key, sealed).map_err(|error| fault(&error))?;
                &made
            }
        };
        // A label is for people: a longer one is cut.
        let label: String = self.label.chars().take(60).collect();
        let mut slots = vec![Slot::wrap(kek, &label, master).map_err(|error| fault(&error))?];
        if let Some(recovery) = self.recovery.lock().unwrap_or_else(PoisonError::into_inner).take() {
            slots.push(Slot::wrap(&recovery, "", master).map_err(|error| fault(&error))?);
        }
        Ok(slots)
    }

    /// The master key in the slot that this key opens, and which slot that is.
    ///
    /// # Errors
    /// What was given, so that it can be compared with what is wanted.
    pub fn unwrap(&self, slots: &[Slot]) -> Result<(DataKey, KekId), String> {
        match &self.held {
            Held::Key(kek) => {
                let slot = slots
                    .iter()
                    .find(|slot| slot.id == kek.id())
                    .ok_or_else(|| format!("{} {} was given ({})", kek.source(), kek.id(), self.label))?;
                open(slot, kek)
            }
            Held::Passphrase(phrase) => {
                let is_one = |slot: &&Slot| matches!(slot.source, KeySource::Passphrase { .. });
                for slot in slots.iter().filter(is_one) {
                    let kek = KeyEncryptionKey::from_source(phrase, &slot.source)
                        .map_err(|error| error.to_string())?;
                    if kek.id() == slot.id {
                        return open(slot, &kek);
                    }
                }
                Err(format!("a passphrase was given that opens none of it ({})", self.label))
            }
            Held::Token(token) => {
                for slot in slots {
                    let KeySource::Token { sealed } = &slot.source else { continue };
                    let Ok(key) = token.open(sealed) else { continue };
                    let kek = KeyEncryptionKey::from_token(key, sealed.clone())
                        .map_err(|error| error.to_string())?;
                    if kek.id() == slot.id {
                        return open(slot, &kek);
                    }
                }
                Err(format!("a key in a token was given that opens none of it ({})", self.label))
            }
        }
    }
}

const NO_RECOVERY: &str =
    "this is no recovery key: it has 64 hexadecimal digits, in eight groups; type it as it was shown";

fn open(slot: &Slot, kek: &KeyEncryptionKey) -> Result<(DataKey, KekId), String> {
    slot.unwrap(kek).map(|master| (master, slot.id)).map_err(|error| error.to_string())
}

/// The secret text of a source.
fn text(secret: &Passphrase, credentials: Option<&Path>) -> Result<std::sync::Arc<SecretString>, String> {
    match secret {
        Passphrase::None => Err("nothing says where the key of the vault is".to_owned()),
        Passphrase::Known(known) => Ok(std::sync::Arc::clone(known)),
        Passphrase::Credential(name) => passphrase_from(&credential(name, credentials)?),
        Passphrase::File(file) => match key_file_fault(file) {
            Some(fault) => Err(fault),
            None => passphrase_from(file),
        },
    }
}

/// The key in a file or credential, which may be 32 bytes that are no text.
fn key(secret: &Passphrase, credentials: Option<&Path>) -> Result<KeyEncryptionKey, String> {
    let (path, is_file) = match secret {
        Passphrase::File(path) => (path.clone(), true),
        Passphrase::Credential(name) => (credential(name, credentials)?, false),
        Passphrase::None | Passphrase::Known(_) => {
            return Err("nothing says where the key of the vault is".to_owned());
        }
    };
    if let Some(fault) = key_file_fault(&path).filter(|_| is_file) {
        return Err(fault);
    }
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    // As large as it can get, so that growing leaves no copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(FILE_BYTES_MAX).unwrap_or_default()));
    let file = File::open(&path).map_err(|error| fault(&error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| fault(&error))?;
    let content = SecretBytes::new(std::mem::take(&mut *content));
    let key = if is_file {
        KeyEncryptionKey::from_key_file(&content)
    } else {
        KeyEncryptionKey::from_credential(&content)
    };
    key.map_err(|error| fault(&error))
}

/// Makes a key file (mode 0600) with a new key, and syncs it and its name.
///
/// # Errors
/// As the system says; [`io::ErrorKind::AlreadyExists`] if there is such a file.
pub fn make_key_file(path: &Path) -> io::Result<()> {
    let key = DataKey::generate().map_err(io::Error::other)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key.expose() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
