//! Exchanges of AUTH packets: SCRAM, with and without TLS to be bound to, and authenticating again on a live connection.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use motte_access::{CompiledPolicy, PolicyGeneration};
use motte_identity::{Account, Origin, Password, PasswordFile};
use motte_seal::{ScramKeys, StoredHash};
use motte_server::Options;
use motte_wire::{Auth, ControlPacket, DecodeRules, ProtocolVersion, ReasonCode, decode, frame};

use crate::harness::*;
use crate::tokens::start_with_issuer;

const SCRAM: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What a broker says in an exchange: its packet, the reason and the data.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Auth(u8, Vec<u8>),
    ConnAck(u8, Vec<u8>),
    Disconnect(u8),
    Other(u8),
}

fn read_packet(stream: &mut impl Read) -> Said {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        let Some(whole) = frame(&bytes, u32::MAX).unwrap() else { continue };
        return match decode(whole, ProtocolVersion::V5, &DecodeRules::from_server()).unwrap() {
            ControlPacket::Auth(Auth { reason, data, .. }) => {
                Said::Auth(reason.0, data.unwrap_or_default().to_vec())
            }
            ControlPacket::ConnAck(ack) => {
                Said::ConnAck(ack.reason.0, ack.properties.authentication_data.unwrap_or_default().to_vec())
            }
            ControlPacket::Disconnect(packet) => Said::Disconnect(packet.reason.0),
            _ => Said::Other(bytes[0]),
        };
    }
}

/// CONNECT of 5.0 with a method and its data, and with a user name or not.
fn connect(stream: &mut impl Write, client_id: &str, method: &str, data: &[u8]) {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60];
    let mut properties = vec![0x15];
    properties.extend(string(method));
    properties.push(0x16);
    properties.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    properties.extend(data);
    // A Variable Byte Integer.
    let length = properties.len();
    if length < 128 {
        body.push(u8::try_from(length).unwrap());
    } else {
        body.extend([u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()]);
    }
    body.extend(properties);
    body.extend(string(client_id));
    stream.write_all(&packet(0x10, &body)).unwrap();
}

fn auth(stream: &mut impl Write, reason: ReasonCode, method: &str, data: &[u8]) {
    let mut bytes = Vec::new();
    Auth::new(reason, Some(method), Some(data)).encode(ProtocolVersion::V5, &mut bytes);
    stream.write_all(&bytes).unwrap();
}

/// The client's side of SCRAM.
struct Scram {
    header: &'static str,
    bare: String,
    password: &'static str,
    binding: Vec<u8>,
    expected: String,
}

impl Scram {
    fn new(name: &str, password: &'static str) -> Self {
        let bare = format!("n={name},r=0123456789abcdef");
        Self { header: "n,,", bare, password, binding: Vec::new(), expected: String::new() }
    }

    fn bound(name: &str, password: &'static str, binding: [u8; 32]) -> Self {
        Self { header: "p=tls-exporter,,", binding: binding.to_vec(), ..Self::new(name, password) }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into_bytes()
    }

    fn last(&mut self, server_first: &[u8]) -> Vec<u8> {
        let server_first = std::str::from_utf8(server_first).unwrap();
        let mut parts = server_first.split(',');
        let mut part = |prefix: &str| parts.next().unwrap().strip_prefix(prefix).unwrap();
        let (nonce, salt, iterations) = (part("r="), part("s="), part("i=").parse().unwrap());
        let salt = BASE64.decode(salt).unwrap();
        let mut salted = [0; 32];
        let password = self.password.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let mac = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let binding = BASE64.encode([self.header.as_bytes(), &self.binding].concat());
        let without = format!("c={binding},r={nonce}");
        let message = format!("{},{server_first},{without}", self.bare);
        let client_key = mac(&salted, "Client Key");
        let signature = mac(digest::digest(&digest::SHA256, &client_key).as_ref(), &message);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        self.expected = format!("v={}", BASE64.encode(mac(&mac(&salted, "Server Key"), &message)));
        format!("{without},p={}", BASE64.encode(proof)).into_bytes()
    }

    /// A login; what the broker said last.
    fn enter(mut self, stream: &mut (impl Read + Write), client_id: &str, method: &str) -> Said {
        connect(stream, client_id, method, &self.first());
        match read_packet(stream) {
            Said::Auth(0x18, server_first) => {
                let last = self.last(&server_first);
                auth(stream, ReasonCode::CONTINUE_AUTHENTICATION, method, &last);
                let said = read_packet(stream);
                if let Said::ConnAck(0, data) = &said {
                    assert_eq!(data, self.expected.as_bytes(), "the broker proves itself");
                }
                said
            }
            said => said,
        }
    }

