//! Certificates and keys from PEM text.

use motte_seal::SecretString;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::SecretDocument;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why PEM text is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// There is no certificate in it.
    #[error("no certificate in it; it must hold a block that begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is no key in it.
    #[error("no private key in it; it must hold a block that begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The PEM is damaged.
    #[error("damaged PEM: {0}")]
    Damaged(String),
    /// The key is encrypted in the old OpenSSL way.
    #[error("the key is encrypted in an old, weak way; write it anew with `openssl pkcs8 -topk8 -scrypt`")]
    OldEncryption,
    /// The key is encrypted and no passphrase was given.
    #[error(
        "the key is encrypted; say where its passphrase is: passphrase_file, passphrase_credential, passphrase_fd or passphrase_prompt"
    )]
    PassphraseMissing,
    /// The passphrase is wrong.
    #[error("the key does not open with this passphrase")]
    PassphraseWrong,
}

/// All certificates in a PEM text, in order; at least one.
///
/// # Errors
/// [`PemError`].
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(PemError::NoCertificate),
        Ok(found) => Ok(found),
        Err(error) => Err(PemError::Damaged(error.to_string())),
    }
}

/// The private key in a PEM text, opened with a passphrase if it is encrypted (PKCS#8, PBES2).
///
/// # Errors
/// [`PemError`].
pub fn private_key(pem: &str, passphrase: Option<&SecretString>) -> Result<PrivateKeyDer<'static>, PemError> {
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PemError::OldEncryption);
    }
    if !pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => PemError::NoKey,
            other => PemError::Damaged(other.to_string()),
        });
    }
    let passphrase = passphrase.ok_or(PemError::PassphraseMissing)?;
    let damaged = |error: pkcs8::der::Error| PemError::Damaged(error.to_string());
    let (_, document) = SecretDocument::from_pem(pem.trim_start()).map_err(damaged)?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| PemError::Damaged(error.to_string()))?;
    let opened = info.decrypt(passphrase.expose()).map_err(|_| PemError::PassphraseWrong)?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec())))
}
