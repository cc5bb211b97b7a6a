//! Revocation lists that came from outside: who signed them, what they are about, which of two is newer.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// What tells lists apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFacts {
    /// Of whose certificates, and of which of them, the list speaks: the issuer's name and the distribution point, in DER.
    pub scope: Vec<u8>,
    /// When it was made, in unix seconds.
    pub this_update_s: u64,
    /// Until when it is good, in unix seconds; `None`: it does not say.
    pub next_update_s: Option<u64>,
    /// Its number; 0 without one.
    pub number: u64,
}

impl ListFacts {
    /// Whether this list may take the place of one that is held: it was not made before it.
    pub fn may_replace(&self, held: &Self) -> bool {
        (self.number, self.this_update_s) >= (held.number, held.this_update_s)
    }

    /// Whether it is past its end.
    pub fn is_over(&self, now_s: u64) -> bool {
        self.next_update_s.is_some_and(|end| end < now_s)
    }
}

/// The lists in a file or an answer: one in DER, or any number in PEM. Empty: there is none, or one of them is damaged.
pub fn revocation_lists(bytes: &[u8]) -> Vec<CertificateRevocationListDer<'static>> {
    if CertificateRevocationList::from_der(bytes).is_ok_and(|(rest, _)| rest.is_empty()) {
        return vec![CertificateRevocationListDer::from(bytes.to_vec())];
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = lists.unwrap_or_default();
    if lists.iter().all(|der| list_facts(der).is_some()) { lists } else { Vec::new() }
}

/// What a list in DER says of itself; `None` when it is none.
pub fn list_facts(der: &[u8]) -> Option<ListFacts> {
    let (rest, list) = CertificateRevocationList::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let mut scope = list.issuer().as_raw().to_vec();
    for extension in list.extensions() {
        if matches!(extension.parsed_extension(), ParsedExtension::IssuingDistributionPoint(_)) {
            scope.extend_from_slice(extension.value);
        }
    }
    let number = list.crl_number().map_or(0, |number| {
        number.to_bytes_be().iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    });
    Some(ListFacts {
        scope,
        this_update_s: seconds(list.last_update().timestamp()),
        next_update_s: list.next_update().map(|time| seconds(time.timestamp())),
        number,
    })
}

/// Whether one of these authorities signed a list.
pub fn is_signed_by_one(list: &[u8], authorities: &[CertificateDer<'_>]) -> bool {
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else { return false };
    authorities.iter().filter_map(|der| X509Certificate::from_der(der).ok()).any(|(_, authority)| {
        authority.subject().as_raw() == list.issuer().as_raw()
            && list.verify_signature(authority.public_key()).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, certificates};

    #[test]
    fn a_list_is_its_authoritys_and_newer_than_another() {
        let now = 1_790_000_000;
        let (authority, root) = Authority::create("test", now).unwrap();
        let (_, other) = Authority::create("test", now).unwrap();
        let (root, other) =
            (certificates(&root.certificate_pem).unwrap(), certificates(&other.certificate_pem).unwrap());
        let list = |number, at| {
            revocation_lists(authority.revocation_list(&[], number, at).unwrap().as_bytes()).remove(0)
        };
        let (first, second) = (list(1, now), list(2, now + 5));
        assert!(is_signed_by_one(&first, &root));
        assert!(!is_signed_by_one(&first, &other), "of the same name");
        assert!(!is_signed_by_one(b"list", &root));
        assert_eq!(revocation_lists(&first), std::slice::from_ref(&first), "in DER");
        assert!(revocation_lists(b"<html>").is_empty());
        let facts = |der: &[u8]| list_facts(der).unwrap();
        assert_eq!(facts(&first).scope, facts(&second).scope);
        assert!(facts(&second).may_replace(&facts(&first)) && !facts(&first).may_replace(&facts(&second)));
        assert!(facts(&first).may_replace(&facts(&first)));
        assert!(!facts(&first).is_over(now) && facts(&first).is_over(now + 4_000 * 86_400));
        let mut damaged = first.to_vec();
        let end = damaged.len() - 1;
        damaged[end] ^= 1;
        assert!(!is_signed_by_one(&damaged, &root));
    }
}
