//! Responders that are asked about certificates of clients (OCSP). What they answer is made by openssl, what they are asked
//! comes from the broker.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use motte_config::Config;
use motte_server::Options;

use crate::certificates::{connect, dial};
use crate::events::with_passwords;
use crate::harness::*;
use crate::outward::{Http, way_out};

/// An authority with an intermediate one, which signs certificates of devices and of those who answer for it. Certificates
/// name a responder of their own making.
const SITE: &str = r#"
set -e; umask 077
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key 2>/dev/null; }
root() { key $1; openssl req -x509 -new -key $1.key -out $1.pem -subj "/CN=$1" -days 30 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null; }
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\ncrlnumber=number\nnew_certs_dir=.\ndefault_md=sha256\nunique_subject=no\npolicy=p\n[p]\ncommonName=supplied\n' > ca.cnf
echo 1000 > serial; : > index
issue() {
  key $1; printf "$4" > $1.ext
  openssl req -new -key $1.key -out $1.csr -subj "/CN=$2"
  openssl ca -batch -notext -config ca.cnf -in $1.csr -cert $3.pem -keyfile $3.key -extfile $1.ext -out $1.pem ${5:--days 10} 2>/dev/null
}
USER="basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nauthorityInfoAccess=OCSP;URI:http://AIA/\n"
DELEGATE='basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=OCSPSigning\n'
root root; root stranger; root server-ca
issue server localhost server-ca 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n'
issue line line root 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
: > index
for n in good other a revoked unknown; do issue $n $n line "$USER"; cat line.pem >> $n.pem; done
issue answers answers line "$DELEGATE"
issue late late line "$DELEGATE" '-startdate 20200101000000Z -enddate 20200201000000Z'
issue nobody nobody line 'extendedKeyUsage=clientAuth\n'
key line2; openssl req -x509 -new -key line2.key -out line2.pem -subj "/CN=line" -days 30 2>/dev/null
openssl ca -config ca.cnf -revoke revoked.pem -keyfile line.key -cert line.pem 2>/dev/null
grep -v CN=unknown index > known; cp known index
"#;

const POLICY: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

fn sh(directory: &Path, script: &str) {
    let made = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn site(directory: &Path, aia: &str) {
    std::fs::write(directory.join("policy.toml"), POLICY).unwrap();
    sh(directory, &SITE.replace("AIA", aia));
}

/// A configuration that asks a responder, with `more` in its table.
fn asking(directory: &Path, url: &str, more: &str) -> Config {
    written(directory, &format!("client_ca = [\"root.pem\"]\nocsp = {{ url = \"{url}\"{more} }}"), "")
}

fn written(directory: &Path, tls: &str, auth: &str) -> Config {
    let text = format!(
        "[policy]\nfiles = [\"policy.toml\"]\n[[listener]]\nname = \"main\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\ncertificates = [{{ chain = \"server.pem\", key = \"server.key\" }}]\nclient_certificates = \"required\"\n{tls}\n[listener.auth]\n{}\n",
        if auth.is_empty() { "methods = [\"certificate\"]" } else { auth }
    );
    let mut config = motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    config.resolve_paths(directory);
    config
}

fn run(config: Config) -> Running {
    let outward = Some(way_out(&config));
    start_with(config, Options { outward, ..Options::default() })
}

/// What openssl answers to questions.
#[derive(Clone)]
struct Openssl {
    directory: PathBuf,
    /// Signer and what else is told to it.
    options: String,
    count: Arc<AtomicUsize>,
}

impl Openssl {
    /// Answers of this signer, good for an hour.
    fn by(directory: &Path, signer: &str) -> Self {
        Self::with(directory, &format!("-rsigner {signer}.pem -rkey {signer}.key -nmin 60"))
    }

    fn with(directory: &Path, options: &str) -> Self {
        let (directory, options) = (directory.to_owned(), options.to_owned());
        Self { directory, options, count: Arc::default() }
    }

    fn answer(&self, question: &[u8]) -> (u16, Vec<u8>) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let asked = self.directory.join(format!("{number}.ask"));
        std::fs::write(&asked, question).unwrap();
        let command = format!(
            "openssl ocsp -index index -CA line.pem -reqin {number}.ask -respout /dev/stdout {}",
            self.options
        );
        let made = Command::new("sh")
            .args(["-c", &command])
            .current_dir(&self.directory)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        (200, made.stdout)
    }
}

impl Http {
    fn is(&self, responder: &Openssl) {
        let responder = responder.clone();
        self.change(move |_, body| responder.answer(body));
    }
}

fn of(running: &Running, directory: &Path, name: &str) -> Option<u8> {
    connect(&mut dial(running, directory, name), &format!("client-{name}"))
}

