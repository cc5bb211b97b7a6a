//! Keys of issuers from addresses: fetched, rotated, discovered, too old; and what a token narrows.

use std::path::Path;
use std::time::{Duration, Instant};

use motte_config::Config;
use motte_pki::Authority;
use motte_server::Options;

use crate::harness::*;
use crate::outward::{Http, way_out_trusting};
use crate::secured::now_s;
use crate::tokens::{Issuer, connect_5, set};

const POLICY: &str =
    "version = 1\n[role.reader]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"news/#\"] }]\n";
pub(crate) const UNAVAILABLE: u8 = 0x88;
pub(crate) const REFUSED: u8 = 0x86;

/// A server of TLS at `localhost`, and its authority in PEM.
pub(crate) fn https() -> (Http, String) {
    let (authority, root) = Authority::create("test", now_s()).unwrap();
    let issued = authority.server(&["localhost".to_owned()], &[], now_s()).unwrap();
    (Http::start_tls(&issued, |_, _| (404, Vec::new())), root.certificate_pem)
}

pub(crate) fn publish(http: &Http, keys: &[String]) {
    let keys = set(keys);
    http.change(move |_, _| (200, keys.clone().into_bytes()));
}

/// A configuration with these issuers.
pub(crate) fn taking(directory: &Path, issuers: &str) -> Config {
    let policy = directory.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let text = format!(
        "[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"jwt\"]\n[policy]\nfiles = [\"{}\"]\n{issuers}",
        policy.display()
    );
    let mut config = motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    // What guesses cost is tested elsewhere.
    config.attempts.free = 1_000;
    config
}

/// An issuer as written, whose keys come from where `keys` says.
pub(crate) fn issuer(name: &str, keys: &str) -> String {
    format!(
        "[[auth.jwt]]\nissuer = \"{name}\"\naudience = [\"motte\"]\nroles_claim = \"roles\"\nroles = [\"reader\"]\ntopics_claim = \"topics\"\n{keys}\n"
    )
}

pub(crate) fn run(config: Config, authority: &str) -> Running {
    let outward = Some(way_out_trusting(&config, vec![authority.to_owned()]));
    start_with(config, Options { outward, ..Options::default() })
}

pub(crate) fn come(running: &Running, token: &str) -> u8 {
    connect_5(&mut running.client(), "dev-1", "", token)
}

#[test]
fn keys_overlap_while_they_are_rotated_and_a_removed_one_stops() {
    let directory = tempfile::tempdir().unwrap();
    let (http, authority) = https();
    let (old, new) = (Issuer::new(), Issuer::new());
    publish(&http, &[old.jwk("k1")]);
    let url = format!("keys_url = \"https://localhost:{}/keys\"", http.address.port());
    let mut config = taking(directory.path(), &issuer("test", &url));
    config.tokens[0].keys_refresh_s = 1;
    let running = run(config, &authority);
    running.lines.expect("life.token_keys_fetched");
    let (first, second) = (old.token("k1", 600, ""), new.token("k2", 600, ""));
    let (mut one, mut two) = (running.client(), running.client());
    assert_eq!(connect_5(&mut one, "dev-1-a", "", &first), 0, "at once after the start");
    publish(&http, &[old.jwk("k1"), new.jwk("k2")]);
    assert_eq!(connect_5(&mut two, "dev-1-b", "", &second), 0, "an unknown key is asked for");
    assert_eq!(come(&running, &first), 0, "and the old one goes on");

    http.change(|_, _| (200, b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}".to_vec()));
    running.lines.expect("life.token_keys_unfetched");
    assert_eq!((come(&running, &first), come(&running, &second)), (0, 0), "what is no set changes nothing");

    publish(&http, &[new.jwk("k2")]);
    assert_eq!(one.packet().0, 0xe0, "who came by a key that is gone goes");
    assert!(one.is_closed());
    running.lines.expect("the key that signed its token is gone");
    assert_eq!(come(&running, &first), REFUSED);
    two.send(&[0xc0, 0]);
    assert_eq!(two.packet(), (0xd0, vec![]), "nobody else is touched");
    running.stop();
}

#[test]
fn unknown_keys_cost_the_issuer_one_request_in_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let (http, authority) = https();
    let own = Issuer::new();
    publish(&http, &[own.jwk("k1")]);
    let url = format!("keys_url = \"https://localhost:{}/keys\"", http.address.port());
    let running = run(taking(directory.path(), &issuer("test", &url)), &authority);
    let since = Instant::now();
    assert_eq!(come(&running, &own.token("k1", 600, "")), 0);
    assert_eq!(http.count(), 1);
    for name in 0..20 {
        assert_eq!(come(&running, &own.token(&format!("made-up-{name}"), 600, "")), REFUSED);
    }
    if since.elapsed() < Duration::from_secs(9) {
        assert_eq!(http.count(), 2, "one for all of them");
    }
    running.lines.expect("not in the key set");
    running.stop();
}

