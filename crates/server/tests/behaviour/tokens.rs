//! Tokens in the Password field, from CONNECT to the end of the token.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use motte_config::Config;
use motte_server::Options;

use crate::harness::*;

/// Connection rate exceeded.
const HELD: u8 = 0x9f;
const POLICY: &str = "version = 1\n[role.reader]\nrules = [{ allow = [\"subscribe\"], topics = [\"news/#\"], method = [\"token\"] }]\n";

/// An issuer with one key, and a broker that takes its tokens.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(crate) fn publish(&self, file: &Path, kid: &str) {
        std::fs::write(file, set(&[self.jwk(kid)])).unwrap();
    }

    pub(crate) fn jwk(&self, kid: &str) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"{kid}\",\"x\":\"{x}\",\"y\":\"{y}\"}}")
    }

    /// A token of `dev-1` that ends in so many seconds.
    pub(crate) fn token(&self, kid: &str, seconds: i64, more: &str) -> String {
        self.token_of("test", kid, seconds, more)
    }

    /// The same of an issuer by this name.
    pub(crate) fn token_of(&self, name: &str, kid: &str, seconds: i64, more: &str) -> String {
        let (now, header) = (now_s(), format!("{{\"alg\":\"ES256\",\"kid\":\"{kid}\"}}"));
        let ends = now.saturating_add_signed(seconds);
        let claims = format!(
            "{{\"iss\":\"{name}\",\"aud\":\"motte\",\"sub\":\"dev-1\",\"roles\":[\"reader\"],\"exp\":{ends}{more}}}"
        );
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature.as_ref()))
    }
}

/// A key set of these keys.
pub(crate) fn set(keys: &[String]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

pub(crate) fn start_with_issuer(directory: &Path) -> (Running, Issuer, PathBuf) {
    let (mut config, issuer, keys) = with_issuer(directory);
    // What guesses cost is tested elsewhere.
    config.attempts.free = 1_000;
    (start_with(config, Options::default()), issuer, keys)
}

/// A configuration that takes tokens of an issuer, whose keys are in a file.
fn with_issuer(directory: &Path) -> (Config, Issuer, PathBuf) {
    let issuer = Issuer::new();
    let keys = directory.join("keys.json");
    issuer.publish(&keys, "k1");
    std::fs::write(directory.join("policy.toml"), POLICY).unwrap();
    std::fs::write(directory.join("revoked"), "").unwrap();
    let path = |name: &str| directory.join(name).display().to_string();
    let text = format!(
        "[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"jwt\", \"password\"]\n[policy]\nfiles = [\"{}\"]\n[auth.jwt]\nissuer = \"test\"\naudience = [\"motte\"]\njwks_file = \"{}\"\nrevoked_file = \"{}\"\nroles_claim = \"roles\"\nroles = [\"reader\"]\n",
        path("policy.toml"),
        path("keys.json"),
        path("revoked"),
    );
    (motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap(), issuer, keys)
}

/// CONNECT with 5.0 and a token; gives the Reason Code.
pub(crate) fn connect_5(client: &mut Client, client_id: &str, user: &str, token: &str) -> u8 {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 60, 0];
    for text in [client_id, user, token] {
        body.extend(string(text));
    }
    client.send(&packet(0x10, &body));
    let (first, body) = client.packet();
    assert_eq!(first, 0x20);
    body[1]
}

#[test]
fn a_token_says_who_it_is_and_which_roles_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (running, issuer, _) = start_with_issuer(directory.path());
    let token = issuer.token("k1", 600, "");
    for user in ["", "dev-1"] {
        let mut client = running.client();
        assert_eq!(client.connect_as("dev-1", true, Some((user, &token))), (false, 0), "`{user}`");
        assert_eq!(client.subscribe("news/today", 0), 0, "by a role of the token, with a rule for tokens");
        assert_eq!(client.subscribe("else", 0), 0x80);
    }
    running.lines.expect("method=token");
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &token), 0);
    assert_eq!(connect_5(&mut running.client(), "dev-2", "", &token), 0x85, "its identifiers are its own");
    running.stop();
}

#[test]
fn a_token_that_is_not_good_is_a_wrong_password_to_the_client_and_told_to_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let (running, issuer, _) = start_with_issuer(directory.path());
    let refused = [
        ("", issuer.token("k1", -5, ""), "the token has ended"),
        ("", issuer.token("k9", 600, ""), "not in the key set"),
        ("", Issuer::new().token("k1", 600, ""), "signature is wrong"),
        ("dev-2", issuer.token("k1", 600, ""), "token and user name differ"),
        ("", issuer.token("k1", 600, ",\"nbf\":99999999999"), "not good yet"),
        ("", issuer.token("k1", 90_000, ""), "lifetime_s_max"),
        ("", format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode("{}")), "not in the key set, or none"),
    ];
    for (user, token, cause) in refused {
        let expected = if cause.contains("key set, or") { "names a key" } else { cause };
        assert_eq!(connect_5(&mut running.client(), "dev-1", user, &token), 0x86, "{cause}");
        assert_eq!(running.client().connect_as("dev-1", true, Some((user, &token))), (false, 4));
        running.lines.expect("gate.login_failed");
        running.lines.expect(expected);
    }
    // What has no form of a token is a password, and there is no such identity.
    assert_eq!(connect_5(&mut running.client(), "dev-1", "dev-1", "hunter2"), 0x86);
    running.lines.expect("there is no such identity");
    // Longer than what a stranger may send.
    let mut client = running.client();
    let long = issuer.token("k1", 600, &format!(",\"pad\":\"{}\"", "x".repeat(5_000)));
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in ["dev-1", "", &long] {
        body.extend(string(text));
    }
    client.send(&packet(0x10, &body));
    assert!(client.is_closed());
    running.lines.expect("gate.packet_too_large");
    running.stop();
}

