//! What a password is kept as: Argon2id for what people choose, a keyed hash for what was generated, keys of SCRAM where it is
//! not to be sent, and the two forms that mosquitto writes, verified as they are.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::mosquitto::MosquittoHash;
use crate::password::{HashError, HashParameters, PasswordHash};
use crate::scram::{self, ScramKeys};
use crate::wrapped::{self, WrappedHash};

/// What the keyed hash is about, so that it means nothing anywhere else.
const KEYED_CONTEXT: &[u8] = b"motte generated password v1\0";

/// A key of one site, for hashes of generated passwords. It is no defence against guessing, which their length is; it
/// makes the same password look different at two sites.
pub struct SiteKey(Zeroizing<[u8; 32]>);

impl SiteKey {
    /// A fresh one.
    ///
    /// # Errors
    /// [`HashError::Randomness`].
    pub fn generate() -> Result<Self, HashError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|_| HashError::Randomness)?;
        Ok(Self(key))
    }

    /// Reads its text form, 43 characters of base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
        Some(Self(Zeroizing::new(key)))
    }

    /// Its text form, for the file that keeps it.
    pub fn text(&self) -> String {
        BASE64.encode(*self.0)
    }

    /// The hash of a generated password; about a microsecond.
    pub fn keyed(&self, password: &[u8]) -> KeyedHash {
        self.mac(&[KEYED_CONTEXT, password])
    }

    /// A mark by which a password that is used twice is recognised. As slow as Argon2id on purpose: a thief of key and marks
    /// gains nothing over one of the hashes themselves.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn reuse_mark(&self, password: &[u8]) -> Result<u64, HashError> {
        let KeyedHash(keyed) = self.mac(&[b"motte reuse v1\0", password]);
        let KeyedHash(salt) = self.mac(&[b"motte reuse salt v1\0"]);
        let mark = crate::password::derive(&keyed, &salt, HashParameters::DEFAULT, 8)?;
        Ok(mark.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// Four bytes that tell keys apart and say nothing about them.
    pub fn id(&self) -> u32 {
        let KeyedHash(id) = self.mac(&[b"motte key id v1\0"]);
        id.iter().take(4).fold(0, |all, byte| all << 8 | u32::from(*byte))
    }

    /// 32 bytes that only this key makes of these parts.
    pub(crate) fn derived(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(parts).0
    }

    fn mac(&self, parts: &[&[u8]]) -> KeyedHash {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0));
        for part in parts {
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        KeyedHash(hash)
    }
}

impl Clone for SiteKey {
    fn clone(&self) -> Self {
        Self(Zeroizing::new(*self.0))
    }
}

impl PartialEq for SiteKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SiteKey {}

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteKey(hidden)")
    }
}

/// HMAC-SHA-256 of a generated password.
#[derive(Clone)]
pub struct KeyedHash([u8; 32]);

impl KeyedHash {
    /// One that no password has, to compare with where there is none.
    pub fn decoy() -> Self {
        Self([0; 32])
    }
}

impl PartialEq for KeyedHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyedHash {}

impl std::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedHash(hidden)")
    }
}

/// A password as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredHash {
    /// Argon2id: what a person chose.
    Argon2id(PasswordHash),
    /// HMAC under the site's key: generated, at least 112 bits.
    Keyed(KeyedHash),
    /// As mosquitto wrote it.
    Mosquitto(MosquittoHash),
    /// Keys of SCRAM-SHA-256: the client may prove that it knows the password without sending it.
    Scram(ScramKeys),
    /// A weaker hash under Argon2id of today.
    Wrapped(Box<WrappedHash>),
}

