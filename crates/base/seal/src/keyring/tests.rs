//! Vaults: opened by their keys only, each byte of them believed only if it is what was written.

use super::*;
use crate::password::HashParameters;
use crate::secret::SecretBytes;

const CHEAP: HashParameters = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![byte; 32])).unwrap()
}

fn reopened(ring: &mut Keyring, kek: &KeyEncryptionKey) -> Result<Keyring, VaultError> {
    Vault::decode(&ring.encode().unwrap()).unwrap().open(kek)
}

fn seals_the_same(a: &Keyring, b: &Keyring, number: u32) -> bool {
    let sealed = |ring: &Keyring| match ring.key(number) {
        KeyState::Usable(key) => {
            let mut bytes = [0; 8];
            key.file_key(&[3; 32], b"test")
                .unwrap()
                .seal([0; 12], b"", &mut bytes)
                .ok()
                .map(|tag| (bytes, tag))
        }
        KeyState::Shredded | KeyState::Unknown => None,
    };
    sealed(a).is_some() && sealed(a) == sealed(b)
}

#[test]
fn a_vault_comes_back_with_its_keys() {
    let mut ring = Keyring::create(&kek(1), "/etc/motte/state.key").unwrap();
    let device = ring.add_group(7).unwrap();
    assert_eq!(ring.add_group(7).unwrap(), device);
    let again = reopened(&mut ring, &kek(1)).unwrap();
    assert_eq!((again.current(0), again.current(7), again.groups()), (Some(1), Some(device), 2));
    assert!(seals_the_same(&ring, &again, 1) && seals_the_same(&ring, &again, device));
    assert_eq!(again.generation(), 1);
}

#[test]
fn a_wrong_key_is_told_which_one_is_wanted() {
    let mut ring = Keyring::create(&kek(1), "/etc/motte/state.key").unwrap();
    let error = reopened(&mut ring, &kek(2)).unwrap_err().to_string();
    assert!(error.contains(&format!("key file {} (/etc/motte/state.key)", kek(1).id())), "{error}");
    assert!(error.contains(&kek(2).id().to_string()), "{error}");
}

#[test]
fn each_source_of_a_key_opens_its_slot() {
    let phrase = SecretBytes::new(b"correct horse battery".to_vec());
    let mut ring = Keyring::create(&KeyEncryptionKey::new_passphrase(&phrase, CHEAP).unwrap(), "").unwrap();
    let (recovery, text) = KeyEncryptionKey::recovery().unwrap();
    ring.add_slot(&recovery, "in the safe").unwrap();
    let file = ring.encode().unwrap();
    let slots = Vault::decode(&file).unwrap().slots().to_vec();
    let from =
        |secret: &[u8]| KeyEncryptionKey::from_source(&SecretBytes::new(secret.to_vec()), &slots[0].source);
    assert!(Vault::decode(&file).unwrap().open(&from(b"correct horse battery").unwrap()).is_ok());
    let wrong = Vault::decode(&file).unwrap().open(&from(b"wrong horse battery").unwrap()).unwrap_err();
    assert!(matches!(wrong, VaultError::WrongKey { .. }), "{wrong}");
    let typed = KeyEncryptionKey::from_recovery(&text).unwrap();
    assert!(Vault::decode(&file).unwrap().open(&typed).is_ok());
    let hex = SecretBytes::new("01".repeat(32).into_bytes());
    assert_eq!(KeyEncryptionKey::from_credential(&hex).unwrap().id(), kek(1).id());
}

#[test]
fn what_is_no_key_is_refused_with_what_one_is() {
    let error = KeyEncryptionKey::from_key_file(&SecretBytes::new(b"secret\n".to_vec())).unwrap_err();
    assert_eq!(error, KekError::Length { bytes: 6 });
    assert!(error.to_string().contains("openssl rand -hex 32"));
    let error = KeyEncryptionKey::new_passphrase(&SecretBytes::new(b"short".to_vec()), CHEAP).unwrap_err();
    assert_eq!(error, KekError::Passphrase { bytes: 5 });
}

#[test]
fn after_an_exchange_the_new_key_opens_and_the_old_one_does_not() {
    let mut ring = Keyring::create(&kek(1), "old").unwrap();
    assert_eq!(ring.rotate_kek(kek(9).id(), &kek(2), "new"), Err(VaultError::NoSlot { id: kek(9).id() }));
    ring.rotate_kek(kek(1).id(), &kek(2), "new").unwrap();
    assert!(matches!(reopened(&mut ring, &kek(1)), Err(VaultError::WrongKey { .. })));
    let again = reopened(&mut ring, &kek(2)).unwrap();
    assert!(seals_the_same(&ring, &again, 1));
}

#[test]
fn a_new_data_key_seals_and_the_old_one_opens_until_it_is_forgotten() {
    let mut ring = Keyring::create(&kek(1), "").unwrap();
    let new = ring.rotate_dek(0).unwrap();
    assert_eq!((ring.current(0), ring.retired().collect::<Vec<_>>()), (Some(new), vec![1]));
    let mut again = reopened(&mut ring, &kek(1)).unwrap();
    assert_eq!(again.current(0), Some(new));
    assert!(!again.forget(new) && again.forget(1) && !again.forget(1));
    assert!(matches!(again.key(1), KeyState::Unknown));
}

#[test]
fn new_keys_are_taken_back_and_former_ones_are_shredded_alone() {
    let mut ring = Keyring::closed().unwrap();
    ring.add_group(7).unwrap();
    let first = ring.current(7).unwrap();
    let second = ring.rotate_dek(7).unwrap();
    ring.take_back(&[second]);
    assert_eq!(ring.current(7), Some(first));
    assert!(matches!(ring.key(second), KeyState::Unknown));
    let third = ring.rotate_dek(7).unwrap();
    assert_eq!(ring.shred_retired(7), [first]);
    assert!(matches!(ring.key(first), KeyState::Shredded));
    assert!(matches!(ring.key(third), KeyState::Usable(_)));
    assert_eq!((ring.current(7), ring.counts()), (Some(third), (2, 1)));
    assert!(ring.shred_retired(0).is_empty());
}

#[test]
fn a_shredded_group_has_no_key_any_more() {
    let mut ring = Keyring::create(&kek(1), "").unwrap();
    let old = ring.add_group(7).unwrap();
    let new = ring.rotate_dek(7).unwrap();
    assert_eq!(ring.shred(7), 2);
    let mut again = reopened(&mut ring, &kek(1)).unwrap();
    assert!(matches!((again.key(old), again.key(new)), (KeyState::Shredded, KeyState::Shredded)));
    assert_eq!(again.current(7), None);
    assert!(again.add_group(7).unwrap() > new, "a number is never used again");
}

#[test]
fn each_changed_byte_of_a_vault_is_a_named_error() {
    let mut ring = Keyring::create(&kek(1), "label").unwrap();
    ring.add_group(3).unwrap();
    let file = ring.encode().unwrap();
    for at in 0..file.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] ^= mask;
            let error = Vault::decode(&changed).unwrap_err();
            assert!(!error.to_string().is_empty());
            // Someone who makes the checksum fit does not get further than the seal.
            let end = changed.len() - 4;
            let checksum = crc32fast::hash(&changed[..end]);
            changed[end..].copy_from_slice(&checksum.to_le_bytes());
            if at < end {
                assert!(Vault::decode(&changed).and_then(|vault| vault.open(&kek(1))).is_err(), "byte {at}");
            }
        }
    }
    for length in 0..file.len() {
        assert!(Vault::decode(&file[..length]).is_err(), "{length} bytes");
    }
}
