//! What a verified client certificate says, and which of its names is the identity.

use motte_access::CertificateFacts;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Which name of a certificate is the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateName {
    /// Common Name of the subject.
    #[default]
    CommonName,
    /// The first DNS name among the alternative names.
    DnsName,
    /// The first URI among the alternative names.
    Uri,
}

/// Facts of a certificate in DER. `None`: it cannot be read. Whether it may be trusted was decided before.
pub fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let text = |mut found: Box<dyn Iterator<Item = Option<String>> + '_>| found.next().flatten();
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
    })
}

/// The identity that a certificate gives; `None` when it lacks the name or the name could be mistaken for a pattern.
pub(crate) fn identity(facts: &CertificateFacts, by: CertificateName) -> Option<&str> {
    let name = match by {
        CertificateName::CommonName => facts.cn.as_deref(),
        CertificateName::DnsName => facts.dns_names.first().map(String::as_str),
        CertificateName::Uri => facts.uris.first().map(String::as_str),
    }?;
    is_name(name).then_some(name)
}

/// Whether a text can be an identity: no wildcard, no control character, not empty and not longer than 256 bytes. A `/` is
/// taken, for URIs; a placeholder filled with it makes its rule void.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && !name.chars().any(|c| matches!(c, '+' | '#') || c.is_control())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
