//! Tokens that are taken, and everything that is not: RFC 8725 as a table.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{hmac, rsa::KeySize};
use motte_access::{CertificateFacts, Methods, Security};
use motte_seal::SecretBytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::learned::Learned;
use crate::password_file::PasswordFile;
use crate::verdict::{Authenticator, Credentials, Requirements, Step, Verdict};

const NOW: u64 = 1_790_000_000;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Issuer {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn rsa_jwk(&self, kid: &str) -> Value {
        // PKCS #1 in DER: two headers, 2,048 bits with a zero before them, and 65537.
        let modulus = &self.rsa.public_key().as_ref()[9..265];
        json!({"kty": "RSA", "kid": kid, "n": encode(modulus), "e": "AQAB"})
    }

    fn ec_jwk(&self, kid: &str) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    fn ed_jwk(&self, kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(self.ed.public_key().as_ref())})
    }

    fn keys(&self) -> String {
        let encryption = json!({"kty": "RSA", "use": "enc", "kid": "enc", "n": "AQ", "e": "AQAB"});
        let unknown = json!({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AA"});
        json!({"keys": [self.ec_jwk("ec"), self.rsa_jwk("rsa"), self.ed_jwk("ed"), encryption, unknown]})
            .to_string()
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims));
        let random = SystemRandom::new();
        let signature = match header["kid"].as_str().unwrap_or("ec") {
            "rsa" => {
                let mut bytes = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&signature::RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut bytes).unwrap();
                bytes
            }
            "ed" => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            _ => self.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encode(signature))
    }

    fn token(&self, change: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}), &claims(change).to_string())
    }
}

