//! The process as its operator sees it: mistakes, reload, stop and start.

use std::net::TcpStream;
use std::process::Command;

use motte_testkit::{Broker, binary, finish};

use crate::site::Site;

fn motte(dir: &std::path::Path, arguments: &[&str]) -> (bool, String) {
    finish(Command::new(binary()).current_dir(dir).args(arguments))
}

#[test]
fn a_second_up_starts_from_what_is_there_and_shows_no_secret() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = Broker::up(dir.path());
    for made in ["device.authority_created", "device.server_certificate_issued", "device.identity_created"] {
        first.event(made);
    }
    assert!(first.terminate());
    let before = std::fs::read(dir.path().join("motte-state/ca.pem")).expect("made");
    assert!(Broker::up(dir.path()).terminate());
    assert_eq!(std::fs::read(dir.path().join("motte-state/ca.pem")).expect("kept"), before);
    let (good, text) = motte(dir.path(), &["up", "--print-config"]);
    assert!(good && text.contains("[[listener]]") && !text.contains("PRIVATE"), "{text}");
}

#[test]
fn development_mode_refuses_every_address_but_loopback() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for address in ["0.0.0.0:1883", "[::]:1883", "192.0.2.1:1883"] {
        let (good, text) = motte(dir.path(), &["dev", "--bind", address]);
        assert!(!good && text.contains("remedy") && text.contains("127.0.0.1"), "{text}");
    }
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let site = Site::start();
    let port = site.address("tls").port().to_string();
    let cases: &[(&[&str], &str)] = &[
        (&["pub", "--as", "nobody", "-p", &port, "-t", "a", "-m", "b"], "there is no identity `nobody`"),
        (&["pub", "--as", "device-1", "-p", "1", "-t", "a", "-m", "b"], "nobody listens there"),
        (&["pub", "-p", &port, "-t", "a", "-m", "b"], "--ca"),
        (&["pub", "--as", "device-1", "-p", &port, "-t", "a/#", "-m", "b"], "is not a Topic Name"),
        (
            &["pub", "--as", "device-1", "-p", &port, "-t", "elsewhere", "-m", "b", "-q", "1"],
            "grant this identity",
        ),
        (&["sub", "--as", "device-1", "-p", &port, "-t", "#"], "was refused: Not authorized"),
        (
            &["pub", "--as", "device-1", "-p", &port, "-i", "device-2", "-t", "a", "-m", "b"],
            "Client Identifier",
        ),
        (&["serve", "--config", "missing.toml"], "cannot read missing.toml"),
        (&["explain", "gate.conect_refused"], "did you mean gate.connect_refused"),
        (&["device", "add", "../x"], "cannot be the name of a device"),
    ];
    for (arguments, expected) in cases {
        let (good, text) = motte(site.dir.path(), arguments);
        assert!(!good && text.contains(expected), "{arguments:?}: {text}");
    }
    let (good, text) = motte(site.dir.path(), &["serve", "--config", "motte.toml"]);
    assert!(!good && text.contains("motte-state"), "two brokers on one state directory: {text}");
}

