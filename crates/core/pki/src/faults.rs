//! What is wrong with a certificate by itself, whoever signed it: its form, the strength of its key and signature, what it may
//! be used for (RFC 5280 sections 4.1 and 4.2, RFC 8446 section 4.4.2.2).

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::nom;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

/// Shortest modulus of an RSA key, in bits (RFC 9325 section 4.5).
const RSA_BITS_MIN: usize = 2_048;
/// Longest: what is longer costs the broker more than the peer.
const RSA_BITS_MAX: usize = 8_192;
/// Smallest public exponent of an RSA key (FIPS 186-5 section 5.1).
const RSA_EXPONENT_MIN: u64 = 65_537;
/// Longest serial number, in bytes (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

/// What is wrong with a certificate, whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It cannot be read.
    #[error("it is not a certificate in DER")]
    Garbage,
    /// There is more than the certificate.
    #[error("there are bytes behind its end")]
    Trailing,
    /// It is of version 1 or 2.
    #[error("it is of version 1 or 2, which have no extensions; version 3 is wanted")]
    Version,
    /// A date cannot be read.
    #[error("one of its dates cannot be read")]
    Date,
    /// Its serial number is negative or too long.
    #[error("its serial number is negative or longer than {SERIAL_BYTES_MAX} bytes")]
    Serial,
    /// An extension is there twice.
    #[error("one of its extensions is there twice")]
    Repeated,
    /// It is signed in a way that can be forged.
    #[error("it is signed with {0}, which can be forged")]
    Signature(&'static str),
    /// Its RSA key is too short or too long.
    #[error("its RSA key has {0} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken")]
    RsaBits(usize),
    /// The public exponent of its RSA key is too small.
    #[error("the public exponent of its RSA key is {0}; {RSA_EXPONENT_MIN} and above are taken")]
    RsaExponent(u64),
    /// Its key is of a kind that nobody here verifies.
    #[error("its key is of a kind that is not taken; use ECDSA with P-256, P-384 or P-521, Ed25519 or RSA")]
    Key,
    /// Its key usage does not permit what it is used for.
    #[error("its key usage has no digitalSignature, so its key may not sign a handshake")]
    Unsigning,
    /// It is an authority that may not sign certificates.
    #[error("it is used as an authority, and its key usage has no keyCertSign")]
    UncertifyingAuthority,
}

/// What is wrong with the certificate of a client or an authority above it, in DER; the first of several faults.
///
/// # Errors
/// [`CertificateFault`].
pub fn check_form(der: &[u8]) -> Result<(), CertificateFault> {
    let certificate = read(der)?;
    if certificate.version() != X509Version::V3 {
        return Err(CertificateFault::Version);
    }
    let serial = certificate.raw_serial();
    let digits = serial.strip_prefix(&[0]).unwrap_or(serial);
    if serial.first().is_none_or(|first| first & 0x80 != 0) || digits.len() > SERIAL_BYTES_MAX {
        return Err(CertificateFault::Serial);
    }
    if certificate.extensions_map().is_err() {
        return Err(CertificateFault::Repeated);
    }
    signature(&certificate.signature_algorithm.algorithm.to_id_string())?;
    key(&certificate)
}

/// Whether the key usage of a client's certificate lets it sign a handshake.
///
/// # Errors
/// [`CertificateFault`].
pub fn check_signing(der: &[u8]) -> Result<(), CertificateFault> {
    let certificate = read(der)?;
    let usage = certificate.key_usage().map_err(|_| CertificateFault::Unsigning)?;
    if usage.is_none_or(|usage| usage.value.digital_signature()) {
        return Ok(());
    }
    Err(CertificateFault::Unsigning)
}

/// Whether the key usage of each authority that a client sent lets it sign the certificates that it stands above.
///
/// # Errors
/// [`CertificateFault::UncertifyingAuthority`], or what keeps one of them from being read.
pub fn check_authorities<'c>(chain: impl IntoIterator<Item = &'c [u8]>) -> Result<(), CertificateFault> {
    let chain: Vec<X509Certificate<'_>> = chain.into_iter().map(read).collect::<Result<_, _>>()?;
    for (at, authority) in chain.iter().enumerate().skip(1) {
        let stands_above = |(other, below): (usize, &X509Certificate<'_>)| {
            other != at && below.issuer().as_raw() == authority.subject().as_raw()
        };
        let usage = authority.key_usage().map_err(|_| CertificateFault::UncertifyingAuthority)?;
        let may_certify = usage.is_none_or(|usage| usage.value.key_cert_sign());
        if !may_certify && chain.iter().enumerate().any(stands_above) {
            return Err(CertificateFault::UncertifyingAuthority);
        }
    }
    Ok(())
}

