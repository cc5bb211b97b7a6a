//! `motte key`, as its users see it, with keys that openssl reads and writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use motte_testkit::{binary, finish};

fn motte(dir: &Path, words: &str) -> (bool, String) {
    finish(Command::new(binary()).current_dir(dir).args(words.split_whitespace()))
}

fn openssl(dir: &Path, words: &str) -> bool {
    finish(Command::new("openssl").current_dir(dir).args(words.split_whitespace())).0
}

#[test]
fn a_key_is_made_encrypted_and_opens_with_its_passphrase_only() {
    let site = tempfile::tempdir().unwrap();
    let dir = site.path();
    fs::write(dir.join("first"), "a sentence for this key\n").unwrap();
    fs::write(dir.join("second"), "another sentence for it\n").unwrap();
    fs::write(dir.join("short"), "too short\n").unwrap();
    let (good, text) = motte(dir, "key new key.pem --encrypt --passphrase-file short");
    assert!(!good && text.contains("less than 15 characters") && !dir.join("key.pem").exists(), "{text}");
    let (good, text) = motte(dir, "key new key.pem --encrypt --passphrase-file first");
    assert!(good, "{text}");
    let pem = fs::read_to_string(dir.join("key.pem")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert_eq!(fs::metadata(dir.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(openssl(dir, "pkey -in key.pem -passin file:first -noout"));
    assert!(!openssl(dir, "pkey -in key.pem -passin file:second -noout"));
    assert!(motte(dir, "key check key.pem --passphrase-file first").0);
    assert!(!motte(dir, "key check key.pem --passphrase-file second").0);
    let (good, text) = motte(dir, "key new key.pem --passphrase-file second");
    assert!(!good && text.contains("never overwritten"), "{text}");

    let words = "key passwd key.pem --old-passphrase-file first --passphrase-file second";
    assert!(motte(dir, words).0);
    assert!(openssl(dir, "pkey -in key.pem -passin file:second -noout"));
    let (good, text) = motte(dir, words);
    assert!(!good && text.contains("does not open with this passphrase"), "{text}");
}

#[test]
fn a_key_that_others_can_read_or_that_is_not_encrypted_is_told_with_its_remedy() {
    let site = tempfile::tempdir().unwrap();
    let dir = site.path();
    let (good, text) = motte(dir, "key new plain.pem --plain");
    assert!(good && text.contains("NOT encrypted"), "{text}");
    let (good, text) = motte(dir, "key check plain.pem");
    assert!(!good && text.contains("motte key passwd plain.pem"), "{text}");
    fs::write(dir.join("words"), "a sentence for this key").unwrap();
    assert!(motte(dir, "key passwd plain.pem --passphrase-file words").0);
    assert!(motte(dir, "key check plain.pem --passphrase-file words").0);
    fs::set_permissions(dir.join("plain.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let (good, text) = motte(dir, "key check plain.pem --passphrase-file words");
    assert!(!good && text.contains("chmod 0600 plain.pem"), "{text}");

    assert!(openssl(dir, "genrsa -aes128 -passout file:words -traditional -out old.pem 2048"));
    let (good, text) = motte(dir, "key check old.pem --passphrase-file words");
    assert!(!good && text.contains("old, weak way"), "{text}");
}
