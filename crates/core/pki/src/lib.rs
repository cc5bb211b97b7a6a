//! The private certificate authority, and certificates and keys as values.
//!
//! Never here: sockets, files, clocks. `now` comes as unix seconds.

mod authority;
mod faults;
mod fetched;
mod inspect;
mod key;
mod ocsp;
mod pem;
mod revocation;

pub use authority::{Authority, Issued, PkiError};
pub use faults::{CertificateFault, check_authorities, check_form, check_signing, is_self_issued};
pub use fetched::{ListFacts, is_signed_by_one, list_facts, revocation_lists};
pub use inspect::{Facts, fingerprint, inspect};
pub use key::{encrypted, new_key};
pub use ocsp::{
    CertificateStatus, NONCE_BYTES, NotAnswered, StatusAnswer, StatusIssuer, StatusQuestion, issuer_of,
};
pub use pem::{PemError, certificates, private_key};
pub use revocation::{RevocationFacts, Revoked, inspect_revocation_list, revocation_list, serial_number};
