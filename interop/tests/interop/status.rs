//! Certificates that a responder is asked about (OCSP): the real broker with its confined processes, and answers of openssl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use motte_testkit::{Signal, finish, wait_until};

use crate::keys::{client, handshake, shell};
use crate::site::{CONFIG, Site};

/// How openssl answers, or `None`: the responder is away.
type How = Arc<Mutex<Option<(PathBuf, String)>>>;

/// A responder on the loopback interface: HTTP here, the answers by `openssl ocsp`, which would listen everywhere.
fn responder() -> (SocketAddr, How) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, how) = (listener.local_addr().expect("it is bound"), How::default());
    let answers = Arc::clone(&how);
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            let Some((dir, command)) = answers.lock().expect("no panic").clone() else { continue };
            let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                line.clear();
            }
            let mut question = vec![0; length];
            reader.read_exact(&mut question).expect("the question comes whole");
            let asked = dir.join(format!("{number}.ask"));
            std::fs::write(&asked, &question).expect("ours");
            let command = format!("{command} -reqin {number}.ask -respout /dev/stdout");
            let mut openssl = Command::new("sh");
            openssl.args(["-c", &command]).current_dir(&dir).stderr(Stdio::null());
            let body = openssl.output().expect("sh is there").stdout;
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    (address, how)
}

const CA: &str = "-index index -CA ../ca.pem";

/// What openssl knows of the certificates: a line for each in its file.
const INDEX: &str = r#"
mkdir -p ocsp; cd ocsp; : > index; cp ../ca.pem ../ca.key .
known() {
  serial=$(openssl x509 -in ../identities/$1/cert.pem -noout -serial | cut -d= -f2)
  printf "$2\t351231235959Z\t$3\t$serial\tunknown\t/CN=$1\n" >> index
}
known device-1 V ''
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key 2>/dev/null; }
delegate() {
  key $1; printf "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=$2\n" > $1.ext
  openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
  openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 5 -extfile $1.ext -out $1.pem 2>/dev/null
}
delegate answers OCSPSigning; delegate poses clientAuth
key stranger; openssl req -x509 -new -key stranger.key -subj "$(openssl x509 -in ca.pem -noout -subject -nameopt compat | sed 's/^subject=//')" -days 5 -out stranger.pem 2>/dev/null
"#;

fn revoke(dir: &Path) {
    shell(dir, "sed -i 's/^V\\t\\([0-9Z]*\\)\\t\\t/R\\t\\1\\t260101000000Z\\t/' index && grep -q ^R index");
}

#[test]
fn a_confined_broker_asks_openssl_about_certificates() {
    let (address, how) = responder();
    let table = format!(
        "ocsp = {{ url = \"http://localhost:{}/\", refresh_s = 2, timeout_ms = 2000, failures = 1000 }}",
        address.port()
    );
    let config = CONFIG.replacen("crl = [\"motte-state/crl.pem\"]", &table, 1);
    let site = Site::start_with(&format!("{config}[sandbox]\nmode = \"required\"\n"));
    shell(&site.path(""), INDEX);
    let dir = site.path("ocsp");
    let by = |before: &str, options: &str| {
        *how.lock().expect("no panic") = Some((dir.clone(), format!("{before}openssl ocsp {CA} {options}")));
    };
    let (tls, device) = (site.address("tls"), client(&site, Some("device-1")));
    let connects = || {
        let mut stream = handshake(tls, &device).expect("TLS takes the certificate");
        stream.write_all(b"\x10\x14\0\x04MQTT\x04\x02\0\x3c\0\x08device-1").expect("it is taken");
        let mut four = [0; 4];
        stream.read_exact(&mut four).expect("an answer");
        (four[3], stream)
    };
    let refused = |cause: &str, code: u8| {
        assert_eq!(connects().0, code, "{cause}");
        site.broker.event_where("gate.status_refused", |event| event.field("cause").contains(cause));
    };
    // Away: nobody comes in; a client that shows no certificate is not asked about.
    refused("nobody knows whether the certificate is revoked", 3);
    site.broker.event("gate.status_responder_failed");
    // Signed by somebody of the same name, by a client of the authority; good a year ago.
    by("", "-rsigner stranger.pem -rkey stranger.key -nmin 5");
    refused("signed neither by the authority", 3);
    by("", "-rsigner poses.pem -rkey poses.key -nmin 5");
    assert_eq!(connects().0, 3);
    by("faketime '1 year ago' ", "-rsigner ca.pem -rkey ca.key -ndays 7");
    refused("past its nextUpdate", 3);
    by("faketime '1 day' ", "-rsigner ca.pem -rkey ca.key -ndays 7");
    refused("not valid yet", 3);
    // It is back, and somebody answers for the authority.
    by("", "-rsigner answers.pem -rkey answers.key -nmin 5");
    let (code, mut live) = connects();
    assert_eq!(code, 0);
    by("", "-rsigner ca.pem -rkey ca.key -nmin 5");

    // The process that connects out dies; whoever is in stays, and is asked about again.
    site.broker.signal("egress", Signal::KILL);
    site.broker.event("life.outward_ready");
    live.write_all(&[0xc0, 0]).expect("PINGREQ is sent");
    live.read_exact(&mut [0; 2]).expect("PINGRESP comes");

    revoke(&dir);
    live.sock.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    assert_eq!(live.read(&mut [0; 4]).unwrap_or(0), 0, "without a reload");
    site.broker.event("rule.revoked");
    refused("the certificate is revoked since 2026-01-01", 5);
    let good = finish(Command::new("sh").current_dir(&dir).args(["-c", ": > index"])).0;
    assert!(good);
    wait_until("the responder does not know it any more", || {
        connects().0 == 5
            && site
                .broker
                .events("gate.status_refused")
                .iter()
                .any(|event| event.field("cause").contains("does not know the certificate"))
    });
    assert!(site.broker.terminate());
}
