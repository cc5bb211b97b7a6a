//! TLS judged by openssl: what is offered, what is refused, whose certificate is taken.

use std::path::Path;
use std::process::{Command, Stdio};

use motte_testkit::finish;

use crate::site::Site;

fn s_client(site: &Site, more: &[&str]) -> String {
    let mut command = Command::new("openssl");
    let address = site.address("tls").to_string();
    command.args(["s_client", "-connect", &address, "-servername", "localhost", "-CAfile"]);
    command.arg(site.path("ca.pem")).args(more).stdin(Stdio::null());
    finish(&mut command).1
}

#[test]
fn old_versions_and_suites_without_forward_secrecy_are_refused() {
    let site = Site::start();
    for refused in [
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    ] {
        let text = s_client(&site, refused);
        let none = text.contains("Cipher is (NONE)") || text.contains("no cipher match");
        assert!(none, "{refused:?}: {text}");
    }
    for taken in [&["-tls1_3"][..], &["-tls1_2"]] {
        let text = s_client(&site, taken);
        assert!(
            text.contains("Verify return code: 0 (ok)") && !text.contains("Cipher is (NONE)"),
            "{taken:?}: {text}"
        );
    }
}

#[test]
fn the_hybrid_post_quantum_group_is_agreed_on_with_a_client_that_has_it() {
    let site = Site::start();
    let (good, text) =
        finish(site.motte("pub", "device-1").args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"]));
    assert!(good, "{text}");
    let done = site.broker.event("gate.handshake_done");
    assert_eq!((done.field("version").as_str(), done.field("group").as_str()), ("TLSv1_3", "X25519MLKEM768"));
}

/// Certificates by openssl that must not be taken: another authority, expired, not yet valid, for servers only.
#[test]
fn certificates_of_others_expired_early_or_for_another_purpose_are_refused() {
    let site = Site::start();
    let dir = site.dir.path();
    let run = |command: &str| {
        let (good, text) = finish(Command::new("sh").current_dir(dir).args(["-c", command]));
        assert!(good, "{command}: {text}");
    };
    run(concat!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout rogue.key -out rogue.pem ",
        "-subj /CN=Rogue -days 5"
    ));
    let sign = |name: &str, authority: &str, usage: &str, from: &str, to: &str| {
        run(&format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN=device-1 &&
             printf 'extendedKeyUsage={usage}\\nkeyUsage=digitalSignature\\nbasicConstraints=CA:FALSE\\n' > {name}.ext &&
             mkdir -p {name}.ca && : > {name}.ca/index && echo 0{n} > {name}.ca/serial &&
             printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase={name}.ca/index\\nserial={name}.ca/serial\\nnew_certs_dir={name}.ca\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > {name}.cnf &&
             openssl ca -batch -notext -config {name}.cnf -in {name}.csr -out {name}.pem -cert {authority}.pem -keyfile {authority}.key -startdate {from} -enddate {to} -extfile {name}.ext",
            n = name.len()
        ));
    };
    sign("other", "rogue", "clientAuth", "20200101000000Z", "20900201000000Z");
    sign("expired", "motte-state/ca", "clientAuth", "20200101000000Z", "20200201000000Z");
    sign("early", "motte-state/ca", "clientAuth", "20900101000000Z", "20900201000000Z");
    sign("purpose", "motte-state/ca", "serverAuth", "20200101000000Z", "20900201000000Z");
    sign("good", "motte-state/ca", "clientAuth", "20200101000000Z", "20900201000000Z");
    let attempt = |name: &str| {
        let port = site.address("tls").port().to_string();
        let mut command = Command::new("mosquitto_pub");
        command.current_dir(dir).args(["-h", "localhost", "-p", &port, "--cafile", "motte-state/ca.pem"]);
        command.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key"), "-i", "device-1"]);
        finish(command.args(["-t", "devices/device-1/x", "-m", "x", "-q", "1"]))
    };
    for (name, cause) in [
        ("other", "UnknownIssuer"),
        ("expired", "certificate expired"),
        ("early", "not valid yet"),
        ("purpose", "xtended"),
    ] {
        assert!(!attempt(name).0, "{name} was taken");
        site.broker.event_where("gate.tls_failed", |e| e.field("cause").contains(cause));
    }
    // The same way of making one gives a good one, so it is not the way that was refused; its OU gives it no role.
    attempt("good");
    site.broker.event_where("gate.authenticated", |e| e.field("identity") == "device-1");
}

#[test]
fn a_key_that_others_can_read_stops_the_start_and_says_how_to_mend_it() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::start();
    let key = site.path("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (good, text) = finish(Command::new(motte_testkit::binary()).current_dir(site.dir.path()).args([
        "check",
        "--config",
        "motte.toml",
    ]));
    assert!(!good && text.contains("chmod 600") && text.contains("server.key"), "{text}");
    assert!(Path::new(&key).exists());
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_only() {
    let site = Site::start();
    let dir = site.dir.path();
    let (good, text) = finish(Command::new("sh").current_dir(dir).args([
        "-c",
        "umask 077; printf 'open sesame' > pass && printf wrong > bad && openssl pkcs8 -topk8 -scrypt -in motte-state/server.key -out motte-state/enc.key -passout file:pass && chmod 600 motte-state/enc.key",
    ]));
    assert!(good, "{text}");
    let config = |source: &str| {
        crate::site::CONFIG
            .replace("motte-state/server.key\" }", &format!("motte-state/enc.key\"{source} }}"))
    };
    let check = |source: &str| {
        std::fs::write(dir.join("enc.toml"), config(source)).expect("the configuration can be written");
        finish(Command::new(motte_testkit::binary()).current_dir(dir).args(["check", "--config", "enc.toml"]))
    };
    let (good, text) = check(", passphrase_file = \"pass\"");
    assert!(good, "{text}");
    let (good, text) = check(", passphrase_file = \"bad\"");
    assert!(!good && text.contains("does not open with this passphrase"), "{text}");
    let (good, text) = check("");
    assert!(!good && text.contains("say where its passphrase is"), "{text}");
}
