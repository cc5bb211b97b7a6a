//! Acceptance checks of good practice that belong to no single feature, with foreign clients; docs/reference/practices.md maps
//! each check to its test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use motte_testkit::{Broker, binary, finish, wait_until};

use crate::keys::{client, handshake};
use crate::site::{CONFIG, Site};

fn add(site: &Site, name: &str) {
    let mut command = Command::new(binary());
    let (good, text) = finish(command.current_dir(site.dir.path()).args(["device", "add", name]));
    assert!(good, "{text}");
}

/// Row 4: the only library of TLS is the one that is built in.
#[test]
fn no_library_of_tls_is_loaded() {
    let (good, text) = finish(Command::new("ldd").arg(binary()));
    assert!(good && text.contains("libc"), "{text}");
    for library in ["libssl", "libcrypto", "libgnutls"] {
        assert!(!text.contains(library), "{text}");
    }
}

/// Rows 11 and 14: who shows nothing is refused, and a device may not look at everything.
#[test]
fn nobody_comes_in_with_nothing_and_no_device_sees_everything() {
    let site = Site::start();
    let port = site.address("tls").port().to_string();
    let mut nobody = Command::new("mosquitto_pub");
    nobody.args(["-h", "localhost", "-p", &port, "--cafile"]).arg(site.path("ca.pem"));
    let (good, text) = finish(nobody.args(["-t", "x", "-m", "y", "-q", "1"]));
    assert!(!good && text.to_lowercase().contains("not authori"), "{text}");
    site.broker.event("gate.connect_refused");

    let everything = |version: &str| {
        let mut command = site.mosquitto("mosquitto_sub", "device-1", version);
        finish(command.args(["-V", version, "-t", "#", "-W", "2"]))
    };
    for version in ["mqttv311", "mqttv5"] {
        let (_, text) = everything(version);
        assert!(text.contains("All subscription requests were denied"), "{version}: {text}");
    }
    site.broker.event_where("rule.subscribe_denied", |event| event.field("filter") == "#");
}

/// Row 39: a valid certificate and somebody else's Client Identifier.
#[test]
fn a_device_with_a_certificate_does_not_become_another_one() {
    let site = Site::start();
    let config = client(&site, Some("device-1"));
    let mut live = handshake(site.address("tls"), &config).expect("TLS takes the certificate");
    live.write_all(b"\x10\x14\0\x04MQTT\x04\0\0\x3c\0\x08device-1").expect("it is taken");
    live.read_exact(&mut [0; 4]).expect("CONNACK");
    add(&site, "thief");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    for version in ["mqttv311", "mqttv5"] {
        let mut thief = site.mosquitto("mosquitto_pub", "thief", "x");
        thief.args(["-V", version, "-i", "device-1", "-t", "devices/device-1/x", "-m", "y", "-q", "1"]);
        let (good, text) = finish(&mut thief);
        assert!(!good, "{version}: {text}");
    }
    site.broker.event("gate.client_id_refused");
    live.write_all(&[0xc0, 0]).expect("PINGREQ is sent");
    live.read_exact(&mut [0; 2]).expect("it was not disturbed");
}

/// Row 45: identifier and certificate and password, each of one and the same device.
#[test]
fn where_both_are_wanted_one_is_not_enough_and_two_of_different_devices_are_none() {
    let config = CONFIG.replacen(
        "crl = [\"motte-state/crl.pem\"]",
        "crl = [\"motte-state/crl.pem\"]\n[listener.auth]\nall_of = [\"certificate\", \"password\"]",
        1,
    );
    let site = Site::start_with(&config);
    add(&site, "device-2");
    let secret =
        |name: &str| if name == "device-1" { "tall boat waded north" } else { "green lamps sing low" };
    for name in ["device-1", "device-2"] {
        site.password(name, secret(name));
    }
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let port = site.address("tls").port().to_string();
    let attempt = |certificate: Option<&str>, password: Option<&str>| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "localhost", "-p", &port, "-i", "device-1", "--cafile"]).arg(site.path("ca.pem"));
        if let Some(name) = certificate {
            let own = site.path("identities").join(name);
            command.arg("--cert").arg(own.join("cert.pem")).arg("--key").arg(own.join("key.pem"));
        }
        if let Some(name) = password {
            command.args(["-u", name, "-P", secret(name)]);
        }
        finish(command.args(["-t", "devices/device-1/x", "-m", "y", "-q", "1"])).0
    };
    assert!(attempt(Some("device-1"), Some("device-1")));
    for (certificate, password) in [
        (Some("device-1"), None),
        (None, Some("device-1")),
        (None, None),
        (Some("device-2"), Some("device-1")),
        (Some("device-1"), Some("device-2")),
    ] {
        assert!(!attempt(certificate, password), "{certificate:?} {password:?}");
    }
}

