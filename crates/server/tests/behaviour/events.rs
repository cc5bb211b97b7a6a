//! Every event of the catalogue that a running server can tell: what provokes it, and that it is told.

use std::io::Write;

use motte_identity::PasswordFile;
use motte_seal::{HashParameters, PasswordHash};
use motte_server::Options;

use crate::harness::*;

/// Everybody may do everything but what stands in `more`.
fn policed(more: &str) -> (tempfile::TempDir, motte_config::Config) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, format!("version = 1\n{more}")).unwrap();
    let mut config = anonymous();
    config.policy_files = vec![file];
    (directory, config)
}

/// Two identities, `a` and `b`, whose password is `right`.
pub fn with_passwords(directory: &tempfile::TempDir, memory_kib: u32, config: &mut motte_config::Config) {
    let file = directory.path().join("passwords");
    let mut passwords = PasswordFile::default();
    for name in ["a", "b"] {
        let parameters = HashParameters { memory_kib, passes: 2, lanes: 1 };
        passwords.set(name, PasswordHash::create(b"right", parameters).unwrap());
    }
    std::fs::write(&file, passwords.to_string()).unwrap();
    config.password_file = Some(file);
}

/// A Session that outlives its connection, subscribed to `a`.
fn leave_session(running: &Running) {
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    assert_eq!(keeper.subscribe("a", 1), 1);
    keeper.send(&[0xe0, 0]);
    assert!(keeper.is_closed());
}

#[test]
fn a_life_from_start_to_stop() {
    let running = start(anonymous());
    let lines = running.lines.clone();
    let mut client = running.client();
    client.connect("client", true);
    lines.expect("life.started");
    lines.expect("life.listening");
    lines.expect("rule.permitted_everything");
    lines.expect("gate.authenticated");
    client.send(&[0xe0, 0]);
    lines.expect("gate.disconnected");
    running.stop();
    lines.expect("life.stopping");
    lines.expect("life.stopped");
}

#[test]
fn packets_that_follow_no_standard() {
    let running = start(anonymous());
    let mut client = running.client();
    client.connect("client", true);
    client.send(&packet(0x82, &[0, 1, 0, 1, b'a', 3]));
    assert!(client.is_closed());
    running.lines.expect("gate.malformed_packet");
    let mut client = running.client();
    client.connect("client", true);
    client.send(&hello("client"));
    assert!(client.is_closed());
    running.lines.expect("gate.protocol_error");
    running.stop();
}

#[test]
fn a_silent_client() {
    let running = start(anonymous());
    let mut client = running.client();
    let mut bytes = hello("client");
    bytes[11] = 1;
    client.send(&bytes);
    assert_eq!(client.packet().0, 0x20);
    assert!(client.is_closed());
    running.lines.expect("gate.keep_alive_timeout");
    running.stop();
}

#[test]
fn two_clients_with_one_identifier() {
    let running = start(anonymous());
    let (mut one, mut two) = (running.client(), running.client());
    one.connect("same", true);
    two.connect("same", true);
    assert!(one.is_closed());
    running.lines.expect("gate.session_taken_over");
    running.stop();
}

#[test]
fn an_identifier_of_somebody_else() {
    let (directory, mut config) = policed("[authenticated]\nclient_ids = [\"shared\"]\n");
    with_passwords(&directory, 64, &mut config);
    config.listeners[0].anonymous = false;
    config.listeners[0].methods = vec![motte_config::AuthMethod::Password];
    let running = start_with(config, Options::default());
    running.lines.expect("rule.policy_loaded");
    let (mut one, mut two) = (running.client(), running.client());
    assert_eq!(one.connect_as("other", true, Some(("a", "right"))).1, 2);
    running.lines.expect("gate.client_id_refused");
    let mut one_again = running.client();
    assert_eq!(one_again.connect_as("shared", true, Some(("a", "right"))), (false, 0));
    assert_ne!(two.connect_as("shared", true, Some(("b", "right"))).1, 0);
    running.lines.expect("gate.takeover_refused");
    one_again.send(&[0xc0, 0]);
    assert_eq!(one_again.packet(), (0xd0, vec![]), "it was not disturbed");
    assert_eq!(running.client().connect("shared", true).1, 5);
    running.lines.expect("gate.connect_refused");
    running.stop();
}

#[test]
fn more_logins_than_can_be_checked() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config("");
    with_passwords(&directory, 65_536, &mut config);
    config.hash_queue = 1;
    let running = start(config);
    let mut waiting: Vec<Client> = Vec::new();
    for _ in 0..4 {
        let mut client = running.client();
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
        for text in ["a", "a", "right"] {
            body.extend(string(text));
        }
        client.send(&packet(0x10, &body));
        waiting.push(client);
    }
    running.lines.expect("gate.login_queue_full");
    running.stop();
}

