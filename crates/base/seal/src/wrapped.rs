//! A weaker hash under Argon2id of today's parameters. It is made from the hash alone, so nobody has to log in first, and no
//! process that sees passwords has to write a file. Whoever steals it has both to compute for each guess.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::mosquitto::{MosquittoHash, Recipe};
use crate::password::{HashError, HashParameters, PasswordHash, derive};

/// How the text form begins.
pub(crate) const PREFIX: &str = "$wrapped";
/// Where the hash around begins in it.
const OUTER: &str = "$argon2id$";

/// How the weaker hash was made of the password. What came of it is not kept.
#[derive(Clone, PartialEq, Eq)]
enum Inner {
    Mosquitto(Recipe),
    /// Argon2id with lower parameters, and how long its hash is.
    Argon2id {
        parameters: HashParameters,
        salt: Vec<u8>,
        length: usize,
    },
}

/// A weaker hash under Argon2id.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedHash {
    inner: Inner,
    outer: PasswordHash,
}

impl WrappedHash {
    /// Puts a hash of mosquitto under Argon2id. As slow as that.
    ///
    /// # Errors
    /// [`HashError`].
    pub(crate) fn of_mosquitto(hash: &MosquittoHash, parameters: HashParameters) -> Result<Self, HashError> {
        let outer = PasswordHash::create(hash.hash(), parameters)?;
        Ok(Self { inner: Inner::Mosquitto(hash.recipe().clone()), outer })
    }

    /// Puts a hash with lower parameters under one with these.
    ///
    /// # Errors
    /// [`HashError`].
    pub(crate) fn of_argon2id(hash: &PasswordHash, parameters: HashParameters) -> Result<Self, HashError> {
        let (inner, salt, bytes) = hash.parts();
        let outer = PasswordHash::create(bytes, parameters)?;
        let inner = Inner::Argon2id { parameters: inner, salt: salt.to_vec(), length: bytes.len() };
        Ok(Self { inner, outer })
    }

    /// Whether a password fits; as slow as both.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        let found = match &self.inner {
            Inner::Mosquitto(recipe) => Some(Zeroizing::new(recipe.derive(password).to_vec())),
            Inner::Argon2id { parameters, salt, length } => {
                derive(password, salt, *parameters, *length).ok().map(Zeroizing::new)
            }
        };
        found.is_some_and(|found| self.outer.verify(&found))
    }

    /// The hash around.
    pub(crate) fn outer(&self) -> &PasswordHash {
        &self.outer
    }

    /// What the hash within costs, as passes over a KiB, and how many KiB it needs.
    pub(crate) fn inner_cost(&self) -> (u64, u32) {
        match &self.inner {
            Inner::Mosquitto(recipe) => (recipe.work(), 0),
            Inner::Argon2id { parameters, .. } => (parameters.work(), parameters.memory_kib),
        }
    }

    /// Its class, for lists.
    pub(crate) fn class(&self) -> &'static str {
        match &self.inner {
            Inner::Mosquitto(recipe) if recipe.is_stretched() => "argon2id of pbkdf2",
            Inner::Mosquitto(_) => "argon2id of sha512",
            Inner::Argon2id { .. } => "argon2id of argon2id",
        }
    }

    /// Reads the text form: `$wrapped$7$ITERATIONS$SALT$argon2id$…`, with `$6$SALT`, or `$2id$m=…,t=…,p=…$SALT$LENGTH` within.
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let rest = text.strip_prefix(PREFIX).ok_or(HashError::Form)?;
        let (inner, outer) = rest.split_at(rest.find(OUTER).ok_or(HashError::Form)?);
        let outer = PasswordHash::parse(outer)?;
        let inner = match inner.strip_prefix("$2id$") {
            None => Inner::Mosquitto(Recipe::parse(inner)?),
            Some(inner) => {
                let mut parts = inner.split('$');
                let mut part = || parts.next().ok_or(HashError::Form);
                let (numbers, salt, length) = (part()?, part()?, part()?);
                if part().is_ok() {
                    return Err(HashError::Form);
                }
                let salt = BASE64.decode(salt).map_err(|_| HashError::Form)?;
                let length: usize = length.parse().map_err(|_| HashError::Form)?;
                if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&length) {
                    return Err(HashError::Form);
                }
                let parameters = HashParameters::parse(numbers)?;
                parameters.check(length)?;
                Inner::Argon2id { parameters, salt, length }
            }
        };
        Ok(Self { inner, outer })
    }
}

impl std::fmt::Display for WrappedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(PREFIX)?;
        match &self.inner {
            Inner::Mosquitto(recipe) => recipe.fmt(f)?,
            Inner::Argon2id { parameters, salt, length } => {
                write!(f, "$2id${parameters}${}${length}", BASE64.encode(salt))?;
            }
        }
        self.outer.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::StoredHash;

    const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    const DEARER: HashParameters = HashParameters { memory_kib: 128, passes: 1, lanes: 1 };

    #[test]
    fn a_weaker_hash_is_put_under_argon2id_and_fits_the_same_password() {
        let salted = {
            let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA512);
            context.update(b"right");
            context.update(b"salt");
            format!("$6$c2FsdA==${}", BASE64.encode(context.finish()))
        };
        let mut stretched = [0; 64];
        let iterations = std::num::NonZeroU32::new(101).unwrap();
        let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA512;
        aws_lc_rs::pbkdf2::derive(algorithm, iterations, b"salt", b"right", &mut stretched);
        let stretched = format!("$7$101$c2FsdA==${}", BASE64.encode(stretched));
        let lower = PasswordHash::create(b"right", CHEAP).unwrap().to_string();
        for (text, class) in [
            (salted, "argon2id of sha512"),
            (stretched, "argon2id of pbkdf2"),
            (lower, "argon2id of argon2id"),
        ] {
            let weak = StoredHash::parse(&text).unwrap();
            assert!(weak.is_weak(DEARER) && weak.verify(b"right", None));
            let strong = weak.strengthened(DEARER).unwrap().unwrap();
            let again = StoredHash::parse(&strong.to_string()).unwrap();
            assert!(again == strong && again.class() == class && !again.is_weak(DEARER), "{again}");
            assert!(again.verify(b"right", None) && !again.verify(b"wrong", None), "{class}");
            assert!(again.work() > DEARER.work() || class.ends_with("sha512"));
            let old = text.rsplit('$').next().unwrap();
            assert!(!again.to_string().contains(old), "the weaker hash is not kept: {again}");
            assert!(again.strengthened(DEARER).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_wrapped_hash_is_refused() {
        let outer = PasswordHash::create(b"x", CHEAP).unwrap();
        for inner in
            ["", "$6$", "$6$YQ==$YQ==", "$7$0$YQ==", "$8$YQ==", "$2id$m=64,t=1,p=1$YQ==$32", "$2id$m=64"]
        {
            let text = format!("$wrapped{inner}{outer}");
            assert!(StoredHash::parse(&text).is_err(), "{text}");
        }
        let greedy = format!("$wrapped$7$1000001$YQ=={outer}");
        assert_eq!(StoredHash::parse(&greedy).unwrap_err(), HashError::Iterations);
        let salt = BASE64.encode([1; 16]);
        let greedy = format!("$wrapped$2id$m=4294967295,t=1,p=1${salt}$32{outer}");
        assert_eq!(StoredHash::parse(&greedy).unwrap_err(), HashError::Parameters);
        assert!(StoredHash::parse("$wrapped$6$YQ==").is_err());
    }
}
