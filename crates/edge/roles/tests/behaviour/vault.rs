//! The key that opens the vault: read from each of its sources, and used in the key process without leaving it.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use motte_roles::{
    KeyClient, Link, Order, Outcome, Passphrase, Role, VaultKey, VaultKind, VaultSource, make_key_file,
    serve_keys,
};
use motte_seal::SecretString;
use motte_seal::envelope::DataKey;
use motte_seal::keyring::{KeyEncryptionKey, KeySource};

fn same(a: &DataKey, b: &DataKey) -> bool {
    a.expose() == b.expose()
}

fn known(text: &str) -> Passphrase {
    Passphrase::Known(Arc::new(SecretString::new(text.to_owned())))
}

fn private(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn what_each_source_wraps_it_unwraps_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.key");
    make_key_file(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(make_key_file(&file).is_err(), "a key that is there is never replaced");
    std::fs::write(dir.path().join("store"), [9; 32]).unwrap();
    private(&dir.path().join("phrase"), b"correct horse battery\n");
    let sources = [
        VaultSource::file(file),
        VaultSource { kind: VaultKind::Key, secret: Passphrase::Credential("store".to_owned()) },
        VaultSource { kind: VaultKind::Passphrase, secret: Passphrase::File(dir.path().join("phrase")) },
        VaultSource { kind: VaultKind::Passphrase, secret: known("another long passphrase") },
    ];
    let master = DataKey::generate().unwrap();
    let keys = sources.each_ref().map(|source| VaultKey::read(source, Some(dir.path())).unwrap());
    let slots = keys.each_ref().map(|key| key.wrap(&master).unwrap());
    for (number, key) in keys.iter().enumerate() {
        for (other, slots) in slots.iter().enumerate() {
            match key.unwrap(slots) {
                Ok((opened, id)) => assert!(number == other && same(&opened, &master) && id == slots[0].id),
                Err(told) => assert!(number != other && told.contains("was given"), "{told}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open.key");
    std::fs::write(&open, [9; 32]).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let short = dir.path().join("short.key");
    private(&short, b"abc");
    let told = |source: VaultSource| VaultKey::read(&source, None).unwrap_err();
    assert!(told(VaultSource::file(open)).contains("open.key can be read by others"));
    assert!(told(VaultSource::file(short)).contains("openssl rand -hex 32"));
    assert!(told(VaultSource::file(dir.path().join("none.key"))).contains("none.key: No such file"));
    let credential = VaultSource { kind: VaultKind::Key, secret: Passphrase::Credential("store".to_owned()) };
    assert!(told(credential).contains("LoadCredentialEncrypted=store"));
    let token = "pkcs11:token=none;object=kek?module-path=/nonexistent.so".to_owned();
    assert!(
        told(VaultSource { kind: VaultKind::Token(token), secret: known("1234") }).contains("module-path")
    );
    assert!(
        told(VaultSource { kind: VaultKind::Recovery, secret: known("12-34") }).contains("no recovery key")
    );
}

/// A key process that was told of a vault's key, and a client of it.
fn keyd(source: VaultSource, recovery: Passphrase) -> (Link, KeyClient) {
    let (here, there) = UnixStream::pair().unwrap();
    std::thread::spawn(move || serve_keys(&Link::new(there), None, &mut |_| Ok(())));
    let supervisor = Link::new(here);
    supervisor.greet(Role::Supervisor, Role::Keyd).unwrap();
    supervisor.send(&Order::Vault { source, recovery }).unwrap();
    supervisor.send(&Order::Load { sources: Vec::new() }).unwrap();
    let (Outcome::Loaded { .. }, _) = supervisor.receive().unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    supervisor.send_with(&Order::Serve, there.as_fd()).unwrap();
    let client = KeyClient::new(Box::new(|| {}));
    client.attach(here).unwrap();
    (supervisor, client)
}

#[test]
fn the_key_process_opens_a_vault_without_giving_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.key");
    make_key_file(&file).unwrap();
    let (_, recovery) = KeyEncryptionKey::recovery().unwrap();
    let (_supervisor, client) = keyd(VaultSource::file(file.clone()), known(recovery.expose()));
    let master = DataKey::generate().unwrap();
    let slots = client.wrap_vault(&master).unwrap();
    assert_eq!(slots.len(), 2);
    assert_eq!(slots[1].source, KeySource::Recovery);
    assert!(same(&client.unwrap_vault(&slots).unwrap(), &master));
    assert_eq!(client.wrap_vault(&master).unwrap().len(), 1, "the recovery key was forgotten");
    let own =
        VaultKey::read(&VaultSource { kind: VaultKind::Recovery, secret: known(recovery.expose()) }, None);
    assert!(same(&own.unwrap().unwrap(&slots).unwrap().0, &master));
    // Whoever took the core over may not ask without end.
    let refused = (0..20).find_map(|_| client.unwrap_vault(&slots).err());
    assert!(refused.unwrap().contains("too often"));
}

#[test]
fn a_key_process_says_which_key_it_has_when_it_is_the_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.key");
    let (_supervisor, missing) = keyd(VaultSource::file(file.clone()), Passphrase::None);
    let master = DataKey::generate().unwrap();
    assert!(missing.wrap_vault(&master).unwrap_err().contains("store.key: No such file"));
    make_key_file(&file).unwrap();
    let other = dir.path().join("other.key");
    make_key_file(&other).unwrap();
    let slots = VaultKey::read(&VaultSource::file(other), None).unwrap().wrap(&master).unwrap();
    let (_supervisor, client) = keyd(VaultSource::file(file), Passphrase::None);
    let told = client.unwrap_vault(&slots).unwrap_err();
    assert!(told.contains("key file") && told.contains("store.key"), "{told}");
}
