//! TLS with client certificates.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use motte_config::{ClientCertificates, Config};
use motte_pki::{Authority, Issued, Revoked};
use motte_server::{Options, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::*;

const POLICY: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\n";

pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub fn write_pair(directory: &Path, name: &str, issued: &Issued) {
    std::fs::write(directory.join(format!("{name}.pem")), &issued.certificate_pem).unwrap();
    let key = directory.join(format!("{name}.key"));
    std::fs::write(&key, issued.key_pem.expose()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An authority, a server and a device, as files; and a configuration that uses them.
pub fn secured(directory: &Path) -> (Config, Authority) {
    let (authority, root) = Authority::create("test", now_s()).unwrap();
    write_pair(directory, "ca", &root);
    let server =
        authority.server(&["localhost".to_owned()], &["127.0.0.1".parse().unwrap()], now_s()).unwrap();
    write_pair(directory, "server", &server);
    write_pair(directory, "device", &authority.client("device", "", now_s()).unwrap());
    std::fs::write(directory.join("policy.toml"), POLICY).unwrap();
    let path = |name: &str| directory.join(name).display().to_string();
    let text = format!(
        "[policy]\nfiles = [\"{}\"]\n[[listener]]\nname = \"main\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\ncertificates = [{{ chain = \"{}\", key = \"{}\" }}]\nclient_certificates = \"required\"\nclient_ca = [\"{}\"]\n",
        path("policy.toml"),
        path("server.pem"),
        path("server.key"),
        path("ca.pem"),
    );
    (motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap(), authority)
}

pub fn dial(running: &Running, directory: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    dial_in_fragments(running, directory, None)
}

/// With TLS records of so many bytes at most.
fn dial_in_fragments(
    running: &Running,
    directory: &Path,
    bytes: Option<usize>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    for root in motte_pki::certificates(&read("ca.pem")).unwrap() {
        roots.add(root).unwrap();
    }
    let own = directory.join("device.pem").exists().then(|| {
        let chain = motte_pki::certificates(&read("device.pem")).unwrap();
        (chain, motte_pki::private_key(&read("device.key"), None).unwrap())
    });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.max_fragment_size = bytes;
    let connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = TcpStream::connect(running.address("main")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

#[test]
fn a_certificate_is_an_identity_until_its_authority_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = secured(directory.path());
    let running = start_with(config, Options::default());
    let mut device = dial(&running, directory.path());
    device.write_all(&hello("device")).unwrap();
    let mut answer = [0; 4];
    device.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    running.lines.expect("gate.handshake_done");
    running.lines.expect("X25519MLKEM768");

    let ca = directory.path().join("ca.pem");
    let good = std::fs::read(&ca).unwrap();
    std::fs::write(&ca, "no certificate").unwrap();
    assert!(running.server.handle().reload().unwrap_err().to_string().contains("ca.pem"));
    device.write_all(&[0xc0, 0]).unwrap();
    device.read_exact(&mut answer[..2]).unwrap();
    assert_eq!(answer[..2], [0xd0, 0]);

    std::fs::write(&ca, good).unwrap();
    running.server.handle().reload().unwrap();
    device.write_all(&[0xc0, 0]).unwrap();
    device.read_exact(&mut answer[..2]).unwrap();
    assert_eq!(answer[..2], [0xd0, 0]);

    let (_, other) = Authority::create("other", now_s()).unwrap();
    std::fs::write(&ca, other.certificate_pem).unwrap();
    running.server.handle().reload().unwrap();
    running.lines.expect("rule.revoked");
    assert_eq!(device.read(&mut answer).unwrap_or(0), 0);
    running.stop();
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = secured(directory.path());
    let key = directory.path().join("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Server::start(config, Options::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("remedy: chmod 600 {}", key.display())), "{error}");
}

#[test]
fn certificates_near_and_past_their_end_are_warned_about() {
    for (age_days, event) in [(3_650, "life.certificate_expired"), (0, "")] {
        let directory = tempfile::tempdir().unwrap();
        let (config, authority) = secured(directory.path());
        let names = ["localhost".to_owned()];
        let issue = |age_days: u64| authority.server(&names, &[], now_s() - age_days * 86_400).unwrap();
        let age_days = if event.is_empty() {
            let days = motte_pki::certificates(&issue(0).certificate_pem).unwrap();
            motte_pki::inspect(days.first().unwrap()).unwrap().days_left(now_s()).unwrap() - 10
        } else {
            age_days
        };
        write_pair(directory.path(), "server", &issue(age_days));
        let running = start_with(config, Options::default());
        running.lines.expect(if event.is_empty() { "life.certificate_expiring" } else { event });
        running.stop();
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_so_is_everybody_when_the_list_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, authority) = secured(directory.path());
    let list = directory.path().join("crl.pem");
    let write = |revoked: &[Revoked], number, at_s| {
        std::fs::write(&list, authority.revocation_list(revoked, number, at_s).unwrap()).unwrap();
    };
    write(&[], 1, now_s());
    config.listeners[0].tls.as_mut().unwrap().crl = vec![list.clone()];
    let running = start_with(config, Options::default());
    let refused = || {
        let mut device = dial(&running, directory.path());
        device.write_all(&hello("device")).is_err() || device.read_exact(&mut [0; 4]).is_err()
    };
    assert!(!refused());
    let mut live = dial(&running, directory.path());
    live.write_all(&hello("device")).unwrap();
    live.read_exact(&mut [0; 4]).unwrap();

    let pem = std::fs::read_to_string(directory.path().join("device.pem")).unwrap();
    let serial = motte_pki::serial_number(&motte_pki::certificates(&pem).unwrap()[0]).unwrap();
    write(&[Revoked { serial, at_s: now_s() }], 2, now_s());
    running.server.handle().reload().unwrap();
    running.lines.expect("rule.revoked");
    assert_eq!(live.read(&mut [0; 4]).unwrap_or(0), 0);
    assert!(refused());
    running.lines.expect("gate.tls_failed");

    write(&[], 3, now_s() - 4_000 * 86_400);
    running.server.handle().reload().unwrap();
    running.lines.expect("life.revocation_list_expired");
    assert!(refused(), "a list that has ended says nothing about today");
    running.stop();
}

#[test]
fn a_client_without_certificate_goes_when_one_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, _) = secured(directory.path());
    config.listeners[0].tls.as_mut().unwrap().client_certificates = ClientCertificates::Optional;
    with_a_user(&mut config, directory.path());
    let mut stricter = config.clone();
    stricter.listeners[0].tls.as_mut().unwrap().client_certificates = ClientCertificates::Required;
    let options = Options { read_config: Some(Box::new(move || Ok(stricter.clone()))), ..Options::default() };
    let running = start_with(config, options);
    std::fs::remove_file(directory.path().join("device.pem")).unwrap();
    let mut user = user(&running, directory.path());
    running.server.handle().reload().unwrap();
    running.lines.expect("rule.revoked");
    assert_eq!(user.read(&mut [0; 4]).unwrap_or(0), 0);
    running.stop();
}

/// An account `user` with a password.
fn with_a_user(config: &mut Config, directory: &Path) {
    let file = directory.join("passwords");
    let mut passwords = motte_identity::PasswordFile::default();
    let cheap = motte_seal::HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    passwords.set("user", motte_seal::PasswordHash::create(b"right", cheap).unwrap());
    std::fs::write(&file, passwords.to_string()).unwrap();
    config.password_file = Some(file);
}

/// A connection of the account, with whatever certificate there is.
fn user(running: &Running, directory: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut user = dial(running, directory);
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in ["user", "user", "right"] {
        body.extend(string(text));
    }
    user.write_all(&packet(0x10, &body)).unwrap();
    let mut answer = [0; 4];
    user.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    user
}

#[test]
fn who_comes_in_by_password_stays_as_long_as_the_certificate_it_showed_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, authority) = secured(directory.path());
    with_a_user(&mut config, directory.path());
    config.listeners[0].methods = vec![motte_config::AuthMethod::Password];
    let list = directory.path().join("list.pem");
    std::fs::write(&list, authority.revocation_list(&[], 1, now_s()).unwrap()).unwrap();
    config.listeners[0].tls.as_mut().unwrap().crl = vec![list.clone()];
    let running = start_with(config, Options::default());
    let mut user = user(&running, directory.path());
    running.server.handle().reload().unwrap();
    running.lines.expect("life.reloaded");
    user.write_all(&[0xc0, 0]).unwrap();
    let mut pong = [0; 2];
    user.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0xd0, 0], "nothing changed");

    let own = std::fs::read_to_string(directory.path().join("device.pem")).unwrap();
    let serial = motte_pki::serial_number(&motte_pki::certificates(&own).unwrap()[0]).unwrap();
    let revoked = [motte_pki::Revoked { serial, at_s: now_s() }];
    std::fs::write(&list, authority.revocation_list(&revoked, 2, now_s()).unwrap()).unwrap();
    running.server.handle().reload().unwrap();
    running.lines.expect("rule.revoked");
    assert_eq!(user.read(&mut pong).unwrap_or(0), 0);
    running.stop();
}

