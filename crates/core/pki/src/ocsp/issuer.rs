//! The authority that signed a certificate.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// An authority whose certificates are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusIssuer {
    pub(super) der: CertificateDer<'static>,
    pub(super) name_hash: [u8; 20],
    pub(super) key_hash: [u8; 20],
}

impl StatusIssuer {
    /// From its certificate, which somebody trusts already; `None` when it is none.
    pub fn new(der: CertificateDer<'static>) -> Option<Arc<Self>> {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let name_hash = sha1(certificate.subject().as_raw());
        let key_hash = sha1(&certificate.public_key().subject_public_key.data);
        Some(Arc::new(Self { der, name_hash, key_hash }))
    }

    /// Its certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }
}

/// SHA-1 as a name, which is all that RFC 5019 section 2.1.1 takes it for: the authority is known and trusted already, and an
/// answer is believed for its signature.
fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    for (to, from) in hash.iter_mut().zip(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

/// The authority that signed a certificate: one of `trusted`, or one of `shown` that comes from one of them by signatures.
///
/// What a peer has shown is never believed for its name or for one signature that fits: a key that fits a known signature can
/// be made, a certificate for it by a trusted authority cannot.
pub fn issuer_of(
    leaf: &[u8],
    shown: &[CertificateDer<'_>],
    trusted: &[CertificateDer<'_>],
) -> Option<CertificateDer<'static>> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    find(&leaf, shown, trusted, shown.len().min(DEPTH_MAX))
}

/// Authorities between a certificate and a trusted one.
const DEPTH_MAX: usize = 6;

fn find(
    below: &X509Certificate<'_>,
    shown: &[CertificateDer<'_>],
    trusted: &[CertificateDer<'_>],
    depth: usize,
) -> Option<CertificateDer<'static>> {
    if let Some(found) = trusted.iter().find(|der| signed(der, below)) {
        return Some(found.clone().into_owned());
    }
    let depth = depth.checked_sub(1)?;
    let comes_from_trusted = |der: &&CertificateDer<'_>| {
        let Ok((_, authority)) = X509Certificate::from_der(der) else { return false };
        authority.is_ca() && signed(der, below) && find(&authority, shown, trusted, depth).is_some()
    };
    shown.iter().find(comes_from_trusted).map(|der| der.clone().into_owned())
}

fn signed(authority: &[u8], below: &X509Certificate<'_>) -> bool {
    X509Certificate::from_der(authority).is_ok_and(|(_, authority)| {
        authority.subject().as_raw() == below.issuer().as_raw()
            && below.verify_signature(Some(authority.public_key())).is_ok()
    })
}
