//! The key process of the real broker: it signs for every kind of key, dies and hangs without harm, and alone knows a key.

use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use motte_testkit::{Broker, Pid, Signal, binary, finish};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::site::{CONFIG, Site};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts the site's authority; with the certificate of an identity.
pub fn client(site: &Site, identity: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.path("ca.pem")).expect("it is PEM")).expect("an authority");
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
    let Some(identity) = identity else { return Arc::new(builder.with_no_client_auth()) };
    let own = site.path("identities").join(identity);
    let chain = vec![CertificateDer::from_pem_file(own.join("cert.pem")).expect("it is PEM")];
    let key = PrivateKeyDer::from_pem_file(own.join("key.pem")).expect("it is PEM");
    Arc::new(builder.with_client_auth_cert(chain, key).expect("they belong together"))
}

/// A full handshake; what is wrong otherwise.
pub fn handshake(address: SocketAddr, client: &Arc<ClientConfig>) -> Result<Tls, String> {
    let tcp = TcpStream::connect(address).map_err(|error| error.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(client), name).map_err(|error| error.to_string())?;
    let mut tls = StreamOwned::new(connection, tcp);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock).map_err(|error| error.to_string())?;
    }
    Ok(tls)
}

pub fn shell(dir: &Path, command: &str) {
    let (good, text) = finish(Command::new("sh").current_dir(dir).args(["-ec", command]));
    assert!(good, "{command}: {text}");
}

/// The site's configuration with another source of its key.
fn with_key(certificate: &str) -> String {
    CONFIG.replace("key = \"motte-state/server.key\"", certificate)
}

#[test]
fn every_kind_of_key_signs_in_both_versions() {
    let site = Site::start();
    let dir = site.dir.path();
    let mut config = "state_dir = \"state\"\n[log]\nformat = \"json\"\n".to_owned();
    let kinds = [
        ("p256", "EC -pkeyopt ec_paramgen_curve:P-256", "ECDSA"),
        ("p384", "EC -pkeyopt ec_paramgen_curve:P-384", "ECDSA"),
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048", "RSA"),
        ("ed25519", "ED25519", "ed25519"),
    ];
    for (name, how, _) in kinds {
        shell(
            dir,
            &format!(
                "umask 077; openssl genpkey -algorithm {how} -out {name}.key
                 openssl req -x509 -new -key {name}.key -out {name}.pem -subj /CN=localhost -days 5"
            ),
        );
        config.push_str(&format!(
            "[[listener]]\nname = \"{name}\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\n\
             certificates = [{{ chain = \"{name}.pem\", key = \"{name}.key\" }}]\n"
        ));
    }
    let broker = Broker::serve(dir, &config);
    broker.role("keyd");
    for (name, _, signature) in kinds {
        let address = broker.address(name).to_string();
        for version in ["-tls1_3", "-tls1_2"] {
            let mut command = Command::new("openssl");
            command.current_dir(dir).args(["s_client", "-connect", &address, version, "-CAfile"]);
            let (_, text) = finish(command.arg(format!("{name}.pem")).stdin(Stdio::null()));
            assert!(text.contains("Verify return code: 0 (ok)"), "{name} {version}: {text}");
            let signed =
                text.lines().find(|line| line.starts_with("Peer signature type:")).unwrap_or_default();
            assert!(signed.to_ascii_lowercase().contains(&signature.to_ascii_lowercase()), "{name}: {text}");
        }
    }
    assert!(broker.terminate());
}

