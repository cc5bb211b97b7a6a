//! Public keys that sign tokens, from a JSON Web Key Set (RFC 7517). Each key is for one algorithm, which no token can change.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::certificate::hex;

/// Keys that one set may have.
const KEYS_MAX: usize = 64;
/// Bytes of an RSA modulus: 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// A fault in a key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  remedy: {remedy}")]
pub struct KeySetError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// The public keys of an issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<TokenKey>,
}

/// A public key and the one algorithm that it is for.
#[derive(Clone)]
pub(crate) struct TokenKey {
    id: Option<String>,
    algorithm: &'static str,
    key: ParsedPublicKey,
    fingerprint: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({:?}, {})", self.id, self.algorithm)
    }
}

/// A key as written. What is not known is left alone, as RFC 7517 wants it.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Value>,
}

#[derive(Deserialize)]
struct WrittenSet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set. Keys for encryption and of unknown kinds are left out.
    ///
    /// # Errors
    /// The first fault: no key set, a secret or private key, a weak or damaged one, two of one `kid`, none that can be used.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let remedy = "write the issuer's key set as it is published, `{\"keys\": […]}`";
        let written: WrittenSet = serde_json::from_str(text)
            .map_err(|error| KeySetError { what: format!("no JSON Web Key Set: {error}"), remedy })?;
        if written.keys.len() > KEYS_MAX {
            let what = format!("more than {KEYS_MAX} keys");
            return Err(KeySetError { what, remedy: "remove the keys that sign nothing any more" });
        }
        let mut keys: Vec<TokenKey> = Vec::new();
        for (number, value) in written.keys.into_iter().enumerate() {
            let one: Written = serde_json::from_value(value).map_err(|error| KeySetError {
                what: format!("key {} cannot be read: {error}", number + 1),
                remedy,
            })?;
            let name = one.kid.clone().unwrap_or_else(|| format!("number {}", number + 1));
            let Some(key) = key(one, &name)? else { continue };
            if keys.iter().any(|known| known.id == key.id) {
                let what = format!("two keys are called {name}, or have no `kid`");
                return Err(KeySetError { what, remedy: "give each key a `kid` of its own" });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            let what = "no key in it signs tokens".to_owned();
            return Err(KeySetError { what, remedy: "use RSA, EC (P-256, P-384) or OKP (Ed25519) keys" });
        }
        Ok(Self { keys })
    }

    /// The key of a token: the one with its `kid`; without one, the only one there is.
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&TokenKey> {
        match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|key| key.id.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// How many of its keys another set does not have, under the same name.
    pub(crate) fn lacking_in(&self, other: &Self) -> usize {
        let is_in = |key: &&TokenKey| {
            other.keys.iter().any(|one| (&one.id, &one.fingerprint) == (&key.id, &key.fingerprint))
        };
        self.keys.iter().filter(|key| !is_in(key)).count()
    }

    /// Whether a key is in it.
    pub(crate) fn has(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.fingerprint == fingerprint)
    }
}

impl TokenKey {
    /// The algorithm that it is for.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// SHA-256 of what it is made of.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether this is its signature.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The algorithms of RSA keys. A key that does not say which is for the first.
const RSA: [(&str, &RsaParameters); 6] = [
    ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    ("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    ("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    ("PS256", &signature::RSA_PSS_2048_8192_SHA256),
    ("PS384", &signature::RSA_PSS_2048_8192_SHA384),
    ("PS512", &signature::RSA_PSS_2048_8192_SHA512),
];

fn key(written: Written, name: &str) -> Result<Option<TokenKey>, KeySetError> {
    let fault = |what: &str, remedy: &'static str| KeySetError { what: format!("key {name} {what}"), remedy };
    if written.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Ok(None);
    }
    if written.d.is_some() {
        let remedy = "keep private keys with the issuer: remove `d` here, and consider the key exposed";
        return Err(fault("is a private key", remedy));
    }
    let damaged = || fault("is damaged, or of a size that is not taken", "write the key as it is published");
    let bytes = |text: &Option<String>| {
        text.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(damaged)
    };
    let stated = written.alg.as_deref();
    let (algorithm, parsed, parts) = match (written.kty.as_str(), written.crv.as_deref()) {
        ("oct", _) => {
            let remedy = "let the issuer sign with a private key (RS256, ES256, EdDSA), whose public half can do no harm";
            return Err(fault("is a shared secret: whoever has it can issue tokens", remedy));
        }
        ("RSA", _) => {
            let (mut n, e) = (bytes(&written.n)?, bytes(&written.e)?);
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            n.drain(..zeros);
            let wanted = stated.unwrap_or("RS256");
            let Some((algorithm, parameters)) = RSA.iter().find(|(known, _)| *known == wanted) else {
                return Ok(None);
            };
            if !MODULUS_BYTES.contains(&n.len()) {
                let remedy = "use RSA keys of 2048 to 8192 bits, or P-256";
                return Err(fault("is an RSA key of a size that is not taken", remedy));
            }
            let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
            (*algorithm, components.to_parsed_public_key(parameters).map_err(|_| damaged())?, [n, e])
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (algorithm, size, verification): (_, _, &dyn VerificationAlgorithm) = match curve {
                "P-256" => ("ES256", 32, &signature::ECDSA_P256_SHA256_FIXED),
                _ => ("ES384", 48, &signature::ECDSA_P384_SHA384_FIXED),
            };
            let (x, y) = (bytes(&written.x)?, bytes(&written.y)?);
            if x.len() != size || y.len() != size {
                return Err(damaged());
            }
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            (algorithm, ParsedPublicKey::new(verification, point).map_err(|_| damaged())?, [x, y])
        }
        ("OKP", Some("Ed25519")) => {
            let x = bytes(&written.x)?;
            let parsed = ParsedPublicKey::new(&signature::ED25519, &x).map_err(|_| damaged())?;
            ("EdDSA", parsed, [x, Vec::new()])
        }
        _ => return Ok(None),
    };
    if stated.is_some_and(|stated| stated != algorithm) {
        let remedy = "correct `alg`, or leave it out";
        return Err(fault(&format!("says `alg` for which it cannot be; it is for {algorithm}"), remedy));
    }
    let whole = [algorithm.as_bytes(), &[0], &parts[0], &[0], &parts[1]].concat();
    let fingerprint = hex(digest(&SHA256, &whole).as_ref());
    Ok(Some(TokenKey { id: written.kid, algorithm, key: parsed, fingerprint }))
}
