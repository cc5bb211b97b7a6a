//! What is wrong with certificates that clients show: checks beyond those of the library, and each fault in words for the log.
//! The peer is told an alert alone.

use std::fmt;
use std::sync::Arc;

use motte_pki::{CertificateFault, check_authorities, check_form, check_signing, inspect, is_self_issued};
use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::CertificateDer;

/// Most certificates that a client may show: its own and what stands between it and an authority. The library follows six.
const CHAIN_MAX: usize = 10;

/// A fault that the library has no word for.
#[derive(Debug)]
enum Fault {
    Itself(CertificateFault),
    /// Of one that the client sent as standing above its own, by its number.
    Above(usize, CertificateFault),
    TooMany(usize),
    SelfSigned,
    AboveExpired,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself(fault) => write!(f, "{fault}"),
            Self::Above(number, fault) => write!(f, "in certificate {number} of its chain: {fault}"),
            Self::TooMany(count) => {
                write!(f, "{count} certificates were sent; at most {CHAIN_MAX} are taken")
            }
            Self::SelfSigned => f.write_str("UnknownIssuer: it is signed by itself and by no authority"),
            Self::AboveExpired => f.write_str("an authority in its chain has expired: certificate expired"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        CertificateError::Other(OtherError(Arc::new(fault))).into()
    }
}

/// Looks at the form, the keys and the signatures of all that a client sent. A root among them is not looked at: it is trusted
/// as it was configured, or not at all.
pub(crate) fn check_by_itself(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
    let count = rest.len().saturating_add(1);
    if count > CHAIN_MAX {
        return Err(Fault::TooMany(count).into());
    }
    check_form(leaf).map_err(Fault::Itself)?;
    for (number, above) in (2..).zip(rest) {
        if !is_self_issued(above) {
            check_form(above).map_err(|fault| Fault::Above(number, fault))?;
        }
    }
    Ok(())
}

/// Looks at what keys are for, once the chain is known to be good.
pub(crate) fn check_usage(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
    check_signing(leaf).map_err(Fault::Itself)?;
    let chain = std::iter::once(leaf).chain(rest).map(|one| &**one);
    Ok(check_authorities(chain).map_err(Fault::Itself)?)
}

/// A fault that the library found, said of the certificate that has it where that can be told.
pub(crate) fn explained(error: Error, leaf: &CertificateDer<'_>) -> Error {
    match &error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) if is_self_issued(leaf) => {
            Fault::SelfSigned.into()
        }
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })
            if inspect(leaf).is_some_and(|facts| facts.not_after_s != not_after.as_secs()) =>
        {
            Fault::AboveExpired.into()
        }
        _ => error,
    }
}

/// What the library's words mean.
const MEANINGS: [(&str, &str); 9] = [
    (
        "UnknownIssuer",
        "no authority of this listener vouches for it with the intermediates that the client sent",
    ),
    ("BadSignature", "it was altered, or it is of another authority of the same name"),
    ("NameConstraintViolation", "an authority above it may not vouch for one of its names"),
    ("PathLenConstraintViolated", "there are more authorities above it than one of them permits"),
    ("CaUsedAsEndEntity", "it is the certificate of an authority and not of a client"),
    ("EndEntityUsedAsCa", "it is signed with a certificate that is not of an authority"),
    ("UnsupportedCriticalExtension", "it has a critical extension that the broker does not know"),
    ("UnknownRevocationStatus", "there is no revocation list that speaks of it or of an authority above it"),
    ("Revoked", "a revocation list names it or an authority above it"),
];

/// An error of TLS in words for the log.
pub(crate) fn words(error: &Error) -> String {
    let Error::InvalidCertificate(fault) = error else { return error.to_string() };
    let said = match fault {
        CertificateError::Other(OtherError(inner)) => inner.to_string(),
        // The library prints the algorithms as numbers.
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed with an algorithm that is not taken, or not with that of its authority's key"
                .to_owned()
        }
        other => other.to_string(),
    };
    let meaning = MEANINGS.iter().find(|(word, _)| *word == said).map(|(_, meaning)| meaning);
    match meaning {
        Some(meaning) => format!("invalid peer certificate: {said}: {meaning}"),
        None => format!("invalid peer certificate: {said}"),
    }
}
