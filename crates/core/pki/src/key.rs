//! Private keys that are made, and encrypted for a file.

use motte_seal::SecretString;
use pkcs8::LineEnding;
use pkcs8::PrivateKeyInfoRef;
use rcgen::KeyPair;
use rustls_pki_types::PrivateKeyDer;

use crate::authority::PkiError;
use crate::pem::PemError;

/// A new private key (ECDSA, P-256) as PEM of PKCS#8, not encrypted.
///
/// # Errors
/// [`PkiError`] when the system has no random bytes.
pub fn new_key() -> Result<SecretString, PkiError> {
    Ok(SecretString::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem()))
}

/// A private key as PEM, encrypted under a passphrase: PKCS#8 with PBES2 (RFC 8018), scrypt of 32 MiB (RFC 7914) and
/// AES-256-CBC.
///
/// # Errors
/// [`PemError::Damaged`] if the key is not one of PKCS#8, or the system has no random bytes.
pub fn encrypted(key: &PrivateKeyDer<'_>, passphrase: &SecretString) -> Result<SecretString, PemError> {
    let PrivateKeyDer::Pkcs8(key) = key else {
        let what = "it is a key of another form than PKCS#8; write it anew with `openssl pkcs8 -topk8`";
        return Err(PemError::Damaged(what.to_owned()));
    };
    let damaged = |error: pkcs8::Error| PemError::Damaged(error.to_string());
    let info = PrivateKeyInfoRef::try_from(key.secret_pkcs8_der())
        .map_err(|error| PemError::Damaged(error.to_string()))?;
    let document = info.encrypt(passphrase.expose()).map_err(damaged)?;
    let pem = document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF);
    pem.map(|pem| SecretString::new(pem.to_string())).map_err(|error| PemError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pem::private_key;

    #[test]
    fn a_new_key_opens_with_its_passphrase_only() {
        let plain = new_key().unwrap();
        let key = private_key(plain.expose(), None).unwrap();
        let passphrase = SecretString::new("some words to open it".to_owned());
        let pem = encrypted(&key, &passphrase).unwrap();
        assert!(pem.expose().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert_eq!(private_key(pem.expose(), Some(&passphrase)).unwrap().secret_der(), key.secret_der());
        let other = SecretString::new("some words to open i".to_owned());
        assert_eq!(private_key(pem.expose(), Some(&other)), Err(PemError::PassphraseWrong));
        assert_ne!(encrypted(&key, &passphrase).unwrap().expose(), pem.expose(), "salts are new each time");
    }
}