#[test]
fn whom_a_responder_calls_good_comes_in_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let named_in_certificates = Http::start(|_, _| (200, Vec::new()));
    site(path, &named_in_certificates.address.to_string());
    let http = Http::start(|_, _| (500, Vec::new()));
    http.is(&Openssl::by(path, "line"));
    let running = run(asking(path, &format!("http://{}/", http.address), ""));
    assert_eq!(of(&running, path, "good"), Some(0));
    assert_eq!(of(&running, path, "good"), Some(0));
    assert_eq!(http.count(), 1, "what was answered is held");
    assert_eq!(of(&running, path, "revoked"), Some(5));
    running.lines.expect("gate.status_refused");
    running.lines.expect("the certificate is revoked since ");
    assert_eq!(of(&running, path, "unknown"), Some(5));
    running.lines.expect("the responder does not know the certificate");
    assert_eq!(of(&running, path, "revoked"), Some(5));
    assert_eq!((http.count(), named_in_certificates.count()), (3, 0), "nobody asks where a certificate says");
    running.stop();

    // Another choice for those that the responder does not know.
    let running = run(asking(path, &format!("http://{}/", http.address), ", require = \"when-known\""));
    assert_eq!(of(&running, path, "unknown"), Some(0));
    assert_eq!(of(&running, path, "revoked"), Some(5));
    running.stop();
}

#[test]
fn nobody_comes_in_while_nobody_can_be_asked_unless_that_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    for (stale, code) in [("refuse", 3), ("accept", 0)] {
        let http = Http::start(|_, _| (500, Vec::new()));
        let url = format!("http://{}/", http.address);
        let more = format!(", stale = \"{stale}\", failures = 2, pause_ms = 1500");
        let running = run(asking(path, &url, &more));
        assert_eq!(of(&running, path, "good"), Some(code), "{stale}");
        running.lines.expect("gate.status_responder_failed");
        running.lines.expect("status 500");
        assert_eq!(of(&running, path, "other"), Some(code));
        running.lines.expect("gate.status_responder_paused");
        assert_eq!((of(&running, path, "a"), http.count()), (Some(code), 2), "it is left alone");
        http.is(&Openssl::by(path, "line"));
        wait_for(
            || of(&running, path, "revoked") == Some(5) && of(&running, path, "good") == Some(0),
            || "it is back".to_owned(),
        );
        running.lines.expect("gate.status_responder_back");
        // What it said counts while it is away again.
        http.change(|_, _| (500, Vec::new()));
        assert_eq!((of(&running, path, "good"), of(&running, path, "revoked")), (Some(0), Some(5)));
        running.stop();
    }
}

#[test]
fn an_answer_that_may_not_be_believed_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    let http = Http::start(|_, _| (200, b"<html>".to_vec()));
    let running = run(asking(path, &format!("http://{}/", http.address), ", failures = 1000"));
    let refused = |why: &str| {
        assert_eq!(of(&running, path, "good"), Some(3), "{why}");
        running.lines.expect(why);
    };
    refused("what came is no OCSP answer");
    let stranger = "the answer is signed neither by the authority";
    for signer in ["stranger", "line2", "nobody", "late"] {
        http.is(&Openssl::by(path, signer));
        refused(stranger);
    }
    // Of another certificate: what one who is revoked may have kept.
    let other = Openssl::by(path, "line");
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (keeps, by) = (Arc::clone(&asked), other.clone());
    http.change(move |_, body| {
        *keeps.lock().unwrap() = body.to_vec();
        by.answer(body)
    });
    assert_eq!(of(&running, path, "other"), Some(0));
    let kept = other.answer(&asked.lock().unwrap()).1;
    http.change(move |_, _| (200, kept.clone()));
    refused("the answer is about another certificate");
    http.change(|_, _| (200, vec![0x30, 3, 0x0a, 1, 6]));
    refused("the responder refuses: unauthorized");
    http.change(|_, _| (200, vec![7; 40_000]));
    refused("larger than request limit");
    // Somebody whom the authority names for it.
    http.is(&Openssl::by(path, "answers"));
    assert_eq!(of(&running, path, "good"), Some(0));
    running.stop();
}

#[test]
fn an_answer_repeats_the_nonce_where_that_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    let http = Http::start(|_, _| (500, Vec::new()));
    let openssl = Openssl::by(path, "line");
    let (first, by) = (Arc::new(std::sync::Mutex::new(None)), openssl.clone());
    // The first answer for everybody, as somebody in between would.
    http.change(move |_, body| first.lock().unwrap().get_or_insert_with(|| by.answer(body)).clone());
    let running = run(asking(path, &format!("http://{}/", http.address), ", nonce = true, refresh_s = 2"));
    assert_eq!(of(&running, path, "good"), Some(0));
    wait_for(
        || of(&running, path, "other") == Some(3),
        || "it is asked again and the answer does not count".to_owned(),
    );
    running.lines.expect("does not repeat the nonce");
    http.is(&openssl);
    assert_eq!(of(&running, path, "other"), Some(0));
    running.stop();
}