    /// Authenticates again; what the broker said last.
    fn again(mut self, stream: &mut (impl Read + Write), between: impl FnOnce(&mut dyn Write)) -> Said {
        auth(stream, ReasonCode::RE_AUTHENTICATE, SCRAM, &self.first());
        let Said::Auth(0x18, server_first) = read_packet(stream) else { panic!("no challenge") };
        between(stream);
        let last = self.last(&server_first);
        auth(stream, ReasonCode::CONTINUE_AUTHENTICATION, SCRAM, &last);
        read_packet(stream)
    }
}

/// A file with two accounts for SCRAM.
fn site(directory: &Path) -> PathBuf {
    let mut file = PasswordFile::default();
    file.key_or_new().unwrap();
    for (name, password) in [("user", "pencil"), ("other", "eraser")] {
        let hash = StoredHash::Scram(ScramKeys::create(password, ScramKeys::ITERATIONS_MIN).unwrap());
        let account =
            Account { passwords: vec![Password::new(hash, Origin::Person, 1)], ..Account::default() };
        assert!(file.insert(name, account));
    }
    let path = directory.join("passwords");
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

fn start_at(path: PathBuf, change: impl Fn(&mut motte_config::Config)) -> Running {
    let mut config = config("");
    config.password_file = Some(path);
    config.attempts.free = 1_000;
    change(&mut config);
    let policy = CompiledPolicy::development_allow_all(PolicyGeneration(1));
    start_with(config, Options { policy: Some(policy), ..Options::default() })
}

#[test]
fn a_password_is_proved_and_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_at(site(directory.path()), |_| {});
    let mut client = running.client().stream;
    assert!(matches!(Scram::new("user", "pencil").enter(&mut client, "user", SCRAM), Said::ConnAck(0, _)));
    client.write_all(&[0xc0, 0]).unwrap();
    assert_eq!(read_packet(&mut client), Said::Other(0xd0));
    running.lines.expect("method=password");
    for (name, password) in [("user", "eraser"), ("nobody", "pencil")] {
        let said = Scram::new(name, password).enter(&mut running.client().stream, name, SCRAM);
        assert_eq!(said, Said::ConnAck(0x86, Vec::new()), "{name}: told after the proof, and the same");
    }
    running.lines.expect("cause=\"the proof is wrong\"");
    running.lines.expect("cause=\"there is no such identity\"");
    assert_eq!(running.client().connect_as("user", true, Some(("user", "pencil"))).1, 0, "sent, as ever");
    let unknown = Scram::new("user", "pencil").enter(&mut running.client().stream, "user", "SCRAM-SHA-1");
    assert_eq!(unknown, Said::ConnAck(0x8c, Vec::new()));
    running.stop();
}

#[test]
fn a_wrong_proof_counts_as_a_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_at(site(directory.path()), |config| {
        config.attempts.free = 2;
        config.attempts.delay_base_ms = 60_000;
        config.attempts.delay_max_ms = 60_000;
    });
    for _ in 0..2 {
        let said = Scram::new("user", "wrong").enter(&mut running.client().stream, "user", SCRAM);
        assert_eq!(said, Said::ConnAck(0x86, Vec::new()));
    }
    let mut third = running.client().stream;
    let mut scram = Scram::new("user", "wrong");
    connect(&mut third, "user", SCRAM, &scram.first());
    let Said::Auth(0x18, server_first) = read_packet(&mut third) else { panic!("no challenge") };
    let last = scram.last(&server_first);
    auth(&mut third, ReasonCode::CONTINUE_AUTHENTICATION, SCRAM, &last);
    running.lines.expect("gate.login_failed");
    wait_for(
        || {
            let said = Scram::new("user", "pencil").enter(&mut running.client().stream, "user", SCRAM);
            said == Said::ConnAck(0x9f, Vec::new())
        },
        || "nobody is held".to_owned(),
    );
    running.lines.expect("gate.login_held");
    running.stop();
}

