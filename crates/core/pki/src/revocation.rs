//! Revocation lists of the private authority (RFC 5280 section 5): made, read, and when they end.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::authority::{Authority, PkiError};

/// A list is good for ten years, as the authority is; it is signed anew with every revocation.
const LIST_DAYS: u64 = 3_650;
const DAY_S: u64 = 86_400;

/// A certificate that is not to be trusted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Serial number, as in the certificate.
    pub serial: Vec<u8>,
    /// When it was revoked, in unix seconds.
    pub at_s: u64,
}

/// What a revocation list says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevocationFacts {
    /// Its number; each list of an authority has a greater one.
    pub number: u64,
    /// Until when it is good, in unix seconds; `None`: it does not say.
    pub next_update_s: Option<u64>,
    /// Which certificates.
    pub revoked: Vec<Revoked>,
}

impl RevocationFacts {
    /// Whole days until the list ends; `None` when it has ended.
    pub fn days_left(&self, now_s: u64) -> Option<u64> {
        self.next_update_s.map_or(Some(u64::MAX), |end| end.checked_sub(now_s).map(|left| left / DAY_S))
    }
}

/// Reads a revocation list in DER; `None` when it is none.
pub fn inspect_revocation_list(der: &[u8]) -> Option<RevocationFacts> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let revoked = list.iter_revoked_certificates().map(|one| Revoked {
        serial: one.raw_serial().to_vec(),
        at_s: seconds(one.revocation_date.timestamp()),
    });
    let number = list.crl_number().map_or(0, |number| {
        number.to_bytes_be().iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    });
    Some(RevocationFacts {
        number,
        next_update_s: list.next_update().map(|time| seconds(time.timestamp())),
        revoked: revoked.collect(),
    })
}

/// Reads the first revocation list of a PEM file; `None` when there is none that can be read.
pub fn revocation_list(pem: &str) -> Option<RevocationFacts> {
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).ok()?;
    inspect_revocation_list(&der)
}

/// The serial number of a certificate in DER; `None` when it is none.
pub fn serial_number(der: &[u8]) -> Option<Vec<u8>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate.raw_serial().to_vec())
}

impl Authority {
    /// Signs a revocation list, in PEM; `number` is greater than that of the list before.
    ///
    /// # Errors
    /// [`PkiError::Refused`].
    pub fn revocation_list(&self, revoked: &[Revoked], number: u64, now_s: u64) -> Result<String, PkiError> {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let params = CertificateRevocationListParams {
            this_update: at(now_s).into(),
            next_update: at(now_s.saturating_add(LIST_DAYS * DAY_S)).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|one| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&one.serial),
                    revocation_time: at(one.at_s).into(),
                    reason_code: Some(RevocationReason::Unspecified),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(self.issuer())?.pem()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates;

    #[test]
    fn a_list_says_what_was_put_in_and_when_it_ends() {
        let now = 1_790_000_000;
        let (authority, _) = Authority::create("test", now).unwrap();
        let device = authority.client("dev-1", "device", now).unwrap();
        let serial = serial_number(&certificates(&device.certificate_pem).unwrap()[0]).unwrap();
        let revoked = [Revoked { serial, at_s: now }];
        let pem = authority.revocation_list(&revoked, 300, now).unwrap();
        let facts = revocation_list(&pem).unwrap();
        assert_eq!((facts.number, &facts.revoked[..]), (300, &revoked[..]));
        assert_eq!(facts.days_left(now), Some(LIST_DAYS));
        assert_eq!(facts.days_left(now + (LIST_DAYS + 1) * DAY_S), None);
        assert_eq!(revocation_list("nonsense"), None);
    }
}
