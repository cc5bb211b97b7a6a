//! A private certificate authority with a narrow profile: what it signs, it builds itself.

use std::net::IpAddr;
use std::time::Duration;

use motte_seal::SecretString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

const DAY_S: u64 = 86_400;
/// The authority's certificate: ten years.
const AUTHORITY_DAYS: u64 = 3_650;
/// A server certificate: the longest that clients commonly take.
const SERVER_DAYS: u64 = 397;
/// A device certificate.
const CLIENT_DAYS: u64 = 365;
/// Clocks of devices run late: certificates are valid from an hour before they are made.
const BACKDATE_S: u64 = 3_600;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name cannot stand in a certificate.
    #[error("`{0}` cannot stand in a certificate: use letters, digits, dots and hyphens")]
    Name(String),
    /// The authority's files do not belong together or cannot be read.
    #[error("the certificate authority cannot be used: {0}")]
    Authority(String),
    /// The library refused.
    #[error("the certificate could not be made: {0}")]
    Refused(#[from] rcgen::Error),
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

/// A certificate and its key in PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, PKCS#8.
    pub key_pem: SecretString,
}

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority; `name` tells it apart from others.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn create(name: &str, now_s: u64) -> Result<(Self, Issued), PkiError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(name, now_s, AUTHORITY_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        let issued = Issued { certificate_pem, key_pem: SecretString::new(key.serialize_pem()) };
        Ok((Self { issuer: Issuer::new(params, key) }, issued))
    }

    /// An authority from its files.
    ///
    /// # Errors
    /// [`PkiError::Authority`].
    pub fn load(certificate_pem: &str, key_pem: &SecretString) -> Result<Self, PkiError> {
        let fault = |error: rcgen::Error| PkiError::Authority(error.to_string());
        let key = KeyPair::from_pem(key_pem.expose()).map_err(fault)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(fault)?;
        Ok(Self { issuer })
    }

    /// A certificate for a server with these names and addresses, the first of which is its Common Name.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn server(&self, names: &[String], addresses: &[IpAddr], now_s: u64) -> Result<Issued, PkiError> {
        let common = names.first().map_or("motte", String::as_str);
        let mut params = params(common, now_s, SERVER_DAYS)?;
        for name in names {
            let name = name.as_str().try_into().map_err(|_| PkiError::Name(name.clone()))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a client: Common Name and URI say who it is.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn client(&self, identity: &str, unit: &str, now_s: u64) -> Result<Issued, PkiError> {
        let mut params = params(identity, now_s, CLIENT_DAYS)?;
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        let uri = format!("urn:motte:{unit}:{identity}");
        let uri = uri.as_str().try_into().map_err(|_| PkiError::Name(identity.to_owned()))?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// What signs.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate_pem, key_pem: SecretString::new(key.serialize_pem()) })
    }
}

fn params(common_name: &str, now_s: u64, days: u64) -> Result<CertificateParams, PkiError> {
    if common_name.is_empty() || common_name.len() > 64 || common_name.chars().any(char::is_control) {
        return Err(PkiError::Name(common_name.to_owned()));
    }
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(|_| PkiError::Randomness)?;
    // Positive, and never with a leading zero byte.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    params.not_before = (epoch + Duration::from_secs(now_s.saturating_sub(BACKDATE_S))).into();
    params.not_after = (epoch + Duration::from_secs(now_s.saturating_add(days * DAY_S))).into();
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificates, inspect, private_key};

    const NOW: u64 = 1_790_000_000;

    #[test]
    fn what_the_authority_signs_says_what_it_was_asked_to_and_no_more() {
        let (_, files) = Authority::create("Motte test", NOW).unwrap();
        let authority = Authority::load(&files.certificate_pem, &files.key_pem).unwrap();
        let server = authority
            .server(&["localhost".into(), "broker.example".into()], &["127.0.0.1".parse().unwrap()], NOW)
            .unwrap();
        let chain = certificates(&server.certificate_pem).unwrap();
        let facts = inspect(&chain[0]).unwrap();
        assert_eq!(facts.dns_names, ["localhost", "broker.example"]);
        assert!(facts.server_auth && !facts.client_auth && !facts.is_authority);
        assert_eq!(facts.not_after_s, NOW + SERVER_DAYS * DAY_S);
        let client = authority.client("dev-1", "device", NOW).unwrap();
        let facts = inspect(&certificates(&client.certificate_pem).unwrap()[0]).unwrap();
        assert!(facts.client_auth && !facts.server_auth);
        private_key(client.key_pem.expose(), None).unwrap();
        assert!(matches!(authority.client("", "device", NOW), Err(PkiError::Name(_))));
    }
}
