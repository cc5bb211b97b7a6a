//! Credentials to Principal: the password file, client certificates, tokens, and the verdict; login attempts and bans.
//!
//! Nothing here waits: checking a password is slow, so it is a question that the caller answers on a thread of its own.

mod account;
pub mod attempts;
pub mod bans;
mod breaker;
mod certificate;
mod certificate_rules;
mod claimed;
mod directory;
mod learned;
mod password_file;
mod password_policy;
mod question;
mod remembered;
mod remote;
mod scram;
mod second_factor;
mod step_up;
mod token;
mod verdict;

pub use account::{Account, Ageing, Closed, EXPOSED_MAX, FORMER_MAX, Origin, Password, ReuseMark};
pub use breaker::Breaker;
pub use certificate::facts;
pub use certificate_rules::{
    CertificateName, CertificateRules, NameField, NamePiece, Pins, PinsError, SpeaksFor,
};
pub use directory::DirectoryGroups;
pub use learned::{Journal, Learned};
pub use password_file::{PasswordFile, PasswordFileError};
pub use password_policy::{
    GENERATED_BITS, LENGTH_MAX, PasswordPolicy, Profile, Purpose, Weakness, generated_bits,
};
pub use question::{PasswordAnswer, PasswordQuestion};
pub use remembered::{Permission, QuestionTag, Remembered};
pub use remote::{Answerer, RemoteAnswer, RemoteQuestion, answerer};
pub use scram::{SCRAM_MESSAGE_BYTES_MAX, ScramEnd, ScramExchange, ScramOffer, ScramRotation};
pub use second_factor::{RECOVERY_CODES, SecondFactor, TotpSecret};
pub use token::{
    HeldKeys, KeptKeys, KeyChange, KeySet, KeySetError, TOKEN_BYTES_MAX, TokenFault, TokenGroups,
    TokenIdentity, TokenIssuers, TokenRules, revoked_tokens,
};
pub use verdict::{Authenticator, Credentials, KeyQuestion, Refusal, Requirements, Step, Verdict};
