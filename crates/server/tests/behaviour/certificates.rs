//! Client certificates of chains that openssl made: which are taken, for whom, and what the operator is told of the others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use motte_server::Options;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::*;
use crate::tokens::Issuer;

/// Two sites with an authority each; the first one has intermediates below it: a good one, one whose certificates are limited
/// to names of its site, and one below which there is one too many.
const CHAINS: &str = r#"
set -e; umask 077
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key 2>/dev/null; }
root() { key $1; openssl req -x509 -new -key $1.key -out $1.pem -subj "/CN=$1" -days 30 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null; }
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\ncrlnumber=number\nnew_certs_dir=.\ndefault_md=sha256\nunique_subject=no\npolicy=p\n[p]\ncommonName=supplied\norganizationName=optional\n' > ca.cnf
echo 01 > number; echo 1000 > serial; : > index
# issue NAME SUBJECT AUTHORITY EXTENSIONS [TIME]
issue() {
  key $1; printf "basicConstraints=CA:FALSE\n$4" | grep -v "$(case "$4" in *CA:TRUE*) echo CA:FALSE;; *) echo none;; esac)" > $1.ext
  openssl req -new -key $1.key -out $1.csr -subj "$2"
  openssl ca -batch -notext -config ca.cnf -in $1.csr -cert $3.pem -keyfile $3.key -extfile $1.ext -out $1.pem ${5:--days 10} 2>/dev/null
}
CA='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
USER='keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n'
root site-a; root site-b; root server-ca; root stranger
issue server /CN=localhost server-ca 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n'
issue line /CN=line site-a "$CA"
issue limited /CN=limited site-a "${CA}nameConstraints=critical,permitted;DNS:site-a.example\n"
issue last /CN=last site-a 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n'
issue below /CN=below last "$CA"
issue good /CN=site-a-1/O=acme line "${USER}subjectAltName=URI:spiffe://site-a.example/line/1,DNS:one.site-a.example\n"
issue renewed /CN=site-a-1/O=acme line "$USER"
issue plain /CN=site-a-2 line ''
issue b /CN=site-b-1 site-b "$USER"
issue poacher /CN=site-a-1/O=acme site-b "$USER"
issue foreign /CN=site-a-1 stranger "$USER"
issue expired /CN=site-a-3 line "$USER" '-startdate 20200101000000Z -enddate 20200201000000Z'
issue early /CN=site-a-4 line "$USER" '-startdate 20980101000000Z -enddate 20990101000000Z'
issue forserver /CN=site-a-5 line 'extendedKeyUsage=serverAuth\n'
issue unsigning /CN=site-a-6 line 'keyUsage=critical,keyAgreement\nextendedKeyUsage=clientAuth\n'
issue inside /CN=site-a-7 limited "${USER}subjectAltName=DNS:seven.site-a.example\n"
issue outside /CN=site-a-8 limited "${USER}subjectAltName=DNS:eight.site-b.example\n"
issue deep /CN=site-a-9 below "$USER"
issue revoked /CN=site-a-10 line "$USER"
for n in good renewed plain expired early forserver unsigning revoked; do cat line.pem >> $n.pem; done
for n in inside outside; do cat limited.pem >> $n.pem; done
cat below.pem last.pem >> deep.pem
: > index
openssl ca -config ca.cnf -gencrl -keyfile site-b.key -cert site-b.pem -crldays 9 -out b.crl 2>/dev/null
openssl ca -config ca.cnf -gencrl -keyfile site-a.key -cert site-a.pem -crldays 9 -out a.crl 2>/dev/null
for n in limited last below; do openssl ca -config ca.cnf -gencrl -keyfile $n.key -cert $n.pem -crldays 9 -out $n.crl 2>/dev/null; done
openssl ca -config ca.cnf -revoke revoked.pem -keyfile line.key -cert line.pem 2>/dev/null
openssl ca -config ca.cnf -gencrl -keyfile line.key -cert line.pem -crldays 9 -out line.crl 2>/dev/null
cat a.crl b.crl limited.crl last.crl below.crl line.crl > all.crl
"#;

pub const POLICY: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

