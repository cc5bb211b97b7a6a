//! Credentials to Principal: the password file, client certificates, and the verdict.
//!
//! Nothing here waits: checking a password is slow, so it is a question that the caller answers on a thread of its own.

mod certificate;
mod password_file;
mod verdict;

pub use certificate::{CertificateName, facts};
pub use password_file::{PasswordFile, PasswordFileError};
pub use verdict::{
    Authenticator, Credentials, PasswordAnswer, PasswordQuestion, Refusal, Requirements, Step, Verdict,
};
