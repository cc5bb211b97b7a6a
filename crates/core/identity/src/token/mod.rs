//! Tokens (RFC 7519) in the Password field: who signed it decides how it is checked, and nothing that the token says of that.
//!
//! The header names a key, and that key's own algorithm is the one that must be written beside it (RFC 8725 section 3.1).
//! Keys in headers, their addresses, and extensions are never looked at; a header that must be understood is refused.

mod groups;
mod held_keys;
mod issuers;
mod kept_keys;
mod key_set;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use motte_access::TokenFacts;
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

pub use groups::TokenGroups;
pub use held_keys::{HeldKeys, KeyChange};
pub use issuers::TokenIssuers;
pub use kept_keys::KeptKeys;
pub use key_set::{KeySet, KeySetError};

use crate::certificate::is_name;
use crate::certificate_rules::fits;

/// Bytes of a token. CONNECT as a whole is not longer before the client is known.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Roles of one token that are looked at.
const ROLES_MAX: usize = 64;

/// What is said of a token that names a key which is not there.
const UNKNOWN_KEY: &str = "the token names a key that is not in the key set, or none of several";

/// Why a token is not taken.
#[derive(Debug, Clone)]
pub enum TokenFault {
    /// It breaks a rule.
    Broken(&'static str),
    /// It names a key that is not among these, which are fetched: there may be newer ones.
    UnknownKey(Arc<HeldKeys>),
    /// No keys of its issuer are held that are still good: nothing can be said of it.
    NoKeys(Arc<HeldKeys>),
}

impl TokenFault {
    /// What is wrong, for the log.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Broken(cause) => cause,
            Self::UnknownKey(_) => UNKNOWN_KEY,
            Self::NoKeys(_) => "no keys of the token's issuer are held that are still good",
        }
    }
}

/// What is taken as a token.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// Who must have issued it (`iss`).
    pub issuer: String,
    /// Whom it must be for: one of these (`aud`).
    pub audience: Vec<String>,
    /// Patterns of the identities that it may speak for; `*` stands for any text.
    pub identities: Vec<String>,
    /// The claim that is the identity: its name, or a path that begins with `/` (RFC 6901).
    pub identity_claim: String,
    /// The claim with roles; `None`: tokens grant none.
    pub roles_claim: Option<String>,
    /// Roles that tokens may grant; others in a token are passed over.
    pub roles: BTreeSet<String>,
    /// The claim with groups; `None`: tokens name none.
    pub groups_claim: Option<String>,
    /// Groups, each with its roles. One that is not in it gives nothing.
    pub groups: TokenGroups,
    /// The claim with topics outside of which a token grants nothing; `None`: tokens narrow nothing.
    pub topics_claim: Option<String>,
    /// How far ahead the issuer's clock may be, in seconds.
    pub leeway_s: u64,
    /// How long a token may be good from its issue to its end, in seconds.
    pub lifetime_s_max: u64,
    /// The issuer's keys.
    pub keys: Arc<HeldKeys>,
    /// Numbers (`jti`) of tokens that are not good any more.
    pub revoked: BTreeSet<String>,
}

/// Who a token says somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    /// The identity.
    pub identity: String,
    /// What else it says.
    pub facts: TokenFacts,
}

