//! The question: one certificate, and a number that the answer is to repeat if that is wanted.

use std::sync::Arc;

use der::asn1::{AnyRef, OctetStringRef};
use der::{Encode, Tag};

use super::form::{Algorithm, CertId, Extension, NONCE, OcspRequest, Request, SHA1, TbsRequest};
use super::issuer::StatusIssuer;

/// Bytes of a number that an answer is to repeat (RFC 9654 section 2.1).
pub const NONCE_BYTES: usize = 32;
/// Longest serial number, in bytes (RFC 5280 section 4.1.2.2), and one for those who count otherwise.
const SERIAL_BYTES_MAX: usize = 21;

/// Which certificate is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusQuestion {
    issuer: Arc<StatusIssuer>,
    serial: Box<[u8]>,
}

impl StatusQuestion {
    /// About the certificate of this authority with this serial number, as it stands in the certificate; `None` when it can be
    /// none.
    pub fn new(issuer: Arc<StatusIssuer>, serial: &[u8]) -> Option<Self> {
        let is_one = (1..=SERIAL_BYTES_MAX).contains(&serial.len());
        is_one.then(|| Self { issuer, serial: serial.into() })
    }

    /// The authority.
    pub fn issuer(&self) -> &Arc<StatusIssuer> {
        &self.issuer
    }

    /// The serial number, as it stands in the certificate.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The question in DER, to be sent as `application/ocsp-request`. A nonce is random, of [`NONCE_BYTES`].
    ///
    /// `None` when a message cannot hold it, which no certificate does.
    pub fn encode(&self, nonce: Option<&[u8; NONCE_BYTES]>) -> Option<Vec<u8>> {
        // The value of the extension is an OCTET STRING in the one that every extension is in.
        let nonce = nonce.and_then(|nonce| OctetStringRef::new(nonce).ok()?.to_der().ok());
        let extensions = match &nonce {
            Some(value) => Some(vec![Extension {
                id: NONCE,
                is_critical: false,
                value: OctetStringRef::new(value).ok()?,
            }]),
            None => None,
        };
        let tbs = TbsRequest { requests: vec![Request { about: self.id()? }], extensions };
        OcspRequest { tbs }.to_der().ok()
    }

    /// What names the certificate.
    pub(super) fn id(&self) -> Option<CertId<'_>> {
        Some(CertId {
            hash: Algorithm { oid: SHA1, parameters: Some(AnyRef::NULL) },
            issuer_name_hash: OctetStringRef::new(&self.issuer.name_hash).ok()?,
            issuer_key_hash: OctetStringRef::new(&self.issuer.key_hash).ok()?,
            serial: AnyRef::new(Tag::Integer, &self.serial).ok()?,
        })
    }
}
