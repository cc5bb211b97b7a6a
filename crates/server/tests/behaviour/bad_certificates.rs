//! A table of bad client certificates: each is refused, and the operator is told why. The client signs with a key of its own,
//! whatever it shows, so that it is the certificate that is refused.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use motte_pki::{Authority, Revoked, serial_number};
use motte_seal::SecretString;
use motte_server::Options;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme, StreamOwned};

use crate::certificates::{POLICY, connect};
use crate::harness::*;

const CERTIFICATES: &str = r#"
set -e; umask 077; number=100
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:${2:-P-256} -out $1.key 2>/dev/null; }
root() { openssl req -x509 -new -key $1.key -out $1.pem -subj "/CN=${2:-$1}" -days 30 -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null; }
# cert NAME SUBJECT AUTHORITY EXTENSIONS [OPTIONS]: for the key of $of, or of all devices
cert() {
  number=$((number + 1)); name=$1 subject=$2 by=$3; printf "$4" > $1.ext; shift 4
  openssl x509 -new -subj "$subject" -force_pubkey ${of:-device}.pub -CA $by.pem -CAkey $by.key -set_serial ${serial:-$number} -days 9 -extfile $name.ext -out $name.pem "$@" 2>/dev/null
}
below() { cat $2.pem >> $1.pem; }
public() { openssl pkey -in $1.key -pubout -out $1.pub; }
# authority NAME AUTHORITY [EXTENSIONS [OPTIONS]]
authority() { [ -f $1.key ] || key $1; public $1; n=$1 a=$2 e=${3:-$CA}; shift 2; [ $# = 0 ] || shift; of=$n cert $n /CN=$n $a "$e" "$@"; }
CA='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
USER='basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n'
key root; root root; key stranger; root stranger; key namesake; root namesake root; key server-ca; root server-ca
key device; public device
key server; public server
of=server cert server /CN=localhost server-ca 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n'
authority line root
# Good ones.
cert good /CN=d line "$USER"; below good line
cert direct /CN=d root "$USER"
cert order /CN=d line "$USER"; cat direct.pem root.pem line.pem >> order.pem
# Of others.
cert foreign /CN=d stranger "$USER"
cert named-alike /CN=d namesake "$USER"
openssl req -x509 -new -key device.key -out itself.pem -subj /CN=d -days 9 -addext basicConstraints=critical,CA:FALSE 2>/dev/null
cert no-line /CN=d line "$USER"
authority cut root; cert below-cut /CN=d cut "$USER"; below below-cut cut
cert revoked /CN=d root "$USER"
# Purposes and keys.
cert for-server /CN=d root 'extendedKeyUsage=serverAuth\n'
cert for-mail /CN=d root 'extendedKeyUsage=emailProtection\n'
cert unsigning /CN=d root 'keyUsage=critical,keyAgreement\nextendedKeyUsage=clientAuth\n'
cert leaf-authority /CN=d root "$CA"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa-1024.key 2>/dev/null; public rsa-1024
of=rsa-1024 cert rsa-1024 /CN=d root "$USER"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out rsa-3.key 2>/dev/null; public rsa-3
of=rsa-3 cert rsa-3 /CN=d root "$USER"
for c in P-224 secp256k1; do key $c $c; public $c; of=$c cert $c /CN=d root "$USER"; done
openssl genpkey -algorithm ED448 -out ed448.key; public ed448; of=ed448 cert ed448 /CN=d root "$USER"
openssl dsaparam -genkey -out dsa.key 1024 2>/dev/null; public dsa; of=dsa cert dsa /CN=d root "$USER"
# Chains.
authority no-authority root 'basicConstraints=CA:FALSE\n'
cert below-no-authority /CN=d no-authority "$USER"; below below-no-authority no-authority
authority not-signing root 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n'
cert below-not-signing /CN=d not-signing "$USER"; below below-not-signing not-signing
authority last root "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n"
authority deeper last; cert too-deep /CN=d deeper "$USER"; below too-deep deeper; below too-deep last
authority limited root "${CA}nameConstraints=critical,permitted;DNS:a.example,permitted;URI:a.example,permitted;IP:10.0.0.0/255.0.0.0,permitted;email:a.example,excluded;DNS:no.a.example\n"
for n in DNS:b.example DNS:x.no.a.example URI:spiffe://b.example/x IP:11.0.0.1 email:x@b.example DNS:ok.a.example IP:10.0.0.1 URI:spiffe://a.example/x email:x@a.example; do
  f=limited-$(echo $n | tr -c 'a-zA-Z0-9\n' _); cert $f /CN=d limited "${USER}subjectAltName=$n\n"; below $f limited
done
# Signatures.
cert sha-1 /CN=d root "$USER" -sha1
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa-line.key 2>/dev/null
authority rsa-line root; cert md5 /CN=d rsa-line "$USER" -md5; below md5 rsa-line
cp rsa-1024.key weak-line.key; authority weak-line root; cert weak-line-leaf /CN=d weak-line "$USER"; below weak-line-leaf weak-line
# Extensions, serials, names.
cert critical /CN=d root "${USER}1.2.3.4=critical,ASN1:UTF8String:x\n"
serial=-5 cert negative /CN=d root "$USER"
serial=0x7f00112233445566778899aabbccddeeff00112233 cert long /CN=d root "$USER"
cert nameless / root "$USER"
cert wildcard '/CN=*' root "$USER"
cert level '/CN=a#b' root "$USER"
cert control "/CN=a$(printf '\001')b" root "$USER"
cert other-name /CN=d root "${USER}subjectAltName=DNS:other\n"
openssl req -new -key device.key -subj /CN=d -out v1.csr
openssl x509 -req -in v1.csr -CA root.pem -CAkey root.key -set_serial 7 -days 9 -out v1.pem 2>/dev/null
"#;

type Chain = Vec<CertificateDer<'static>>;

/// What a client shows, whatever it is.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.path().join("policy.toml"), POLICY).unwrap();
        let made = Command::new("sh").args(["-c", CERTIFICATES]).current_dir(place.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        place.make();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    fn chain(&self, name: &str) -> Chain {
        let all = CertificateDer::pem_file_iter(self.path().join(format!("{name}.pem"))).unwrap();
        all.map(Result::unwrap).collect()
    }

    fn issuer(&self, name: &str) -> Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&self.text(&format!("{name}.key"))).unwrap();
        Issuer::from_ca_cert_pem(&self.text(&format!("{name}.pem")), key).unwrap()
    }

    /// Those whose dates or names openssl does not make at will.
    fn make(&self) {
        let device = KeyPair::from_pem(&self.text("device.key")).unwrap();
        let leaf = |name: &str, common: &str, years: (i32, i32), by: &Issuer<'static, KeyPair>| {
            let mut params = params(common, years);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            self.write(name, &params.signed_by(&device, by).unwrap().pem());
        };
        let root = self.issuer("root");
        let lasting = (2020, 2120);
        leaf("expired", "d", (2020, 2021), &root);
        leaf("early", "d", (2098, 2099), &root);
        leaf("backwards", "d", (2098, 2020), &root);
        leaf("nul", "d\0x", lasting, &root);
        let authority = |common: &str, years| {
            let mut params = params(common, years);
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            (params, KeyPair::generate().unwrap())
        };
        let mut twice = params("d", lasting);
        let extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        twice.custom_extensions = vec![extension.clone(), extension];
        self.write("twice", &twice.signed_by(&device, &root).unwrap().pem());
        let (line, key) = authority("past", (2020, 2021));
        let past = line.signed_by(&key, &root).unwrap().pem();
        leaf("below-past", "d", lasting, &Issuer::new(line, key));
        self.write("below-past", &(self.text("below-past.pem") + &past));
        let (old, key) = authority("old", (2020, 2021));
        self.write("old", &old.self_signed(&key).unwrap().pem());
        leaf("of-old", "d", lasting, &Issuer::new(old, key));
        let list = |name: &str, revoked: &[&str]| {
            let key = SecretString::new(self.text(&format!("{name}.key")));
            let authority = Authority::load(&self.text(&format!("{name}.pem")), &key).unwrap();
            let serial = |name: &&str| serial_number(&self.chain(name)[0]).unwrap();
            let revoked: Vec<Revoked> =
                revoked.iter().map(|name| Revoked { serial: serial(name), at_s: 1_700_000_000 }).collect();
            authority.revocation_list(&revoked, 1, 1_700_000_000).unwrap()
        };
        let lists = list("root", &["revoked", "cut"]) + &list("cut", &[]) + &list("stranger", &["direct"]);
        std::fs::write(self.path().join("lists.crl"), lists).unwrap();
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path().join(format!("{name}.pem")), pem).unwrap();
    }

    fn start(&self, tls: &str, auth: &str) -> Running {
        let text = format!(
            "[policy]\nfiles = [\"policy.toml\"]\n[[listener]]\nname = \"main\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\ncertificates = [{{ chain = \"server.pem\", key = \"server.key\" }}]\nclient_certificates = \"required\"\nclient_ca = [\"root.pem\", \"old.pem\"]\n{tls}\n[listener.auth]\nmethods = [\"certificate\"]\n{auth}\n"
        );
        let mut config = motte_config::parse(&text, "test.toml", jiff::civil::date(2026, 1, 1)).unwrap();
        config.resolve_paths(self.path());
        start_with(config, Options::default())
    }

    /// CONNECT behind a chain: the return code, or `None` when the handshake fails.
    fn show(&self, running: &Running, chain: Option<Chain>) -> Option<u8> {
        let mut roots = RootCertStore::empty();
        self.chain("server-ca").into_iter().for_each(|root| roots.add(root).unwrap());
        let key = PrivateKeyDer::from_pem_file(self.path().join("device.key")).unwrap();
        let key = any_supported_type(&key).unwrap();
        let shown = Shown(chain.map(|chain| Arc::new(CertifiedKey::new(chain, key))));
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(shown));
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(running.address("main")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        connect(&mut StreamOwned::new(tls, socket), "x")
    }

    /// Shows each; none gets in, and each has its cause in an event of its own.
    fn refuse(&self, running: &Running, event: &str, cases: &[(&str, Option<Chain>, &str)]) {
        for (name, chain, cause) in cases {
            let place = running.lines.length();
            let code = self.show(running, chain.clone());
            assert!(code.is_none_or(|code| code == 5), "{name} was answered with {code:?}");
            running.lines.expect_since(place, event, cause);
        }
    }
}