/// Row 13: an empty policy permits nothing.
#[test]
fn an_empty_policy_permits_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("policy.toml"), "version = 1\n").expect("ours");
    let config = "[log]\nformat = \"json\"\n[policy]\nfiles = [\"policy.toml\"]\n[[listener]]\nname = \"tcp\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\nanonymous = true\n";
    for without_file in [false, true] {
        let config =
            if without_file { config.replace("files = [\"policy.toml\"]", "") } else { config.to_owned() };
        let broker = Broker::serve(dir.path(), &config);
        let port = broker.address("tcp").port().to_string();
        for (tool, more) in [("mosquitto_pub", &["-m", "x", "-q", "1"][..]), ("mosquitto_sub", &["-W", "2"])]
        {
            let mut command = Command::new(tool);
            command.args(["-V", "mqttv5", "-h", "127.0.0.1", "-p", &port, "-t", "a"]).args(more);
            // They end well, and say so.
            let (_, text) = finish(&mut command);
            assert!(text.contains("Not authorized") || text.contains("were denied"), "{tool}: {text}");
        }
        assert!(broker.terminate());
    }
}

fn peak_kib(process: i32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    let status = status.expect("the process is ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// P04: two thousand wrong passwords at once, none of them held back.
#[test]
fn two_thousand_wrong_passwords_at_once_keep_to_the_memory_for_them() {
    let config = format!(
        "{}[auth.attempts]\nfree = 1000\nlockout_after = 8000\ndelay_base_ms = 1\ndelay_max_ms = 1\n",
        CONFIG.replace("[auth]\n", "[auth]\nhash_memory_mib = 48\nhash_threads = 2\n")
    );
    let site = Site::start_with(&config);
    site.password("device-7", "a long enough secret");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let core = site.broker.role("core").as_raw_nonzero().get();
    let before_kib = peak_kib(core);
    let body = b"\0\x04MQTT\x04\xc2\0\x3c\0\x08device-7\0\x08device-7\0\x05wrong";
    let hello = [&[0x10, u8::try_from(body.len()).expect("short")][..], body].concat();
    let mut waiting: Vec<TcpStream> = (0..2_000)
        .map(|_| {
            let mut stream = TcpStream::connect(site.address("tcp")).expect("it is taken");
            stream.write_all(&hello).expect("it is taken");
            stream
        })
        .collect();
    // Each is told, or cut off when its time is over: nobody waits for ever.
    let mut refused = 0;
    for stream in &mut waiting {
        let mut answer = [0; 4];
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a socket");
        if stream.read_exact(&mut answer).is_ok() {
            assert_ne!(answer[3], 0);
            refused += 1;
        }
    }
    assert!(refused > 0, "nobody was answered");
    let used_kib = peak_kib(core) - before_kib;
    assert!(used_kib < (48 + 64) * 1_024, "{used_kib} KiB");
    // The right one comes in afterwards.
    let port = site.address("tcp").port().to_string();
    wait_until("the queue is short again", || {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-i", "device-7", "-u", "device-7"]);
        command.args(["-P", "a long enough secret", "-t", "devices/device-7/x", "-m", "x", "-q", "1"]);
        finish(command.stdout(Stdio::null())).0
    });
}
