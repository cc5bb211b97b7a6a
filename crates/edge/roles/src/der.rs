//! The few shapes of DER that public keys and signatures of a token have to be put into.

/// OBJECT IDENTIFIER ecPublicKey, with its header.
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// OBJECT IDENTIFIER rsaEncryption and NULL, with their headers.
const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

/// A value with its header.
fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().position(|byte| *byte != 0).and_then(|at| bytes.get(at..)).unwrap_or(&[0]);
    let mut out = vec![tag];
    match significant {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            out.extend_from_slice(long);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A number without sign, from its bytes.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0);
    let bytes = first.and_then(|at| bytes.get(at..)).unwrap_or(&[0]);
    let sign: &[u8] = if bytes.first().is_some_and(|byte| *byte >= 0x80) { &[0] } else { &[] };
    tagged(INTEGER, &[sign, bytes])
}

/// An ECDSA signature as TLS has it, from its two numbers side by side.
pub(crate) fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    tagged(SEQUENCE, &[&integer(r), &integer(s)])
}

/// The SubjectPublicKeyInfo of a point on a curve; `point` in an OCTET STRING or not, `curve` as an OBJECT IDENTIFIER.
pub(crate) fn ec_public_key(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let inner = match point {
        [OCTET_STRING, length, inner @ ..] if usize::from(*length) == inner.len() => inner,
        [OCTET_STRING, 0x81, length, inner @ ..] if usize::from(*length) == inner.len() => inner,
        bare => bare,
    };
    let algorithm = tagged(SEQUENCE, &[EC_PUBLIC_KEY, curve]);
    tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], inner])])
}

/// The SubjectPublicKeyInfo of an RSA key.
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = tagged(SEQUENCE, &[&integer(modulus), &integer(exponent)]);
    let algorithm = tagged(SEQUENCE, &[RSA_ENCRYPTION]);
    tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], &numbers])])
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData;

    use super::*;

    #[test]
    fn numbers_have_no_sign_and_no_zeros_before_them() {
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(ecdsa_signature(&[0, 1, 0xff, 0]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0xff, 0]);
    }

    #[test]
    fn a_point_becomes_the_key_that_other_tools_write() {
        const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = key.der_bytes();
        assert_eq!(ec_public_key(P256, point), key.subject_public_key_info());
        assert_eq!(ec_public_key(P256, &tagged(OCTET_STRING, &[point])), key.subject_public_key_info());
    }
}