fn params(common: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    params
}

/// Certificates that an authority made as they are, by file, with their causes.
const MADE: [(&str, &str); 36] = [
    ("foreign", "no authority of this listener vouches"),
    ("named-alike", "another authority of the same name"),
    ("itself", "signed by itself"),
    ("no-line", "UnknownIssuer"),
    ("expired", "certificate expired"),
    ("early", "not valid yet"),
    ("backwards", "Expired"),
    ("below-past", "an authority in its chain has expired"),
    ("for-server", "allows server authentication"),
    ("for-mail", "for client authentication, allows"),
    ("unsigning", "no digitalSignature"),
    ("leaf-authority", "CaUsedAsEndEntity"),
    ("rsa-1024", "RSA key has 1024 bits"),
    ("rsa-3", "exponent of its RSA key is 3"),
    ("P-224", "kind that is not taken"),
    ("secp256k1", "kind that is not taken"),
    ("ed448", "kind that is not taken"),
    ("dsa", "kind that is not taken"),
    ("below-no-authority", "EndEntityUsedAsCa"),
    ("below-not-signing", "no keyCertSign"),
    ("too-deep", "PathLenConstraintViolated"),
    ("limited-DNS_b_example", "NameConstraintViolation"),
    ("limited-DNS_x_no_a_example", "NameConstraintViolation"),
    // Constraints on URIs and mail addresses are not understood, so no such name is taken below them.
    ("limited-URI_spiffe___a_example_x", "NameConstraintViolation"),
    ("limited-URI_spiffe___b_example_x", "NameConstraintViolation"),
    ("limited-email_x_a_example", "NameConstraintViolation"),
    ("limited-IP_11_0_0_1", "NameConstraintViolation"),
    ("limited-email_x_b_example", "NameConstraintViolation"),
    ("sha-1", "signed with SHA-1"),
    ("md5", "MD5"),
    ("weak-line-leaf", "in certificate 2 of its chain: its RSA key has 1024 bits"),
    ("critical", "UnsupportedCriticalExtension"),
    ("twice", "is there twice"),
    ("negative", "serial number is negative"),
    ("long", "serial number is negative or longer"),
    ("v1", "version 1 or 2"),
];