#[test]
fn a_login_is_bound_to_its_tls_connection_and_a_downgrade_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = site(directory.path());
    let (mut config, _) = crate::secured::secured(directory.path());
    config.password_file = Some(path);
    config.attempts.free = 1_000;
    config.listeners[0].methods = vec![motte_config::AuthMethod::Password];
    let tls = config.listeners[0].tls.as_mut().unwrap();
    tls.client_certificates = motte_config::ClientCertificates::None;
    tls.client_ca.clear();
    std::fs::remove_file(directory.path().join("device.pem")).unwrap();
    let running = start_with(config, Options::default());
    let dial = || {
        let mut stream = crate::secured::dial(&running, directory.path());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        let binding =
            stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        (stream, binding)
    };
    let (mut client, binding) = dial();
    let said = Scram::bound("user", "pencil", binding).enter(&mut client, "user", PLUS);
    assert!(matches!(said, Said::ConnAck(0, _)), "{said:?}");
    let (_elsewhere, other) = dial();
    let (mut client, _) = dial();
    let said = Scram::bound("user", "pencil", other).enter(&mut client, "user", PLUS);
    assert_eq!(said, Said::ConnAck(0x86, Vec::new()), "a proof of another connection");
    running.lines.expect("the channel binding is another");
    let (mut client, _) = dial();
    let said = Scram { header: "y,,", ..Scram::new("user", "pencil") }.enter(&mut client, "user", SCRAM);
    assert_eq!(said, Said::ConnAck(0x86, Vec::new()));
    running.lines.expect("a downgrade");
    let (mut client, _) = dial();
    let said = Scram::new("user", "pencil").enter(&mut client, "user", SCRAM);
    assert!(matches!(said, Said::ConnAck(0, _)), "a client that cannot bind may come");
    running.stop();
}

#[test]
fn where_certificate_and_password_are_wanted_a_proof_by_scram_alone_is_not_enough_nor_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let path = site(directory.path());
    let (mut config, authority) = crate::secured::secured(directory.path());
    config.password_file = Some(path);
    config.attempts.free = 1_000;
    let listener = &mut config.listeners[0];
    listener.methods = vec![motte_config::AuthMethod::Certificate, motte_config::AuthMethod::Password];
    listener.all_of = listener.methods.clone();
    // So that TLS lets in who shows none, and the broker has to say no.
    listener.tls.as_mut().unwrap().client_certificates = motte_config::ClientCertificates::Optional;
    let own = |name: &str| {
        let issued = authority.client(name, "", crate::secured::now_s()).unwrap();
        crate::secured::write_pair(directory.path(), "device", &issued);
    };
    let running = start_with(config, Options::default());
    let dial = || crate::secured::dial(&running, directory.path());
    let by_scram =
        |name: &str, password: &'static str| Scram::new(name, password).enter(&mut dial(), name, SCRAM);
    own("user");
    assert!(matches!(by_scram("user", "pencil"), Said::ConnAck(0, _)), "both, of one identity");
    assert!(matches!(by_scram("user", "wrong"), Said::ConnAck(0x86, _)), "a wrong password");
    let differ = by_scram("other", "eraser");
    assert!(matches!(differ, Said::ConnAck(reason, _) if reason >= 0x80), "of two identities: {differ:?}");
    let mut stream = dial();
    stream.write_all(&hello("user")).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer[0] == 0x20 && answer[3] != 0, "the certificate alone: {answer:?}");
    std::fs::remove_file(directory.path().join("device.pem")).unwrap();
    let alone = by_scram("user", "pencil");
    assert!(matches!(alone, Said::ConnAck(reason, _) if reason >= 0x80), "SCRAM alone: {alone:?}");
    running.lines.expect("no client certificate was presented");
    running.stop();
}

// MQTT-4.12.1-1@5.0 MQTT-4.12.1-2@5.0
#[test]
fn a_live_client_proves_itself_again_while_messages_go_on_and_as_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_at(site(directory.path()), |_| {});
    let mut client = running.client().stream;
    assert!(matches!(Scram::new("user", "pencil").enter(&mut client, "user", SCRAM), Said::ConnAck(0, _)));
    let said = Scram::new("user", "pencil").again(&mut client, |stream| {
        stream.write_all(&[0xc0, 0]).unwrap();
    });
    assert_eq!(said, Said::Other(0xd0), "a packet between the steps is answered");
    assert!(matches!(read_packet(&mut client), Said::Auth(0, _)));
    running.lines.expect("gate.reauthenticated");
    let other = Scram::new("other", "eraser");
    auth(&mut client, ReasonCode::RE_AUTHENTICATE, SCRAM, &other.first());
    assert_eq!(read_packet(&mut client), Said::Disconnect(0x87), "it cannot become somebody else");
    running.lines.expect("gate.reauthentication_refused");
    let mut client = running.client().stream;
    assert!(matches!(Scram::new("user", "pencil").enter(&mut client, "user", SCRAM), Said::ConnAck(0, _)));
    assert_eq!(Scram::new("user", "wrong").again(&mut client, |_| {}), Said::Disconnect(0x87));
    running.stop();
}

