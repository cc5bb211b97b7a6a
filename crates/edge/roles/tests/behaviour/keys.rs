//! The key process, served in a thread, as the supervisor and the core see it.

use std::fs::Permissions;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use motte_roles::{
    ANSWER_DEADLINE, KeyClient, KeyError, KeyId, Link, Order, Outcome, Passphrase, Refusal, Role, Source,
    serve_keys,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::SignatureScheme;

/// A key process with the supervisor's end of its link.
struct Keyd {
    supervisor: Link,
}

impl Keyd {
    fn start() -> Self {
        let (here, there) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve_keys(&Link::new(there), None, &mut |_| Ok(())));
        let supervisor = Link::new(here);
        supervisor.greet(Role::Supervisor, Role::Keyd).unwrap();
        Self { supervisor }
    }

    fn load(&self, sources: Vec<Source>) -> (u16, String) {
        self.supervisor.send(&Order::Load { sources }).unwrap();
        let (Outcome::Loaded { good, faults }, _) = self.supervisor.receive().unwrap();
        (good, faults)
    }

    fn serve(&self, client: &KeyClient) {
        let (here, there) = UnixStream::pair().unwrap();
        self.supervisor.send_with(&Order::Serve, there.as_fd()).unwrap();
        client.attach(here).unwrap();
    }
}

fn client() -> KeyClient {
    KeyClient::new(Box::new(|| {}))
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn plain(path: &Path) -> Source {
    Source { path: path.to_path_buf(), passphrase: Passphrase::None }
}

fn verify_message() -> Vec<u8> {
    [&[b' '; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
}

#[test]
fn keys_are_read_and_sign_and_faults_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let good = [
        write(dir.path(), "p256.key", &ecdsa.serialize_pem()),
        write(dir.path(), "ed25519.key", &edwards.serialize_pem()),
    ];
    let open = write(dir.path(), "open.key", &ecdsa.serialize_pem());
    std::fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let missing = dir.path().join("missing.key");
    let sources = good.iter().map(|path| plain(path)).chain([plain(&open), plain(&missing)]).collect();

    let keyd = Keyd::start();
    let (count, faults) = keyd.load(sources);
    assert_eq!(count, 2);
    assert!(faults.contains("open.key can be read by others") && faults.contains("chmod 600"), "{faults}");
    assert!(faults.contains("missing.key") && faults.contains("create it"), "{faults}");

    let client = client();
    keyd.serve(&client);
    let entries = client.public_keys().unwrap();
    assert_eq!(entries.len(), 4);
    let public: Vec<_> = entries.iter().filter_map(|entry| entry.outcome.as_ref().ok()).collect();
    let scheme = u16::from(SignatureScheme::ECDSA_NISTP256_SHA256);
    assert_eq!(public[0].schemes, [scheme]);
    assert_eq!((public[0].algorithm, public[1].algorithm), (3, 7));
    assert!(client.sign(public[0].id, scheme, &verify_message()).unwrap().len() > 60);
    let refused = |id, scheme, message: &[u8]| client.sign(id, scheme, message).unwrap_err();
    assert_eq!(refused(KeyId([0; 32]), scheme, &verify_message()), KeyError::Refused(Refusal::NoKey));
    assert_eq!(refused(public[0].id, 0x0804, &verify_message()), KeyError::Refused(Refusal::Scheme));
    assert_eq!(refused(public[0].id, scheme, b"a document"), KeyError::Refused(Refusal::Purpose));
}

#[test]
fn a_key_of_an_earlier_configuration_signs_until_it_is_said_to_be_out_of_use() {
    let dir = tempfile::tempdir().unwrap();
    let write_key = || {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        write(dir.path(), "server.key", &key.serialize_pem())
    };
    let keyd = Keyd::start();
    let client = client();
    let path = write_key();
    keyd.load(vec![plain(&path)]);
    keyd.serve(&client);
    let id = || client.public_keys().unwrap()[0].outcome.as_ref().unwrap().id;
    let first = id();
    write_key();
    keyd.load(vec![plain(&path)]);
    let second = id();
    assert_ne!(first, second);
    let sign = |id| client.sign(id, u16::from(SignatureScheme::ED25519), &verify_message());
    assert!(sign(first).is_ok() && sign(second).is_ok());
    client.keep(Vec::new(), Vec::new());
    assert_eq!(sign(first), Err(KeyError::Refused(Refusal::NoKey)));
    assert!(sign(second).is_ok(), "the present key stays");
}

#[test]
fn a_question_under_way_is_asked_again_when_the_key_process_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let path = write(dir.path(), "server.key", &key.serialize_pem());
    let keyd = Keyd::start();
    keyd.load(vec![plain(&path)]);
    let client = client();
    keyd.serve(&client);
    let id = client.public_keys().unwrap()[0].outcome.as_ref().unwrap().id;
    // One that takes the question and ends without a word.
    let (here, there) = UnixStream::pair().unwrap();
    let deaf = std::thread::spawn(move || {
        let link = Link::new(there);
        link.greet(Role::Keyd, Role::Core).unwrap();
        link.receive::<motte_roles::Request>().unwrap();
    });
    client.attach(here).unwrap();
    let asking = {
        let client = client.clone();
        std::thread::spawn(move || client.sign(id, u16::from(SignatureScheme::ED25519), &verify_message()))
    };
    deaf.join().unwrap();
    keyd.serve(&client);
    assert!(asking.join().unwrap().is_ok());
}

#[test]
fn silence_ends_at_the_deadline_and_is_reported_once() {
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let client = KeyClient::new(Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    let (here, there) = UnixStream::pair().unwrap();
    let silent = std::thread::spawn(move || {
        let link = Link::new(there);
        link.greet(Role::Keyd, Role::Core).unwrap();
        link
    });
    client.attach(here).unwrap();
    let _silent = silent.join().unwrap();
    let before = Instant::now();
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || client.sign(KeyId([0; 32]), 0x0807, &verify_message()))
        })
        .collect();
    for one in asking {
        assert_eq!(one.join().unwrap(), Err(KeyError::Silent));
    }
    assert!(before.elapsed() < ANSWER_DEADLINE * 3);
    assert_eq!(times.load(Ordering::SeqCst), 1);
    assert!(!client.wait_attached(Instant::now()));
}