/// What no authority makes: none, what is no certificate, and what was changed on the way.
fn unmade(place: &Place) -> Vec<(&'static str, Option<Chain>, &'static str)> {
    let direct = place.chain("direct")[0].to_vec();
    let bytes = |bytes: Vec<u8>| Some(vec![CertificateDer::from(bytes)]);
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut der = direct.clone();
        change(&mut der);
        bytes(der)
    };
    let at = |part: &[u8]| direct.windows(part.len()).rposition(|window| window == part).unwrap();
    let (date, name) = (at(&[0x17, 13]) + 4, at(&[0x0c, 1, b'd']) + 2);
    let many = place.chain("direct").into_iter().chain(vec![place.chain("line")[0].clone(); 11]).collect();
    vec![
        ("none", None, "sent no certificate"),
        ("garbage", bytes(b"this is not a certificate".to_vec()), "not a certificate in DER"),
        ("cut short", altered(&|der| der.truncate(100)), "not a certificate in DER"),
        ("trailing", altered(&|der| der.push(0)), "bytes behind its end"),
        ("date", altered(&|der| der[date] = b'x'), "dates cannot be read"),
        ("large", bytes(vec![0x30; 70_000]), "TooLarge"),
        ("many", Some(many), "12 certificates were sent"),
        ("signature", altered(&|der| *der.last_mut().unwrap() ^= 1), "BadSignature"),
        ("altered", altered(&|der| der[name] = b'e'), "BadSignature"),
    ]
}

