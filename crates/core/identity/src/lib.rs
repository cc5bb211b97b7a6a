//! Credentials to Principal: the password file, client certificates, and the verdict; login attempts and bans.
//!
//! Nothing here waits: checking a password is slow, so it is a question that the caller answers on a thread of its own.

pub mod attempts;
pub mod bans;
mod breaker;
mod certificate;
mod password_file;
mod remembered;
mod remote;
mod verdict;

pub use breaker::Breaker;
pub use certificate::{CertificateName, facts};
pub use password_file::{PasswordFile, PasswordFileError};
pub use remembered::{QuestionTag, Remembered};
pub use remote::{Answerer, RemoteAnswer, RemoteQuestion, answerer};
pub use verdict::{
    Authenticator, Credentials, PasswordAnswer, PasswordQuestion, Refusal, Requirements, Step, Verdict,
};