fn claims(change: &Value) -> Value {
    let mut claims = json!({"iss": "https://issuer.example", "aud": "motte", "sub": "dev-1", "iat": NOW - 10, "exp": NOW + 600});
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn rules(issuer: &Issuer) -> TokenRules {
    TokenRules {
        issuer: "https://issuer.example".into(),
        audience: vec!["motte".into(), "other-name".into()],
        identity_claim: "sub".into(),
        identities: vec!["dev-*".into()],
        roles_claim: Some("/realm/roles".into()),
        groups_claim: Some("/realm/groups".into()),
        groups: TokenGroups::new([
            ("/ops".to_owned(), vec!["operator".to_owned(), "writer".to_owned()]),
            ("all".to_owned(), vec!["writer".to_owned()]),
        ]),
        topics_claim: Some("/realm/topics".into()),
        roles: ["reader".to_owned(), "writer".to_owned()].into(),
        leeway_s: 30,
        lifetime_s_max: 3_600,
        keys: HeldKeys::fixed(KeySet::parse(&issuer.keys()).unwrap()),
        revoked: revoked_tokens("# stolen\n  t-13 \n\n"),
    }
}

#[test]
fn a_good_token_of_each_kind_of_key_says_who_and_until_when() {
    let issuer = Issuer::new();
    let rules = rules(&issuer);
    for (alg, kid) in [("ES256", "ec"), ("RS256", "rsa"), ("EdDSA", "ed")] {
        let change = json!({"jti": "t-1", "aud": ["x", "motte"], "realm": {"roles": ["reader", "admin"]}});
        let token = issuer.sign(&json!({"alg": alg, "kid": kid}), &claims(&change).to_string());
        let found = rules.judge(token.as_bytes(), NOW).unwrap();
        assert_eq!((found.identity.as_str(), found.facts.ends_s), ("dev-1", NOW + 600), "{alg}");
        assert_eq!(found.facts.roles, ["reader"], "a role that tokens may not grant is passed over");
        assert!(rules.still_good(&found.facts, "dev-1", NOW).is_ok());
    }
    let spaced = issuer.token(&json!({"realm": {"roles": "writer reader x"}}));
    assert_eq!(rules.judge(spaced.as_bytes(), NOW).unwrap().facts.roles, ["writer", "reader"]);
}

#[test]
fn every_rule_that_a_token_can_break_is_said() {
    let issuer = Issuer::new();
    let rules = rules(&issuer);
    let cases = [
        (json!({"iss": "https://evil.example"}), "another issuer"),
        (json!({"iss": null}), "another issuer"),
        (json!({"aud": "billing"}), "somebody else"),
        (json!({"aud": []}), "somebody else"),
        (json!({"exp": NOW}), "has ended"),
        (json!({"exp": null}), "no number"),
        (json!({"exp": "soon"}), "no number"),
        (json!({"exp": -5}), "no number"),
        (json!({"nbf": NOW + 31}), "not good yet"),
        (json!({"nbf": 1.5e300}), "no number"),
        (json!({"iat": 1.5e300}), "no number"),
        (json!({"iat": NOW + 31}), "in the future"),
        (json!({"exp": NOW + 3_600}), "longer than lifetime_s_max"),
        (json!({"jti": "t-13"}), "revoked"),
        (json!({"jti": 13}), "no text"),
        (json!({"sub": "a/+/b"}), "no usable identity"),
        (json!({"sub": 7}), "no usable identity"),
        (json!({"sub": "operator"}), "may not speak for this identity"),
        (json!({"realm": {"topics": null}}), "no object"),
        (json!({"realm": {"topics": ["a/#"]}}), "no object"),
        (json!({"realm": {"topics": {"publish": "a"}}}), "no list"),
        (json!({"realm": {"topics": {"publish": [7]}}}), "no text"),
        (json!({"realm": {"topics": {"publish": ["a/#/b"]}}}), "no filter"),
        (json!({"realm": {"topics": {"subscribe": ["a".repeat(257)]}}}), "no filter"),
        (json!({"realm": {"topics": {"subscribe": vec!["a"; 33]}}}), "more than 32"),
        (json!({"realm": {"topics": {"subscribe": [], "receive": []}}}), "not known"),
    ];
    for (change, cause) in cases {
        let told = rules.judge(issuer.token(&change).as_bytes(), NOW).unwrap_err().cause();
        assert!(told.contains(cause), "{change}: {told}");
    }
    for change in [json!({"nbf": NOW + 30}), json!({"iat": NOW + 30}), json!({"exp": 1_790_000_001.5})] {
        assert!(rules.judge(issuer.token(&change).as_bytes(), NOW).is_ok(), "{change}");
    }
    let no_end = issuer.sign(
        &json!({"alg": "ES256", "kid": "ec"}),
        "{\"iss\":\"https://issuer.example\",\"aud\":\"motte\",\"sub\":\"a\"}",
    );
    assert!(rules.judge(no_end.as_bytes(), NOW).unwrap_err().cause().contains("no end"));
    let twice = claims(&json!({})).to_string().replace("\"sub\"", "\"sub\":\"admin\",\"sub\"");
    let twice = issuer.sign(&json!({"alg": "ES256", "kid": "ec"}), &twice);
    assert!(rules.judge(twice.as_bytes(), NOW).unwrap_err().cause().contains("cannot be read"));
}

#[test]
fn nothing_but_the_named_key_and_its_own_algorithm_proves_a_token() {
    let issuer = Issuer::new();
    let rules = rules(&issuer);
    let body = claims(&json!({})).to_string();
    let told = |header: Value| rules.judge(issuer.sign(&header, &body).as_bytes(), NOW).unwrap_err().cause();
    for alg in ["none", "None", "HS256", "RS256", "ES384", "PS256", ""] {
        assert!(told(json!({"alg": alg, "kid": "ec"})).contains("algorithm"), "{alg}");
    }
    assert!(told(json!({"alg": "ES256", "kid": "gone"})).contains("not in the key set"));
    assert!(told(json!({"alg": "ES256"})).contains("not in the key set"));
    assert!(told(json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false})).contains("extension"));
    assert!(told(json!({"alg": "ES256", "kid": "ec", "typ": "logout+jwt"})).contains("kind"));
    let own = issuer.ec_jwk("ec");
    assert!(told(json!({"alg": "ES256", "kid": "x", "jwk": own})).contains("not in the key set"));

    // The public key as a secret: what a verifier that believes the header would take.
    let message = format!("{}.{}", encode(json!({"alg": "HS256", "kid": "rsa"}).to_string()), encode(&body));
    for secret in [issuer.rsa.public_key().as_ref(), issuer.keys().as_bytes()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", encode(tag.as_ref()));
        assert!(rules.judge(token.as_bytes(), NOW).unwrap_err().cause().contains("algorithm"));
    }

    let good = issuer.token(&json!({}));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = rest.split_once('.').unwrap();
    let admin = encode(claims(&json!({"sub": "admin"})).to_string());
    for bad in [
        format!("{rest}."),
        format!("{rest}.{}", encode([0; 64])),
        format!("{header}.{admin}.{signature}"),
        format!("{good}="),
        format!("{good}.x"),
        format!("{header}..{signature}"),
        "eyJ..".to_owned(),
        ".".repeat(5_000),
        format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)),
    ] {
        assert!(rules.judge(bad.as_bytes(), NOW).is_err(), "{bad}");
    }
    let other = Issuer::new();
    assert!(rules.judge(other.token(&json!({})).as_bytes(), NOW).unwrap_err().cause().contains("signature"));
}

