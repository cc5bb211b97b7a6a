//! Keys that stay in a PKCS#11 token.

use std::path::Path;
use std::process::{Command, Stdio};

use motte_testkit::{Broker, Signal, binary, finish};

use crate::keys::shell;
use crate::site::need;

/// A token in software, which `interop/setup.sh` installs.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token of SoftHSM in `dir/tokens` with an ECDSA and an RSA key, whose files are gone, and certificates for them.
fn token(dir: &Path) {
    need(Path::new(MODULE));
    shell(
        dir,
        "umask 077; mkdir tokens; printf 'directories.tokendir = %s/tokens\n' \"$PWD\" > softhsm.conf
         printf 1234 > pin; printf 0000 > wrong-pin; export SOFTHSM2_CONF=$PWD/softhsm.conf
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ecdsa.key
         openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
         softhsm2-util --init-token --free --label motte --so-pin 5678 --pin 1234
         for k in ecdsa rsa; do
           openssl req -x509 -new -key $k.key -out $k.pem -subj /CN=localhost -days 5
           softhsm2-util --import $k.key --token motte --label $k --id 0$(printf $k | wc -c) --pin 1234
           rm $k.key
         done",
    );
}

/// A configuration with a listener for each key of the token.
fn token_config(pin: &str) -> String {
    let mut config = "state_dir = \"state\"\n[log]\nformat = \"json\"\n".to_owned();
    for name in ["ecdsa", "rsa"] {
        config.push_str(&format!(
            "[[listener]]\nname = \"{name}\"\nkind = \"tls\"\nbind = [\"127.0.0.1:0\"]\n[listener.tls]\n\
             certificates = [{{ chain = \"{name}.pem\", passphrase_file = \"{pin}\", \
             key = \"pkcs11:token=motte;object={name}?module-path={MODULE}\" }}]\n"
        ));
    }
    config
}

#[test]
fn a_key_that_never_leaves_its_token_signs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    token(dir);
    std::fs::write(dir.join("motte.toml"), token_config("pin")).expect("it can be written");
    let (name, path) = ("SOFTHSM2_CONF", dir.join("softhsm.conf"));
    let broker = Broker::start_with(dir, (name, &path), &["serve", "--config", "motte.toml"]);
    let signs = || {
        for (name, signature) in [("ecdsa", "ECDSA"), ("rsa", "RSA")] {
            let address = broker.address(name).to_string();
            for version in ["-tls1_3", "-tls1_2"] {
                let mut command = Command::new("openssl");
                command.current_dir(dir).args(["s_client", "-connect", &address, version, "-CAfile"]);
                let (_, text) = finish(command.arg(format!("{name}.pem")).stdin(Stdio::null()));
                assert!(text.contains("Verify return code: 0 (ok)"), "{name} {version}: {text}");
                assert!(text.contains(&format!("Peer signature type: {signature}")), "{name}: {text}");
            }
        }
    };
    signs();
    // What the library of a token makes impossible is told, at the start and when somebody asks.
    let short = broker.event("life.confinement_incomplete");
    assert!(short.field("role") == "supervisor and keyd" && short.field("not_in_force").contains("PKCS#11"));
    let (good, text) =
        finish(Command::new(binary()).current_dir(dir).args(["harden", "status", "--state", "state"]));
    assert!(
        !good && text.contains("keyd: seccomp is off") && text.contains("supervisor: seccomp is off"),
        "{text}"
    );
    broker.signal("keyd", Signal::KILL);
    broker.event("life.keys_ready");
    signs();

    for (config, expected) in [
        (token_config("wrong-pin"), "does not open with this PIN"),
        (token_config("pin").replace("object=rsa", "object=none"), "under the same label"),
        (token_config("pin").replace("token=motte", "token=other"), "there is no such token"),
        (token_config("pin").replace(MODULE, "/none.so"), "module-path"),
        (token_config("pin").replace("object=ecdsa", "object=rsa"), "does not fit its certificate"),
    ] {
        std::fs::write(dir.join("wrong.toml"), config).expect("it can be written");
        let mut command = Command::new(binary());
        command.current_dir(dir).env(name, &path).args(["serve", "--config", "wrong.toml"]);
        let (good, text) = finish(&mut command);
        assert!(!good && text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_vault_is_opened_by_a_key_that_never_leaves_its_token() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    token(dir);
    shell(
        dir,
        "export SOFTHSM2_CONF=$PWD/softhsm.conf
         for k in kek other; do
           # Bytes that end a line would end the key: the importing tool reads lines.
           openssl rand -hex 16 | tr -d '\\n' > $k.bin
           softhsm2-util --import $k.bin --aes --token motte --label $k --id 1$(printf $k | wc -c) --pin 1234
           rm $k.bin
         done",
    );
    let config = |object: &str, pin: &str| {
        token_config("pin")
            + &format!(
                "[store.key]\npkcs11 = \"pkcs11:token=motte;object={object}?module-path={MODULE}\"\npin_file = \"{pin}\"\n"
            )
    };
    std::fs::write(dir.join("motte.toml"), config("kek", "pin")).expect("it can be written");
    let (name, path) = ("SOFTHSM2_CONF", dir.join("softhsm.conf"));
    for _ in 0..2 {
        let broker = Broker::start_with(dir, (name, &path), &["serve", "--config", "motte.toml"]);
        broker.event("life.listening");
        assert!(broker.terminate());
    }
    assert!(!dir.join("state.key").exists(), "no key is in a file");
    let mut status = Command::new(binary());
    status.current_dir(dir).env(name, &path).args(["vault", "status", "--config", "motte.toml"]);
    let (good, text) = finish(&mut status);
    assert!(good && text.contains("opened by PKCS#11 key") && text.contains("object=kek"), "{text}");
    for (config, expected) in [
        (config("other", "pin"), "a key in a token was given that opens none of it"),
        (config("none", "pin"), "the token has no AES key under this name"),
        (config("kek", "wrong-pin"), "does not open with this PIN"),
    ] {
        std::fs::write(dir.join("wrong.toml"), config).expect("it can be written");
        let mut command = Command::new(binary());
        command.current_dir(dir).env(name, &path).args(["serve", "--config", "wrong.toml"]);
        let (good, text) = finish(&mut command);
        assert!(
            !good && text.contains(expected) && text.contains("is opened by PKCS#11 key"),
            "{expected}: {text}"
        );
    }
}
