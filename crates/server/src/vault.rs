//! The vault of a state directory: opened with the key that the configuration names, or made at the first start.
//!
//! The vault is the file `vault` in the state directory. Whoever changes its keys writes it with [`write()`] before
//! anything is sealed with a key that is new in it. The key that opens it is never in the state directory, and where there
//! is a key process it is in that one only: it gets the vault's slots and gives the master key.

use std::path::{Path, PathBuf};

use motte_config::{Config, StoreKey};
use motte_disk::Directory;
use motte_event::Event;
use motte_roles::{KeyClient, Passphrases, VaultKey, make_key_file};
use motte_seal::envelope::DataKey;
use motte_seal::keyring::{KeySource, Keyring, Slot, Vault, VaultError};
use motte_store::disk::{read_whole, write_whole};
use motte_store::{Disk, DiskError};

use crate::kept_file::overwrite;

/// The vault's file in the state directory.
pub const VAULT: &str = "vault";
/// Begins the names of the journal's facts that say which group of keys a device has; the identity follows, and the value is
/// the group's number (u32, little-endian).
pub const DEVICE_FACT: &str = "device/";
/// A larger file is no vault: millions of keys have room.
const VAULT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Why there is no open vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    /// Its file, or its directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is damaged, or of another version.
    #[error("{}: {cause}", path.display())]
    Vault {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: VaultError,
    },
    /// The key that was given is not its own, or could not be read.
    #[error(
        "{} is opened by {wanted}, and not with what [store.key] names: {given}\n  remedy: put the key that is wanted where [store.key] names it, or give the vault another one with the recovery key: `motte vault recover`",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// The keys that open it.
        wanted: String,
        /// What was given, or what is wrong with it.
        given: String,
    },
    /// What is sealed is there, and the vault is not.
    #[error(
        "{} is missing, and {segment} is there, which cannot be read without it\n  remedy: put the vault of this state directory back, from the copy beside its backups; or choose another state directory",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// A file that was sealed with it.
        segment: String,
    },
    /// A vault cannot be made.
    #[error("cannot make {}: {cause}", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        cause: String,
    },
}

/// Who has the key that opens the vault.
#[derive(Debug)]
pub enum VaultAccess {
    /// This process.
    Here(VaultKey),
    /// The key process.
    Elsewhere(KeyClient),
}

impl VaultAccess {
    /// With the key that the configuration names, read here. Makes the key file at the first start.
    ///
    /// # Errors
    /// [`VaultFault::Key`] if the key cannot be read and there is a vault, [`VaultFault::Make`] if there is none.
    pub fn read(config: &Config, passphrases: &mut Passphrases) -> Result<Option<Self>, VaultFault> {
        make_key(config)?;
        Self::there(config, passphrases)
    }

    /// As [`Self::read`], and nothing is made.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn there(config: &Config, passphrases: &mut Passphrases) -> Result<Option<Self>, VaultFault> {
        let Some(state) = config.state_dir.as_deref() else { return Ok(None) };
        let source = passphrases.vault(config);
        let key = source.and_then(|source| {
            source.map(|source| VaultKey::read(&source, credentials().as_deref())).transpose()
        });
        key.map(|key| key.map(Self::Here)).map_err(|given| unread(state, given))
    }

    fn unwrap(&self, slots: &[Slot]) -> Result<DataKey, String> {
        match self {
            Self::Here(key) => key.unwrap(slots).map(|(master, _)| master),
            Self::Elsewhere(client) => client.unwrap_vault(slots),
        }
    }

    /// Slots that open a vault with this master key.
    ///
    /// # Errors
    /// What is wrong with the key, or that nobody answers, for people.
    pub fn wrap(&self, master: &DataKey) -> Result<Vec<Slot>, String> {
        match self {
            Self::Here(key) => key.wrap(master),
            Self::Elsewhere(client) => client.wrap_vault(master),
        }
    }
}

/// Where systemd put the credentials of this service.
fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// That the key could not be read, said with what is wanted if there is a vault; `given` is what is wrong.
pub fn unread(state: &Path, given: String) -> VaultFault {
    let path = state.join(VAULT);
    let file = Directory::look(state).and_then(|directory| read_whole(&directory, VAULT, VAULT_BYTES_MAX));
    let file = file.ok().flatten();
    let wanted = file.as_deref().and_then(|file| Vault::decode(file).ok()).map(|vault| vault.wanted());
    match wanted {
        Some(wanted) => VaultFault::Key { path, wanted, given },
        None => VaultFault::Make { path, cause: given },
    }
}

/// An open vault.
#[derive(Debug)]
pub struct Opened {
    /// Its keys.
    pub keyring: Keyring,
    /// Told when it was made just now.
    pub made: Option<Event>,
}

/// Whether the state directory has no vault yet, so that a start would make one.
pub fn is_first_start(config: &Config) -> bool {
    config.state_dir.as_ref().is_some_and(|state| !state.join(VAULT).exists())
}

