//! A state directory as the verbs about it see it: where it is, and the keys that open what is in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_config::Config;
use motte_disk::Directory;
use motte_roles::{Passphrase, Passphrases, VaultKey, VaultKind, VaultSource};
use motte_seal::keyring::Keyring;
use motte_server::StateDirectory;
use motte_server::vault::{self, VaultAccess};
use motte_store::journal::Recovery;
use motte_store::{Journal, JournalOptions};

use crate::cli::KeptArgs;
use crate::verb::Fault;
use crate::verb::connecting::read_secret;
use crate::verb::serve::{ask_passphrase, load};

/// How often a running broker's journal is looked at again when a segment went meanwhile.
const TRIES: u32 = 5;

/// A state directory.
pub(crate) struct Kept {
    /// State directory and key; nothing else of it counts.
    pub(crate) config: Config,
    /// The state directory.
    pub(crate) state: PathBuf,
    source: Option<VaultSource>,
}

pub(crate) fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::new(error.to_string())
}

impl Kept {
    /// The state directory that is named, which need not be there.
    pub(crate) fn of(args: &KeptArgs) -> Result<Self, Fault> {
        let config = match &args.config {
            Some(path) => load(path)?,
            None => {
                // `motte up` keeps its store below the state directory that it is called with.
                let below = args.state.join("store");
                let is_up = below.is_dir() || args.state.join("ca.pem").exists();
                let state = if is_up { below } else { args.state.clone() };
                Config { state_dir: Some(state), ..Config::default() }
            }
        };
        let Some(state) = config.state_dir.clone() else {
            let what = "this configuration has no state directory, so nothing is kept";
            return Err(Fault::with_remedy(what, "write state_dir, or name another configuration"));
        };
        let source = match (&args.key_file, &args.recovery_file) {
            (Some(path), _) => Some(VaultSource::file(path.clone())),
            (None, Some(path)) => {
                let secret = Passphrase::Known(Arc::new(read_secret(path)?));
                Some(VaultSource { kind: VaultKind::Recovery, secret })
            }
            (None, None) => None,
        };
        Ok(Self { config, state, source })
    }

    /// As [`Self::of`], and it is there.
    pub(crate) fn there(args: &KeptArgs) -> Result<Self, Fault> {
        let kept = Self::of(args)?;
        if !kept.state.is_dir() {
            let what = format!("there is no state directory {}", kept.state.display());
            return Err(Fault::with_remedy(what, "name it with --state, or the configuration with --config"));
        }
        Ok(kept)
    }

    /// The key that opens the vault. Nothing is made.
    pub(crate) fn access(&self) -> Result<VaultAccess, Fault> {
        let Some(source) = &self.source else {
            let access = VaultAccess::there(&self.config, &mut Passphrases::new(Some(ask_passphrase())));
            let nothing = || Fault::new("nothing says where the key of the vault is");
            return access.map_err(fault)?.ok_or_else(nothing);
        };
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        match VaultKey::read(source, credentials.as_deref()) {
            Ok(key) => Ok(VaultAccess::Here(key)),
            Err(given) => Err(fault(vault::unread(&self.state, given))),
        }
    }

    /// The bytes of the vault; `None` if nothing is sealed here.
    pub(crate) fn vault_file(&self) -> Result<Option<Vec<u8>>, Fault> {
        let directory = Directory::look(&self.state).map_err(fault)?;
        vault::read(&directory, &self.state).map_err(fault)
    }

    /// As [`Self::vault_file`]; none is a fault.
    pub(crate) fn vault_there(&self) -> Result<Vec<u8>, Fault> {
        self.vault_file()?.ok_or_else(|| {
            let what = format!("there is no vault in {}: nothing is kept there yet", self.state.display());
            Fault::with_remedy(what, "start the broker once, or name another state directory")
        })
    }

    /// The open vault.
    pub(crate) fn keys(&self) -> Result<Keyring, Fault> {
        let file = self.vault_there()?;
        vault::open_file(&file, &self.state.join(vault::VAULT), &self.access()?).map_err(fault)
    }

    /// Keeps brokers and other verbs from the state directory.
    pub(crate) fn lock(&self) -> Result<StateDirectory, Fault> {
        StateDirectory::open(&self.state).map_err(|error| {
            let text = error.to_string();
            if text.contains("in use") {
                return Fault::with_remedy(text, "stop the broker first: this changes what it keeps");
            }
            Fault::new(text)
        })
    }

    /// The journal, to be changed.
    pub(crate) fn journal(&self, keys: Keyring) -> Result<(Journal<Directory>, Recovery), Fault> {
        let directory = Directory::open(&self.state).map_err(fault)?;
        Journal::open(directory, Some(keys), JournalOptions::default()).map_err(fault)
    }
}

/// The journal of a directory, to be looked at; a broker may be using it.
pub(crate) fn look(
    state: &Path,
    keys: impl Fn() -> Result<Option<Keyring>, Fault>,
) -> Result<(Journal<Directory>, Recovery), Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let directory = Directory::look(state).map_err(fault)?;
        match Journal::look(directory, keys()?) {
            Ok((_, recovery)) if !recovery.missing.is_empty() && tries < TRIES => {}
            Ok(found) => return Ok(found),
            // It was compacted away while it was looked at.
            Err(motte_store::JournalError::Disk(error))
                if error.fault == motte_store::DiskFault::NotFound && tries < TRIES => {}
            Err(error) => return Err(fault(error)),
        }
    }
}

/// Tells on a terminal how far long work is; silent elsewhere.
pub(crate) struct Progress {
    what: &'static str,
    is_shown: bool,
    last: u64,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        use std::io::IsTerminal as _;
        Self { what, is_shown: std::io::stderr().is_terminal(), last: u64::MAX }
    }

    /// So much of so much is done.
    pub(crate) fn tell(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100) / all.max(1);
        if self.is_shown && percent != self.last {
            self.last = percent;
            eprint!("\r{} {percent} %", self.what);
            if percent >= 100 {
                eprintln!();
            }
        }
    }
}
