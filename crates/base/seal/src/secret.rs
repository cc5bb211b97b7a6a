//! Secrets: wiped when dropped, never printed, compared in constant time.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::password::HashError;

/// Secret bytes. No `Debug` of the contents, no `Display`, no `Clone`: a copy is made on purpose or not at all.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// So many bytes of the system's randomness.
    ///
    /// # Errors
    /// [`HashError::Randomness`].
    pub fn random(len: usize) -> Result<Self, HashError> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        getrandom::fill(&mut bytes).map_err(|_| HashError::Randomness)?;
        Ok(Self(bytes))
    }

    /// The bytes, for the moment of use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the same secret; the time does not depend on where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(hidden)")
    }
}

/// A secret text, such as a passphrase.
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes a text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A generated password: 26 characters of 32 easily told apart, 130 bits.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567890";
        let mut random = Zeroizing::new([0_u8; 26]);
        getrandom::fill(&mut *random)?;
        let pick = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).map_or('x', |c| char::from(*c));
        Ok(Self::new(random.iter().map(pick).collect()))
    }

    /// The text, for the moment of use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretString(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert!(!format!("{:?}", SecretBytes::new(b"hunter2".to_vec())).contains("hunter2"));
        assert!(!format!("{:?}", SecretString::new("hunter2".into())).contains("hunter2"));
    }

    #[test]
    fn generated_passwords_differ_and_are_long() {
        let (a, b) = (SecretString::generate().unwrap(), SecretString::generate().unwrap());
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), 26);
        assert!(SecretBytes::new(b"x".to_vec()).matches(b"x"));
    }
}
