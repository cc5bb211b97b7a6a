//! What issuers and services of others send: tokens, key sets, descriptions of issuers, answers of `[auth.http]`; and key sets as
//! they are kept. The first byte says which.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use motte_config::{Described, Url};
use motte_identity::{HeldKeys, KeptKeys, KeySet, RemoteAnswer, TokenGroups, TokenIssuers, TokenRules};

/// The time at which tokens are judged, in seconds since 1970.
pub const NOW_S: u64 = 1_790_000_000;
/// The issuer of tokens that are taken.
pub const ISSUER: &str = "https://issuer.example";
/// The longest time for which a token is good, in seconds.
const LIFETIME_S: u64 = 3_600;

/// Runs the bytes as what their first says.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        0 => judge(rest),
        1 => {
            // Signed here, so that claims are reached at all.
            let text = String::from_utf8_lossy(rest);
            let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
            judge(signed(header, claims).as_bytes());
        }
        2 => key_set(rest),
        3 => description(rest),
        5 => kept(rest),
        _ => answer(rest),
    }
}

fn key() -> Option<&'static Ed25519KeyPair> {
    static KEY: OnceLock<Option<Ed25519KeyPair>> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).ok()).as_ref()
}

/// The public half of the key that signs tokens here.
pub fn own_set() -> String {
    let x = key().map(|key| URL_SAFE_NO_PAD.encode(key.public_key().as_ref())).unwrap_or_default();
    format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"{x}\"}}]}}")
}

/// A token with this header and these claims.
pub fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key().map(|key| URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()))).unwrap_or_default();
    format!("{message}.{signature}")
}

fn issuers(keys: Arc<HeldKeys>) -> TokenIssuers {
    TokenIssuers::new(vec![TokenRules {
        issuer: ISSUER.to_owned(),
        audience: vec!["motte".to_owned()],
        identities: vec!["dev-*".to_owned()],
        identity_claim: "sub".to_owned(),
        roles_claim: Some("/realm/roles".to_owned()),
        roles: ["reader".to_owned()].into(),
        groups_claim: Some("groups".to_owned()),
        groups: TokenGroups::new([("ops".to_owned(), vec!["operator".to_owned()])]),
        topics_claim: Some("topics".to_owned()),
        leeway_s: 30,
        lifetime_s_max: LIFETIME_S,
        keys,
        revoked: ["stolen".to_owned()].into(),
    }])
}

fn own_issuers() -> &'static TokenIssuers {
    static ISSUERS: OnceLock<TokenIssuers> = OnceLock::new();
    ISSUERS.get_or_init(|| issuers(HeldKeys::fixed(KeySet::parse(&own_set()).unwrap_or_default())))
}

fn judge(token: &[u8]) {
    let issuers = own_issuers();
    let Ok(found) = issuers.judge(token, NOW_S) else { return };
    let facts = &found.facts;
    assert!(found.identity.starts_with("dev-"), "a name that the issuer may not speak for");
    assert!(!found.identity.contains(['+', '#', '\0']), "a name that is a pattern");
    assert!(facts.issuer == ISSUER, "another issuer");
    assert!(facts.roles.iter().all(|role| role == "reader"), "a role that tokens may not grant");
    assert!(facts.group_roles.iter().all(|role| role == "operator"), "a role that no group gives");
    assert!(facts.groups.len() <= 64, "more groups than may be");
    assert!(facts.id.as_deref() != Some("stolen"), "a revoked token");
    assert!(NOW_S < facts.ends_s && facts.ends_s <= NOW_S + 30 + LIFETIME_S, "an end out of bounds");
    if let Some(topics) = &facts.topics {
        assert!(topics.publish.len().max(topics.subscribe.len()) <= 32, "more topics than may be");
    }
    assert!(issuers.still_good(facts, &found.identity, NOW_S).is_ok(), "good and not good any more");
}

fn key_set(data: &[u8]) {
    let Ok(set) = KeySet::parse(&String::from_utf8_lossy(data)) else { return };
    let issuers = issuers(HeldKeys::fixed(set));
    // Its algorithm is the key's, whatever the header says.
    for alg in ["none", "HS256"] {
        let token = signed(&format!("{{\"alg\":\"{alg}\"}}"), &format!("{{\"iss\":\"{ISSUER}\"}}"));
        assert!(issuers.judge(token.as_bytes(), NOW_S).is_err(), "a token without a signature");
    }
}

fn description(data: &[u8]) {
    let origins = ["https://issuer.example", "https://keys.example:99"];
    let origins: Vec<Url> = origins.iter().filter_map(|origin| Url::parse(origin).ok()).collect();
    let described = Described { issuer: ISSUER.to_owned(), origins };
    let Ok(keys) = motte_egress::keys_address(data, &described) else { return };
    assert!(keys.is_tls(), "keys without encryption");
    assert!(described.origins.iter().any(|origin| origin.is_of_origin(&keys)), "{keys} is nobody's origin");
    assert!(Url::parse(keys.as_str()).as_ref() == Ok(&keys), "an address that is read as another");
}

fn kept(data: &[u8]) {
    let Ok(sets) = KeptKeys::decode(data) else { return };
    assert!(KeptKeys::decode(&KeptKeys::encode(&sets)).as_ref() == Ok(&sets), "not what was written");
    for one in &sets {
        let until_s = one.good_until_s(NOW_S, LIFETIME_S, 30);
        assert!(until_s.is_none_or(|until_s| NOW_S < until_s && until_s <= NOW_S + LIFETIME_S), "too old");
        let _ = one.keys();
    }
}

fn answer(data: &[u8]) {
    let (status, body) = match data.split_first() {
        Some((0, body)) => (200, body),
        Some((other, body)) => (300 + u16::from(*other), body),
        None => return,
    };
    if let Some(RemoteAnswer::Allow { ends_s, .. }) = RemoteAnswer::read(status, body, NOW_S) {
        assert!(status == 200, "a permission with status {status}");
        assert!(ends_s.is_none_or(|ends_s| ends_s > NOW_S), "a permission that has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_are_signed_here_are_reached() {
        let claims = format!(
            "{{\"iss\":\"{ISSUER}\",\"aud\":\"motte\",\"sub\":\"dev-1\",\"exp\":{},\"topics\":{{\"publish\":[\"a/+\"]}}}}",
            NOW_S + 60
        );
        let token = signed("{\"alg\":\"EdDSA\",\"kid\":\"k\"}", &claims);
        assert!(own_issuers().judge(token.as_bytes(), NOW_S).unwrap().facts.topics.is_some());
        let description = format!("{{\"issuer\":\"{ISSUER}\",\"jwks_uri\":\"https://keys.example:99/k\"}}");
        description_is_followed(&description);
    }

    fn description_is_followed(text: &str) {
        let origins = vec![Url::parse("https://keys.example:99").unwrap()];
        let described = Described { issuer: ISSUER.to_owned(), origins };
        assert!(motte_egress::keys_address(text.as_bytes(), &described).is_ok());
    }
}