#[test]
fn a_bad_policy_is_refused_whole_and_a_good_one_reaches_live_clients() {
    let site = Site::start();
    let publish =
        || finish(site.motte("pub", "device-1").args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"])).0;
    assert!(publish());
    let policy = std::fs::read_to_string(site.path("policy.toml")).expect("made");
    std::fs::write(site.path("policy.toml"), policy.replace("publish", "pubilsh")).expect("ours");
    site.broker.hang_up();
    let refused = site.broker.event("life.reload_refused").field("cause");
    assert!(refused.contains("policy.toml:") && refused.contains("pubilsh"), "{refused}");
    assert!(publish(), "the old policy stays");
    std::fs::write(
        site.path("policy.toml"),
        policy.replace(
            "[\"publish\", \"retain\"], topics = [\"devices",
            "[\"publish\", \"retain\"], topics = [\"other",
        ),
    )
    .expect("ours");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    assert!(!publish(), "the new policy is in force");
}

#[test]
fn sessions_and_retained_messages_survive_a_clean_stop() {
    let site = Site::start();
    let (good, text) = finish(site.motte("sub", "device-1").args([
        "-i",
        "device-1",
        "-t",
        "devices/device-1/cmd/#",
        "-q",
        "1",
        "--session-expiry",
        "3600",
        "--timeout",
        "0",
    ]));
    assert!(good, "{text}");
    for (topic, more) in [("devices/device-1/cmd/go", None), ("devices/device-1/state", Some("--retain"))] {
        let mut command = site.motte("pub", "operator");
        command.args(["-t", topic, "-m", "kept", "-q", "1"]).args(more);
        let (good, text) = finish(&mut command);
        assert!(good, "{text}");
    }
    let Site { broker, dir } = site;
    assert!(broker.terminate(), "a clean stop");
    let site = Site { broker: Broker::start(dir.path(), &["serve", "--config", "motte.toml"]), dir };
    let (good, text) = finish(site.motte("sub", "device-1").args([
        "-i",
        "device-1",
        "-t",
        "devices/device-1/cmd/#",
        "-q",
        "1",
        "--resume",
        "--session-expiry",
        "3600",
        "--count",
        "1",
        "--timeout",
        "10",
    ]));
    assert!(good && text.contains("kept"), "{text}");
    let (good, text) = finish(site.motte("sub", "operator").args([
        "-t",
        "devices/+/state",
        "--count",
        "1",
        "--timeout",
        "10",
    ]));
    assert!(good && text.contains("kept"), "{text}");
}

#[test]
fn behind_a_proxy_the_header_says_who_it_is_and_must_be_there() {
    use std::io::{Read, Write};
    let more = "[[listener]]\nname = \"behind\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.proxy_protocol]\nfrom = [\"127.0.0.1/32\"]\n";
    let site = Site::start_with(&format!("{}\n{more}", crate::site::CONFIG));
    let connect = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc";
    let attempt = |header: &[u8]| {
        let mut stream = std::net::TcpStream::connect(site.address("behind")).expect("it listens");
        stream.write_all(&[header, connect].concat()).expect("it reads");
        let mut answer = Vec::new();
        // Closed with a reset where the header was refused.
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(attempt(b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 1883\r\n"), [0x20, 2, 0, 5]);
    site.broker.event_where("gate.connect_refused", |event| event.field("address") == "203.0.113.9");
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend([203, 0, 113, 10, 127, 0, 0, 1, 0x12, 0x67, 0x07, 0x5b]);
    assert_eq!(attempt(&second), [0x20, 2, 0, 5]);
    site.broker.event_where("gate.connect_refused", |event| event.field("address") == "203.0.113.10");
    assert!(attempt(b"").is_empty());
    site.broker.event("gate.proxy_header_refused");
}

#[test]
fn a_process_without_descriptors_says_so_and_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start_limited(dir.path(), 48, &["dev", "--bind", "127.0.0.1:0", "--json"]);
    let address = broker.address("mqtt");
    let held: Vec<TcpStream> = (0..60).map_while(|_| TcpStream::connect(address).ok()).collect();
    broker.event("gate.accept_failed");
    drop(held);
    let (good, text) = finish(Command::new(binary()).current_dir(dir.path()).args([
        "pub",
        "-H",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
        "-t",
        "a",
        "-m",
        "b",
        "-q",
        "1",
    ]));
    assert!(good, "it serves again: {text}");
}

#[test]
fn a_revoked_device_is_disconnected_and_does_not_come_back_until_it_is_issued_anew() {
    let site = Site::start();
    let publish =
        || finish(site.motte("pub", "device-1").args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"]));
    assert!(publish().0);
    let stolen = site.path("stolen");
    std::fs::create_dir(&stolen).expect("ours");
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(site.path("identities/device-1").join(file), stolen.join(file)).expect("made");
    }
    let (good, text) = motte(site.dir.path(), &["device", "revoke", "device-1"]);
    assert!(good, "{text}");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let port = site.address("tls").port().to_string();
    let path = |name: &str| site.path(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("stolen/cert.pem"), path("stolen/key.pem"));
    let thief = ["pub", "--ca", &ca, "--cert", &cert, "--key", &key, "-p", &port];
    let (good, text) = motte(
        site.dir.path(),
        &[&thief[..], &["-i", "device-1", "-t", "devices/device-1/x", "-m", "x"]].concat(),
    );
    assert!(!good, "{text}");
    assert!(site.broker.event("gate.tls_failed").field("cause").contains("Revoked"));
    assert!(motte(site.dir.path(), &["device", "add", "device-1"]).0);
    let (good, text) = publish();
    assert!(good, "the name lives on with a new certificate: {text}");
}
