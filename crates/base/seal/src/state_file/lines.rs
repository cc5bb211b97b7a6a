//! A file to whose end lines are put: behind the same beginning as a whole one, records of length (u16), number (u64), CRC-32 of
//! both and the name's offset, the sealed line and its tag. The number is the nonce and goes up with each attempt to write, so
//! that a place can be written again after an attempt that failed. The first record is empty and belongs to the beginning, which
//! it seals.

use super::{FileFault, FileSeal, HEAD_BYTES, LINES, associated, begin, head};
use crate::envelope::{FileKey, NONCE_BYTES, SealError, TAG_BYTES};

/// Bytes of a record before what is sealed.
const RECORD_HEAD_BYTES: usize = 14;
/// Longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 1_024;

/// What a file of lines held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Which beginning of this file it is: later ones have larger numbers.
    pub number: u64,
    /// Its lines, each with its end.
    pub text: String,
    /// Bytes at its end that are the beginning of a record: it was being written when the process ended.
    pub torn_bytes: usize,
    /// Where something else than what was written begins, and what shows it. Nothing behind it is in `text`.
    pub damage: Option<(usize, &'static str)>,
}

/// Seals lines for the end of a file.
#[derive(Debug)]
pub struct LineSeal {
    key: FileKey,
    associated: Vec<u8>,
    next: u64,
}

impl LineSeal {
    /// Begins a file of this name: what stands at its front, and what seals its lines.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn begin(seal: &FileSeal, name: &str, number: u64) -> Result<(Vec<u8>, Self), SealError> {
        let mut front = begin(LINES, number)?;
        let key = seal.file_key(&front, name)?;
        let mut lines = Self { key, associated: associated(&front, name), next: 0 };
        let first = lines.record(front.len() as u64, "")?;
        front.extend_from_slice(&first);
        Ok((front, lines))
    }

    /// The record of a line, to be written at `offset`. Once for each attempt.
    ///
    /// # Errors
    /// [`SealError::Refused`] for more than [`LINE_BYTES_MAX`] bytes.
    pub fn record(&mut self, offset: u64, line: &str) -> Result<Vec<u8>, SealError> {
        let length = u16::try_from(line.len()).map_err(|_| SealError::Refused)?;
        if line.len() > LINE_BYTES_MAX {
            return Err(SealError::Refused);
        }
        let number = self.next;
        self.next = number.checked_add(1).ok_or(SealError::Refused)?;
        let mut out = Vec::with_capacity(RECORD_HEAD_BYTES + line.len() + TAG_BYTES);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        let checksum = placed(offset, &out);
        out.extend_from_slice(&checksum.to_le_bytes());
        let associated = bound(&self.associated, offset, &out);
        out.extend_from_slice(line.as_bytes());
        let body = out.get_mut(RECORD_HEAD_BYTES..).unwrap_or_default();
        let tag = self.key.seal(nonce(number), &associated, body)?;
        out.extend_from_slice(&tag);
        Ok(out)
    }
}

/// Reads a file of lines of this name.
///
/// # Errors
/// [`FileFault`] if it does not begin as one; damage further on is in [`Lines`].
pub fn open(seal: &FileSeal, name: &str, bytes: &[u8]) -> Result<Lines, FileFault> {
    let number = head(bytes, LINES)?;
    let front = bytes.get(..HEAD_BYTES).ok_or(FileFault::Damaged { what: "it is cut short" })?;
    let key = seal.file_key(front, name).map_err(|_| FileFault::Stranger)?;
    let associated = associated(front, name);
    let mut lines = Lines { number, text: String::new(), torn_bytes: 0, damage: None };
    let mut at = HEAD_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(record_head) = rest.get(..RECORD_HEAD_BYTES) else {
            lines.torn_bytes = rest.len();
            break;
        };
        let offset = at as u64;
        let Some((length, number)) = record_of(offset, record_head) else {
            lines.damage = Some((at, "a record's checksum is another"));
            break;
        };
        let end = RECORD_HEAD_BYTES + usize::from(length) + TAG_BYTES;
        let Some(sealed) = rest.get(RECORD_HEAD_BYTES..end) else {
            lines.torn_bytes = rest.len();
            break;
        };
        let mut line = sealed.to_vec();
        let opened = key.open(nonce(number), &bound(&associated, offset, record_head), &mut line);
        let Some(text) = opened.ok().and_then(|line| std::str::from_utf8(line).ok()) else {
            lines.damage = Some((at, "a record does not open"));
            break;
        };
        if at > HEAD_BYTES {
            lines.text.push_str(text);
            lines.text.push('\n');
        }
        at += end;
    }
    if at == HEAD_BYTES {
        // The beginning is written at once with its record.
        let is_short = lines.damage.is_none();
        return Err(if is_short {
            FileFault::Damaged { what: "it is cut short" }
        } else {
            FileFault::Stranger
        });
    }
    Ok(lines)
}