impl StoredHash {
    /// Reads the text form: `$argon2id$…`, `$keyed$…`, `$scram-sha-256$…`, `$wrapped$…`, `$6$…` or `$7$…`.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(hash) = text.strip_prefix("$keyed$") {
            let bytes = BASE64.decode(hash).map_err(|_| HashError::Form)?;
            let hash = bytes.as_slice().try_into().map_err(|_| HashError::Form)?;
            return Ok(Self::Keyed(KeyedHash(hash)));
        }
        if text.starts_with("$6$") || text.starts_with("$7$") {
            return MosquittoHash::parse(text).map(Self::Mosquitto);
        }
        if text.starts_with(wrapped::PREFIX) {
            return WrappedHash::parse(text).map(Box::new).map(Self::Wrapped);
        }
        if text.starts_with(scram::PREFIX) {
            return ScramKeys::parse(text).map(Self::Scram);
        }
        if text.starts_with("$argon2id$") {
            return PasswordHash::parse(text).map(Self::Argon2id);
        }
        Err(HashError::Form)
    }

    /// Whether a password fits. `key` is for keyed hashes; without one they fit nothing.
    pub fn verify(&self, password: &[u8], key: Option<&SiteKey>) -> bool {
        match self {
            Self::Argon2id(hash) => hash.verify(password),
            Self::Keyed(hash) => key.is_some_and(|key| key.keyed(password) == *hash),
            Self::Mosquitto(hash) => hash.verify(password),
            Self::Scram(keys) => keys.verify(password),
            Self::Wrapped(hash) => hash.verify(password),
        }
    }

    /// What a check costs, in passes over a KiB by Argon2id; 0 for what costs next to nothing.
    pub fn work(&self) -> u64 {
        match self {
            Self::Argon2id(hash) => hash.parameters().work(),
            Self::Keyed(_) => 0,
            Self::Mosquitto(hash) => hash.recipe().work(),
            // An iteration with HMAC-SHA-256 takes about half as long as a pass over a KiB.
            Self::Scram(keys) => u64::from(keys.iterations()) / 2,
            Self::Wrapped(hash) => hash.inner_cost().0 + hash.outer().parameters().work(),
        }
    }

    /// KiB that a check needs.
    pub fn memory_kib(&self) -> u32 {
        match self {
            Self::Argon2id(hash) => hash.parameters().memory_kib,
            Self::Keyed(_) | Self::Mosquitto(_) | Self::Scram(_) => 0,
            Self::Wrapped(hash) => hash.inner_cost().1.max(hash.outer().parameters().memory_kib),
        }
    }

    /// Whether it should be made anew when the password is next seen.
    pub fn is_weak(&self, parameters: HashParameters) -> bool {
        match self {
            Self::Argon2id(hash) => hash.is_weaker_than(parameters),
            Self::Keyed(_) | Self::Scram(_) => false,
            Self::Mosquitto(_) => true,
            Self::Wrapped(hash) => hash.outer().is_weaker_than(parameters),
        }
    }

    /// The same under Argon2id with these parameters, if it is weaker and can be put there. As slow as hashing.
    ///
    /// # Errors
    /// [`HashError`].
    pub fn strengthened(&self, parameters: HashParameters) -> Result<Option<Self>, HashError> {
        let wrapped = match self {
            Self::Mosquitto(hash) => WrappedHash::of_mosquitto(hash, parameters)?,
            Self::Argon2id(hash) if hash.is_weaker_than(parameters) => {
                WrappedHash::of_argon2id(hash, parameters)?
            }
            Self::Argon2id(_) | Self::Keyed(_) | Self::Scram(_) | Self::Wrapped(_) => return Ok(None),
        };
        Ok(Some(Self::Wrapped(Box::new(wrapped))))
    }

    /// Eight bytes that tell this hash from others, and nothing about the password.
    pub fn fingerprint(&self) -> u64 {
        let digest = digest::digest(&digest::SHA256, self.to_string().as_bytes());
        digest.as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    /// Its class, for lists: `argon2id`, `keyed`, `scram-sha-256`, `sha512` or `pbkdf2`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Argon2id(_) => "argon2id",
            Self::Keyed(_) => "keyed",
            Self::Mosquitto(hash) if hash.recipe().is_stretched() => "pbkdf2",
            Self::Mosquitto(_) => "sha512",
            Self::Scram(_) => "scram-sha-256",
            Self::Wrapped(hash) => hash.class(),
        }
    }
}

