//! Small files of a state directory: any bytes are opened or refused with words, and none that nobody sealed is opened.

use motte_seal::keyring::Keyring;
use motte_seal::state_file::{FileSeal, lines};

/// Runs the bytes as they are, and once more with checksums that fit.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let Some(seal) = Keyring::closed().ok().and_then(|ring| ring.file_seal().ok()) else {
        super::fail("the system gives no randomness");
    };
    check(&seal, data);
    if let Some(front) = data.len().checked_sub(4).and_then(|end| data.get(..end)) {
        check(&seal, &[front, &crc32fast::hash(front).to_le_bytes()].concat());
    }
}

fn check(seal: &FileSeal, file: &[u8]) {
    match seal.open("bans.state", file) {
        Ok(_) => super::fail("a file that nobody sealed was opened"),
        Err(fault) => assert!(!fault.to_string().is_empty(), "an error without words"),
    }
    match lines::open(seal, "credentials.learned", file) {
        Ok(_) => super::fail("lines that nobody sealed were opened"),
        Err(fault) => assert!(!fault.to_string().is_empty(), "an error without words"),
    }
}