#[test]
fn each_bad_certificate_is_refused_with_its_cause_in_an_event() {
    let place = Place::new();
    let running = place.start("", "");
    for good in
        ["good", "direct", "order", "limited-DNS_ok_a_example", "limited-IP_10_0_0_1", "other-name", "of-old"]
    {
        assert_eq!(place.show(&running, Some(place.chain(good))), Some(0), "{good}");
    }
    let mut table = unmade(&place);
    table.extend(MADE.map(|(name, cause)| (name, Some(place.chain(name)), cause)));
    let different: BTreeSet<&str> = table.iter().map(|(_, _, cause)| *cause).collect();
    assert!(different.len() >= 30, "{} causes for {} certificates", different.len(), table.len());
    place.refuse(&running, "gate.tls_failed", &table);
    running.stop();
}

#[test]
fn what_a_list_revokes_or_leaves_unknown_is_refused() {
    let place = Place::new();
    let running = place.start("crl = [\"lists.crl\"]", "");
    assert_eq!(
        place.show(&running, Some(place.chain("direct"))),
        Some(0),
        "a stranger's list revokes nothing"
    );
    let of = |name: &str| Some(place.chain(name));
    let cases = [
        ("revoked", of("revoked"), "Revoked"),
        ("below-cut", of("below-cut"), "Revoked"),
        ("good", of("good"), "UnknownRevocationStatus: there is no revocation list"),
    ];
    place.refuse(&running, "gate.tls_failed", &cases);
    running.stop();
}

#[test]
fn a_certificate_without_a_name_of_its_own_is_nobody() {
    let place = Place::new();
    let of = |name: &str| Some(place.chain(name));
    let running = place.start("", "");
    let cases = [
        ("nameless", of("nameless"), "the certificate has no usable name"),
        ("wildcard", of("wildcard"), "the name of the certificate has a wildcard"),
        ("level", of("level"), "the certificate has no usable name"),
        ("control", of("control"), "the certificate has no usable name"),
        ("nul", of("nul"), "the certificate has no usable name"),
    ];
    place.refuse(&running, "gate.login_failed", &cases);
    running.stop();
    let running = place.start("", "certificate_identity = \"san_dns\"");
    let none = "the certificate has no usable name";
    place.refuse(&running, "gate.login_failed", &[("no SAN", of("direct"), none)]);
    assert_eq!(place.show(&running, of("other-name")), Some(0));
    running.stop();
}
