//! Certificates and keys from PEM text.

use motte_seal::SecretString;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::SecretDocument;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Most rounds of PBKDF2 that a key may ask for; about two seconds. Tools write 2,048 to 600,000.
const PBKDF2_ROUNDS_MAX: u32 = 2_000_000;
/// Most bytes of work that a key may ask scrypt for, which are also its memory. OpenSSL writes 16 MiB.
const SCRYPT_BYTES_MAX: u128 = 256 * 1024 * 1024;

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
    /// The file asks for more work or memory to open the key than any sound one does.
    #[error(
        "opening the key would take too much work or memory; write it anew with `openssl pkcs8 -topk8 -scrypt`"
    )]
    TooCostly,
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
    let Some(encrypted) = encrypted_key(pem) else {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => PemError::NoKey,
            other => PemError::Damaged(other.to_string()),
        });
    };
    let passphrase = passphrase.ok_or(PemError::PassphraseMissing)?;
    let damaged = |error: pkcs8::der::Error| PemError::Damaged(error.to_string());
    let (_, document) = SecretDocument::from_pem(encrypted).map_err(damaged)?;
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|error| PemError::Damaged(error.to_string()))?;
    if is_too_costly(&info.encryption_algorithm) {
        return Err(PemError::TooCostly);
    }
    let opened = info.decrypt(passphrase.expose()).map_err(|_| PemError::PassphraseWrong)?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec())))
}

/// The block of an encrypted key, alone: certificates, remarks and empty lines may stand around it, as around other keys.
fn encrypted_key(pem: &str) -> Option<&str> {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let block = pem.get(pem.find("-----BEGIN ENCRYPTED PRIVATE KEY-----")?..)?;
    Some(block.find(END).and_then(|end| block.get(..end + END.len())).unwrap_or(block))
}

/// Whether opening would keep the process for minutes, or end it for want of memory: a file that one bit was flipped in
/// must give an error.
fn is_too_costly(scheme: &EncryptionScheme) -> bool {
    let EncryptionScheme::Pbes2(parameters) = scheme else { return false };
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => kdf.iteration_count > PBKDF2_ROUNDS_MAX,
        Kdf::Scrypt(kdf) => {
            let factors = [kdf.block_size.into(), kdf.parallelization.into(), 128];
            let bytes =
                factors.iter().fold(u128::from(kdf.cost_parameter), |all, one| all.saturating_mul(*one));
            bytes > SCRYPT_BYTES_MAX
        }
        // The decoder knows no other; one it learns must be looked at here first.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that nothing uses, under the passphrase `fuzz`.
    const PBKDF2: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAgv4SI3JTZBoQIBATAM\n\
BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQcCZaZtSrhpxt7bf0zuGmwARAxBwo\n\
bBmFZ5giZSCJ3qq9JjkZAveq5y5yfXxF+QcbmGD+i6+6Zlr47U4crpFKDQxDUDz8\n\
Y4wLx9GBlokXBFLTjg==\n\
-----END ENCRYPTED PRIVATE KEY-----\n";
    const SCRYPT: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIGSME4GCSqGSIb3DQEFDTBBMCAGCSsGAQQB2kcECzATBAiPX71CmfMYhwIBAgIB\n\
AQIBATAdBglghkgBZQMEASoEEEk76+lyIxb0d94FjPpHCXwEQJf0rERc9rx74ITa\n\
ESRwBNcfG0OsrGPxi4XAhpwfHtbMNBtdchhzmUxuRacN5WnHVQ08x2imjYChlSIW\n\
EF9a7jE=\n\
-----END ENCRYPTED PRIVATE KEY-----\n";

    fn open(pem: &str) -> Result<PrivateKeyDer<'static>, PemError> {
        private_key(pem, Some(&SecretString::new("fuzz".to_owned())))
    }

    #[test]
    fn an_encrypted_key_opens_whatever_stands_around_it() {
        for key in [PBKDF2, SCRYPT] {
            assert!(open(key).is_ok());
            assert!(open(&format!("\n{key}\n\n")).is_ok(), "empty lines");
            assert!(open(&format!("Bag Attributes\n{key}")).is_ok(), "a remark");
            assert_eq!(private_key(key, None), Err(PemError::PassphraseMissing));
            let wrong = SecretString::new("other".to_owned());
            assert_eq!(private_key(key, Some(&wrong)), Err(PemError::PassphraseWrong));
        }
        assert!(matches!(open(&PBKDF2[..100]), Err(PemError::Damaged(_))));
    }

    /// The key with the bytes `from` in its DER replaced.
    fn with(pem: &str, from: &[u8], to: &[u8]) -> String {
        let (_, document) = SecretDocument::from_pem(pem.trim_end()).unwrap();
        let der = document.as_bytes();
        let at = der.windows(from.len()).position(|part| part == from).unwrap();
        let changed = [&der[..at], to, &der[at + from.len()..]].concat();
        let document = pkcs8::der::Document::try_from(changed).unwrap();
        document.to_pem("ENCRYPTED PRIVATE KEY", pkcs8::LineEnding::LF).unwrap()
    }

    #[test]
    fn a_key_that_would_take_for_ever_or_all_memory_is_refused() {
        // SEQUENCE { salt, iterations = 1, prf }: the salt's last byte becomes part of a longer number.
        let costly = with(
            PBKDF2,
            &[0x04, 0x08, 0x2f, 0xe1, 0x22, 0x37, 0x25, 0x36, 0x41, 0xa1, 0x02, 0x01, 0x01],
            &[0x04, 0x05, 0x2f, 0xe1, 0x22, 0x37, 0x25, 0x02, 0x04, 0x7f, 0xff, 0xff, 0xff],
        );
        assert_eq!(open(&costly), Err(PemError::TooCostly));
        // N = 2, r = 1, p = 1 becomes N = 2^62 with a salt that is shorter by as much.
        let salt = [0x04, 0x08, 0x8f, 0x5f, 0xbd, 0x42, 0x99, 0xf3, 0x18, 0x87, 0x02, 0x01, 0x02];
        let greedy = with(SCRYPT, &salt, &[0x04, 0x01, 0x8f, 0x02, 0x08, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(open(&greedy), Err(PemError::TooCostly));
    }
}
