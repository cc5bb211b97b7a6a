//! What is kept of a password that a client proves without sending it: SCRAM-SHA-256 (RFC 5802, RFC 7677).
//!
//! A thief of these keys can guess passwords as with PBKDF2, but cannot come in with them; who knows the password can.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::password::HashError;
use crate::stored::SiteKey;

/// Bytes of each key, and of a proof.
pub const SCRAM_KEY_BYTES: usize = 32;
/// How the text form begins.
pub(crate) const PREFIX: &str = "$scram-sha-256$";

/// Iterations, salt and the two keys. The password is not in them.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; SCRAM_KEY_BYTES],
    server_key: [u8; SCRAM_KEY_BYTES],
}

impl ScramKeys {
    /// The fewest iterations that are taken (RFC 7677, section 4): enough for a password that was generated.
    pub const ITERATIONS_MIN: u32 = 4_096;
    /// The most: about a second of the client's time, and of ours where the password itself is sent.
    pub const ITERATIONS_MAX: u32 = 1_000_000;
    /// Bytes of a salt that is made here; one that comes from elsewhere may have another length.
    pub const SALT_BYTES: usize = 16;
    /// For what a person chose: a check here costs about as much as one by Argon2id.
    pub const ITERATIONS_CHOSEN: u32 = 100_000;

    /// Keys of a password under a fresh salt. As slow as so many iterations.
    ///
    /// # Errors
    /// [`HashError::Prepared`] for a password with characters that no password may have, [`HashError::Iterations`],
    /// [`HashError::Randomness`].
    pub fn create(password: &str, iterations: u32) -> Result<Self, HashError> {
        let mut salt = vec![0; Self::SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| HashError::Randomness)?;
        Self::derive(password, iterations, salt)
    }

    /// Keys of another password under the salt of these: while a password is rotated one exchange is for both.
    ///
    /// # Errors
    /// As [`ScramKeys::create`].
    pub fn beside(&self, password: &str) -> Result<Self, HashError> {
        Self::derive(password, self.iterations.get(), self.salt.clone())
    }

    /// Keys that no password fits, the same for a name each time: what somebody is told who does not exist. `salt_bytes` is how
    /// long the salt is, 64 bytes at most.
    pub fn decoy(key: &SiteKey, name: &str, iterations: u32, salt_bytes: usize) -> Self {
        let part = |what: &[u8]| key.derived(&[b"motte scram decoy v1\0", what, b"\0", name.as_bytes()]);
        let salt = part(b"salt").into_iter().chain(part(b"more salt")).take(salt_bytes).collect();
        let most = iterations.clamp(Self::ITERATIONS_MIN, Self::ITERATIONS_MAX);
        Self {
            iterations: NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN),
            salt,
            stored_key: part(b"stored"),
            server_key: part(b"server"),
        }
    }

    fn derive(password: &str, iterations: u32, salt: Vec<u8>) -> Result<Self, HashError> {
        let iterations = permitted(iterations)?;
        let prepared = prepare(password).ok_or(HashError::Prepared)?;
        let mut salted = Zeroizing::new([0; SCRAM_KEY_BYTES]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, prepared.as_bytes(), &mut *salted);
        let client_key = Zeroizing::new(mac(&*salted, b"Client Key"));
        let server_key = mac(&*salted, b"Server Key");
        Ok(Self { iterations, salt, stored_key: sha256(&*client_key), server_key })
    }

    /// Whether a password fits; as slow as its iterations.
    pub fn verify(&self, password: &[u8]) -> bool {
        let Ok(password) = std::str::from_utf8(password) else { return false };
        Self::derive(password, self.iterations.get(), self.salt.clone())
            .is_ok_and(|found| found.stored_key.ct_eq(&self.stored_key).into())
    }

    /// Whether a proof is of who knows the password (RFC 5802, section 3).
    pub fn proves(&self, auth_message: &[u8], proof: &[u8; SCRAM_KEY_BYTES]) -> Choice {
        let signature = mac(&self.stored_key, auth_message);
        let mut client_key = Zeroizing::new(*proof);
        client_key.iter_mut().zip(signature).for_each(|(key, byte)| *key ^= byte);
        sha256(&*client_key).ct_eq(&self.stored_key)
    }

    /// What proves to the client that we have its keys.
    pub fn signature(&self, auth_message: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
        mac(&self.server_key, auth_message)
    }

    /// Iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Reads the text form, `$scram-sha-256$ITERATIONS$SALT$STORED_KEY$SERVER_KEY`.
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let rest = text.strip_prefix(PREFIX).ok_or(HashError::Form)?;
        let mut parts = rest.split('$');
        let mut part = || parts.next().ok_or(HashError::Form);
        let iterations = permitted(part()?.parse().map_err(|_| HashError::Form)?)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| HashError::Form);
        let salt = decode(part()?)?;
        let key = |bytes: Vec<u8>| bytes.as_slice().try_into().map_err(|_| HashError::Form);
        let (stored_key, server_key) = (key(decode(part()?)?)?, key(decode(part()?)?)?);
        if part().is_ok() || !(8..=64).contains(&salt.len()) {
            return Err(HashError::Form);
        }
        Ok(Self { iterations, salt, stored_key, server_key })
    }
}