/// Whether a password has the form of a token: three parts, the first of them a JSON object.
pub(crate) fn is_token(password: &[u8]) -> bool {
    password.starts_with(b"eyJ")
        && password.split(|byte| *byte == b'.').count() == 3
        && password.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

impl TokenRules {
    /// Judges a token at `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// Which rule it breaks, or that keys are missing.
    pub fn judge(&self, token: &[u8], now_s: u64) -> Result<TokenIdentity, TokenFault> {
        self.judge_parts(&Parts::read(token).map_err(TokenFault::Broken)?, now_s)
    }

    fn judge_parts(&self, parts: &Parts<'_>, now_s: u64) -> Result<TokenIdentity, TokenFault> {
        let header = &parts.header;
        if header.crit.is_some() {
            return Err(TokenFault::Broken("the token wants an extension understood"));
        }
        if let Some(kind) = &header.typ
            && !["jwt", "at+jwt", "application/at+jwt"].contains(&kind.to_ascii_lowercase().as_str())
        {
            return Err(TokenFault::Broken("the token is of a kind that is not for access"));
        }
        let Some(keys) = self.keys.at(now_s) else { return Err(TokenFault::NoKeys(Arc::clone(&self.keys))) };
        let Some(key) = keys.find(header.kid.as_deref()) else {
            // Another key may have come to where they are fetched from; a token that names none waits for nothing.
            return Err(if self.keys.is_fetched() && header.kid.is_some() {
                TokenFault::UnknownKey(Arc::clone(&self.keys))
            } else {
                TokenFault::Broken(UNKNOWN_KEY)
            });
        };
        if header.alg != key.algorithm() {
            return Err(TokenFault::Broken("the token's algorithm is not that of its key"));
        }
        let signature = URL_SAFE_NO_PAD.decode(parts.signature);
        let signature = signature.map_err(|_| TokenFault::Broken("the token is damaged"))?;
        if !key.verifies(parts.signed, &signature) {
            return Err(TokenFault::Broken("the token's signature is wrong"));
        }
        self.judge_claims(&parts.claims, key.fingerprint(), now_s).map_err(TokenFault::Broken)
    }

    /// The claims of a token whose signature is right.
    fn judge_claims(&self, claims: &Value, key: &str, now_s: u64) -> Result<TokenIdentity, &'static str> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(&self.issuer) {
            return Err("the token is of another issuer");
        }
        let audience = words(claims.get("aud"), false);
        if !self.is_for(&audience) {
            return Err("the token is for somebody else (`aud`)");
        }
        let ends_s = time(claims, "exp")?.ok_or("the token has no end (`exp`)")?;
        if ends_s <= now_s {
            return Err("the token has ended");
        }
        let latest_s = now_s.saturating_add(self.leeway_s);
        if time(claims, "nbf")?.is_some_and(|from_s| from_s > latest_s) {
            return Err("the token is not good yet (`nbf`)");
        }
        let issued_s = time(claims, "iat")?.unwrap_or(now_s);
        if issued_s > latest_s {
            return Err("the token was issued in the future (`iat`)");
        }
        if ends_s - issued_s.min(ends_s) > self.lifetime_s_max {
            return Err("the token is good for longer than lifetime_s_max permits");
        }
        let id = text("jti").map(str::to_owned);
        if claims.get("jti").is_some() && id.is_none() {
            return Err("the token's number (`jti`) is no text");
        }
        if id.as_ref().is_some_and(|id| self.revoked.contains(id)) {
            return Err("the token was revoked");
        }
        let identity = self.identity_in(claims).ok_or("the token has no usable identity")?;
        if !self.speaks_for(identity) {
            return Err("the issuer may not speak for this identity");
        }
        let bounds = self.topics_claim.as_deref().and_then(|name| claim(claims, name));
        let topics = bounds.map(topics::topics).transpose()?;
        let stated = self.roles_claim.as_deref().and_then(|name| claim(claims, name));
        let mut roles = words(stated, true);
        roles.retain(|role| self.roles.contains(role));
        let groups = self.groups_claim.as_deref().and_then(|name| claim(claims, name));
        let groups = groups.map(groups::named).transpose()?.unwrap_or_default();
        let facts = TokenFacts {
            issuer: self.issuer.clone(),
            key: key.to_owned(),
            audience,
            identity_claim: self.identity_claim.clone(),
            roles_claim: self.roles_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            topics_claim: self.topics_claim.clone(),
            id,
            roles,
            group_roles: self.groups.roles(&groups),
            groups,
            topics,
            ends_s,
        };
        Ok(TokenIdentity { identity: identity.to_owned(), facts })
    }

    fn identity_in<'c>(&self, claims: &'c Value) -> Option<&'c str> {
        claim(claims, &self.identity_claim).and_then(Value::as_str).filter(|name| is_name(name))
    }

    fn is_for(&self, audience: &[String]) -> bool {
        audience.iter().any(|one| self.audience.contains(one))
    }

    fn speaks_for(&self, identity: &str) -> bool {
        self.identities.iter().any(|pattern| fits(pattern, identity))
    }

    /// Whether a token that was good is still taken by these rules. One that has ended meanwhile vouches for no connection, so
    /// it matters no more that it was revoked or its key is gone; a Session may outlive it.
    ///
    /// # Errors
    /// Why not.
    pub fn still_good(&self, facts: &TokenFacts, identity: &str, now_s: u64) -> Result<(), &'static str> {
        if facts.issuer != self.issuer {
            return Err("tokens of its issuer are not taken any more");
        }
        if !self.speaks_for(identity) {
            return Err("the issuer of its token may not speak for it any more");
        }
        if !facts.roles.iter().all(|role| self.roles.contains(role)) {
            return Err("its token granted a role that tokens may not grant any more");
        }
        if self.groups.roles(&facts.groups) != facts.group_roles {
            return Err("the groups of its token give other roles now");
        }
        if facts.ends_s <= now_s {
            return Ok(());
        }
        if self.keys.lacks(&facts.key) {
            return Err("the key that signed its token is gone from the key set");
        }
        if facts.id.as_ref().is_some_and(|id| self.revoked.contains(id)) {
            return Err("its token was revoked");
        }
        if !self.is_for(&facts.audience) {
            return Err("its token is for an audience that is not taken any more");
        }
        self.reads_as(facts)
    }

    /// Whether the claims by which a token was read are those that count now. What stood in others nobody knows any more, so it
    /// has to be shown again.
    fn reads_as(&self, facts: &TokenFacts) -> Result<(), &'static str> {
        if facts.identity_claim != self.identity_claim {
            return Err("its identity was read from another claim of its token");
        }
        if !facts.roles.is_empty() && facts.roles_claim != self.roles_claim {
            return Err("its roles were read from another claim of its token");
        }
        if self.groups_claim.is_some() && facts.groups_claim != self.groups_claim {
            return Err("its groups were read from another claim of its token, or from none");
        }
        // Bounds that were read before a claim was taken away stay: they grant nothing.
        if self.topics_claim.is_some() && facts.topics_claim != self.topics_claim {
            return Err("a claim narrows tokens of its issuer now that was not looked at in its own");
        }
        Ok(())
    }
}

