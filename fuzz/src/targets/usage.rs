//! Records of usage: any text is refused, or is a record that is written as itself; also when length and checksum are made to
//! fit.

use motte_access::usage::UsageRecord;

/// Runs the text as a record, and as the lines of one.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    whole(&text);
    whole(&format!("motte-usage 1 {} {:08x}\n{text}", text.len(), crc32fast::hash(text.as_bytes())));
}

fn whole(text: &str) {
    let Ok(record) = UsageRecord::decode(text) else { return };
    assert_eq!(UsageRecord::decode(&record.encode()), Ok(record), "a record that is not written as itself");
}