#[test]
fn clients_get_in_while_others_leave_in_the_middle_of_the_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, _) = secured(directory.path());
    config.handshake_threads = 2;
    let running = start_with(config, Options::default());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (running, path) = (&running, directory.path());
            scope.spawn(move || {
                for round in 0..4 {
                    // The first flight and away: nobody is there any more when it is answered.
                    let mut away = dial(running, path);
                    away.conn.write_tls(&mut away.sock).unwrap();
                    drop(away);
                    let mut device = dial(running, path);
                    device.write_all(&hello(&format!("device-{number}-{round}"))).unwrap();
                    let mut answer = [0; 4];
                    device.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [0x20, 2, 0, 0]);
                }
            });
        }
    });
    running.stop();
}

#[test]
fn tls_records_of_any_size_carry_packets_of_any_size() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = secured(directory.path());
    let running = start_with(config, Options::default());
    for bytes in [Some(32), Some(999), None] {
        let mut device = dial_in_fragments(&running, directory.path(), bytes);
        device.write_all(&hello("device")).unwrap();
        let mut answer = [0; 4];
        device.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        device.write_all(&packet(0x82, &[&[0, 1][..], &string("t"), &[0]].concat())).unwrap();
        let mut answer = [0; 5];
        device.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x90, 3, 0, 1, 0]);

        // More at once than any buffer on the way holds, and read only when all is sent.
        let payload: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let publish = packet(0x30, &[&string("t")[..], &payload].concat());
        device.write_all(&publish).unwrap();
        device.flush().unwrap();
        let mut back = vec![0; publish.len()];
        device.read_exact(&mut back).unwrap();
        assert_eq!(back, publish);
    }
    running.stop();
}