impl std::fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let [salt, stored, server] =
            [salt.as_slice(), stored_key, server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "{PREFIX}{iterations}${salt}${stored}${server}")
    }
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys(hidden)")
    }
}

/// A password as both sides take it: what looks the same is the same (SASLprep, RFC 4013).
pub fn prepare(password: &str) -> Option<Zeroizing<String>> {
    let prepared = stringprep::saslprep(password).ok()?;
    (!prepared.is_empty()).then(|| Zeroizing::new(prepared.into_owned()))
}

fn permitted(iterations: u32) -> Result<NonZeroU32, HashError> {
    let fits = (ScramKeys::ITERATIONS_MIN..=ScramKeys::ITERATIONS_MAX).contains(&iterations);
    NonZeroU32::new(iterations).filter(|_| fits).ok_or(HashError::Iterations)
}

fn mac(key: &[u8], message: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
    bytes_of(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

fn sha256(bytes: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
    bytes_of(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn bytes_of(from: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
    let mut to = [0; SCRAM_KEY_BYTES];
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`.
    #[test]
    fn the_vector_of_the_standard() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive("pencil", 4_096, salt).unwrap();
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let proof = BASE64.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let mut proof: [u8; SCRAM_KEY_BYTES] = proof.try_into().unwrap();
        assert!(bool::from(keys.proves(message.as_bytes(), &proof)));
        assert!(!bool::from(keys.proves(b"another", &proof)));
        let signature = BASE64.encode(keys.signature(message.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        proof[7] ^= 1;
        assert!(!bool::from(keys.proves(message.as_bytes(), &proof)));
    }

    #[test]
    fn keys_survive_their_text_form_and_fit_their_password_only() {
        let keys = ScramKeys::create("correct horse", 4_096).unwrap();
        let again = ScramKeys::parse(&keys.to_string()).unwrap();
        assert_eq!(again, keys);
        assert!(again.verify(b"correct horse") && !again.verify(b"correct horsf") && !again.verify(&[0xff]));
        assert_eq!(format!("{keys:?}"), "ScramKeys(hidden)");
        let new = keys.beside("another").unwrap();
        assert_eq!((new.salt(), new.iterations()), (keys.salt(), 4_096));
        assert!(new.verify(b"another") && !new.verify(b"correct horse"));
    }

    #[test]
    fn what_looks_the_same_is_the_same_password() {
        let keys = ScramKeys::create("IX \u{2168}", 4_096).unwrap();
        assert!(keys.verify("I\u{ad}X\u{a0}IX".as_bytes()));
        assert_eq!(ScramKeys::create("bell \u{7}", 4_096).unwrap_err(), HashError::Prepared);
        assert_eq!(ScramKeys::create("\u{ad}", 4_096).unwrap_err(), HashError::Prepared);
    }

    #[test]
    fn iterations_are_bounded_where_keys_are_made_and_read() {
        for iterations in [0, 1, 4_095, 1_000_001, u32::MAX] {
            assert_eq!(ScramKeys::create("x", iterations).unwrap_err(), HashError::Iterations);
            let text = format!("$scram-sha-256${iterations}$c2FsdHNhbHQ=$$");
            assert_eq!(ScramKeys::parse(&text).unwrap_err(), HashError::Iterations);
        }
        for text in ["$scram-sha-256$", "$scram-sha-256$4096$c2FsdHNhbHQ=$AA==$AA==", "$scram-sha-256$x$$$"] {
            assert_eq!(ScramKeys::parse(text).unwrap_err(), HashError::Form, "{text}");
        }
    }

    #[test]
    fn a_decoy_is_the_same_for_a_name_each_time_and_another_at_another_site() {
        let (here, there) = (SiteKey::generate().unwrap(), SiteKey::generate().unwrap());
        let salt = |key: &SiteKey, name: &str| ScramKeys::decoy(key, name, 4_096, 16).salt().to_vec();
        assert_eq!(salt(&here, "nobody"), salt(&here, "nobody"));
        assert_ne!(salt(&here, "nobody"), salt(&here, "nobodz"));
        assert_ne!(salt(&here, "nobody"), salt(&there, "nobody"));
        for bytes in [8, 16, 24, 64] {
            assert_eq!(ScramKeys::decoy(&here, "nobody", 4_096, bytes).salt().len(), bytes);
        }
    }
}