impl From<PasswordHash> for StoredHash {
    fn from(hash: PasswordHash) -> Self {
        Self::Argon2id(hash)
    }
}

impl std::fmt::Display for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Argon2id(hash) => hash.fmt(f),
            Self::Scram(keys) => keys.fmt(f),
            Self::Keyed(KeyedHash(hash)) => write!(f, "$keyed${}", BASE64.encode(hash)),
            Self::Mosquitto(hash) => hash.fmt(f),
            Self::Wrapped(hash) => hash.fmt(f),
        }
    }
}

impl std::fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredHash({}, hidden)", self.class())
    }
}

/// Spends so much work as a check of a password would, and finds nothing. Never needs more than `memory_kib_max` KiB.
pub fn spend(mut work: u64, memory_kib_max: u32) {
    // Less than this is not worth a call, and Argon2id takes no less than 8 KiB.
    const LEAST_KIB: u64 = 64;
    while work >= LEAST_KIB * 2 {
        let memory = (work / 2).min(u64::from(memory_kib_max).max(LEAST_KIB));
        let memory_kib = u32::try_from(memory).unwrap_or(u32::MAX);
        let passes = u32::try_from((work / memory).clamp(2, 16)).unwrap_or(2);
        let parameters = HashParameters { memory_kib, passes, lanes: 1 };
        let _ = std::hint::black_box(crate::password::derive(b"decoy", &[0x5a; 16], parameters, 32));
        work = work.saturating_sub(parameters.work());
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as PADDED;

    use super::*;

    #[test]
    fn a_generated_password_fits_its_keyed_hash_at_its_site_only() {
        let (here, there) = (SiteKey::generate().unwrap(), SiteKey::generate().unwrap());
        let hash = StoredHash::Keyed(here.keyed(b"generated"));
        let again = StoredHash::parse(&hash.to_string()).unwrap();
        assert!(again.verify(b"generated", SiteKey::parse(&here.text()).as_ref()));
        assert!(!again.verify(b"generates", Some(&here)));
        assert!(!again.verify(b"generated", Some(&there)));
        assert!(!again.verify(b"generated", None));
        assert_ne!(here.id(), there.id());
    }

    #[test]
    fn a_password_used_twice_has_one_mark_and_another_at_another_site() {
        let (here, there) = (SiteKey::generate().unwrap(), SiteKey::generate().unwrap());
        let mark = |key: &SiteKey, password: &[u8]| key.reuse_mark(password).unwrap();
        assert_eq!(mark(&here, b"one"), mark(&here, b"one"));
        assert_ne!(mark(&here, b"one"), mark(&here, b"two"));
        assert_ne!(mark(&here, b"one"), mark(&there, b"one"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in
            ["", "plain", "$1$a$b", "$6$a", "$6$YQ==$YQ==", "$7$0$YQ==$YQ==", "$keyed$YQ", "$7$x$YQ==$YQ=="]
        {
            assert_eq!(StoredHash::parse(text).unwrap_err(), HashError::Form, "{text}");
        }
        let hash = PADDED.encode([0; 64]);
        for iterations in [1_000_001_u32, 4_000_000_000] {
            let greedy = format!("$7${iterations}$YQ==${hash}");
            assert_eq!(StoredHash::parse(&greedy).unwrap_err(), HashError::Iterations);
        }
        assert!(StoredHash::parse(&format!("$7$1000000$YQ==${hash}")).is_ok());
        let text = format!("$7$101$YQ==${hash}");
        assert_eq!(StoredHash::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn the_work_of_a_check_can_be_spent_on_nothing() {
        for work in [0, 1, 100, 300_000] {
            spend(work, 19_456);
        }
    }
}