/// Numbers of revoked tokens: one a line; empty lines and lines that begin with `#` are skipped.
pub fn revoked_tokens(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// A token as it came: nothing in it is proved yet.
struct Parts<'t> {
    header: Header,
    claims: Value,
    signed: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Parts<'t> {
    fn read(token: &'t [u8]) -> Result<Self, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("the token is longer than 4096 bytes");
        }
        let (signed, signature) = split_last(token).ok_or("this is no token")?;
        let (header, payload) = split_last(signed).ok_or("this is no token")?;
        let header = json(header).ok_or("the header of the token cannot be read")?;
        let Claims(claims) = json(payload).ok_or("the claims of the token cannot be read")?;
        Ok(Self { header, claims: Value::Object(claims), signed, signature })
    }

    /// Who it says issued it.
    fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

/// The header, as far as it matters. A field that stands twice is a fault.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Claims, none of which stands twice: whoever signed and whoever reads must mean the same one.
struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Claims;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with claims")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = all.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(de::Error::custom("a claim stands twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

fn split_last(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().rposition(|byte| *byte == b'.')?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn json<T: de::DeserializeOwned>(part: &[u8]) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A claim by its name, or by its path.
fn claim<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// A text or a list of texts; `split`: a text is several, with spaces between (RFC 8693 section 4.2).
fn words(value: Option<&Value>, split: bool) -> Vec<String> {
    match value {
        Some(Value::String(text)) if split => {
            text.split(' ').filter(|word| !word.is_empty()).take(ROLES_MAX).map(str::to_owned).collect()
        }
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).take(ROLES_MAX).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// A time in whole seconds since 1970; a part of a second is cut off.
fn time(claims: &Value, name: &str) -> Result<Option<u64>, &'static str> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let cut = || {
        let text = value.to_string();
        let (whole, part) = text.split_once('.')?;
        // `1.5e300` is no second and a half.
        whole.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    value.as_u64().or_else(cut).map(Some).ok_or("a time in the token is no number of seconds")
}