#[test]
fn a_web_page_at_the_wrong_path() {
    let text = "[[listener]]\nname = \"main\"\nkind = \"ws\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nanonymous = true\n";
    let running = start(motte_config::parse(text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap());
    running.client().send(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    running.lines.expect("gate.websocket_refused");
    running.stop();
}

#[test]
fn a_proxy_that_says_nothing_of_its_client() {
    let mut config = anonymous();
    config.listeners[0].proxy_protocol =
        Some(motte_config::ProxyProtocol { from: vec!["127.0.0.0/8".parse().unwrap()] });
    let running = start(config);
    running.client().send(&hello("client"));
    running.lines.expect("gate.proxy_header_refused");
    running.stop();
}

#[test]
fn a_queue_and_a_session_that_end() {
    let running = start(limited(anonymous(), |limits| {
        limits.queued_messages_max = 2;
        limits.session_expiry_s_max = 1;
    }));
    leave_session(&running);
    let mut writer = running.client();
    writer.connect("writer", true);
    for _ in 0..3 {
        writer.publish_1("a", b"x");
    }
    running.lines.expect("keep.queue_full");
    running.lines.expect("keep.session_expired");
    running.stop();
}

#[test]
fn a_client_that_does_not_read() {
    let running = start(limited(anonymous(), |limits| limits.write_buffer_bytes_max = 65_536));
    let mut reader = running.client();
    reader.connect("reader", true);
    assert_eq!(reader.subscribe("a", 0), 0);
    let mut writer = running.client();
    writer.connect("writer", true);
    for _ in 0..300 {
        writer.publish("a", &vec![7; 65_000], false);
    }
    running.lines.expect("keep.slow_consumer");
    running.stop();
}

#[test]
fn bounds_of_what_is_kept() {
    let running = start(limited(anonymous(), |limits| {
        limits.retained_messages_max = 1;
        limits.subscriptions_per_session_max = 1;
    }));
    let mut client = running.client();
    client.connect("client", true);
    assert_eq!(client.subscribe("a", 0), 0);
    assert_eq!(client.subscribe("b", 0), 0x80);
    running.lines.expect("keep.subscriptions_full");
    client.publish("x", b"1", true);
    client.publish("y", b"2", true);
    running.lines.expect("keep.retained_full");
    running.stop();
}

#[test]
fn memory_that_is_used_up_and_given_back() {
    let running = start(limited(anonymous(), |limits| {
        limits.memory_bytes_max = 1_048_576;
        limits.session_expiry_s_max = 2;
    }));
    let mut writer = running.client();
    writer.connect("writer", true);
    leave_session(&running);
    for _ in 0..40 {
        writer.publish_1("a", &vec![7; 60_000]);
    }
    running.lines.expect("keep.memory_high");
    running.lines.expect("keep.memory_relaxed");
    running.stop();
}

#[test]
fn a_journal_that_is_opened_and_one_that_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    let running = start(config.clone());
    let lines = running.lines.clone();
    leave_session(&running);
    running.stop();
    lines.expect("vault.created");
    lines.expect("keep.store_opened");
    let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|name| name == "seg");
    let files = std::fs::read_dir(directory.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.filter(is_segment).max().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let running = start(config);
    running.lines.expect("keep.store_damaged");
    running.stop();
}

#[test]
fn what_policy_denies() {
    let rules = "[role.some]\nrules = [{ allow = [\"publish\"], topics = [\"will\"] }]\n[anonymous]\nroles = [\"some\"]\nclient_ids = [\"*\"]\n";
    let (directory, config) = policed(rules);
    let running = start_with(config, Options::default());
    let mut client = running.client();
    client.connect("client", true);
    assert_eq!(client.subscribe("a", 0), 0x80);
    running.lines.expect("rule.subscribe_denied");
    client.publish("a", b"x", false);
    running.lines.expect("rule.publish_denied");

    let with_will = |topic: &str| {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 6, 0, 60];
        for text in ["mortal", topic, "gone"] {
            body.extend(string(text));
        }
        packet(0x10, &body)
    };
    let mut mortal = running.client();
    mortal.send(&with_will("elsewhere"));
    assert_eq!(mortal.packet(), (0x20, vec![0, 5]));
    running.lines.expect("rule.will_denied");

    let mut mortal = running.client();
    mortal.send(&with_will("will"));
    assert_eq!(mortal.packet(), (0x20, vec![0, 0]));
    let nothing = "version = 1\n[anonymous]\nclient_ids = [\"*\"]\n";
    std::fs::write(directory.path().join("policy.toml"), nothing).unwrap();
    running.server.handle().reload().unwrap();
    running.lines.expect("life.reloaded");
    drop(mortal);
    running.lines.expect("rule.injection_denied");
    running.stop();
}

#[test]
fn a_listener_in_the_clear_and_a_limit_that_cannot_be_had() {
    let mut config = anonymous();
    config.listeners[0].plaintext_until = Some(jiff::civil::date(2099, 1, 1));
    config.limits.connections_max = 4_000_000_000;
    let running = start(config);
    running.lines.expect("life.plaintext_exception");
    running.lines.expect("life.open_files_low");
    running.stop();
}

#[test]
fn a_log_that_is_told_more_than_it_should_write() {
    let running = start(anonymous());
    let lines = running.lines.clone();
    for _ in 0..250 {
        let mut client = running.client();
        client.stream.write_all(&packet(0x20, &[0, 0])).unwrap();
        assert!(client.is_closed());
    }
    running.stop();
    lines.expect("life.event_repeated");
}
