//! Bans as operators make and lift them, over the control socket of the real broker.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use motte_testkit::{Broker, binary, finish};
use serde_json::Value;

use crate::site::{CONFIG, Site};

fn motte(dir: &Path, arguments: &[&str]) -> (bool, String) {
    finish(Command::new(binary()).current_dir(dir).args(arguments).args(["--config", "motte.toml"]))
}

fn listed(dir: &Path) -> Vec<Value> {
    let (good, text) = motte(dir, &["bans", "list", "--json"]);
    assert!(good, "{text}");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all.pointer("/bans").and_then(Value::as_array).expect("a list").clone()
}

fn site() -> Site {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate(), "motte up did not stop cleanly");
    let policy = dir.path().join("motte-state/policy.toml");
    let mut text = std::fs::read_to_string(&policy).expect("made");
    text.push_str("\n[anonymous]\nclient_ids = [\"*\"]\n");
    std::fs::write(&policy, text).expect("ours");
    let config = format!("{CONFIG}[listener.auth]\nanonymous = true\n[control]\nsocket = \"control.sock\"\n");
    let broker = Broker::serve(dir.path(), &config);
    broker.event("life.admin_ready");
    Site { broker, dir }
}

/// CONNECT with 3.1.1; the return code, or `None` when it is closed without one.
fn connect(site: &Site, client_id: &str) -> (TcpStream, Option<u8>) {
    let mut stream = TcpStream::connect(site.address("tcp")).expect("it listens");
    stream.set_read_timeout(Some(motte_testkit::DEADLINE)).expect("a socket");
    let length = u8::try_from(client_id.len()).expect("short");
    let mut packet = vec![0x10, 12 + length, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, length];
    packet.extend_from_slice(client_id.as_bytes());
    let mut answer = [0; 4];
    let code = stream.write_all(&packet).and_then(|()| stream.read_exact(&mut answer));
    (stream, code.ok().map(|()| answer[3]))
}

#[test]
fn a_ban_is_made_seen_obeyed_and_lifted() {
    let site = site();
    let dir = site.dir.path();
    let (mut live, code) = connect(&site, "guest-1");
    assert_eq!(code, Some(0));
    let begun = Instant::now();
    let (good, text) = motte(dir, &["bans", "add", "client-id:guest-1", "--for", "12h", "--cause", "stolen"]);
    assert!(good, "{text}");
    assert_eq!(live.read(&mut [0; 1]).expect("closed"), 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "the command and the end of the connection");
    assert_eq!(connect(&site, "guest-1").1, Some(5));
    assert_eq!(connect(&site, "guest-2").1, Some(0));
    let bans = listed(dir);
    assert_eq!((bans.len(), &bans[0]["subject"]), (1, &Value::from("client-id:guest-1")));
    assert_eq!((&bans[0]["cause"], &bans[0]["by"]), (&Value::from("stolen"), &Value::from("user 0")));
    let (since, until) = (bans[0]["since_unix_ms"].as_u64(), bans[0]["until_unix_ms"].as_u64());
    assert_eq!(until.zip(since).map(|(until, since)| until - since), Some(12 * 3_600_000));
    assert_eq!(site.broker.event("gate.banned").field("subject"), "client-id:guest-1");
    assert!(motte(dir, &["bans", "remove", "client-id:guest-1"]).0);
    assert_eq!(connect(&site, "guest-1").1, Some(0));
    let (good, text) = motte(dir, &["bans", "remove", "client-id:guest-1"]);
    assert!(!good && text.contains("motte bans list"), "{text}");
}

#[test]
fn an_address_is_closed_at_the_door_and_goes_into_the_packet_filters_commands() {
    let site = site();
    let dir = site.dir.path();
    assert!(motte(dir, &["bans", "add", "127.0.0.1"]).0);
    assert_eq!(connect(&site, "guest-1").1, None);
    site.broker.event("gate.banned_refused");
    let (good, text) = motte(dir, &["bans", "export", "--nft"]);
    assert!(good && text.contains("add element inet motte banned_v4 { 127.0.0.1/32 timeout "), "{text}");
    assert!(motte(dir, &["bans", "remove", "127.0.0.1"]).0);
    assert_eq!(connect(&site, "guest-1").1, Some(0));
    for (subject, told) in
        [("0.0.0.0/0", "too large"), ("x y", "not an address"), ("identity:", "identity:NAME")]
    {
        let (good, text) = motte(dir, &["bans", "add", subject]);
        assert!(!good && text.contains(told), "{text}");
    }
    let (good, text) = motte(dir, &["bans", "add", "192.0.2.1", "--for", "31d"]);
    assert!(!good && text.contains("at most 30 days"), "{text}");
    assert!(listed(dir).is_empty());
}
