//! The process that connects out of the real broker, confined: it fetches, dies without harm, and reaches nothing else.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use motte_testkit::{Signal, binary, finish, wait_until};
use rustls::{ServerConnection, StreamOwned};

use crate::keys::{client, handshake};
use crate::site::{CONFIG, Site, server_config};

/// A server of HTTP that answers every GET with a file, once it is told which.
fn serve_file() -> (SocketAddr, Arc<Mutex<Option<PathBuf>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, file) = (listener.local_addr().expect("it is bound"), Arc::new(Mutex::new(None)));
    let served: Arc<Mutex<Option<PathBuf>>> = Arc::clone(&file);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let path = served.lock().expect("no panic").clone();
            let body = path.and_then(|path| std::fs::read(path).ok());
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let head =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    (address, file)
}

fn revoke(dir: &Path, name: &str) {
    let (good, text) = finish(Command::new(binary()).current_dir(dir).args(["device", "revoke", name]));
    assert!(good, "{text}");
}

#[test]
fn a_list_is_fetched_by_a_confined_process_that_may_die() {
    let (address, file) = serve_file();
    let fetched = format!("crl_url = [\"http://localhost:{}/list\"]\ncrl_refresh_s = 1", address.port());
    let config = CONFIG.replace("crl = [\"motte-state/crl.pem\"]", &fetched);
    let more = "[sandbox]\nmode = \"required\"\n[egress]\ntimeout_ms = 1000\n";
    let site = Site::start_with(&format!("{config}{more}"));
    site.broker.event("life.revocation_list_missing");
    let (tls, device) = (site.address("tls"), client(&site, Some("device-1")));
    let connects = || {
        let mut stream = handshake(tls, &device).ok()?;
        stream.write_all(b"\x10\x14\0\x04MQTT\x04\x02\0\x3c\0\x08device-1").ok()?;
        let mut four = [0; 4];
        stream.read_exact(&mut four).ok()?;
        (four == [0x20, 2, 0, 0]).then_some(stream)
    };
    assert!(connects().is_none(), "nobody's status is known");
    *file.lock().expect("no panic") = Some(site.path("crl.pem"));
    site.broker.event("life.revocation_list_fetched");
    wait_until("it gets in", || connects().is_some());
    let mut live = connects().expect("a connection");

    // It starts when the others serve.
    site.broker.event("life.admin_ready");
    let status = || {
        let arguments = ["harden", "status", "--state", "motte-state"];
        finish(Command::new(binary()).current_dir(site.dir.path()).args(arguments))
    };
    let (good, text) = status();
    assert!(good && text.contains("everything is in force"), "{text}");
    for role in ["supervisor", "core", "keyd", "egress", "admin"] {
        let told = |line: &str| line.split_once("role ").is_some_and(|(_, name)| name.trim() == role);
        assert!(text.lines().any(told), "{role}: {text}");
    }
    // A process that tells nothing of itself is not passed over.
    let report = site.path("store").join("sandbox-keyd.json");
    let told = std::fs::read(&report).expect("it told");
    std::fs::write(&report, "").expect("ours");
    let (good, text) = status();
    let keyd = site.broker.role("keyd").as_raw_nonzero();
    assert!(!good && text.contains(&format!("process {keyd}: Landlock")), "{text}");
    std::fs::write(&report, told).expect("ours");

    // It dies; whoever is connected stays, and lists are fetched again.
    let former = site.broker.role("egress");
    site.broker.signal("egress", Signal::KILL);
    assert!(site.broker.event("life.outward_ended").field("cause").contains("signal 9"));
    site.broker.event("life.outward_ready");
    assert!(site.broker.role("egress") != former);
    live.write_all(&[0xc0, 0]).expect("PINGREQ is sent");
    live.read_exact(&mut [0; 2]).expect("PINGRESP comes");

    // Hung, it is ended and started anew.
    site.broker.signal("egress", Signal::STOP);
    wait_until("it is back again", || site.broker.events("life.outward_ready").len() == 2);

    revoke(site.dir.path(), "device-1");
    live.sock.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    assert_eq!(live.read(&mut [0; 4]).unwrap_or(0), 0, "without a reload");
    assert!(connects().is_none());

    // What was not named at the start is out of reach for good.
    let other = config.replace(&format!(":{}/list", address.port()), ":1/list");
    std::fs::write(site.dir.path().join("motte.toml"), format!("{other}{more}")).expect("ours");
    site.broker.hang_up();
    let cause = site.broker.event("life.reload_refused").field("cause");
    assert!(cause.contains("TCP port 1"), "{cause}");
    assert!(site.broker.terminate());
}

