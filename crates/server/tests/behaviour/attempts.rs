//! Guessing, bans, and the healthy devices beside them, over real sockets.

use std::time::{Duration, Instant};

use motte_config::{AuthMethod, Config, HeldAnswer, ProxyProtocol};
use motte_identity::bans::BanSubject;
use motte_server::Options;

use crate::events::with_passwords;
use crate::harness::*;

const HELD: u8 = 0x9f;
const BANNED: u8 = 0x8a;
const WRONG: u8 = 0x86;
const HOUR_MS: u64 = 3_600_000;

/// Identities `a` and `b` with passwords, behind a proxy on this machine that says who connects.
fn guarded(directory: &tempfile::TempDir) -> Config {
    let mut config = config("");
    with_passwords(directory, 64, &mut config);
    config.listeners[0].methods = vec![AuthMethod::Password];
    config.listeners[0].proxy_protocol = Some(ProxyProtocol { from: vec!["127.0.0.0/8".parse().unwrap()] });
    config.attempts.free = 2;
    config.attempts.lockout_after = 5;
    config.attempts.delay_base_ms = 20;
    config.attempts.delay_max_ms = 40;
    config
}

impl Running {
    /// A client that comes from an address.
    fn from(&self, address: &str) -> Client {
        let mut client = self.client();
        client.send(format!("PROXY TCP4 {address} 192.0.2.254 40000 1883\r\n").as_bytes());
        client
    }

    /// Logs in with 5.0; the client and the Reason Code, or `None` when it is closed without one.
    fn login(&self, address: &str, id: &str, name: &str, password: &str) -> (Client, Option<u8>) {
        let mut client = self.from(address);
        // Session Expiry Interval of an hour.
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc0, 0, 60, 5, 0x11, 0, 0, 0x0e, 0x10];
        for text in [id, name, password] {
            body.extend(string(text));
        }
        client.send(&packet(0x10, &body));
        let code = client.code();
        (client, code)
    }

    /// Guesses until held; how often it was told that the password is wrong.
    fn guess_until_held(&self, address: &str, name: &str) -> usize {
        let mut wrong = 0;
        let deadline = Instant::now() + PATIENCE;
        // Held for a moment after each failure, and then for good.
        let mut held = 0;
        while held < 40 && Instant::now() < deadline {
            match self.login(address, "guess", name, "wrong").1 {
                Some(WRONG) => (wrong, held) = (wrong + 1, 0),
                Some(HELD) => {
                    held += 1;
                    let next = Instant::now() + Duration::from_millis(5);
                    while Instant::now() < next {
                        std::thread::yield_now();
                    }
                }
                _ => break,
            }
        }
        wrong
    }
}

impl Client {
    /// The Reason Code of CONNACK, or `None` when it is closed without one.
    fn code(&mut self) -> Option<u8> {
        if self.stream.peek(&mut [0]).ok()? == 0 {
            return None;
        }
        let (first, body) = self.packet();
        assert_eq!(first, 0x20);
        Some(body[1])
    }
}

fn subject(text: &str) -> BanSubject {
    BanSubject::parse(text).unwrap()
}

#[test]
fn guesses_are_answered_later_and_later_and_then_the_address_is_banned_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(guarded(&directory));
    assert_eq!(running.guess_until_held("203.0.113.9", "nobody"), 5, "lockout_after");
    running.lines.expect("gate.locked_out");
    running.lines.expect("gate.banned");
    assert_eq!(running.login("203.0.113.9", "x", "a", "right").1, None, "closed before anything is read");
    running.lines.expect("gate.banned_refused");
    assert_eq!(running.login("203.0.113.10", "b", "b", "right").1, Some(0), "its neighbour is not");
    let bans = running.server.handle().bans();
    assert_eq!(bans.len(), 1);
    assert_eq!((bans[0].subject.to_string().as_str(), bans[0].by.as_deref()), ("203.0.113.9", None));
    assert!(running.server.handle().unban(bans[0].subject.clone(), "ann"));
    running.lines.expect("gate.ban_ended");
    assert_eq!(running.login("203.0.113.9", "a", "a", "right").1, Some(0), "its hold went with the ban");
    running.stop();
}

#[test]
fn an_answer_that_is_put_off_keeps_nobody_else_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = guarded(&directory);
    (config.workers, config.attempts.delay_base_ms, config.attempts.delay_max_ms) = (1, 5_000, 5_000);
    let running = start(config);
    for _ in 0..2 {
        assert_eq!(running.login("203.0.113.9", "x", "nobody", "wrong").1, Some(WRONG));
    }
    let begun = Instant::now();
    let mut slow = running.from("203.0.113.9");
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in ["x", "nobody", "wrong"] {
        body.extend(string(text));
    }
    slow.send(&packet(0x10, &body));
    running.lines.expect("gate.login_failed");
    for number in 0..5 {
        assert_eq!(running.login("198.51.100.7", &format!("a-{number}"), "a", "right").1, Some(0));
    }
    assert!(begun.elapsed() < Duration::from_millis(4_900));
    assert_eq!(slow.packet(), (0x20, vec![0, 4]));
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    running.stop();
}