#[test]
fn keys_come_and_go_and_what_a_gone_one_vouched_for_goes_with_it() {
    let issuer = Issuer::new();
    let mut rules = rules(&issuer);
    let old = rules.judge(issuer.token(&json!({"jti": "t-1"})).as_bytes(), NOW).unwrap().facts;
    let next = Issuer::new();
    let set = |keys: Value| HeldKeys::fixed(KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap());
    rules.keys = set(json!([issuer.ec_jwk("ec"), next.ec_jwk("ec-2")]));
    let new = next.sign(&json!({"alg": "ES256", "kid": "ec-2"}), &claims(&json!({})).to_string());
    assert!(rules.judge(new.as_bytes(), NOW).is_ok() && rules.still_good(&old, "dev-1", NOW).is_ok());
    rules.keys = set(json!([next.ec_jwk("ec")]));
    assert!(
        rules.still_good(&old, "dev-1", NOW).unwrap_err().contains("gone"),
        "another key of the same name"
    );
    assert!(rules.still_good(&old, "dev-1", NOW + 600).is_ok(), "a Session may outlive its token");
    rules.keys = HeldKeys::fixed(KeySet::parse(&issuer.keys()).unwrap());
    rules.revoked.insert("t-1".into());
    assert!(rules.still_good(&old, "dev-1", NOW).unwrap_err().contains("revoked"));
}

#[test]
fn who_came_by_a_token_is_judged_by_the_audience_and_the_claims_that_count_now() {
    let issuer = Issuer::new();
    let change = json!({"aud": ["x", "motte"], "realm": {"roles": ["reader"]}});
    let facts = rules(&issuer).judge(issuer.token(&change).as_bytes(), NOW).unwrap().facts;
    let still = |change: &dyn Fn(&mut TokenRules)| {
        let mut now = rules(&issuer);
        change(&mut now);
        let (living, ended) =
            (now.still_good(&facts, "dev-1", NOW), now.still_good(&facts, "dev-1", NOW + 600));
        assert_eq!(ended, Ok(()), "one that has ended vouches for no connection");
        living
    };
    assert!(still(&|now| now.audience = vec!["y".into()]).unwrap_err().contains("audience"));
    assert_eq!(still(&|now| now.audience = vec!["y".into(), "x".into()]), Ok(()), "it is for several");
    assert!(still(&|now| now.topics_claim = Some("scope".into())).unwrap_err().contains("narrows"));
    assert_eq!(still(&|now| now.topics_claim = None), Ok(()), "what was narrowed stays so");
    assert!(still(&|now| now.identity_claim = "name".into()).unwrap_err().contains("identity"));
    assert!(still(&|now| now.roles_claim = Some("roles".into())).unwrap_err().contains("roles"));
    assert!(still(&|now| now.groups_claim = Some("groups".into())).unwrap_err().contains("groups"));
    let without = TokenRules { topics_claim: None, ..rules(&issuer) };
    let facts = without.judge(issuer.token(&json!({})).as_bytes(), NOW).unwrap().facts;
    assert_eq!(without.still_good(&facts, "dev-1", NOW), Ok(()));
    assert!(rules(&issuer).still_good(&facts, "dev-1", NOW).is_err(), "the first claim that narrows");
    let other = TokenRules { roles_claim: None, topics_claim: None, ..rules(&issuer) };
    assert_eq!(other.still_good(&facts, "dev-1", NOW), Ok(()), "it has no roles");
}

