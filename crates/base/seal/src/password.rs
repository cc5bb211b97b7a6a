//! Password hashes: Argon2id in the PHC string format, with its parameters in the hash.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use subtle::ConstantTimeEq;

/// What a hash costs. Bounded, because a hash in a file is input too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashParameters {
    /// 19 MiB, two passes, one lane: the least that current guidance takes for interactive logins.
    pub const DEFAULT: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };

    /// What a check costs: passes over a KiB.
    pub fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// Reads `m=…,t=…,p=…`.
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let mut fields = text.split(',');
        let mut number = |prefix: &str| -> Result<u32, HashError> {
            let field =
                fields.next().and_then(|field| field.strip_prefix(prefix)).ok_or(HashError::Format)?;
            field.parse().map_err(|_| HashError::Format)
        };
        Ok(Self { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? })
    }

    /// Whether a hash of this length may cost so much.
    pub(crate) fn check(self, length: usize) -> Result<(), HashError> {
        let too_much = self.memory_kib > Self::MEMORY_KIB_MAX
            || self.passes > Self::PASSES_MAX
            || self.lanes > Self::LANES_MAX;
        if too_much { Err(HashError::Parameters) } else { params(self, length).map(|_| ()) }
    }

    const MEMORY_KIB_MAX: u32 = 1024 * 1024;
    const PASSES_MAX: u32 = 64;
    const LANES_MAX: u32 = 16;
}

/// Why a hash cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The text is no Argon2id hash in PHC format.
    #[error("not an Argon2id hash of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")]
    Format,
    /// The text is no hash of a kind that is known.
    #[error(
        "not a hash of a kind that is known ($argon2id$, $keyed$, $scram-sha-256$, $wrapped$, $6$ or $7$), or not a whole one"
    )]
    Form,
    /// Its parameters are out of bounds.
    #[error("the hash asks for more memory, passes or lanes than is reasonable")]
    Parameters,
    /// It has more iterations than anybody should wait for, or too few.
    #[error(
        "a hash with a number of iterations that is not taken: 1,000,000 at most, and for $scram-sha-256$ 4,096 at least"
    )]
    Iterations,
    /// The password has characters that no password may have (SASLprep, RFC 4013).
    #[error("a password with control characters, or others that SCRAM cannot take")]
    Prepared,
    /// The system gave no randomness for a salt.
    #[error("the system gave no randomness")]
    Randomness,
}

/// A password hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    parameters: HashParameters,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with a fresh salt. Slow by design: about 30 ms and 19 MiB with the default parameters.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn create(password: &[u8], parameters: HashParameters) -> Result<Self, HashError> {
        let mut salt = vec![0; 16];
        getrandom::fill(&mut salt).map_err(|_| HashError::Randomness)?;
        let hash = derive(password, &salt, parameters, 32)?;
        Ok(Self { parameters, salt, hash })
    }

    /// A hash that no password fits, to spend the same work on unknown names.
    pub fn decoy() -> Self {
        Self { parameters: HashParameters::DEFAULT, salt: vec![0x5a; 16], hash: vec![0; 32] }
    }

    /// Reads the PHC text form.
    ///
    /// # Errors
    /// [`HashError::Format`] and [`HashError::Parameters`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let rest = text.strip_prefix("$argon2id$v=19$").ok_or(HashError::Format)?;
        let mut parts = rest.split('$');
        let (Some(numbers), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HashError::Format);
        };
        let parameters = HashParameters::parse(numbers)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| HashError::Format);
        let (salt, hash) = (decode(salt)?, decode(hash)?);
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return Err(HashError::Format);
        }
        parameters.check(hash.len())?;
        Ok(Self { parameters, salt, hash })
    }

    /// Whether a password fits; takes as long as hashing.
    pub fn verify(&self, password: &[u8]) -> bool {
        derive(password, &self.salt, self.parameters, self.hash.len())
            .is_ok_and(|found| found.ct_eq(&self.hash).into())
    }

    /// Parameters, salt and hash.
    pub(crate) fn parts(&self) -> (HashParameters, &[u8], &[u8]) {
        (self.parameters, &self.salt, &self.hash)
    }

    /// What it costs.
    pub fn parameters(&self) -> HashParameters {
        self.parameters
    }

    /// Whether it should be made anew with stronger parameters.
    pub fn is_weaker_than(&self, parameters: HashParameters) -> bool {
        self.parameters.memory_kib < parameters.memory_kib || self.parameters.passes < parameters.passes
    }
}

impl std::fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(&self.hash));
        write!(f, "$argon2id$v=19${}${salt}${hash}", self.parameters)
    }
}

impl std::fmt::Display for HashParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m={},t={},p={}", self.memory_kib, self.passes, self.lanes)
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

fn params(parameters: HashParameters, len: usize) -> Result<Params, HashError> {
    let HashParameters { memory_kib, passes, lanes } = parameters;
    Params::new(memory_kib, passes, lanes, Some(len)).map_err(|_| HashError::Parameters)
}

pub(crate) fn derive(
    password: &[u8],
    salt: &[u8],
    parameters: HashParameters,
    len: usize,
) -> Result<Vec<u8>, HashError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params(parameters, len)?);
    let mut out = vec![0; len];
    argon2.hash_password_into(password, salt, &mut out).map_err(|_| HashError::Parameters)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };

    #[test]
    fn a_hash_fits_its_password_and_no_other_and_survives_its_text_form() {
        let hash = PasswordHash::create(b"correct horse", CHEAP).unwrap();
        let again = PasswordHash::parse(&hash.to_string()).unwrap();
        assert!(again.verify(b"correct horse"));
        assert!(!again.verify(b"correct horsf"));
        assert!(again.is_weaker_than(HashParameters::DEFAULT));
        assert!(!PasswordHash::decoy().is_weaker_than(HashParameters::DEFAULT));
    }

    #[test]
    fn a_hash_that_asks_for_too_much_is_refused() {
        let greedy = "$argon2id$v=19$m=4294967295,t=2,p=1$WlpaWlpaWlpaWlpaWlpaWg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(PasswordHash::parse(greedy).unwrap_err(), HashError::Parameters);
        for text in ["", "plain", "$argon2id$v=19$m=64,t=1,p=1$$", "$argon2i$v=19$m=64,t=1,p=1$aaaa$bbbb"] {
            assert_eq!(PasswordHash::parse(text).unwrap_err(), HashError::Format, "{text}");
        }
    }
}