#[test]
fn killed_under_load_it_comes_back_and_nobody_notices() {
    let site = Site::start();
    let (address, trusting) = (site.address("tls"), client(&site, None));
    let mut subscriber = site.motte("sub", "operator");
    subscriber.args(["-t", "devices/#", "--count", "1", "--timeout", "60"]).stdout(Stdio::null());
    let mut subscriber = subscriber.spawn().expect("it can be started");
    site.broker.event_where("gate.authenticated", |e| e.field("identity") == "operator");

    let over = AtomicBool::new(false);
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let outcome = handshake(address, &trusting);
                    let count = if outcome.is_ok() { &done } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut former: Vec<Pid> = Vec::new();
        for _ in 0..3 {
            let keyd = site.broker.role("keyd");
            assert!(!former.contains(&keyd));
            former.push(keyd);
            let before = done.load(Ordering::Relaxed);
            motte_testkit::wait_until("handshakes run", || done.load(Ordering::Relaxed) > before + 5);
            site.broker.signal("keyd", Signal::KILL);
            let times = former.len();
            motte_testkit::wait_until("it is back", || site.broker.events("life.keys_ready").len() == times);
            let before = done.load(Ordering::Relaxed);
            motte_testkit::wait_until("handshakes run again", || done.load(Ordering::Relaxed) > before + 5);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", done.load(Ordering::Relaxed));
    assert_eq!(site.broker.events("life.keys_ended").len(), 3);
    assert!(site.broker.event("life.keys_ended").field("cause").contains("signal 9"));

    // The subscriber was there all the time, and what is published now reaches it.
    let gone = site.broker.events("gate.disconnected");
    assert!(!gone.iter().any(|e| e.field("identity") == "operator"), "{gone:?}");
    let (good, text) =
        finish(site.motte("pub", "device-1").args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"]));
    assert!(good, "{text}");
    assert!(subscriber.wait().expect("it ends").success());
}

#[test]
fn while_it_hangs_new_handshakes_fail_in_time_and_nobody_else_waits() {
    let site = Site::start();
    let address = site.address("tls");
    let mut live = handshake(address, &client(&site, Some("device-1"))).expect("a connection");
    live.write_all(b"\x10\x14\0\x04MQTT\x04\x02\0\x3c\0\x08device-1").expect("CONNECT is sent");
    let mut four = [0; 4];
    live.read_exact(&mut four).expect("CONNACK comes");
    assert_eq!(four, [0x20, 2, 0, 0]);

    let trusting = client(&site, None);
    site.broker.signal("keyd", Signal::STOP);
    let began = Instant::now();
    std::thread::scope(|scope| {
        // More than there are workers and threads to wait.
        let waiting: Vec<_> =
            (0..16).map(|_| scope.spawn(|| handshake(address, &trusting).is_ok())).collect();
        for _ in 0..20 {
            let asked = Instant::now();
            live.write_all(&[0xc0, 0]).expect("PINGREQ is sent");
            let mut two = [0; 2];
            live.read_exact(&mut two).expect("PINGRESP comes");
            assert!(asked.elapsed() < Duration::from_secs(2), "somebody waited for the key process");
        }
        let done = waiting.into_iter().map(|one| one.join().expect("it ends")).filter(|good| *good).count();
        assert!(done < 16, "nobody signed");
    });
    assert!(began.elapsed() < Duration::from_secs(10));
    let cause = |part| move |e: &motte_testkit::Logged| e.field("cause").contains(part);
    site.broker.event_where("gate.handshake_unsigned", cause("did not answer in time"));
    site.broker.event("life.keys_ended");
    site.broker.event("life.keys_ready");
    handshake(address, &trusting).expect("it is back");
}

#[test]
fn a_key_that_was_replaced_without_a_reload_is_named_when_the_key_process_comes_back() {
    let site = Site::start();
    let (address, trusting) = (site.address("tls"), client(&site, None));
    let (key, aside) = (site.path("server.key"), site.path("aside.key"));
    std::fs::rename(&key, &aside).expect("it is ours");
    std::fs::copy(site.path("identities/device-1/key.pem"), &key).expect("it is ours");
    handshake(address, &trusting).expect("the key in force is used");
    site.broker.signal("keyd", Signal::KILL);
    site.broker.event_where("life.keys_faulty", |event| {
        let faults = event.field("faults");
        faults.contains("server.key: another key than the one in force") && faults.contains("remedy: reload")
    });
    std::fs::rename(&aside, &key).expect("it is ours");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    handshake(address, &trusting).expect("it is back");
}

#[test]
fn a_stop_does_not_wait_for_keys_that_a_reload_waits_for() {
    let site = Site::start();
    site.broker.signal("keyd", Signal::STOP);
    site.broker.hang_up();
    let began = Instant::now();
    let Site { broker, dir } = site;
    assert!(broker.terminate(), "a clean stop");
    // A reload waits half a minute.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(dir.path().join("motte-state/store/vault").exists());
}

#[test]
fn a_key_that_is_gone_after_a_restart_is_named_and_comes_back_by_a_reload() {
    let site = Site::start();
    let (address, trusting) = (site.address("tls"), client(&site, None));
    let (key, aside) = (site.path("server.key"), site.path("aside.key"));
    std::fs::rename(&key, &aside).expect("it is ours");
    site.broker.signal("keyd", Signal::KILL);
    let faulty = site.broker.event("life.keys_faulty");
    assert!(faulty.field("faults").contains("server.key") && faulty.field("faults").contains("create it"));
    assert!(handshake(address, &trusting).is_err());
    let unsigned = site.broker.event("gate.handshake_unsigned");
    assert!(unsigned.field("cause").contains("does not have this key"), "{unsigned:?}");
    std::fs::rename(&aside, &key).expect("it is ours");
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    handshake(address, &trusting).expect("it has its key again");
}

#[test]
fn a_renewed_certificate_and_key_are_in_force_after_a_reload_and_others_are_refused_whole() {
    let site = Site::start();
    let address = site.address("tls");
    let dir = site.dir.path().join("motte-state");
    // A key alone does not fit the certificate: refused, and the old one goes on even after a restart of the key process.
    shell(
        &dir,
        "cp server.key old.key; umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server.key",
    );
    site.broker.hang_up();
    let refused = site.broker.event("life.reload_refused");
    assert!(refused.field("cause").contains("does not fit its certificate"), "{refused:?}");
    handshake(address, &client(&site, None)).expect("the old key is in force");
    shell(
        &dir,
        "cp ca.pem server-ca.pem; openssl req -x509 -new -key server.key -out server.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 5",
    );
    site.broker.hang_up();
    site.broker.event("life.reloaded");
    let mut command = Command::new("openssl");
    let address = address.to_string();
    command.current_dir(&dir).args(["s_client", "-connect", &address, "-CAfile", "server.pem"]);
    let (_, text) = finish(command.stdin(Stdio::null()));
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
}

#[test]
fn files_that_do_not_open_are_named_with_the_remedy_and_nothing_stays_behind() {
    let site = Site::start();
    let dir = site.dir.path().to_path_buf();
    shell(
        &dir,
        "umask 077; printf 'open sesame' > pass; printf wrong > bad
         openssl pkcs8 -topk8 -scrypt -in motte-state/server.key -out motte-state/enc.key -passout file:pass",
    );
    assert!(site.broker.terminate());
    let enc = "key = \"motte-state/enc.key\"";
    for (certificate, expected) in [
        ("key = \"motte-state/none.key\"".to_owned(), &["none.key", "create it, or correct the path"][..]),
        (enc.to_owned(), &["enc.key", "say where its passphrase is"]),
        (format!("{enc}, passphrase_file = \"bad\""), &["enc.key", "does not open with this passphrase"]),
        (format!("{enc}, passphrase_credential = \"tls\""), &["LoadCredentialEncrypted=tls"]),
        ("key = \"motte-state/identities/device-1/key.pem\"".to_owned(), &["does not fit its certificate"]),
    ] {
        std::fs::write(dir.join("wrong.toml"), with_key(&certificate)).expect("it can be written");
        let mut command = Command::new(binary());
        let (good, text) = finish(command.current_dir(&dir).args(["serve", "--config", "wrong.toml"]));
        assert!(!good, "{certificate}");
        for part in expected {
            assert!(text.contains(part), "{certificate}: {text}");
        }
    }
}

#[test]
fn a_credential_of_systemd_reaches_the_key_process_alone() {
    let site = Site::start();
    let dir = site.dir.path().to_path_buf();
    shell(
        &dir,
        "umask 077; mkdir credentials; printf 'open sesame\\n' > credentials/tls
         openssl pkcs8 -topk8 -scrypt -in motte-state/server.key -out motte-state/enc.key -passout file:credentials/tls",
    );
    let (trusting, credentials) = (client(&site, None), dir.join("credentials"));
    let Site { broker, dir: _kept } = site;
    assert!(broker.terminate());
    let config = with_key("key = \"motte-state/enc.key\", passphrase_credential = \"tls\"");
    std::fs::write(dir.join("motte.toml"), config).expect("it can be written");
    let variable = ("CREDENTIALS_DIRECTORY", credentials.as_path());
    let broker = Broker::start_with(&dir, variable, &["serve", "--config", "motte.toml"]);
    handshake(broker.address("tls"), &trusting).expect("the key opens");
    let core = broker.role("core").as_raw_nonzero();
    let environment = std::fs::read(format!("/proc/{core}/environ")).expect("it is ours");
    assert!(!String::from_utf8_lossy(&environment).contains("CREDENTIALS_DIRECTORY"));
}

/// Bytes of memory that are looked at at once.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Bytes that are looked at twice.
const OVERLAP_BYTES: u64 = 4 * 1024;

/// Which of these are in the memory of a process.
pub fn in_memory(process: Pid, needles: &[&[u8]]) -> Vec<bool> {
    let process = process.as_raw_nonzero();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("the process is ours");
    let mut memory = File::open(format!("/proc/{process}/mem")).expect("the process is ours");
    let mut found = vec![false; needles.len()];
    let mut total = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        // The kernel's own pages at the end cannot be read by anybody.
        if !rights.starts_with('r')
            || line.ends_with("[vvar]")
            || line.ends_with("[vvar_vclock]")
            || line.ends_with("[vsyscall]")
        {
            continue;
        }
        let (from, to) = range.split_once('-').expect("a range");
        let at = |text| u64::from_str_radix(text, 16).expect("a hexadecimal number");
        let (from, to) = (at(from), at(to));
        // Pieces overlap by more than the longest of what is looked for.
        let mut piece = vec![0; usize::try_from((to - from).min(PIECE_BYTES)).expect("it fits")];
        let mut at = from;
        loop {
            let length = usize::try_from((to - at).min(PIECE_BYTES)).expect("it fits");
            let piece = piece.get_mut(..length).expect("it is as long");
            memory.seek(SeekFrom::Start(at)).expect("a file");
            if let Err(error) = memory.read_exact(piece) {
                // Threads end, and their stacks with them.
                let now = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
                assert!(!now.lines().any(|one| one == line), "{line}: {error}");
                break;
            }
            for (found, needle) in found.iter_mut().zip(needles) {
                *found = *found || contains(piece, needle);
            }
            if at + PIECE_BYTES >= to {
                break;
            }
            at += PIECE_BYTES - OVERLAP_BYTES;
        }
        total += to - from;
    }
    assert!(total > 1024 * 1024, "{total} bytes are not a process");
    found
}

fn contains(piece: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    let mut left = piece;
    // The standard library's own search for a byte, which is fast in a test as well.
    while left.skip_until(*first).is_ok_and(|skipped| skipped > 0) {
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

#[test]
fn the_core_has_the_certificate_in_its_memory_and_nothing_of_the_key() {
    let site = Site::start();
    let (address, trusting) = (site.address("tls"), client(&site, None));
    for _ in 0..20 {
        handshake(address, &trusting).expect("a handshake");
    }
    let certificate = CertificateDer::from_pem_file(site.path("server.pem")).expect("it is PEM");
    let key = PrivatePkcs8KeyDer::from_pem_file(site.path("server.key")).expect("it is PEM");
    let der = key.secret_pkcs8_der();
    // ECPrivateKey { version 1, OCTET STRING of 32 bytes }: the secret number, as it is written and as it is computed with.
    let at = der.windows(5).position(|part| part == [2, 1, 1, 4, 32]).expect("a P-256 key") + 5;
    let scalar = der.get(at..at + 32).expect("32 bytes");
    let reversed: Vec<u8> = scalar.iter().rev().copied().collect();
    let pem = std::fs::read_to_string(site.path("server.key")).expect("it is ours");
    let text = pem.lines().nth(1).expect("a line of the key").as_bytes();
    let needles: [&[u8]; 5] = [&certificate, scalar, &reversed, der, text];

    let core = in_memory(site.broker.role("core"), &needles);
    assert_eq!(core, [true, false, false, false, false], "the core");
    let keyd = in_memory(site.broker.role("keyd"), &needles);
    assert!(!keyd[0] && (keyd[1] || keyd[2]), "the key process: {keyd:?}");

    // The same search does find the key where it is.
    let Site { broker, dir } = site;
    assert!(broker.terminate());
    let broker = Broker::serve(dir.path(), &format!("{CONFIG}\n[roles]\nkeys = \"inside\"\n"));
    handshake(broker.address("tls"), &trusting).expect("a handshake");
    let inside = in_memory(broker.pid(), &needles);
    assert!(inside[0] && (inside[1] || inside[2]), "everything in one process: {inside:?}");
}

#[test]
fn the_key_of_the_vault_is_in_the_key_process_alone() {
    let site = Site::start();
    handshake(site.address("tls"), &client(&site, None)).expect("a handshake");
    let text =
        std::fs::read_to_string(site.path("store.key")).expect("it was made beside the state directory");
    let digits = text.trim_end().as_bytes();
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2).expect("two digits"), 16).expect("digits");
    let key: Vec<u8> = (0..32).map(|at| pair(2 * at)).collect();
    let needles: [&[u8]; 2] = [&key, digits];
    assert_eq!(in_memory(site.broker.role("core"), &needles), [false, false], "the core");
    assert_eq!(in_memory(site.broker.pid(), &needles), [false, false], "the supervisor");
    assert_eq!(in_memory(site.broker.role("keyd"), &needles), [true, false], "the key process");
}

#[test]
fn signals_to_a_part_are_left_to_the_whole() {
    let site = Site::start();
    for role in ["core", "keyd"] {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            site.broker.signal(role, signal);
        }
    }
    handshake(site.address("tls"), &client(&site, None)).expect("everybody is there");
    assert!(site.broker.events("life.stopping").is_empty() && site.broker.events("life.reloaded").is_empty());
    assert!(site.broker.terminate());
}

#[test]
fn the_end_of_the_core_is_the_end_of_all() {
    let site = Site::start();
    let all = [site.broker.pid(), site.broker.role("core"), site.broker.role("keyd")];
    site.broker.signal("core", Signal::KILL);
    ended(&all);
}

#[test]
fn no_process_outlives_the_one_that_was_started() {
    let mut site = Site::start();
    let roles = [site.broker.role("core"), site.broker.role("keyd")];
    site.broker.kill();
    ended(&roles);
}

/// Waits until these processes have ended; whether somebody has asked for their status does not matter.
fn ended(processes: &[Pid]) {
    for role in processes {
        motte_testkit::wait_until("it ended", || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", role.as_raw_nonzero()));
            state.map_or(true, |text| text.contains(") Z "))
        });
    }
}