/// A token that nobody signed, of this name.
fn forged(name: &str) -> String {
    let claims =
        format!("{{\"iss\":\"test\",\"aud\":\"motte\",\"sub\":\"{name}\",\"exp\":{}}}", now_s() + 600);
    format!("{}.{}.{}", encode("{\"alg\":\"ES256\",\"kid\":\"k1\"}"), encode(claims), encode([7; 64]))
}

#[test]
fn bad_tokens_without_a_user_name_keep_no_device_out_that_came_by_a_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, issuer, _) = with_issuer(directory.path());
    config.attempts.delay_base_ms = 1;
    config.attempts.delay_max_ms = 1;
    let running = start_with(config, Options::default());
    let device = |id: &str| connect_5(&mut running.client(), id, "", &issuer.token("k1", 600, ""));
    assert_eq!(device("dev-1"), 0);
    let guess = |id: &str, token: &str| {
        let wrong = (0..120).filter(|_| connect_5(&mut running.client(), id, "", token) != HELD).count();
        assert!(wrong <= 40, "{wrong} were looked at");
    };
    guess("dev-1", &forged("somebody"));
    running.lines.expect("gate.locked_out");
    assert_eq!(device("dev-1"), 0, "its address and its Client Identifier are known, its name is not");
    guess("elsewhere", &forged("dev-1"));
    assert_eq!(device("dev-1"), 0, "its address and its name are known, its Client Identifier is not");
    guess("elsewhere", "eyJ.eyJ.eyJ");
    assert_eq!(device("dev-1"), 0, "and what claims no name at all is nobody's");
    running.stop();
}

#[test]
fn the_connection_ends_when_the_token_does() {
    let directory = tempfile::tempdir().unwrap();
    let (running, issuer, _) = start_with_issuer(directory.path());
    let ends_s = now_s() + 2;
    let token = issuer.token("k1", 2, "");
    let (mut old, mut new) = (running.client(), running.client());
    assert_eq!(old.connect_as("dev-1-old", true, Some(("", &token))), (false, 0));
    assert_eq!(connect_5(&mut new, "dev-1-new", "", &token), 0);
    let (first, body) = new.packet();
    assert_eq!((first, body[0]), (0xe0, 0x87));
    assert!(String::from_utf8_lossy(&body).contains("the token has ended"));
    assert!(new.is_closed() && old.is_closed());
    assert!((ends_s..=ends_s + 2).contains(&now_s()), "within a second of its end");
    running.lines.expect("gate.credential_ended");
    running.stop();
}

#[test]
fn keys_are_rotated_and_tokens_revoked_by_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let (running, issuer, keys) = start_with_issuer(directory.path());
    let mut revoked = running.client();
    let numbered = issuer.token("k1", 600, ",\"jti\":\"t-1\"");
    assert_eq!(revoked.connect_as("dev-1-a", true, Some(("", &numbered))), (false, 0));
    let mut client = running.client();
    let token = issuer.token("k1", 600, "");
    assert_eq!(client.connect_as("dev-1-b", true, Some(("", &token))), (false, 0));
    std::fs::write(directory.path().join("revoked"), "t-1\n").unwrap();
    running.server.handle().reload().unwrap();
    assert!(revoked.is_closed());
    client.send(&[0xc0, 0]);
    assert_eq!(client.packet(), (0xd0, vec![]), "another token is not touched");
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &numbered), 0x86);

    let next = Issuer::new();
    std::fs::write(&keys, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}").unwrap();
    assert!(running.server.handle().reload().unwrap_err().to_string().contains("shared secret"));
    client.send(&[0xc0, 0]);
    assert_eq!(client.packet(), (0xd0, vec![]), "a bad file changes nothing");
    next.publish(&keys, "k2");
    running.server.handle().reload().unwrap();
    assert!(client.is_closed());
    running.lines.expect("the key that signed its token is gone");
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &token), 0x86);
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &next.token("k2", 600, "")), 0);
    running.stop();
}