#[test]
fn a_token_in_an_exchange_may_be_replaced_before_it_ends() {
    const TOKEN: &str = "OAUTH2-JWT";
    let directory = tempfile::tempdir().unwrap();
    let (running, issuer, _) = start_with_issuer(directory.path());
    let mut client = running.client();
    connect(&mut client.stream, "dev-1", TOKEN, issuer.token("k1", 2, "").as_bytes());
    assert_eq!(read_packet(&mut client.stream), Said::ConnAck(0, Vec::new()));
    auth(&mut client.stream, ReasonCode::RE_AUTHENTICATE, TOKEN, issuer.token("k1", 600, "").as_bytes());
    assert_eq!(read_packet(&mut client.stream), Said::Auth(0, Vec::new()));
    // Another one, with the same token to begin with, shows when that has ended.
    let mut left = running.client();
    connect(&mut left.stream, "dev-1-left", TOKEN, issuer.token("k1", 2, "").as_bytes());
    assert_eq!(read_packet(&mut left.stream), Said::ConnAck(0, Vec::new()));
    assert_eq!(read_packet(&mut left.stream), Said::Disconnect(0x87));
    running.lines.expect("gate.credential_ended");
    client.stream.write_all(&[0xc0, 0]).unwrap();
    assert_eq!(read_packet(&mut client.stream), Said::Other(0xd0));
    auth(&mut client.stream, ReasonCode::RE_AUTHENTICATE, TOKEN, issuer.token("k1", -5, "").as_bytes());
    assert_eq!(read_packet(&mut client.stream), Said::Disconnect(0x87));
    running.stop();
}

/// The same, where `user` has a second factor; gives its recovery codes too.
fn site_with_second_factor(directory: &Path) -> (PathBuf, Vec<motte_seal::SecretString>) {
    let path = site(directory);
    let mut file = PasswordFile::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let (second, recovery) = motte_identity::SecondFactor::generate(file.key().unwrap(), 0).unwrap();
    file.account_mut("user").unwrap().second = Some(second);
    std::fs::write(&path, file.to_string()).unwrap();
    (path, recovery)
}

#[test]
fn an_account_with_a_second_factor_does_not_come_in_by_a_proof_of_its_password_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = site_with_second_factor(directory.path());
    let running = start_at(path, |_| {});
    for password in ["pencil", "wrong"] {
        let said = Scram::new("user", password).enter(&mut running.client().stream, "user", SCRAM);
        assert_eq!(
            said,
            Said::ConnAck(0x86, Vec::new()),
            "{password}: told the same, so nobody learns which is right"
        );
    }
    running.lines.expect("cause=\"its second factor cannot be given by SCRAM\"");
    let said = Scram::new("other", "eraser").enter(&mut running.client().stream, "other", SCRAM);
    assert!(matches!(said, Said::ConnAck(0, _)), "an account without one does");
    running.stop();
}

#[test]
fn a_code_may_be_given_again_on_a_live_connection() {
    let directory = tempfile::tempdir().unwrap();
    let (path, recovery) = site_with_second_factor(directory.path());
    let store = directory.path().join("store");
    let running = start_at(path, |config| config.state_dir = Some(store.clone()));
    let mut client = running.client().stream;
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 60, 7, 0x15];
    for text in ["TOTP", "user", "user", "pencil"] {
        body.extend(string(text));
    }
    client.write_all(&packet(0x10, &body)).unwrap();
    assert_eq!(read_packet(&mut client), Said::Auth(0x18, b"code".to_vec()));
    auth(&mut client, ReasonCode::CONTINUE_AUTHENTICATION, "TOTP", recovery[0].expose().as_bytes());
    assert_eq!(read_packet(&mut client), Said::ConnAck(0, Vec::new()));
    for (code, said) in
        [(recovery[1].expose(), Said::Auth(0, Vec::new())), ("000000", Said::Disconnect(0x87))]
    {
        auth(&mut client, ReasonCode::RE_AUTHENTICATE, "TOTP", b"pencil");
        assert_eq!(read_packet(&mut client), Said::Auth(0x18, b"code".to_vec()));
        auth(&mut client, ReasonCode::CONTINUE_AUTHENTICATION, "TOTP", code.as_bytes());
        assert_eq!(read_packet(&mut client), said);
    }
    running.stop();
}
