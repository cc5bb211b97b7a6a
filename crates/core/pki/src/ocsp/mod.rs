//! The status of a certificate, asked of a responder of its authority (RFC 6960, in the profile of RFC 5019): the question
//! as bytes, and whether an answer is one.
//!
//! Where the responder is, nothing here says: never take its address from a certificate, which whoever shows it may have made.

mod answer;
mod form;
mod issuer;
mod question;

pub use answer::{CertificateStatus, NotAnswered, StatusAnswer};
pub use issuer::{StatusIssuer, issuer_of};
pub use question::{NONCE_BYTES, StatusQuestion};

#[cfg(test)]
mod tests;
