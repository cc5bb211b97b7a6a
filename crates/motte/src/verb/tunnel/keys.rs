//! Keys of WireGuard: X25519 as bytes, written in base64 as `wg` has it.

use aws_lc_rs::agreement::{PrivateKey, X25519};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use motte_seal::SecretString;

use crate::verb::Fault;

/// Bytes of each kind of key.
const KEY_BYTES: usize = 32;

/// A private key, made now.
pub(super) fn private_key() -> Result<SecretString, Fault> {
    let mut bytes = random()?;
    // RFC 7748 section 5: what every use of the key does first, and `wg genkey` too.
    let [first, .., last] = &mut bytes;
    *first &= 0b1111_1000;
    *last = (*last & 127) | 64;
    Ok(SecretString::new(STANDARD.encode(bytes)))
}

/// The public half of a private key.
pub(super) fn public_key(private: &SecretString) -> Result<String, Fault> {
    let bytes = STANDARD.decode(private.expose()).ok();
    let key = bytes.and_then(|bytes| PrivateKey::from_private_key(&X25519, &bytes).ok());
    let public = key.and_then(|key| key.compute_public_key().ok());
    public.map(|public| STANDARD.encode(public.as_ref())).ok_or_else(|| {
        let remedy = "restore it from a copy, or begin anew in another state directory";
        Fault::with_remedy("what is kept of a key is no key of WireGuard", remedy)
    })
}

/// A secret that two peers share beside their keys.
pub(super) fn preshared_key() -> Result<SecretString, Fault> {
    Ok(SecretString::new(STANDARD.encode(random()?)))
}

/// Refuses what is no public key of WireGuard.
pub(super) fn check_public(text: &str) -> Result<(), Fault> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == KEY_BYTES);
    if bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
        return Ok(());
    }
    let what = format!("`{}` is not a public key", text.escape_default());
    Err(Fault::with_remedy(what, "give what `wg pubkey` wrote: 44 characters of base64"))
}

fn random() -> Result<[u8; KEY_BYTES], Fault> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Fault::with_remedy(format!("no randomness: {error}"), "see what the system says, and try again")
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_halves_are_those_of_wg() {
        let private = SecretString::new("uDwfZ6lpfBQo0tKTrJ58CJG6u2zyvf7NNChou72sO1Y=".to_owned());
        assert_eq!(public_key(&private).unwrap(), "yjDCIwX5dhZajz3FY58a/d5yo67aBF2HMHKM/wOnjH8=");
        let made = private_key().unwrap();
        let bytes = STANDARD.decode(made.expose()).unwrap();
        assert_eq!((bytes.len(), bytes[0] & 7, bytes[31] >> 6), (32, 0, 1));
        assert_ne!(made.expose(), private_key().unwrap().expose());
        check_public(&public_key(&made).unwrap()).unwrap();
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let zero = STANDARD.encode([0; 32]);
        for wrong in ["", "x", "AAAA", zero.as_str(), "a\nb", &"A".repeat(4_000)] {
            assert!(check_public(wrong).is_err(), "{wrong}");
        }
    }
}