#[test]
fn a_source_that_hangs_keeps_nobody_waiting_whose_key_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let (http, authority) = https();
    let own = Issuer::new();
    publish(&http, &[own.jwk("k1")]);
    let url = format!("keys_url = \"https://localhost:{}/keys\"", http.address.port());
    let mut config = taking(directory.path(), &issuer("test", &url));
    config.egress.timeout_ms = 5_000;
    let running = run(config, &authority);
    let (known, unknown) = (own.token("k1", 600, ""), own.token("k2", 600, ""));
    assert_eq!(come(&running, &known), 0);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    http.change(move |_, _| {
        // Until the test is over.
        let _ = receiver.recv();
        (500, Vec::new())
    });
    std::thread::scope(|scope| {
        let since = Instant::now();
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| come(&running, &unknown))).collect();
        for _ in 0..5 {
            assert_eq!(come(&running, &known), 0);
        }
        assert!(since.elapsed() < Duration::from_millis(4_900), "nobody else waited");
        assert!(waiting.into_iter().all(|one| one.join().unwrap() == REFUSED));
        assert!(since.elapsed() < Duration::from_secs(19), "the wait has an end");
    });
    running.lines.expect("life.token_keys_unfetched");
    drop(sender);
    running.stop();
}

#[test]
fn keys_that_are_too_old_open_nothing_and_close_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let (http, authority) = https();
    let own = Issuer::new();
    http.change(|_, _| (500, Vec::new()));
    let url = format!("keys_url = \"https://localhost:{}/keys\"", http.address.port());
    let mut config = taking(directory.path(), &issuer("test", &url));
    (config.tokens[0].keys_refresh_s, config.tokens[0].keys_stale_s) = (1, 2);
    let running = run(config, &authority);
    running.lines.expect("life.token_keys_missing");
    running.lines.expect("status 500");
    let token = own.token("k1", 600, "");
    assert_eq!(come(&running, &token), UNAVAILABLE);

    publish(&http, &[own.jwk("k1")]);
    wait_for(|| come(&running, &token) == 0, || "the keys came".to_owned());
    let mut live = running.client();
    assert_eq!(connect_5(&mut live, "dev-1-live", "", &token), 0);
    http.change(|_, _| (503, Vec::new()));
    running.lines.expect("life.token_keys_stale");
    assert_eq!(come(&running, &token), UNAVAILABLE);
    live.send(&[0xc0, 0]);
    assert_eq!(live.packet(), (0xd0, vec![]));
    publish(&http, &[own.jwk("k1")]);
    wait_for(|| come(&running, &token) == 0, || "the keys are good again".to_owned());
    running.stop();
}

#[test]
fn without_a_process_that_connects_out_no_token_of_fetched_keys_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let config = taking(directory.path(), &issuer("test", "keys_url = \"https://localhost:9/keys\""));
    let running = start_with(config, Options::default());
    running.lines.expect("life.token_keys_missing");
    assert_eq!(come(&running, &Issuer::new().token("k1", 600, "")), UNAVAILABLE);
    running.stop();
}

#[test]
fn a_discovered_issuer_is_followed_only_where_it_may_lead() {
    let directory = tempfile::tempdir().unwrap();
    let (http, authority) = https();
    let (elsewhere, _) = https();
    let own = Issuer::new();
    let name = format!("https://localhost:{}/realm", http.address.port());
    let mut config = taking(directory.path(), &issuer(&name, "discover = true"));
    config.tokens[0].keys_refresh_s = 1;
    let describe = |issuer: &str, keys: String| {
        let document = format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{keys}\"}}");
        let set = set(&[own.jwk("k1")]);
        http.change(move |head, _| {
            let is_document = head.starts_with("GET /realm/.well-known/openid-configuration ");
            (200, if is_document { document.clone() } else { set.clone() }.into_bytes())
        });
    };
    let port = http.address.port();
    describe("https://evil.example", format!("https://localhost:{port}/keys"));
    let running = run(config, &authority);
    running.lines.expect("another issuer");
    running.lines.expect("life.token_keys_missing");
    let token = own.token_of(&name, "k1", 600, "");
    assert_eq!(come(&running, &token), UNAVAILABLE);
    for (keys, cause) in [
        (format!("http://localhost:{port}/keys"), "which is not https"),
        (format!("https://localhost:{}/keys", elsewhere.address.port()), "neither the issuer's origin"),
    ] {
        describe(&name, keys);
        running.lines.expect(cause);
    }
    assert_eq!(elsewhere.count(), 0, "nobody went there");
    describe(&name, format!("https://localhost:{port}/keys"));
    wait_for(|| come(&running, &token) == 0, || "the issuer describes itself".to_owned());
    assert_eq!(come(&running, &own.token("k1", 600, "")), REFUSED, "of an issuer that is not configured");
    running.stop();
}