/// Makes the key file that the configuration names, or the one beside the state directory, at the first start: when
/// neither it nor a vault is there. Gives its path if it was made.
///
/// # Errors
/// [`VaultFault::Make`].
pub fn make_key(config: &Config) -> Result<Option<PathBuf>, VaultFault> {
    let Some(path) = config.store_key_file().filter(|path| is_first_start(config) && !path.exists()) else {
        return Ok(None);
    };
    match make_key_file(&path) {
        Ok(()) => Ok(Some(path)),
        Err(error) => {
            let remedy = match config.store_key {
                StoreKey::Beside => "let motte write there once, or name another file in [store.key]",
                _ => "let motte write there once, or put a key there: `openssl rand -hex 32`, mode 0600",
            };
            let cause =
                format!("the key file {} cannot be made: {error}\n  remedy: {remedy}", path.display());
            Err(VaultFault::Make { path: config.state_dir.clone().unwrap_or_default().join(VAULT), cause })
        }
    }
}

/// Opens the vault of a state directory; makes it if the directory holds nothing that is sealed.
///
/// # Errors
/// [`VaultFault`].
pub fn open(state: &Path, access: &VaultAccess) -> Result<Opened, VaultFault> {
    let directory = Directory::open(state)?;
    match read(&directory, state)? {
        Some(file) => {
            open_file(&file, &state.join(VAULT), access).map(|keyring| Opened { keyring, made: None })
        }
        None => create(&directory, state, access),
    }
}

/// That a start would open the vault, if there is one. Changes nothing; a broker may be running.
///
/// # Errors
/// [`VaultFault`].
pub fn check(config: &Config, passphrases: &mut Passphrases) -> Result<(), VaultFault> {
    let Some(state) = config.state_dir.as_deref().filter(|state| state.is_dir()) else { return Ok(()) };
    let Some(file) = read(&Directory::look(state)?, state)? else { return Ok(()) };
    match VaultAccess::there(config, passphrases)? {
        Some(access) => open_file(&file, &state.join(VAULT), &access).map(|_| ()),
        None => Ok(()),
    }
}

/// Opens a vault from its bytes; `path` is named in faults.
///
/// # Errors
/// [`VaultFault::Vault`], [`VaultFault::Key`].
pub fn open_file(file: &[u8], path: &Path, access: &VaultAccess) -> Result<Keyring, VaultFault> {
    let fault = |cause| VaultFault::Vault { path: path.to_owned(), cause };
    let vault = Vault::decode(file).map_err(fault)?;
    let wanted = vault.wanted();
    let master = access.unwrap(vault.slots());
    let master = master.map_err(|given| VaultFault::Key { path: path.to_owned(), wanted, given })?;
    vault.open_with(master).map_err(fault)
}

/// The bytes of a state directory's vault; `None` if there is none and nothing is sealed.
///
/// # Errors
/// [`VaultFault::Disk`], [`VaultFault::Missing`].
pub fn read(directory: &Directory, state: &Path) -> Result<Option<Vec<u8>>, VaultFault> {
    if let Some(file) = read_whole(directory, VAULT, VAULT_BYTES_MAX)? {
        return Ok(Some(file));
    }
    let is_segment =
        |name: &String| name.strip_suffix(".seg").is_some_and(|name| name.starts_with("journal-"));
    match directory.names()?.into_iter().find(is_segment) {
        Some(segment) => Err(VaultFault::Missing { path: state.join(VAULT), segment }),
        None => Ok(None),
    }
}

/// Writes the vault in place of its file: whole or not at all.
///
/// # Errors
/// [`VaultFault::Disk`], [`VaultFault::Vault`]; the old vault is in force then.
pub fn write(directory: &Directory, state: &Path, keyring: &mut Keyring) -> Result<(), VaultFault> {
    let file = keyring.encode().map_err(|cause| VaultFault::Vault { path: state.join(VAULT), cause })?;
    Ok(write_whole(directory, VAULT, &file)?)
}

/// As [`write()`], in a state directory that is in use; what was in the file before is overwritten, as far as the medium does
/// so.
///
/// # Errors
/// As [`write()`].
pub(crate) fn write_over(state: &Path, keyring: &mut Keyring) -> Result<(), VaultFault> {
    let directory = Directory::open(state)?;
    let old = std::fs::File::options().write(true).open(state.join(VAULT)).ok();
    write(&directory, state, keyring)?;
    if let Some(old) = old {
        // The new one is in force in any case.
        let _ = overwrite(old);
    }
    Ok(())
}

fn create(directory: &Directory, state: &Path, access: &VaultAccess) -> Result<Opened, VaultFault> {
    let path = state.join(VAULT);
    let make = |cause: VaultError| VaultFault::Make { path: path.clone(), cause: cause.to_string() };
    let mut keyring = Keyring::closed().map_err(make)?;
    let slots = access.wrap(keyring.master());
    for slot in slots.map_err(|cause| VaultFault::Make { path: path.clone(), cause })? {
        keyring.put_slot(slot).map_err(make)?;
    }
    write(directory, state, &mut keyring)?;
    let is_recovery = |slot: &&Slot| slot.source == KeySource::Recovery;
    let key = keyring.slots().iter().find(|slot| !is_recovery(slot)).map(Slot::describe).unwrap_or_default();
    let recovery = match keyring.slots().iter().find(is_recovery) {
        Some(slot) => format!("{} was shown once", slot.describe()),
        None => "there is none".to_owned(),
    };
    let event = motte_event::vault::created(&path.display().to_string(), &key, &recovery);
    Ok(Opened { keyring, made: Some(event) })
}