#[test]
fn a_stranger_cannot_hoard_pieces_of_a_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = secured(directory.path());
    let running = start_with(config, Options::default());
    let mut stranger = TcpStream::connect(running.address("main")).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    // A message of 64 KiB, a byte a record.
    let mut pieces = b"\x16\x03\x01\x00\x04\x01\x00\xff\xff".to_vec();
    pieces.extend(b"\x16\x03\x01\x00\x01\x41".repeat(20_000));
    // It may be closed before all is written.
    let _ = stranger.write_all(&pieces);
    let mut rest = Vec::new();
    let ended = stranger.read_to_end(&mut rest);
    assert!(
        ended.is_ok()
            || ended.is_err_and(|error| !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )),
        "it is closed"
    );
    running.stop();
}

#[test]
fn a_stranger_that_changes_keys_without_end_gives_others_their_turn() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, _) = secured(directory.path());
    config.workers = 1;
    let running = start_with(config, Options::default());
    let mut other = dial(&running, directory.path());
    other.write_all(&hello("device")).unwrap();
    let mut answer = [0; 4];
    other.read_exact(&mut answer).unwrap();
    let mut stranger = dial(&running, directory.path());
    while stranger.conn.is_handshaking() {
        stranger.conn.complete_io(&mut stranger.sock).unwrap();
    }
    // What the stranger sends fits the buffers of its socket, so all of it is there before the other one asks.
    stranger.sock.set_nonblocking(true).unwrap();
    let mut sent = 0;
    'flood: for _ in 0..2_000 {
        for _ in 0..30 {
            stranger.conn.refresh_traffic_keys().unwrap();
        }
        while stranger.conn.wants_write() {
            match stranger.conn.write_tls(&mut stranger.sock) {
                Ok(count) => sent += count,
                Err(_) => break 'flood,
            }
        }
    }
    assert!(sent > 100, "{sent}");
    other.write_all(&[0xc0, 0]).unwrap();
    other.read_exact(&mut answer[..2]).unwrap();
    assert_eq!(answer[..2], [0xd0, 0]);
    running.stop();
}
