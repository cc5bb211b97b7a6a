//! Passphrases of private keys, from where the configuration says. Never from arguments or the environment.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_config::Certificate;
use motte_seal::SecretString;

/// A longer passphrase is a mistake.
const PASSPHRASE_BYTES_MAX: u64 = 4_096;

/// Asks a person for the passphrase of a key; the error is for people.
pub type AskPassphrase = Box<dyn FnMut(&Path) -> Result<SecretString, String> + Send>;

/// Where passphrases come from. What can be read only once is kept for reloads.
#[derive(Default)]
pub(crate) struct Passphrases {
    prompt: Option<AskPassphrase>,
    kept: HashMap<PathBuf, Arc<SecretString>>,
}

impl Passphrases {
    /// With a way to ask a person.
    pub(crate) fn new(prompt: Option<AskPassphrase>) -> Self {
        Self { prompt, kept: HashMap::new() }
    }

    /// The passphrase of a certificate's key, if the configuration names a source of one.
    pub(crate) fn of(&mut self, certificate: &Certificate) -> Result<Option<Arc<SecretString>>, String> {
        if let Some(path) = &certificate.passphrase_file {
            if let Some(fault) = motte_transport::key_file_fault(path) {
                return Err(fault);
            }
            return read(path).map(Some);
        }
        if let Some(name) = &certificate.passphrase_credential {
            return credential(name).and_then(|path| read(&path)).map(Some);
        }
        if let Some(kept) = self.kept.get(&certificate.key) {
            return Ok(Some(Arc::clone(kept)));
        }
        let passphrase = if let Some(descriptor) = certificate.passphrase_fd {
            read(&PathBuf::from(format!("/dev/fd/{descriptor}")))?
        } else if certificate.passphrase_prompt {
            let Some(prompt) = &mut self.prompt else {
                let key = certificate.key.display();
                return Err(format!(
                    "nobody can be asked for the passphrase of {key} here\n  remedy: use passphrase_file, passphrase_credential or passphrase_fd"
                ));
            };
            Arc::new(prompt(&certificate.key)?)
        } else {
            return Ok(None);
        };
        self.kept.insert(certificate.key.clone(), Arc::clone(&passphrase));
        Ok(Some(passphrase))
    }
}

/// Where systemd puts a credential. The environment names the directory; the secret itself is never in it.
fn credential(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!(
            "`{name}` is not the name of a systemd credential\n  remedy: write the name given in LoadCredential="
        ));
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!("systemd gave no credentials, and passphrase_credential = \"{name}\" needs one\n  remedy: add LoadCredentialEncrypted={name}:… to the unit")
    })?;
    Ok(PathBuf::from(directory).join(name))
}

fn read(path: &Path) -> Result<Arc<SecretString>, String> {
    let fault =
        |error: std::io::Error| format!("cannot read the passphrase from {}: {error}", path.display());
    let mut text = String::new();
    File::open(path).map_err(fault)?.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(fault)?;
    // The copy with the line end is a secret as well and is wiped with its wrapper.
    let whole = SecretString::new(text);
    Ok(Arc::new(SecretString::new(whole.expose().trim_end_matches(['\r', '\n']).to_owned())))
}