fn chains(directory: &Path) {
    std::fs::write(directory.join("policy.toml"), POLICY).unwrap();
    let made = Command::new("sh").args(["-c", CHAINS]).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn text(tls: &str, auth: &str) -> String {
    format!(
        "[policy]\nfiles = [\"policy.toml\"]\n[[listener]]\nname = \"main\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\ncertificates = [{{ chain = \"server.pem\", key = \"server.key\" }}]\nclient_certificates = \"required\"\ncrl = [\"all.crl\"]\n{tls}\n[listener.auth]\nmethods = [\"certificate\"]\n{auth}\n"
    )
}

fn configured(directory: &Path, tls: &str, auth: &str) -> motte_config::Config {
    let mut config =
        motte_config::parse(&text(tls, auth), "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    config.resolve_paths(directory);
    config
}

const SITES: &str = "[[listener.tls.authority]]\nfile = \"site-a.pem\"\nidentities = [\"site-a-*\", \"spiffe://site-a.example/*\"]\n[[listener.tls.authority]]\nfile = \"site-b.pem\"\nidentities = [\"site-b-*\"]\n";

/// A connection that shows a chain.
pub fn dial(running: &Running, directory: &Path, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let pem = |file: &str| CertificateDer::pem_file_iter(directory.join(file)).unwrap().map(Result::unwrap);
    let mut roots = RootCertStore::empty();
    pem("server-ca.pem").for_each(|root| roots.add(root).unwrap());
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(pem(&format!("{name}.pem")).collect(), key)
        .unwrap();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(running.address("main")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(tls, socket)
}

/// What CONNECT comes to: the return code, or `None` when the handshake fails.
pub fn connect(stream: &mut StreamOwned<ClientConnection, TcpStream>, client_id: &str) -> Option<u8> {
    // Refused, it may be closed before all is written.
    let _ = stream.write_all(&hello(client_id));
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    assert_eq!(answer[..3], [0x20, 2, 0]);
    Some(answer[3])
}

#[test]
fn each_fault_of_a_chain_is_refused_and_said() {
    let directory = tempfile::tempdir().unwrap();
    chains(directory.path());
    let running = start_with(configured(directory.path(), SITES, ""), Options::default());
    let of = |name: &str| connect(&mut dial(&running, directory.path(), name), &format!("client-{name}"));
    for good in ["good", "renewed", "plain", "b", "inside"] {
        assert_eq!(of(good), Some(0), "{good}");
    }
    let faults = [
        ("foreign", "UnknownIssuer"),
        ("expired", "ertificate expired"),
        ("early", "not valid yet"),
        ("forserver", "does not allow extended key usage for client authentication"),
        ("unsigning", "no digitalSignature"),
        ("outside", "NameConstraintViolation"),
        ("deep", "PathLenConstraintViolated"),
        ("revoked", "Revoked"),
    ];
    for (bad, cause) in faults {
        assert_eq!(of(bad), None, "{bad}");
        running.lines.expect("gate.tls_failed");
        running.lines.expect(cause);
    }
    running.stop();
}

#[test]
fn an_authority_gives_no_names_of_another_site() {
    let directory = tempfile::tempdir().unwrap();
    chains(directory.path());
    let config = configured(directory.path(), SITES, "");
    // Site b may speak for one device only from the next reload on.
    let narrow = configured(directory.path(), &SITES.replace("\"site-b-*\"", "\"site-b-7\""), "");
    let read_config: motte_server::ReadConfig = Box::new(move || Ok(narrow.clone()));
    let running = start_with(config, Options { read_config: Some(read_config), ..Options::default() });
    assert_eq!(connect(&mut dial(&running, directory.path(), "poacher"), "x"), Some(5));
    running.lines.expect("identity=site-a-1");
    running.lines.expect("the authority of the certificate may not speak for this identity");
    let mut good = dial(&running, directory.path(), "good");
    let mut other = dial(&running, directory.path(), "b");
    assert_eq!((connect(&mut good, "g"), connect(&mut other, "b")), (Some(0), Some(0)));

    running.server.handle().reload().unwrap();
    assert_eq!(other.read(&mut [0; 64]).unwrap_or(0), 0, "it is disconnected");
    running.lines.expect("may not speak for this identity");
    good.write_all(&[0xc0, 0]).unwrap();
    let mut answer = [0; 2];
    good.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0xd0, 0], "nobody else is touched");
    running.stop();
}

#[test]
fn an_identity_is_pinned_and_its_certificate_exchanged() {
    let directory = tempfile::tempdir().unwrap();
    chains(directory.path());
    let pins = directory.path().join("pins");
    let digest = |name: &str| {
        let told = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &format!("{name}.pem")])
            .current_dir(directory.path())
            .output()
            .unwrap();
        String::from_utf8(told.stdout).unwrap().trim().rsplit('=').next().unwrap().to_owned()
    };
    let (old, new) = (digest("good"), digest("renewed"));
    std::fs::write(&pins, format!("site-a-1 {old}\n")).unwrap();
    let auth = "certificate_pins = \"pins\"";
    let running =
        start_with(configured(directory.path(), "client_ca = [\"site-a.pem\"]", auth), Options::default());
    let mut first = dial(&running, directory.path(), "good");
    assert_eq!(connect(&mut first, "one"), Some(0));
    assert_eq!(connect(&mut dial(&running, directory.path(), "renewed"), "two"), Some(5));
    running.lines.expect("the identity is pinned to another certificate");
    assert_eq!(connect(&mut dial(&running, directory.path(), "plain"), "x"), Some(0), "others have no pin");

    std::fs::write(&pins, format!("site-a-1 {old}\nsite-a-1 {new}\n")).unwrap();
    running.server.handle().reload().unwrap();
    assert_eq!(connect(&mut dial(&running, directory.path(), "renewed"), "two"), Some(0), "both for a while");
    std::fs::write(&pins, format!("site-a-1 {new}\n")).unwrap();
    running.server.handle().reload().unwrap();
    assert_eq!(first.read(&mut [0; 64]).unwrap_or(0), 0, "the old one is disconnected");
    std::fs::write(&pins, "site-a-1 zz\n").unwrap();
    assert!(
        running
            .server
            .handle()
            .reload()
            .unwrap_err()
            .to_string()
            .contains("pins:1: the digest is no SHA-256")
    );
    running.stop();
}