/// Whether a certificate names itself as its authority: that of a root, whose signature says nothing.
pub fn is_self_issued(der: &[u8]) -> bool {
    read(der).is_ok_and(|certificate| certificate.issuer().as_raw() == certificate.subject().as_raw())
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, CertificateFault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateFault::Trailing),
        Err(nom::Err::Error(X509Error::InvalidDate) | nom::Err::Failure(X509Error::InvalidDate)) => {
            Err(CertificateFault::Date)
        }
        Err(_) => Err(CertificateFault::Garbage),
    }
}

fn signature(algorithm: &str) -> Result<(), CertificateFault> {
    let name = match algorithm {
        "1.2.840.113549.1.1.2" | "1.2.840.113549.1.1.3" | "1.2.840.113549.1.1.4" => "MD2, MD4 or MD5",
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" | "1.3.14.3.2.29" => "SHA-1",
        _ => return Ok(()),
    };
    Err(CertificateFault::Signature(name))
}

fn key(certificate: &X509Certificate<'_>) -> Result<(), CertificateFault> {
    let key = certificate.public_key();
    let curve = || key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.112" => Ok(()),
        "1.2.840.10045.2.1" => match curve().map(|curve| curve.to_id_string()).as_deref() {
            Some("1.2.840.10045.3.1.7" | "1.3.132.0.34" | "1.3.132.0.35") => Ok(()),
            _ => Err(CertificateFault::Key),
        },
        "1.2.840.113549.1.1.1" => {
            let Ok(PublicKey::RSA(rsa)) = key.parsed() else { return Err(CertificateFault::Key) };
            let bits = bits(rsa.modulus);
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                return Err(CertificateFault::RsaBits(bits));
            }
            // One that does not fit into 64 bits is large enough.
            match rsa.try_exponent() {
                Ok(exponent) if exponent < RSA_EXPONENT_MIN => Err(CertificateFault::RsaExponent(exponent)),
                _ => Ok(()),
            }
        }
        _ => Err(CertificateFault::Key),
    }
}

/// Bits of a number that is written with its highest byte first.
fn bits(number: &[u8]) -> usize {
    let digits = number.iter().position(|byte| *byte != 0).and_then(|first| number.get(first..));
    let Some((first, rest)) = digits.and_then(<[u8]>::split_first) else { return 0 };
    let highest = usize::try_from(u8::BITS.saturating_sub(first.leading_zeros())).unwrap_or(0);
    rest.len().saturating_mul(8).saturating_add(highest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Authority, certificates};

    fn device() -> Vec<u8> {
        let (authority, _) = Authority::create("test", 1_790_000_000).unwrap();
        let issued = authority.client("dev-1", "device", 1_790_000_000).unwrap();
        certificates(&issued.certificate_pem).unwrap()[0].to_vec()
    }

    #[test]
    fn a_sound_certificate_has_no_fault_and_a_damaged_one_is_told() {
        let der = device();
        assert_eq!(check_form(&der).and(check_signing(&der)), Ok(()));
        let longer = [&der[..], &[0]].concat();
        assert_eq!(check_form(&longer), Err(CertificateFault::Trailing));
        assert_eq!(check_form(&der[..der.len() - 1]), Err(CertificateFault::Garbage));
        assert_eq!(check_form(b""), Err(CertificateFault::Garbage));
    }

    #[test]
    fn bits_are_counted_without_leading_zeros() {
        for (number, expected) in
            [(&[][..], 0), (&[0, 0], 0), (&[0, 1], 1), (&[0xff; 2], 16), (&[0, 0, 4, 0], 11)]
        {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut der = device();
            let at = at.index(der.len());
            der[at] = byte;
            for bytes in [&der, &rest] {
                let _ = (check_form(bytes), check_signing(bytes), check_authorities([&bytes[..], bytes]));
            }
        }
    }
}
