//! The salted hashes that mosquitto writes: `$6$` is SHA-512 of password and salt, `$7$` PBKDF2 with HMAC-SHA-512.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

use crate::password::HashError;

/// Bytes of such a hash.
const SHA512_BYTES: usize = 64;
/// Iterations of PBKDF2 that are taken at most: about a second for each login. A hash in a file is input too.
const ITERATIONS_MAX: u32 = 1_000_000;

/// How the hash is made of a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Iterations of PBKDF2; `None`: SHA-512 alone.
    iterations: Option<NonZeroU32>,
    salt: Vec<u8>,
}

impl Recipe {
    /// Reads `$6$SALT` or `$7$ITERATIONS$SALT`.
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let mut parts = text.split('$');
        let mut part = || parts.next().ok_or(HashError::Form);
        if !part()?.is_empty() {
            return Err(HashError::Form);
        }
        let iterations = match part()? {
            "6" => None,
            "7" => {
                let iterations: NonZeroU32 = part()?.parse().map_err(|_| HashError::Form)?;
                if iterations.get() > ITERATIONS_MAX {
                    return Err(HashError::Iterations);
                }
                Some(iterations)
            }
            _ => return Err(HashError::Form),
        };
        let salt = BASE64.decode(part()?).map_err(|_| HashError::Form)?;
        if part().is_ok() || !(1..=64).contains(&salt.len()) {
            return Err(HashError::Form);
        }
        Ok(Self { iterations, salt })
    }

    /// The hash of a password.
    pub(crate) fn derive(&self, password: &[u8]) -> [u8; SHA512_BYTES] {
        let mut hash = [0; SHA512_BYTES];
        match self.iterations {
            Some(iterations) => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, iterations, &self.salt, password, &mut hash);
            }
            None => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(&self.salt);
                hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
            }
        }
        hash
    }

    /// What it costs, in passes over a KiB by Argon2id: an iteration takes about as long as one.
    pub(crate) fn work(&self) -> u64 {
        self.iterations.map_or(0, |n| u64::from(n.get()))
    }

    /// Whether it is PBKDF2.
    pub(crate) fn is_stretched(&self) -> bool {
        self.iterations.is_some()
    }
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let salt = BASE64.encode(&self.salt);
        match self.iterations {
            Some(iterations) => write!(f, "$7${iterations}${salt}"),
            None => write!(f, "$6${salt}"),
        }
    }
}

/// A salted hash of mosquitto.
#[derive(Clone, PartialEq, Eq)]
pub struct MosquittoHash {
    recipe: Recipe,
    hash: [u8; SHA512_BYTES],
}

impl MosquittoHash {
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let (recipe, hash) = text.rsplit_once('$').ok_or(HashError::Form)?;
        let recipe = Recipe::parse(recipe)?;
        let hash = BASE64.decode(hash).map_err(|_| HashError::Form)?;
        let hash = hash.as_slice().try_into().map_err(|_| HashError::Form)?;
        Ok(Self { recipe, hash })
    }

    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        self.recipe.derive(password).ct_eq(&self.hash).into()
    }

    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }
}

impl std::fmt::Display for MosquittoHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}${}", self.recipe, BASE64.encode(self.hash))
    }
}