#[test]
fn each_token_is_judged_by_the_keys_of_its_own_issuer() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (Issuer::new(), Issuer::new());
    let file = |name: &str, issuer: &Issuer| {
        let path = directory.path().join(name);
        issuer.publish(&path, "k1");
        format!("keys_file = \"{}\"", path.display())
    };
    let issuers = issuer("one", &file("one.json", &one))
        + &issuer("two", &format!("{}\nidentities = [\"two-*\", \"dev-1\"]", file("two.json", &two)))
        + &issuer("three", &format!("{}\nidentities = [\"three-*\"]", file("three.json", &two)));
    let running = start_with(taking(directory.path(), &issuers), Options::default());
    assert_eq!(come(&running, &one.token_of("one", "k1", 600, "")), 0);
    assert_eq!(come(&running, &two.token_of("two", "k1", 600, "")), 0);
    for (token, cause) in [
        (one.token_of("two", "k1", 600, ""), "signature is wrong"),
        (two.token_of("one", "k1", 600, ""), "signature is wrong"),
        (two.token_of("three", "k1", 600, ""), "may not speak for this identity"),
        (one.token_of("four", "k1", 600, ""), "of another issuer"),
    ] {
        assert_eq!(come(&running, &token), REFUSED, "{cause}");
        running.lines.expect(cause);
    }
    running.stop();
}

#[test]
fn topics_of_a_token_narrow_what_its_roles_grant_and_widen_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let own = Issuer::new();
    let path = directory.path().join("keys.json");
    own.publish(&path, "k1");
    let keys = format!("keys_file = \"{}\"", path.display());
    let running = start_with(taking(directory.path(), &issuer("test", &keys)), Options::default());
    let wide = own.token("k1", 600, "");
    let narrow = own.token(
        "k1",
        600,
        ",\"topics\":{\"publish\":[\"news/out\"],\"subscribe\":[\"news/+/in\",\"else/#\"]}",
    );
    let nothing = own.token("k1", 600, ",\"topics\":{}");

    let mut client = running.client();
    assert_eq!(client.connect_as("dev-1-n", false, Some(("", &narrow))).1, 0);
    let asked = ["news/a/in", "news/+/in", "news/#", "news/+/+", "news/a/out", "else/a", "#"];
    let answers: Vec<u8> = asked.iter().map(|filter| client.subscribe(filter, 0)).collect();
    assert_eq!(answers, [0, 0, 0x80, 0x80, 0x80, 0x80, 0x80], "within both the token and the policy");
    running.lines.expect("the token of this client does not reach");

    // What a wider token subscribed to is not received by a narrower one.
    let mut kept = running.client();
    assert_eq!(kept.connect_as("dev-1-k", false, Some(("", &wide))).1, 0);
    assert_eq!(kept.subscribe("news/#", 0), 0);
    drop(kept);
    let mut back = running.client();
    assert_eq!(back.connect_as("dev-1-k", false, Some(("", &narrow))), (true, 0));
    let mut writer = running.client();
    assert_eq!(writer.connect_as("dev-1-w", true, Some(("", &wide))).1, 0);
    writer.publish("news/secret", b"1", false);
    writer.publish("news/a/in", b"2", false);
    let (first, body) = back.packet();
    assert_eq!((first & 0xf0, &body[2..11]), (0x30, &b"news/a/in"[..]));

    // A publication outside goes nowhere; the one within arrives.
    let mut listening = running.client();
    assert_eq!(listening.connect_as("dev-1-l", true, Some(("", &wide))).1, 0);
    assert_eq!(listening.subscribe("news/#", 0), 0);
    client.publish("news/a/in", b"no", false);
    client.publish("news/out", b"yes", false);
    let (_, body) = listening.packet();
    assert_eq!(&body[2..10], b"news/out");
    running.lines.expect("rule.publish_denied");
    let mut idle = running.client();
    assert_eq!(idle.connect_as("dev-1-i", true, Some(("", &nothing))).1, 0);
    assert_eq!(idle.subscribe("news/a/in", 0), 0x80, "bounds without topics");
    let odd = own.token("k1", 600, ",\"topics\":\"news/#\"");
    assert_eq!(come(&running, &odd), REFUSED, "bounds that cannot be read");
    running.stop();
}
