//! Where the configuration says that the passphrase of a key is. Never in arguments or the environment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_config::{Certificate, Config, Pin, StoreKey};
use motte_seal::SecretString;

use crate::key::{Passphrase, Source};
use crate::source::passphrase_from;
use crate::vault::{VaultKind, VaultSource};

/// Asks a person for the passphrase of a key; the error is for people.
pub type AskPassphrase = Box<dyn FnMut(&Path) -> Result<SecretString, String> + Send>;

/// From certificates as configured to key files and their passphrases. What can be read only once is kept for reloads.
#[derive(Default)]
pub struct Passphrases {
    prompt: Option<AskPassphrase>,
    kept: HashMap<PathBuf, Arc<SecretString>>,
}

impl std::fmt::Debug for Passphrases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrases(hidden)")
    }
}

impl Passphrases {
    /// With a way to ask a person.
    pub fn new(prompt: Option<AskPassphrase>) -> Self {
        Self { prompt, kept: HashMap::new() }
    }

    /// The key file of a certificate, with its passphrase or where it is. Files and credentials are not read here.
    ///
    /// # Errors
    /// What keeps a passphrase from being known, and what to do.
    pub fn source(&mut self, certificate: &Certificate) -> Result<Source, String> {
        Ok(Source { path: certificate.key.clone(), passphrase: self.of(certificate)? })
    }

    /// Where the key is that opens the vault of the state directory; `None` if there is no state directory.
    ///
    /// # Errors
    /// What keeps a passphrase or PIN from being known, and what to do.
    pub fn vault(&mut self, config: &Config) -> Result<Option<VaultSource>, String> {
        if config.state_dir.is_none() {
            return Ok(None);
        }
        if let Some(path) = config.store_key_file() {
            return Ok(Some(VaultSource::file(path)));
        }
        let (kind, secret) = match &config.store_key {
            StoreKey::Beside | StoreKey::File(_) => return Ok(None),
            StoreKey::Credential(name) => (VaultKind::Key, Passphrase::Credential(name.clone())),
            StoreKey::PassphraseFile(path) => (VaultKind::Passphrase, Passphrase::File(path.clone())),
            StoreKey::PassphrasePrompt => (VaultKind::Passphrase, self.asked("the vault")?),
            StoreKey::Token { address, pin } => {
                let secret = match pin {
                    Pin::File(path) => Passphrase::File(path.clone()),
                    Pin::Credential(name) => Passphrase::Credential(name.clone()),
                    Pin::Prompt => self.asked(address)?,
                };
                (VaultKind::Token(address.clone()), secret)
            }
        };
        Ok(Some(VaultSource { kind, secret }))
    }

    /// A passphrase that a person is asked for once.
    fn asked(&mut self, what: &str) -> Result<Passphrase, String> {
        let path = Path::new(what);
        if let Some(kept) = self.kept.get(path) {
            return Ok(Passphrase::Known(Arc::clone(kept)));
        }
        let Some(prompt) = &mut self.prompt else {
            return Err(format!(
                "nobody can be asked for the passphrase of {what} here\n  remedy: use a file or a credential in [store.key]"
            ));
        };
        let passphrase = Arc::new(prompt(path)?);
        self.kept.insert(path.to_owned(), Arc::clone(&passphrase));
        Ok(Passphrase::Known(passphrase))
    }

    fn of(&mut self, certificate: &Certificate) -> Result<Passphrase, String> {
        if let Some(path) = &certificate.passphrase_file {
            return Ok(Passphrase::File(path.clone()));
        }
        if let Some(name) = &certificate.passphrase_credential {
            return Ok(Passphrase::Credential(name.clone()));
        }
        if let Some(kept) = self.kept.get(&certificate.key) {
            return Ok(Passphrase::Known(Arc::clone(kept)));
        }
        let passphrase = if let Some(descriptor) = certificate.passphrase_fd {
            passphrase_from(&PathBuf::from(format!("/dev/fd/{descriptor}")))?
        } else if certificate.passphrase_prompt {
            let Some(prompt) = &mut self.prompt else {
                let key = certificate.key.display();
                return Err(format!(
                    "nobody can be asked for the passphrase of {key} here\n  remedy: use passphrase_file, passphrase_credential or passphrase_fd"
                ));
            };
            Arc::new(prompt(&certificate.key)?)
        } else {
            return Ok(Passphrase::None);
        };
        self.kept.insert(certificate.key.clone(), Arc::clone(&passphrase));
        Ok(Passphrase::Known(passphrase))
    }
}