#[test]
fn groups_of_a_token_give_the_roles_of_the_table_and_others_nothing() {
    let issuer = Issuer::new();
    let judge = |groups: Value| {
        let found = rules(&issuer).judge(issuer.token(&json!({"realm": {"groups": groups}})).as_bytes(), NOW);
        found.map(|found| found.facts).map_err(|fault| fault.cause())
    };
    let roles = |groups: Value| judge(groups).map(|facts| facts.group_roles);
    assert_eq!(roles(json!(["/ops", "all", "/ops"])), Ok(vec!["operator".to_owned(), "writer".to_owned()]));
    assert_eq!(roles(json!("all")), Ok(vec!["writer".to_owned()]));
    for nothing in [json!(["/OPS", "*", "/*", "", "ops", "operator", "/ops all"]), json!([]), json!(null)] {
        assert_eq!(roles(nothing.clone()), Ok(vec![]), "{nothing}");
    }
    let many: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    assert!(roles(json!(many)).is_ok());
    assert_eq!(
        roles(json!([many, vec!["all".to_owned()]].concat())),
        Err("the token names more than 64 groups")
    );
    assert_eq!(roles(json!([{"a": 1}])), Err("a group of the token is no text"));
    assert_eq!(roles(json!({"all": true})), Err("the token's groups are no list"));
    let facts = judge(json!(["all", "new"])).unwrap();
    assert!(facts.roles.is_empty(), "those are what the claim for roles names");
    let still = |table: &[(&str, &str)], now_s| {
        let table = table.iter().map(|(group, role)| ((*group).to_owned(), vec![(*role).to_owned()]));
        let now = TokenRules { groups: TokenGroups::new(table), ..rules(&issuer) };
        now.still_good(&facts, "dev-1", now_s).is_ok()
    };
    assert!(still(&[("all", "writer"), ("/ops", "else")], NOW));
    assert!(!still(&[("all", "writer"), ("new", "banned")], NOW), "a group that gave nothing before");
    assert!(!still(&[("all", "operator")], NOW) && !still(&[], NOW));
    assert!(!still(&[], NOW + 600), "a Session keeps no role that was taken away");
}

