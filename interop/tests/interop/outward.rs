//! The process that connects out of the real broker, confined: it fetches, dies without harm, and reaches nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use motte_testkit::{Signal, binary, finish, wait_until};

use crate::keys::{client, handshake};
use crate::site::{CONFIG, Site};

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

    let (good, text) = finish(Command::new(binary()).current_dir(site.dir.path()).args([
        "harden",
        "status",
        "--state",
        "motte-state",
    ]));
    assert!(good && text.contains("egress") && text.contains("everything is in force"), "{text}");

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

#[test]
fn without_anything_to_connect_to_there_is_no_such_process() {
    let site = Site::start();
    let parent = site.broker.pid().as_raw_nonzero();
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
    assert_eq!(children.split_whitespace().count(), 2, "core and keyd");
}
