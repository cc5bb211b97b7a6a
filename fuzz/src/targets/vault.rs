//! Vaults: any bytes are read or refused with words, and none is opened by a key that did not make it.

use motte_seal::SecretBytes;
use motte_seal::keyring::{KeyEncryptionKey, Vault};

/// Offset of the length of the whole.
const LENGTH_AT: usize = 10;

/// Runs the bytes as they are, and once more with a length and a checksum that fit.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    check(data);
    if let Some(forged) = sealed(data) {
        check(&forged);
    }
}

fn check(file: &[u8]) {
    let vault = match Vault::decode(file) {
        Ok(vault) => vault,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without words");
            return;
        }
    };
    let Ok(key) = KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![1; 32])) else {
        super::fail("32 bytes are no key");
    };
    assert!(vault.open(&key).is_err(), "a vault that nobody sealed was opened");
}

/// The file with the length and the checksum of what is in it.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let mut file = data.get(..data.len().checked_sub(4)?)?.to_vec();
    let length = u32::try_from(data.len()).ok()?.to_le_bytes();
    file.get_mut(LENGTH_AT..LENGTH_AT + 4)?.copy_from_slice(&length);
    let checksum = crc32fast::hash(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    Some(file)
}
