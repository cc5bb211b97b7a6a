//! The key that opens the vault, as the supervisor passes it on: where it is, and at the first start the key file and the
//! recovery key, which are made before the supervisor gives anything up.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use motte_config::{Config, LogFormat};
use motte_roles::{Order, Passphrase, Passphrases, Source, VaultKind, VaultSource};
use motte_seal::SecretString;
use motte_seal::keyring::KeyEncryptionKey;

use crate::verb::Fault;

/// What the key process is told of the vault.
pub(crate) struct VaultOrder {
    source: VaultSource,
    recovery: Option<Arc<SecretString>>,
}

impl VaultOrder {
    /// As the configuration says; `None` if there is no state directory. At the first start the key file is made, and on a
    /// terminal a recovery key is shown, once.
    pub(crate) fn of(config: &Config, passphrases: &mut Passphrases) -> Result<Option<Self>, Fault> {
        let Some(source) = passphrases.vault(config).map_err(Fault::new)? else { return Ok(None) };
        motte_server::vault::make_key(config).map_err(|error| Fault::new(error.to_string()))?;
        let people_look = config.log_format == LogFormat::Text && std::io::stdout().is_terminal();
        let recovery = (people_look && motte_server::vault::is_first_start(config)).then(show_recovery);
        Ok(Some(Self { source, recovery: recovery.transpose()? }))
    }

    /// What the key process is told.
    pub(crate) fn order(&self) -> Order {
        let recovery = self.recovery.clone().map_or(Passphrase::None, Passphrase::Known);
        Order::Vault { source: self.source.clone(), recovery }
    }

    /// What has to be reached to read it again, as a key file and its passphrase are; `None` if that is no file.
    pub(crate) fn reached(&self) -> Option<Source> {
        let path = match (&self.source.kind, &self.source.secret) {
            (VaultKind::Token(address), _) => PathBuf::from(address),
            (_, Passphrase::File(path)) => path.clone(),
            (_, Passphrase::None | Passphrase::Credential(_) | Passphrase::Known(_)) => return None,
        };
        Some(Source { path, passphrase: self.source.secret.clone() })
    }

    /// The recovery key is of no more use here.
    pub(crate) fn forget_recovery(&mut self) {
        self.recovery = None;
    }
}

/// Makes a recovery key and shows it.
fn show_recovery() -> Result<Arc<SecretString>, Fault> {
    let (_, text) = KeyEncryptionKey::recovery().map_err(|error| Fault::new(error.to_string()))?;
    println!(
        "what the broker keeps is sealed. This recovery key opens it when the key file is lost; it is shown only now:\n"
    );
    println!("    {}\n", text.expose());
    println!(
        "write it down and keep it away from this machine (`motte vault recovery new` makes another one)\n"
    );
    Ok(Arc::new(text))
}