#[test]
fn the_identity_is_the_name_that_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    chains(directory.path());
    let names = [
        ("cn", Some("identity=site-a-1 ")),
        ("san_dns", Some("identity=one.site-a.example ")),
        ("spiffe", Some("identity=spiffe://site-a.example/line/1 ")),
        ("{cn}@{o}", Some("identity=site-a-1@acme ")),
        ("device-{dns}", Some("identity=device-one.site-a.example ")),
        ("{cn}-{o}", None),
    ];
    for (name, identity) in names {
        let auth = format!("certificate_identity = \"{name}\"");
        let config = configured(directory.path(), "client_ca = [\"site-a.pem\"]", &auth);
        let running = start_with(config, Options::default());
        let code = connect(&mut dial(&running, directory.path(), "good"), "x");
        assert_eq!(code, Some(if identity.is_some() { 0 } else { 5 }), "{name}");
        running.lines.expect(identity.unwrap_or("the certificate has no usable name"));
        assert_eq!(connect(&mut dial(&running, directory.path(), "plain"), "y") == Some(0), name == "cn");
        running.stop();
    }
}

#[test]
fn a_certificate_that_only_opens_the_door_is_looked_at_again_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    chains(directory.path());
    let issuer = Issuer::new();
    issuer.publish(&directory.path().join("keys.json"), "k1");
    let tls = "client_ca = [\"site-a.pem\"]";
    let jwt = "[auth.jwt]\nissuer = \"test\"\naudience = [\"motte\"]\njwks_file = \"keys.json\"\n";
    let text = text(tls, jwt).replace("methods = [\"certificate\"]", "methods = [\"jwt\"]");
    let mut config = motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
    config.resolve_paths(directory.path());
    let running = start_with(config, Options::default());
    let mut device = dial(&running, directory.path(), "good");
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for text in ["dev-1", "", &issuer.token("k1", 600, "")] {
        body.extend(string(text));
    }
    device.write_all(&packet(0x10, &body)).unwrap();
    let mut answer = [0; 4];
    device.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0], "the token says who it is");
    running.server.handle().reload().unwrap();
    device.write_all(&[0xc0, 0]).unwrap();
    device.read_exact(&mut answer[..2]).unwrap();
    assert_eq!(answer[..2], [0xd0, 0], "it showed a certificate, as its listener wants");
    let revoke = "openssl ca -config ca.cnf -revoke good.pem -keyfile line.key -cert line.pem && openssl ca -config ca.cnf -gencrl -keyfile line.key -cert line.pem -crldays 9 -out line.crl && cat a.crl b.crl limited.crl last.crl below.crl line.crl > all.crl";
    let made = Command::new("sh").args(["-c", revoke]).current_dir(directory.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    running.server.handle().reload().unwrap();
    assert_eq!(device.read(&mut [0; 64]).unwrap_or(0), 0, "revoked, it opens nothing any more");
    running.stop();
}
