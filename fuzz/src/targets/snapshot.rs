//! Snapshots: a file is refused or has exactly one encoding, even if its checksum was made to fit.

use motte_store::Snapshot;

/// Offset of the body's length, and of the body behind it.
const LENGTH_AT: usize = 10;
const BODY_AT: usize = 18;

/// Runs the bytes as they are, and once more with a header and a checksum that fit, so that the body is reached.
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
    match Snapshot::decode(file) {
        Ok(snapshot) => assert_eq!(snapshot.encode(), file, "a snapshot with two encodings"),
        Err(error) => assert!(!error.to_string().is_empty(), "an error without words"),
    }
}

/// The file with the length and the checksum of what is in it.
fn sealed(data: &[u8]) -> Option<Vec<u8>> {
    let body = data.get(BODY_AT..data.len().checked_sub(4)?)?;
    let mut file = Snapshot::default().encode().get(..LENGTH_AT)?.to_vec();
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    file.extend_from_slice(body);
    let checksum = crc32fast::hash(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    Some(file)
}