#[test]
fn whoever_knows_a_devices_name_does_not_keep_it_out() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(guarded(&directory));
    assert_eq!(running.login("198.51.100.7", "a", "a", "right").1, Some(0));
    for last in 1..=6 {
        running.guess_until_held(&format!("203.0.{last}.9"), "a");
    }
    assert_eq!(running.login("192.0.2.1", "a-1", "a", "right").1, Some(HELD), "somebody who never was here");
    let begun = Instant::now();
    assert_eq!(running.login("198.51.100.7", "a", "a", "right").1, Some(0), "the device");
    assert!(begun.elapsed() < Duration::from_secs(10));
    running.stop();
}

#[test]
fn those_who_are_held_or_banned_can_be_told_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = guarded(&directory);
    config.attempts.answer = HeldAnswer::Close;
    (config.attempts.delay_base_ms, config.attempts.delay_max_ms) = (60_000, 60_000);
    config.attempts.free = 1;
    config.attempts.lockout_after = 2;
    let running = start(config);
    assert_eq!(running.login("127.0.0.1", "x", "nobody", "wrong").1, Some(WRONG));
    let _late = running.from("127.0.0.1");
    let mut second = running.from("127.0.0.1");
    second.send(&hello_as("x", "nobody", "wrong"));
    running.lines.expect("gate.locked_out");
    assert_eq!(running.login("127.0.0.1", "x", "nobody", "wrong").1, None);
    running.lines.expect("gate.login_held");
    assert!(running.server.handle().bans().is_empty(), "this machine is held, not banned");
    running.server.handle().ban(subject("identity:a"), "lost", "ann", HOUR_MS).unwrap();
    assert_eq!(running.login("198.51.100.7", "a", "a", "right").1, None);
    running.stop();
}

fn hello_as(id: &str, name: &str, password: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in [id, name, password] {
        body.extend(string(text));
    }
    packet(0x10, &body)
}

#[test]
fn a_ban_closes_live_connections_within_a_second_and_keeps_their_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = guarded(&directory);
    config.workers = 2;
    let running = start(config);
    let handle = running.server.handle();
    for ban in ["identity:a", "client-id:a-1", "198.51.100.0/24", "198.51.100.7"] {
        let (mut device, code) = running.login("198.51.100.7", "a-1", "a", "right");
        assert_eq!(code, Some(0), "{ban}");
        let (mut other, code) = running.login("192.0.2.7", "b", "b", "right");
        assert_eq!(code, Some(0));
        let begun = Instant::now();
        handle.ban(subject(ban), "stolen", "ann", HOUR_MS).unwrap();
        let (first, body) = device.packet();
        assert_eq!((first, body.first()), (0xe0, Some(&0x98)), "Administrative action");
        assert!(device.is_closed() && begun.elapsed() < Duration::from_secs(10));
        let again = running.login("198.51.100.7", "a-1", "a", "right").1;
        assert_eq!(again, if ban.starts_with("198") { None } else { Some(BANNED) }, "{ban}");
        other.send(&[0xc0, 0]);
        assert_eq!(other.packet().0, 0xd0);
        assert!(handle.unban(subject(ban), "ann") && !handle.unban(subject(ban), "ann"));
    }
    assert_eq!(running.login("198.51.100.7", "a-1", "a", "right").1, Some(0));
    running.lines.expect("rule.revoked");
    running.stop();
}

#[test]
fn bans_and_counters_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = guarded(&directory);
    config.state_dir = Some(directory.path().join("state"));
    (config.attempts.delay_base_ms, config.attempts.delay_max_ms) = (60_000, 60_000);
    config.attempts.free = 1;
    let running = start(config.clone());
    running.server.handle().ban(subject("client-id:stolen"), "stolen", "ann", HOUR_MS).unwrap();
    let file = directory.path().join("state/bans.state");
    wait_for(|| file.exists(), || "a ban is written at once".to_owned());
    assert_eq!(running.login("203.0.113.9", "x", "a", "wrong").1, Some(WRONG));
    assert_eq!(running.login("203.0.113.9", "x", "a", "wrong").1, Some(WRONG));
    assert_eq!(running.login("203.0.113.9", "x", "a", "right").1, Some(HELD));
    running.stop();

    let running = start(config.clone());
    assert_eq!(running.login("203.0.113.9", "x", "a", "right").1, Some(HELD));
    assert_eq!(running.login("198.51.100.7", "stolen", "a", "right").1, Some(BANNED));
    let bans = running.server.handle().bans();
    assert_eq!((bans[0].cause.as_str(), bans[0].by.as_deref()), ("stolen", Some("ann")));
    running.stop();

    let sealed = std::fs::read(&file).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"stolen"), "what is kept of bans is sealed");
    std::fs::write(&file, b"damaged").unwrap();
    let running = start(config);
    running.lines.expect("keep.state_file_refused");
    assert!(directory.path().join("state/bans.state.damaged").exists());
    assert!(running.server.handle().bans().is_empty());

    std::fs::create_dir(directory.path().join("state/bans.state.new")).unwrap();
    running.server.handle().ban(subject("client-id:stolen"), "stolen", "ann", HOUR_MS).unwrap();
    running.lines.expect("keep.attempts_not_kept");
    running.stop();
}

