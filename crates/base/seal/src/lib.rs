//! Secret types that cannot be printed, password hashes, generated passwords.
//!
//! Never here: cryptography of our own, files.

mod password;
mod secret;

pub use password::{HashError, HashParameters, PasswordHash};
pub use secret::{SecretBytes, SecretString};