#[test]
fn fetched_keys_end_when_they_could_not_be_fetched_for_too_long() {
    let issuer = Issuer::new();
    let rules = TokenRules { keys: HeldKeys::to_fetch(), ..rules(&issuer) };
    let token = issuer.token(&json!({}));
    let judge = |now_s| rules.judge(token.as_bytes(), now_s);
    assert!(matches!(judge(NOW), Err(TokenFault::NoKeys(_))), "none so far");
    let set = |keys: Value| KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap();
    let own = || set(json!([issuer.ec_jwk("ec")]));
    assert_eq!(rules.keys.put(own(), NOW + 60), KeyChange { new: 1, gone: 0 });
    let facts = judge(NOW + 59).unwrap().facts;
    assert!(matches!(judge(NOW + 60), Err(TokenFault::NoKeys(_))), "stale");
    assert!(rules.still_good(&facts, "dev-1", NOW + 60).is_ok(), "who is in stays until the token ends");
    assert_eq!(rules.keys.put(own(), NOW + 120), KeyChange { new: 0, gone: 0 });
    assert!(judge(NOW + 60).is_ok());
    let unknown = issuer.sign(&json!({"alg": "ES256", "kid": "next"}), &claims(&json!({})).to_string());
    assert!(matches!(rules.judge(unknown.as_bytes(), NOW), Err(TokenFault::UnknownKey(_))));
    let next = Issuer::new();
    let both = set(json!([issuer.ec_jwk("ec"), next.ec_jwk("next")]));
    assert_eq!(rules.keys.put(both, NOW + 120), KeyChange { new: 1, gone: 0 });
    assert!(rules.judge(unknown.as_bytes(), NOW).unwrap_err().cause().contains("signature"));
    let only = set(json!([next.ec_jwk("ec")]));
    assert_eq!(rules.keys.put(only, NOW + 120), KeyChange { new: 1, gone: 2 }, "the same name, another key");
    assert!(rules.still_good(&facts, "dev-1", NOW).is_err());
}

#[test]
fn each_issuer_has_keys_audience_and_identities_of_its_own() {
    let (one, two) = (Issuer::new(), Issuer::new());
    let other =
        TokenRules { issuer: "https://other.example".into(), identities: vec!["x-*".into()], ..rules(&two) };
    let issuers = TokenIssuers::new(vec![rules(&one), other]);
    let judge = |issuer: &Issuer, change: Value| {
        let found = issuers.judge(issuer.token(&change).as_bytes(), NOW);
        found.map(|found| found.facts.issuer).map_err(|fault| fault.cause())
    };
    let theirs = json!({"iss": "https://other.example", "sub": "x-1"});
    assert_eq!(judge(&one, json!({})), Ok("https://issuer.example".to_owned()));
    assert_eq!(judge(&two, theirs.clone()), Ok("https://other.example".to_owned()));
    assert_eq!(judge(&one, theirs), Err("the token's signature is wrong"), "a key of another issuer");
    assert_eq!(judge(&two, json!({})), Err("the token's signature is wrong"));
    let stranger = json!({"iss": "https://other.example", "sub": "dev-1"});
    assert_eq!(judge(&two, stranger), Err("the issuer may not speak for this identity"));
    for issuer in [json!("https://third.example"), json!(""), json!(null), json!(["https://issuer.example"])]
    {
        assert_eq!(judge(&one, json!({ "iss": issuer })), Err("the token is of another issuer"));
    }
}

#[test]
fn topics_of_a_token_are_read_whole_or_the_token_is_not_taken() {
    let issuer = Issuer::new();
    let topics = |change: Value| {
        let found = rules(&issuer).judge(issuer.token(&json!({ "realm": change })).as_bytes(), NOW);
        found.unwrap().facts.topics
    };
    assert_eq!(topics(json!({})), None, "no bound");
    let bound = topics(json!({"topics": {"publish": ["a/+", "b/#"]}})).unwrap();
    assert_eq!((bound.publish.len(), bound.subscribe.len()), (2, 0));
}

