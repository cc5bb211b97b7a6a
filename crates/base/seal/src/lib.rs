//! Secret types that cannot be printed, password hashes, generated passwords; sealing of what is stored and the keys for it.
//!
//! Never here: cryptography of our own, files.

pub mod envelope;
pub mod keyring;
mod mosquitto;
mod password;
mod scram;
mod secret;
pub mod state_file;
mod stored;
mod wrapped;

pub use mosquitto::MosquittoHash;
pub use password::{HashError, HashParameters, PasswordHash};
pub use scram::{SCRAM_KEY_BYTES, ScramKeys, prepare};
pub use secret::{SecretBytes, SecretString};
pub use stored::{KeyedHash, SiteKey, StoredHash, spend};
pub use wrapped::WrappedHash;