#[test]
fn a_reload_judges_who_is_connected_by_the_audience_and_the_claims_that_count_now() {
    let directory = tempfile::tempdir().unwrap();
    let (config, issuer, _) = with_issuer(directory.path());
    let next = Arc::new(Mutex::new(config.clone()));
    let read = Arc::clone(&next);
    let read_config = Some(Box::new(move || Ok(read.lock().unwrap().clone())) as _);
    let running = start_with(config, Options { read_config, ..Options::default() });
    let change = |change: &dyn Fn(&mut motte_config::TokenIssuer)| {
        change(&mut next.lock().unwrap().tokens[0]);
        running.server.handle().reload().unwrap();
    };
    let token = issuer.token("k1", 600, "");
    let come = |client: &mut Client| connect_5(client, "dev-1", "", &token);
    let mut client = running.client();
    assert_eq!(come(&mut client), 0);
    change(&|issuer| issuer.audience = vec!["new".into(), "motte".into()]);
    client.send(&[0xc0, 0]);
    assert_eq!(client.packet(), (0xd0, vec![]), "its own is still among them");
    change(&|issuer| issuer.topics_claim = Some("topics".into()));
    assert_eq!(client.packet().0, 0xe0, "what its token says there nobody has looked at");
    running.lines.expect("a claim narrows tokens of its issuer now");
    let mut client = running.client();
    assert_eq!(come(&mut client), 0, "it may show the same token again");
    change(&|issuer| issuer.audience = vec!["new".into()]);
    assert_eq!(client.packet().0, 0xe0);
    running.lines.expect("an audience that is not taken any more");
    assert_eq!(come(&mut running.client()), 0x86);
    running.stop();
}

#[test]
fn groups_of_a_token_give_the_roles_that_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, issuer, _) = with_issuer(directory.path());
    config.tokens[0].roles_claim = None;
    config.tokens[0].roles.clear();
    config.tokens[0].groups_claim = Some("groups".into());
    let groups = |role: &str| vec![("/plant/readers".to_owned(), vec![role.to_owned()])];
    config.tokens[0].groups = groups("reader");
    let next = Arc::new(Mutex::new(config.clone()));
    let read = Arc::clone(&next);
    let read_config = Some(Box::new(move || Ok(read.lock().unwrap().clone())) as _);
    let running = start_with(config, Options { read_config, ..Options::default() });
    let come = |groups: &str| {
        let token = issuer.token("k1", 600, &format!(",\"groups\":{groups}"));
        let mut client = running.client();
        assert_eq!(client.connect_as("dev-1", true, Some(("", &token))), (false, 0), "{groups}");
        let granted = client.subscribe("news/today", 0) == 0;
        (client, granted)
    };
    for nothing in ["[]", "[\"/plant\",\"/plant/*\",\"reader\"]", "\"/plant/readers /plant\""] {
        assert!(!come(nothing).1, "{nothing}");
    }
    let (mut client, granted) = come("[\"else\",\"/plant/readers\"]");
    assert!(granted);
    next.lock().unwrap().tokens[0].groups = groups("nobody");
    let error = running.server.handle().reload().unwrap_err().to_string();
    assert!(error.contains("auth.jwt.groups: there is no role `nobody`"), "{error}");
    client.send(&[0xc0, 0]);
    assert_eq!(client.packet(), (0xd0, vec![]));
    next.lock().unwrap().tokens[0].groups[0].0 = "/plant/others".to_owned();
    next.lock().unwrap().tokens[0].groups[0].1 = vec!["reader".to_owned()];
    running.server.handle().reload().unwrap();
    assert!(client.is_closed(), "its group gives nothing any more");
    running.lines.expect("the groups of its token give other roles now");
    running.stop();
}

#[test]
fn a_token_that_openssl_signed_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _, keys) = start_with_issuer(directory.path());
    let ends = now_s() + 600;
    let claims = format!("{{\"iss\":\"test\",\"aud\":[\"motte\"],\"sub\":\"dev-1\",\"exp\":{ends}}}");
    let message =
        format!("{}.{}", encode("{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"JWT\"}"), encode(claims));
    std::fs::write(directory.path().join("message"), &message).unwrap();
    let script = "umask 077; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out r.key 2>/dev/null && openssl dgst -sha256 -sign r.key -out signature message && openssl rsa -in r.key -noout -modulus";
    let made =
        std::process::Command::new("sh").args(["-c", script]).current_dir(directory.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let told = String::from_utf8(made.stdout).unwrap();
    let digits = told.trim().strip_prefix("Modulus=").unwrap();
    let modulus: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let set = format!(
        "{{\"keys\":[{{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"r1\",\"n\":\"{}\",\"e\":\"AQAB\"}}]}}",
        encode(modulus)
    );
    std::fs::write(&keys, set).unwrap();
    running.server.handle().reload().unwrap();
    let signature = std::fs::read(directory.path().join("signature")).unwrap();
    let token = format!("{message}.{}", encode(signature));
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &token), 0);
    assert_eq!(connect_5(&mut running.client(), "dev-1", "", &token[..token.len() - 4]), 0x86);
    running.stop();
}