#[test]
fn a_ban_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(guarded(&directory));
    running.server.handle().ban(subject("identity:a"), "a moment", "ann", 300).unwrap();
    assert_eq!(running.login("198.51.100.7", "a", "a", "right").1, Some(BANNED));
    running.lines.expect("gate.ban_ended");
    assert_eq!(running.login("198.51.100.7", "a", "a", "right").1, Some(0));
    let error = running.server.handle().ban(subject("identity:a"), "", "ann", u64::MAX).unwrap_err();
    assert!(error.to_string().contains("at most 30 days"));
    running.stop();
}

#[test]
fn connections_that_come_too_often_are_closed() {
    let mut config = anonymous();
    config.attempts.connections_per_second = 1;
    let running = start(config);
    let answered = (0..30).filter(|number| {
        let mut client = running.client();
        client.send(&hello(&format!("c{number}")));
        !client.is_closed()
    });
    let answered = answered.count();
    assert!((11..=14).contains(&answered), "{answered}");
    running.lines.expect("gate.connections_full");
    running.lines.expect("auth.attempts.connections_per_second");
    running.stop();
}

#[test]
fn an_address_filter_reaches_live_connections_by_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = guarded(&directory);
    let mut narrower = config.clone();
    narrower.listeners[0].deny = vec!["198.51.100.0/24".parse().unwrap()];
    config.workers = 2;
    narrower.workers = 2;
    let read_config: motte_server::ReadConfig = Box::new(move || Ok(narrower.clone()));
    let policy = motte_access::CompiledPolicy::development_allow_all(motte_access::PolicyGeneration(1));
    let options = Options { policy: Some(policy), read_config: Some(read_config), ..Options::default() };
    let running = start_with(config, options);
    let (mut denied, code) = running.login("198.51.100.7", "a", "a", "right");
    assert_eq!(code, Some(0));
    let (mut kept, code) = running.login("192.0.2.7", "b", "b", "right");
    assert_eq!(code, Some(0));
    running.server.handle().reload().unwrap();
    assert_eq!(denied.packet().0, 0xe0);
    assert!(denied.is_closed());
    kept.send(&[0xc0, 0]);
    assert_eq!(kept.packet().0, 0xd0);
    assert_eq!(running.login("198.51.100.8", "a", "a", "right").1, None, "and the next ones");
    running.lines.expect("gate.address_refused");
    running.stop();
}

/// CONNECT over TLS; the return code of 3.1.1.
fn tls_login(running: &Running, directory: &std::path::Path, packet: &[u8]) -> u8 {
    use std::io::{Read, Write};
    let mut stream = crate::secured::dial(running, directory);
    let mut answer = [0; 4];
    stream.write_all(packet).unwrap();
    stream.read_exact(&mut answer).unwrap();
    answer[3]
}

#[test]
fn two_hundred_guesses_at_a_device_do_not_keep_out_the_device_that_has_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, _authority) = crate::secured::secured(directory.path());
    with_passwords(&directory, 64, &mut config);
    let listener = &mut config.listeners[0];
    listener.methods = vec![AuthMethod::Certificate, AuthMethod::Password];
    listener.tls.as_mut().unwrap().client_certificates = motte_config::ClientCertificates::Optional;
    config.attempts.delay_max_ms = 1;
    config.attempts.delay_base_ms = 1;
    let guesser = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("ca.pem"), guesser.path().join("ca.pem")).unwrap();
    let running = start_with(config, Options::default());
    let guess = hello_as("device", "device", "wrong");
    let held = (0..200).filter(|_| tls_login(&running, guesser.path(), &guess) == 3).count();
    assert!(held >= 200 - 40, "{held} were refused unchecked");
    running.lines.expect("gate.locked_out");
    let begun = Instant::now();
    assert_eq!(tls_login(&running, directory.path(), &hello("device")), 0, "the device");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    running.stop();
}
