//! What seals the state directory: where the key that opens its vault comes from.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;

/// `[store]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreWritten {
    pub(crate) key: Option<Spanned<StoreKeyWritten>>,
    pub(crate) durability: Option<Spanned<String>>,
}

impl StoreWritten {
    pub(crate) fn durability(&self, faults: &mut Faults<'_>) -> Durability {
        Durability::from_written(self.durability.as_ref(), faults).unwrap_or_default()
    }
}

/// How far an acknowledgement of what is kept must have got when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Into memory: Sessions and Retained Messages end with the process.
    Memory,
    /// Into the operating system: they outlive the process, and the power but for the last second.
    Os,
    /// Onto the disk: they outlive the power.
    #[default]
    Disk,
}

impl Durability {
    /// As written, if something is.
    pub(crate) fn from_written(written: Option<&Spanned<String>>, faults: &mut Faults<'_>) -> Option<Self> {
        let written = written?;
        match written.get_ref().as_str() {
            "memory" => Some(Self::Memory),
            "os" => Some(Self::Os),
            "disk" => Some(Self::Disk),
            other => {
                let what = format!("durability `{other}` is not known");
                faults.add(written.span().start, what, "write \"disk\", \"os\" or \"memory\"");
                None
            }
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Disk => "disk",
        }
    }
}

/// `[store.key]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreKeyWritten {
    file: Option<PathBuf>,
    credential: Option<String>,
    passphrase_file: Option<PathBuf>,
    #[serde(default)]
    passphrase_prompt: bool,
    pkcs11: Option<Spanned<String>>,
    pin_file: Option<PathBuf>,
    pin_credential: Option<String>,
}

/// Where the PIN of a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// In a file.
    File(PathBuf),
    /// In a systemd credential, by its name.
    Credential(String),
    /// A person is asked at the start.
    Prompt,
}

/// Where the key comes from that opens the vault of the state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreKey {
    /// A key file beside the state directory, made at the first start.
    #[default]
    Beside,
    /// A key file.
    File(PathBuf),
    /// A systemd credential with the content of a key file, by its name.
    Credential(String),
    /// A passphrase in a file.
    PassphraseFile(PathBuf),
    /// A passphrase that a person is asked for at each start.
    PassphrasePrompt,
    /// A key in a PKCS#11 token.
    Token {
        /// As RFC 7512 writes it.
        address: String,
        /// Opens the token.
        pin: Pin,
    },
}

impl StoreKey {
    pub(crate) fn from_written(written: &StoreWritten, faults: &mut Faults<'_>) -> Self {
        let Some(key) = &written.key else { return Self::Beside };
        let (at, key) = (key.span().start, key.get_ref());
        let sources = [
            key.file.is_some(),
            key.credential.is_some(),
            key.passphrase_file.is_some(),
            key.passphrase_prompt,
            key.pkcs11.is_some(),
        ];
        if sources.iter().filter(|is_there| **is_there).count() != 1 {
            faults.add(
                at,
                "[store.key] names not exactly one source of the key",
                "write one of file, credential, passphrase_file, passphrase_prompt = true and pkcs11; or leave [store.key] out",
            );
            return Self::Beside;
        }
        let pins = usize::from(key.pin_file.is_some()) + usize::from(key.pin_credential.is_some());
        if pins > usize::from(key.pkcs11.is_some()) {
            faults.add(
                at,
                "a PIN that no token needs",
                "keep one of pin_file and pin_credential, beside pkcs11",
            );
        }
        if let Some(address) = &key.pkcs11 {
            if !address.get_ref().starts_with("pkcs11:") {
                faults.add(
                    address.span().start,
                    "this is no address of a key in a token",
                    "write pkcs11:token=NAME;object=NAME?module-path=/ABSOLUTE/FILE.so",
                );
            }
            let pin = match (&key.pin_file, &key.pin_credential) {
                (Some(file), _) => Pin::File(file.clone()),
                (None, Some(name)) => Pin::Credential(name.clone()),
                (None, None) => Pin::Prompt,
            };
            return Self::Token { address: address.get_ref().clone(), pin };
        }
        match (&key.file, &key.credential, &key.passphrase_file) {
            (Some(file), ..) => Self::File(file.clone()),
            (_, Some(name), _) => Self::Credential(name.clone()),
            (.., Some(file)) => Self::PassphraseFile(file.clone()),
            _ => Self::PassphrasePrompt,
        }
    }

    /// The file that it is read from, if it is one that the configuration names.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::PassphraseFile(path) | Self::Token { pin: Pin::File(path), .. } => {
                Some(path)
            }
            Self::Beside
            | Self::Credential(_)
            | Self::PassphrasePrompt
            | Self::Token { pin: Pin::Credential(_) | Pin::Prompt, .. } => None,
        }
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) | Self::PassphraseFile(path) | Self::Token { pin: Pin::File(path), .. } => {
                Some(path)
            }
            Self::Beside
            | Self::Credential(_)
            | Self::PassphrasePrompt
            | Self::Token { pin: Pin::Credential(_) | Pin::Prompt, .. } => None,
        }
    }

    /// Whether it is in a systemd credential, or its PIN is.
    pub fn is_credential(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::Token { pin: Pin::Credential(_), .. })
    }

    pub(crate) fn to_toml(&self) -> String {
        let path = |path: &Path| crate::meant::quoted(&path.display().to_string());
        let quoted = crate::meant::quoted;
        let keys = match self {
            Self::Beside => return String::new(),
            Self::File(file) => format!("file = {}", path(file)),
            Self::Credential(name) => format!("credential = {}", quoted(name)),
            Self::PassphraseFile(file) => format!("passphrase_file = {}", path(file)),
            Self::PassphrasePrompt => "passphrase_prompt = true".to_owned(),
            Self::Token { address, pin } => {
                let address = format!("pkcs11 = {}", quoted(address));
                match pin {
                    Pin::File(file) => format!("{address}\npin_file = {}", path(file)),
                    Pin::Credential(name) => format!("{address}\npin_credential = {}", quoted(name)),
                    Pin::Prompt => address,
                }
            }
        };
        format!("\n[store.key]\n{keys}")
    }
}

/// The key file that belongs to a state directory.
pub(crate) fn beside(state: &Path) -> PathBuf {
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push(".key");
    state.with_file_name(name)
}
