//! Secret types that cannot be printed, password hashes, generated passwords; sealing of what is stored and the keys for it.
//!
//! Never here: cryptography of our own, files.

pub mod envelope;
pub mod keyring;
mod password;
mod secret;
mod stored;

pub use password::{HashError, HashParameters, PasswordHash};
pub use secret::{SecretBytes, SecretString};
pub use stored::{KeyedHash, MosquittoHash, SiteKey, StoredHash, spend};
