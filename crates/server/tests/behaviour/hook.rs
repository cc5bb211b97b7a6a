//! A service that says who clients are: what it is asked, what it may say, and what happens when it does not.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use motte_config::Config;
use motte_server::Options;

use crate::harness::*;
use crate::outward::{Http, way_out};

/// A configuration whose clients are known to this service alone.
fn asking(http: &Http, more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap().keep();
    let policy = directory.join("policy.toml");
    let rules = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\n";
    std::fs::write(&policy, rules).unwrap();
    let text = format!(
        "[policy]\nfiles = [\"{}\"]\n[[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nmethods = [\"http\"]\n[auth.http]\nurl = \"http://{}/who\"\n{more}",
        policy.display(),
        http.address
    );
    motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap()
}

fn run(config: Config) -> Running {
    let outward = Some(way_out(&config));
    start_with(config, Options { outward, ..Options::default() })
}

const ACCEPTED: u8 = 0;
const UNAVAILABLE: u8 = 3;
const BAD_LOGIN: u8 = 4;
const NOT_AUTHORIZED: u8 = 5;

fn login(running: &Running, name: &str, password: &str) -> u8 {
    running.client().connect_as(name, true, Some((name, password))).1
}

fn allow(_: &str, _: &[u8]) -> (u16, Vec<u8>) {
    (200, br#"{"result":"allow"}"#.to_vec())
}

#[test]
fn a_service_says_who_comes_in_and_is_remembered_by_the_whole_question() {
    let http = Http::start(|_, body| {
        let body = String::from_utf8_lossy(body);
        let answer = if body.contains("\"password\":\"right\"") {
            r#"{"result":"allow"}"#
        } else if body.contains("\"password\":\"strange\"") {
            r#"{"result":"allow","identity":"all/+"}"#
        } else {
            r#"{"result":"deny","reason":"no"}"#
        };
        (200, answer.as_bytes().to_vec())
    });
    let running = run(asking(&http, "cache_s = 60"));
    assert_eq!(login(&running, "one", "right"), ACCEPTED);
    let body = http.bodies().remove(0);
    for part in [
        r#""version":1"#,
        r#""listener":"main""#,
        r#""user_name":"one""#,
        r#""client_id":"one""#,
        r#""address":"127.0.0.1""#,
    ] {
        assert!(body.contains(part), "{body}");
    }
    assert_eq!(login(&running, "one", "right"), ACCEPTED);
    assert_eq!(http.count(), 1, "remembered");
    assert_eq!(login(&running, "one", "wrong"), BAD_LOGIN);
    assert_eq!(login(&running, "two", "right"), ACCEPTED);
    assert_eq!(login(&running, "three", "strange"), NOT_AUTHORIZED, "an identity that is a pattern");
    assert_eq!(http.count(), 4);
    assert_eq!(login(&running, "one", "wrong"), BAD_LOGIN);
    assert_eq!(http.count(), 5, "a refusal is not remembered");
    running.lines.expect("gate.login_failed");
    assert_eq!(running.client().connect("nobody", true).1, NOT_AUTHORIZED);
    assert_eq!(http.count(), 5, "nothing was presented");

    // A reload forgets, and whoever is in stays in.
    let mut live = running.client();
    assert_eq!(live.connect_as("live", true, Some(("live", "right"))).1, ACCEPTED);
    running.server.handle().reload().unwrap();
    assert_eq!(login(&running, "one", "right"), ACCEPTED);
    assert_eq!(http.count(), 7);
    live.send(&[0xc0, 0]);
    assert_eq!(live.packet().0, 0xd0);
    running.stop();
}

#[test]
fn a_permission_that_ends_ends_its_connection_and_is_not_remembered_any_longer() {
    let http = Http::start(|_, _| (200, br#"{"result":"allow","valid_s":600,"ends_in_s":2}"#.to_vec()));
    let running = run(asking(&http, "cache_s = 60"));
    let since = Instant::now();
    let (mut first, mut second) = (running.client(), running.client());
    assert_eq!(first.connect_as("one", true, Some(("one", "x"))), (false, ACCEPTED));
    assert_eq!(second.connect_as("one-2", true, Some(("one", "x"))), (false, ACCEPTED));
    let asked = http.count();
    let again = running.client().connect_as("one", true, Some(("one", "x")));
    assert_eq!((again.1, http.count()), (ACCEPTED, asked), "remembered until it ends");
    assert!(second.is_closed());
    assert!(since.elapsed() >= Duration::from_millis(900), "not before its end");
    running.lines.expect("gate.credential_ended");
    wait_for(
        || login(&running, "one", "x") == ACCEPTED && http.count() > asked,
        || "the service is asked again".to_owned(),
    );
    http.change(|_, _| (200, br#"{"result":"allow","ends_in_s":0}"#.to_vec()));
    assert_eq!(login(&running, "two", "x"), BAD_LOGIN, "what ends at once was never given");
    running.stop();
}

#[test]
fn no_more_permissions_are_remembered_than_may_be() {
    let http = Http::start(allow);
    let running = run(asking(&http, "cache_s = 60\ncache_max = 2"));
    for name in ["a", "b", "c"] {
        assert_eq!(login(&running, name, "x"), ACCEPTED);
    }
    for (name, count) in [("c", 3), ("b", 3), ("a", 4), ("c", 4), ("b", 5)] {
        assert_eq!((login(&running, name, "x"), http.count()), (ACCEPTED, count), "{name}");
    }
    running.stop();
}

#[test]
fn a_service_that_fails_lets_nobody_in_and_is_left_alone_until_it_is_back() {
    let http = Http::start(|_, _| (500, br#"{"result":"allow"}"#.to_vec()));
    let running = run(asking(&http, "cache_s = 0\nfailures = 3\npause_ms = 400\ntimeout_ms = 1000"));
    for answer in [&b"<html>"[..], b"{\"result\":\"maybe\"}"] {
        assert_eq!(login(&running, "one", "x"), UNAVAILABLE);
        http.change(move |_, _| (200, answer.to_vec()));
    }
    assert_eq!(login(&running, "one", "x"), UNAVAILABLE);
    running.lines.expect("gate.login_service_failed");
    running.lines.expect("gate.login_service_paused");
    assert_eq!(http.count(), 3);
    http.change(allow);
    assert_eq!(login(&running, "one", "x"), UNAVAILABLE);
    assert_eq!(http.count(), 3, "it is left alone");
    wait_for(|| login(&running, "one", "x") == ACCEPTED, || "one question after the pause".to_owned());
    running.lines.expect("gate.login_service_back");
    assert_eq!(http.count(), 4);
    assert_eq!(login(&running, "two", "x"), ACCEPTED);
    running.stop();
}

#[test]
fn a_slow_service_keeps_nobody_else_waiting_and_its_time_has_an_end() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opened = Arc::clone(&gate);
    let http = Http::start(move |_, _| {
        let mut open = opened.0.lock().unwrap();
        while !*open {
            open = opened.1.wait(open).unwrap();
        }
        (200, br#"{"result":"allow"}"#.to_vec())
    });
    let limits = "cache_s = 0\ntimeout_ms = 700\noutstanding = 2\nqueue = 2\nfailures = 1000";
    let text = asking(&http, limits);
    let mut config = text.clone();
    let mut local = config.listeners[0].clone();
    local.name = "local".to_owned();
    local.methods.clear();
    local.anonymous = true;
    config.listeners.push(local);
    let outward = Some(way_out(&text));
    let running = start_with(config, Options { outward, ..Options::default() });
    std::thread::scope(|scope| {
        let (running, since) = (&running, Instant::now());
        let waiting: Vec<_> = (0..6)
            .map(|number| scope.spawn(move || login(running, &format!("slow-{number}"), "x")))
            .collect();
        // Meanwhile others come and go.
        for _ in 0..5 {
            assert_eq!(Client::to(running.address("local")).connect("quick", true).1, ACCEPTED);
        }
        assert!(waiting.into_iter().all(|one| one.join().unwrap() == UNAVAILABLE));
        assert!(since.elapsed() < Duration::from_secs(8));
    });
    running.lines.expect("gate.login_queue_full");
    running.lines.expect("gate.login_service_failed");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    wait_for(|| login(&running, "later", "x") == ACCEPTED, || "it answers now".to_owned());
    running.stop();
}

#[test]
fn without_a_process_that_connects_out_nobody_gets_in() {
    let http = Http::start(allow);
    let running = start_with(asking(&http, ""), Options::default());
    assert_eq!(login(&running, "one", "x"), UNAVAILABLE);
    assert_eq!(http.count(), 0);
    running.stop();
}

#[test]
fn who_guesses_at_the_service_is_held_as_who_guesses_passwords() {
    let http = Http::start(|_, _| (200, br#"{"result":"deny"}"#.to_vec()));
    let mut config = asking(&http, "");
    (config.attempts.free, config.attempts.lockout_after) = (2, 5);
    let running = run(config);
    for _ in 0..30 {
        assert_ne!(login(&running, "one", "guess"), ACCEPTED);
    }
    running.lines.expect("gate.login_held");
    assert!(http.count() < 10, "{} guesses reached the service", http.count());
    running.stop();
}
