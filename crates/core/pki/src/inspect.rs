//! What a certificate says.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Facts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Valid from, in unix seconds.
    pub not_before_s: u64,
    /// Valid until, in unix seconds.
    pub not_after_s: u64,
    /// DNS names among the alternative names.
    pub dns_names: Vec<String>,
    /// For servers.
    pub server_auth: bool,
    /// For clients.
    pub client_auth: bool,
    /// It may sign handshakes: its key usage, if it has one, says so.
    pub signs: bool,
    /// It may sign certificates.
    pub is_authority: bool,
}

impl Facts {
    /// Whole days until it expires; `None` when it has.
    pub fn days_left(&self, now_s: u64) -> Option<u64> {
        self.not_after_s.checked_sub(now_s).map(|left| left / 86_400)
    }

    /// Whether a name is among its DNS names, wildcards for one label included.
    pub fn covers(&self, name: &str) -> bool {
        self.dns_names.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(suffix) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(suffix)),
            None => pattern.eq_ignore_ascii_case(name),
        })
    }
}

/// The SHA-256 of a certificate in DER, by which it is told from all others.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref())
    {
        *to = *from;
    }
    hash
}

/// Reads a certificate in DER; `None` when it is none.
pub fn inspect(der: &[u8]) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let usage = certificate.extended_key_usage().ok().flatten();
    let names = certificate.subject_alternative_name().ok().flatten();
    let dns_names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(Facts {
        not_before_s: seconds(certificate.validity().not_before.timestamp()),
        not_after_s: seconds(certificate.validity().not_after.timestamp()),
        dns_names: dns_names.collect(),
        server_auth: usage.as_ref().is_none_or(|usage| usage.value.server_auth || usage.value.any),
        client_auth: usage.as_ref().is_none_or(|usage| usage.value.client_auth || usage.value.any),
        signs: certificate
            .key_usage()
            .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature())),
        is_authority: certificate.is_ca(),
    })
}