/// Length and number in the front of a record, if they are those that were written here.
fn record_of(offset: u64, record_head: &[u8]) -> Option<(u16, u64)> {
    let (checked, checksum) = record_head.split_last_chunk::<4>()?;
    let (length, number) = checked.split_first_chunk::<2>()?;
    let is_whole = u32::from_le_bytes(*checksum) == placed(offset, checked);
    let length = u16::from_le_bytes(*length);
    is_whole.then_some((length, u64::from_le_bytes(number.try_into().ok()?)))
}

/// CRC-32 of the place and the bytes.
fn placed(offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// What a line is bound to: its file, its place, its number.
fn bound(file: &[u8], offset: u64, record_head: &[u8]) -> Vec<u8> {
    [file, &offset.to_le_bytes(), record_head].concat()
}

fn nonce(number: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    const NAME: &str = "credentials.learned";

    fn written(seal: &FileSeal) -> Vec<u8> {
        let (mut bytes, mut lines) = LineSeal::begin(seal, NAME, 3).unwrap();
        for line in ["spent 1", "rotated 22", ""] {
            let record = lines.record(bytes.len() as u64, line).unwrap();
            bytes.extend_from_slice(&record);
        }
        bytes
    }

    #[test]
    fn lines_come_back_in_order_under_their_name_only() {
        let seal = Keyring::closed().unwrap().file_seal().unwrap();
        let bytes = written(&seal);
        let lines = open(&seal, NAME, &bytes).unwrap();
        assert_eq!((lines.number, lines.text.as_str()), (3, "spent 1\nrotated 22\n\n"));
        assert_eq!((lines.torn_bytes, lines.damage), (0, None));
        assert!(!bytes.windows(5).any(|part| part == b"spent"));
        assert_eq!(open(&seal, "bans.state", &bytes), Err(FileFault::Stranger));
        assert!(LineSeal::begin(&seal, NAME, 0).unwrap().1.record(0, &"x".repeat(2_000)).is_err());
    }

    #[test]
    fn a_changed_byte_is_damage_and_a_cut_is_a_torn_end() {
        let seal = Keyring::closed().unwrap().file_seal().unwrap();
        let bytes = written(&seal);
        let whole = open(&seal, NAME, &bytes).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open(&seal, NAME, &changed).map_or(true, |lines| lines.damage.is_some()), "byte {at}");
            if let Ok(lines) = open(&seal, NAME, &bytes[..at]) {
                assert!(lines.damage.is_none() && whole.text.starts_with(&lines.text), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_place_is_written_again_under_another_number() {
        let seal = Keyring::closed().unwrap().file_seal().unwrap();
        let (mut bytes, mut lines) = LineSeal::begin(&seal, NAME, 1).unwrap();
        let at = bytes.len() as u64;
        let (first, second) = (lines.record(at, "one").unwrap(), lines.record(at, "one").unwrap());
        assert_ne!(first, second);
        bytes.extend_from_slice(&second);
        assert_eq!(open(&seal, NAME, &bytes).unwrap().text, "one\n");
    }
}