/// A service of `[auth.http]` over TLS, with the certificate of the site once it is there: yes to who has the password `far`.
fn serve_logins(dir: Arc<Mutex<Option<PathBuf>>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, heard) = (listener.local_addr().expect("it is bound"), Arc::new(Mutex::new(Vec::new())));
    let log: Arc<Mutex<Vec<String>>> = Arc::clone(&heard);
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let Some(dir) = dir.lock().expect("no panic").clone() else { continue };
            let connection = ServerConnection::new(server_config(&dir)).expect("a configuration");
            let mut tls = StreamOwned::new(connection, tcp);
            let (mut asked, mut room) = (String::new(), [0; 4_096]);
            while !asked.contains("\"certificate\":") {
                match tls.read(&mut room) {
                    Ok(count) if count > 0 => {
                        asked += &String::from_utf8_lossy(room.get(..count).expect("as many as were read"));
                    }
                    Ok(_) | Err(_) => break,
                }
            }
            let result = if asked.contains("\"password\":\"far\"") { "allow" } else { "deny" };
            log.lock().expect("no panic").push(asked);
            let body = format!("{{\"result\":\"{result}\"}}");
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = tls.write_all(answer.as_bytes());
        }
    });
    (address, heard)
}

/// The return code of a CONNECT over TLS with name and password.
fn login(site: &Site, name: &str, password: &str) -> Option<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in [name, name, password] {
        body.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut stream = handshake(site.address("tls"), &client(site, None)).ok()?;
    let packet = [&[0x10, u8::try_from(body.len()).expect("short")][..], &body].concat();
    stream.write_all(&packet).ok()?;
    let mut four = [0; 4];
    stream.read_exact(&mut four).ok()?;
    Some(four[3])
}

#[test]
fn a_service_over_tls_is_asked_with_secrets_that_the_core_never_has() {
    let dir = Arc::new(Mutex::new(None));
    let (address, heard) = serve_logins(Arc::clone(&dir));
    let hook = format!(
        "[listener.auth]\nmethods = [\"certificate\", \"password\", \"http\"]\n[auth.http]\nurl = \"https://localhost:{}/\"\n\
         ca = [\"motte-state/ca.pem\"]\nheaders_file = \"motte-state/identities/headers\"\ncache_s = 0\n[sandbox]\nmode = \"required\"\n",
        address.port()
    );
    let place = CONFIG.find("[[listener]]\nname = \"wss\"").expect("there are several");
    let config = format!("{}{hook}", &CONFIG[..place]);

    // The file is missing, then too open.
    let site_dir = tempfile::tempdir().expect("a directory");
    assert!(motte_testkit::Broker::up(site_dir.path()).terminate());
    std::fs::write(site_dir.path().join("motte.toml"), &config).expect("ours");
    let check = || {
        finish(Command::new(binary()).current_dir(site_dir.path()).args(["check", "--config", "motte.toml"]))
    };
    let (good, text) = check();
    assert!(!good && text.contains("identities/headers") && text.contains("remedy"), "{text}");
    let headers = site_dir.path().join("motte-state/identities/headers");
    std::fs::write(&headers, "Authorization: Bearer geheim-4711\n").expect("ours");
    std::fs::set_permissions(&headers, Permissions::from_mode(0o644)).expect("ours");
    let (good, text) = check();
    assert!(!good && text.contains("chmod 600"), "{text}");
    std::fs::set_permissions(&headers, Permissions::from_mode(0o600)).expect("ours");

    let broker = motte_testkit::Broker::serve(site_dir.path(), &config);
    let site = Site { broker, dir: site_dir };
    *dir.lock().expect("no panic") = Some(site.path(""));
    assert_eq!(login(&site, "somebody", "far"), Some(0));
    let asked = heard.lock().expect("no panic").concat();
    assert!(asked.to_ascii_lowercase().contains("authorization: bearer geheim-4711"), "{asked}");
    assert_eq!(login(&site, "somebody", "near"), Some(4));
    assert!(!crate::keys::in_memory(site.broker.role("core"), &[b"geheim-4711"]).contains(&true));
    assert!(
        crate::keys::in_memory(site.broker.role("egress"), &[b"geheim-4711"]).contains(&true),
        "where it should be"
    );

    // While the process is away nobody gets in by it, and who has a certificate does.
    site.broker.signal("egress", Signal::STOP);
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| login(&site, "somebody", "far"));
        assert!(handshake(site.address("tls"), &client(&site, Some("device-1"))).is_ok());
        waiting.join().expect("it ends")
    });
    assert_eq!(waiting, Some(3), "Server unavailable");
    site.broker.event("gate.login_service_failed");
    site.broker.event("life.outward_ready");
    wait_until("it is asked again", || login(&site, "somebody", "far") == Some(0));
    assert!(site.broker.terminate());
}

#[test]
fn without_anything_to_connect_to_there_is_no_such_process() {
    let site = Site::start();
    site.broker.event("life.admin_ready");
    let parent = site.broker.pid().as_raw_nonzero();
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
    assert_eq!(children.split_whitespace().count(), 3, "core, keyd and admin");
}