#[test]
fn who_is_revoked_while_connected_is_disconnected_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    let http = Http::start(|_, _| (500, Vec::new()));
    http.is(&Openssl::by(path, "line"));
    let running = run(asking(path, &format!("http://{}/", http.address), ", refresh_s = 2"));
    let (mut good, mut other) = (dial(&running, path, "good"), dial(&running, path, "other"));
    assert_eq!((connect(&mut good, "g"), connect(&mut other, "o")), (Some(0), Some(0)));
    let asked = http.count();
    wait_for(|| http.count() > asked + 2, || "answers are asked for anew".to_owned());
    good.write_all(&[0xc0, 0]).unwrap();
    good.read_exact(&mut [0; 2]).unwrap();
    sh(path, "openssl ca -config ca.cnf -revoke other.pem -keyfile line.key -cert line.pem");
    assert_eq!(other.read(&mut [0; 4]).unwrap_or(0), 0);
    running.lines.expect("rule.revoked");
    running.lines.expect("its certificate is not trusted any more: the certificate is revoked since");
    good.write_all(&[0xc0, 0]).unwrap();
    good.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(of(&running, path, "other"), Some(5));
    running.stop();
}

#[test]
fn what_was_answered_ends_for_those_who_are_connected_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    for (stale, stays) in [("refuse", false), ("accept", true)] {
        let http = Http::start(|_, _| (500, Vec::new()));
        // Without a nextUpdate an answer is good until it would be asked for again.
        http.is(&Openssl::with(path, "-rsigner line.pem -rkey line.key"));
        let more = format!(", refresh_s = 2, stale = \"{stale}\", failures = 1000");
        let running = run(asking(path, &format!("http://{}/", http.address), &more));
        let mut good = dial(&running, path, "good");
        assert_eq!(connect(&mut good, "g"), Some(0));
        http.change(|_, _| (500, Vec::new()));
        if stays {
            let asked = http.count();
            wait_for(|| http.count() > asked + 2, || "it is asked again and again".to_owned());
            good.write_all(&[0xc0, 0]).unwrap();
            good.read_exact(&mut [0; 2]).unwrap();
        } else {
            assert_eq!(good.read(&mut [0; 4]).unwrap_or(0), 0);
            running.lines.expect("nobody knows whether the certificate is revoked");
        }
        running.stop();
    }
}

#[test]
fn a_reload_that_brings_a_responder_asks_about_those_who_are_connected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    let http = Http::start(|_, _| (500, Vec::new()));
    http.is(&Openssl::by(path, "line"));
    let after = asking(path, &format!("http://{}/", http.address), "");
    // The port is one that is connected to already, for somebody else.
    let before = written(
        path,
        &format!(
            "client_ca = [\"root.pem\"]\n[[listener.tls.authority]]\nfile = \"stranger.pem\"\nidentities = [\"*\"]\nocsp = {{ url = \"http://{}/\" }}",
            http.address
        ),
        "",
    );
    assert_eq!(before.outward().len(), 1);
    let (now, client) = (after.clone(), way_out(&after));
    let options = Options {
        outward: Some(client),
        read_config: Some(Box::new(move || Ok(now.clone()))),
        ..Options::default()
    };
    let running = start_with(before, options);
    let (mut good, mut revoked) = (dial(&running, path, "good"), dial(&running, path, "revoked"));
    assert_eq!((connect(&mut good, "g"), connect(&mut revoked, "r")), (Some(0), Some(0)));
    assert_eq!(http.count(), 0, "their authority has no responder so far");
    running.server.handle().reload().unwrap();
    assert_eq!(revoked.read(&mut [0; 4]).unwrap_or(0), 0);
    running.lines.expect("rule.revoked");
    good.write_all(&[0xc0, 0]).unwrap();
    good.read_exact(&mut [0; 2]).unwrap();
    // What is held is held over a reload.
    let is_held = || {
        let asked = http.count();
        running.server.handle().reload().unwrap();
        of(&running, path, "good") == Some(0) && http.count() == asked
    };
    wait_for(is_held, || "it is asked after each reload".to_owned());
    running.stop();
}

#[test]
fn each_authority_may_have_its_own_responder_and_a_password_is_asked_for_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    site(path, "localhost");
    let (own, general) = (Http::start(|_, _| (500, Vec::new())), Http::start(|_, _| (500, Vec::new())));
    own.is(&Openssl::by(path, "line"));
    let tls = format!(
        "ocsp = {{ url = \"http://{}/\" }}\n[[listener.tls.authority]]\nfile = \"root.pem\"\nidentities = [\"*\"]\nocsp = {{ url = \"http://{}/\" }}",
        general.address, own.address
    );
    let mut config = written(path, &tls, "all_of = [\"certificate\", \"password\"]");
    with_passwords(&directory, 64, &mut config);
    let running = run(config);
    let login = |name: &str, password: &str| {
        let mut device = dial(&running, path, name);
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
        for text in [name, name, password] {
            body.extend(string(text));
        }
        device.write_all(&packet(0x10, &body)).unwrap();
        let mut answer = [0; 4];
        device.read_exact(&mut answer).unwrap();
        answer[3]
    };
    assert_eq!(login("a", "right"), 0);
    assert_ne!(login("a", "wrong"), 0);
    assert_eq!(login("revoked", "right"), 5);
    assert_eq!((own.count(), general.count()), (2, 0));
    running.stop();
}