#[test]
fn a_token_narrows_also_where_the_certificate_alone_would_have_been_enough() {
    let issuer = Issuer::new();
    let passwords = Arc::new(PasswordFile::default());
    let authenticator = Authenticator::new(passwords, Arc::new(Learned::nothing(NOW)))
        .with_tokens(TokenIssuers::new(vec![rules(&issuer)]));
    let both = Methods::CERTIFICATE.and(Methods::TOKEN);
    let come = |all_of, password: Option<String>| {
        let certificate = CertificateFacts { cn: Some("dev-1".into()), ..CertificateFacts::default() };
        let credentials = Credentials {
            user_name: None,
            password: password.map(|text| SecretBytes::new(text.into_bytes())),
            certificate: Some(Arc::new(certificate)),
            listener: Arc::from("main"),
            security: Security::Tls,
            address: None,
        };
        let wanted = Requirements { any_of: both, all_of, certificates: Arc::default() };
        match authenticator.begin(credentials, &wanted, NOW) {
            Step::Done(Verdict::Accepted(client)) => {
                Ok((client.methods, client.token.is_some_and(|token| token.topics.is_some())))
            }
            Step::Done(Verdict::Refused { cause, .. }) => Err(cause),
            Step::Ask(_) | Step::Fetch(_) => Err("nobody is to be asked"),
        }
    };
    let narrow = |name: &str| issuer.token(&json!({"sub": name, "realm": {"topics": {"publish": ["a"]}}}));
    for all_of in [Methods::default(), Methods::CERTIFICATE, both] {
        assert_eq!(come(all_of, Some(narrow("dev-1"))), Ok((both, true)), "{all_of:?}");
        assert_eq!(
            come(all_of, Some(narrow("dev-2"))),
            Err("certificate and token name different identities")
        );
        assert!(come(all_of, Some(format!("{}x", narrow("dev-1")))).is_err(), "one that is not good");
    }
    for nothing in [None, Some("a password".to_owned())] {
        assert_eq!(come(Methods::default(), nothing), Ok((Methods::CERTIFICATE, false)));
    }
}

#[test]
fn a_key_set_that_could_do_harm_is_refused_whole() {
    let issuer = Issuer::new();
    let set = |keys: Value| {
        KeySet::parse(&json!({ "keys": keys }).to_string()).map(drop).map_err(|e| e.to_string())
    };
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        json!([key])
    };
    let cases = [
        (json!([{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]), "shared secret"),
        (with(issuer.ec_jwk("a"), "d", json!("AA")), "private key"),
        (with(issuer.ec_jwk("a"), "alg", json!("HS256")), "it is for ES256"),
        (with(issuer.ec_jwk("a"), "x", json!("AA")), "damaged"),
        (with(issuer.ec_jwk("a"), "x", json!(encode([7; 32]))), "damaged"),
        (with(issuer.rsa_jwk("a"), "n", json!(encode([255; 128]))), "size"),
        (json!([issuer.ec_jwk("a"), issuer.ed_jwk("a")]), "two keys"),
        (json!([]), "no key"),
        (json!([{"kid": "a"}]), "cannot be read"),
    ];
    for (keys, cause) in cases {
        let told = set(keys.clone()).unwrap_err();
        assert!(told.contains(cause) && told.contains("remedy"), "{keys}: {told}");
    }
    assert!(KeySet::parse("[]").is_err());
    let lone = KeySet::parse(&json!({"keys": [issuer.ed_jwk("only")]}).to_string()).unwrap();
    assert!(lone.find(None).is_some(), "where there is one, a token need not name it");
}

#[test]
fn passwords_and_tokens_are_told_apart() {
    assert!(is_token(b"eyJhbGciOiJub25lIn0.e30."));
    for password in [&b"hunter2"[..], b"a.b.c", b"eyJ is no token", b"eyJ.a", b"eyJ.a.b.c", b"eyJ.a.\xc3\xa4"]
    {
        assert!(!is_token(password));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(header in ".{0,60}", body in ".{0,60}", rest in proptest::collection::vec(any::<u8>(), 0..60)) {
        let rules = TokenRules {
            issuer: String::new(), audience: vec![], identities: vec![], identity_claim: String::new(), roles_claim: None, topics_claim: None,
            groups_claim: None, groups: TokenGroups::default(),
            roles: BTreeSet::new(), leeway_s: 0, lifetime_s_max: 0, keys: HeldKeys::fixed(KeySet::default()), revoked: BTreeSet::new(),
        };
        prop_assert!(rules.judge(&rest, NOW).is_err());
        let token = format!("{}.{}.{}", encode(&header), encode(&body), encode(&rest));
        prop_assert!(rules.judge(token.as_bytes(), NOW).is_err());
        let _ = KeySet::parse(&header);
    }
}
