//! Where the private keys of listeners are: in this process, or in the one that keeps them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_config::{Certificate, Config};
use motte_roles::{AskPassphrase, KeyClient, KeyId, Passphrases, PublicKey, RemoteKey, read_key};
use motte_transport::SigningKey;

use crate::vault::{VaultAccess, VaultFault};

/// The keys of a process.
pub(crate) enum Keyring {
    /// Read here.
    Here(Passphrases),
    /// Kept elsewhere, with those that the rules in force use.
    Elsewhere(KeyClient, Vec<KeyId>),
}

/// The keys of one configuration.
pub(crate) enum Keys<'r> {
    Here(&'r mut Passphrases),
    Elsewhere { client: KeyClient, by_path: HashMap<PathBuf, Result<PublicKey, String>>, used: Vec<KeyId> },
}

impl Keyring {
    /// In the key process if there is one, here otherwise.
    pub(crate) fn new(client: Option<KeyClient>, ask: Option<AskPassphrase>) -> Self {
        match client {
            Some(client) => Self::Elsewhere(client, Vec::new()),
            None => Self::Here(Passphrases::new(ask)),
        }
    }

    /// Whoever has the key that opens the vault; `None` if there is no state directory.
    ///
    /// # Errors
    /// When the key is to be read here and cannot be.
    pub(crate) fn vault(&mut self, config: &Config) -> Result<Option<VaultAccess>, VaultFault> {
        match self {
            Self::Here(passphrases) => VaultAccess::read(config, passphrases),
            Self::Elsewhere(client, _) => {
                Ok(config.state_dir.as_ref().map(|_| VaultAccess::Elsewhere(client.clone())))
            }
        }
    }

    /// The key process, if there is one.
    pub(crate) fn client(&self) -> Option<&KeyClient> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere(client, _) => Some(client),
        }
    }

    /// The keys for a configuration.
    ///
    /// # Errors
    /// When the key process does not answer.
    pub(crate) fn keys(&mut self, config: &Config) -> Result<Keys<'_>, String> {
        match self {
            Self::Here(passphrases) => Ok(Keys::Here(passphrases)),
            Self::Elsewhere(client, _) => {
                let any = config.listeners.iter().any(|listener| listener.tls.is_some());
                let entries = if any { client.public_keys() } else { Ok(Vec::new()) };
                let entries = entries.map_err(|error| {
                    format!("{error}\n  remedy: see what the log says about it, and try again")
                })?;
                let by_path = entries.into_iter().map(|entry| (entry.path, entry.outcome)).collect();
                Ok(Keys::Elsewhere { client: client.clone(), by_path, used: Vec::new() })
            }
        }
    }

    /// The rules that use these keys are in force. Handshakes under way may still use those of the rules before.
    pub(crate) fn in_force(&mut self, used: Vec<KeyId>) {
        if let Self::Elsewhere(client, former) = self {
            let mut all: Vec<KeyId> = former.iter().copied().chain(used.iter().copied()).collect();
            all.sort_unstable();
            all.dedup();
            client.keep(used.clone(), all);
            *former = used;
        }
    }
}

impl Keys<'_> {
    /// The key of a certificate.
    ///
    /// # Errors
    /// What is wrong with its file, and what to do.
    pub(crate) fn of(&mut self, certificate: &Certificate) -> Result<Arc<dyn SigningKey>, String> {
        match self {
            Self::Here(passphrases) => {
                let source = passphrases.source(certificate)?;
                let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                read_key(&source, credentials.as_deref())
            }
            Self::Elsewhere { client, by_path, used } => {
                let public = by_path.get(&certificate.key).ok_or_else(|| unread(&certificate.key))?;
                let public = public.clone()?;
                used.push(public.id);
                Ok(Arc::new(RemoteKey::new(client.clone(), public)))
            }
        }
    }

    /// The keys that were asked for and are elsewhere.
    pub(crate) fn used(self) -> Vec<KeyId> {
        match self {
            Self::Here(_) => Vec::new(),
            Self::Elsewhere { used, .. } => used,
        }
    }
}

fn unread(path: &Path) -> String {
    format!(
        "{}: the key process did not read this file\n  remedy: reload again; the configuration changed while it was read",
        path.display()
    )
}
