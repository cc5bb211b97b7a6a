//! What a verified client certificate says.

use motte_access::CertificateFacts;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Facts of a certificate in DER. `None`: it cannot be read. Whether it may be trusted was decided before.
pub fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    // Of two names nobody can tell which one is meant, so neither is one.
    let text = |mut found: Box<dyn Iterator<Item = Option<String>> + '_>| {
        found.next().flatten().filter(|_| found.next().is_none())
    };
    let cn = text(Box::new(subject.iter_common_name().map(|v| v.as_str().ok().map(str::to_owned))));
    let ou = text(Box::new(subject.iter_organizational_unit().map(|v| v.as_str().ok().map(str::to_owned))));
    let o = text(Box::new(subject.iter_organization().map(|v| v.as_str().ok().map(str::to_owned))));
    let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
    }
    Some(CertificateFacts {
        cn,
        ou,
        o,
        dns_names,
        uris,
        serial: hex(certificate.raw_serial()),
        fingerprint: hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref()),
        authorities: Vec::new(),
    })
}

/// Whether a text can be an identity: no wildcard, no control character, not empty and not longer than 256 bytes. A `/` is
/// taken, for URIs; a placeholder filled with it makes its rule void.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| matches!(c, '+' | '#') || c.is_control())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
