//! The counters as bytes, for a restart: a version, lengths that are checked before anything is read, a checksum at the end.

use super::ledger::Attempts;
use super::limits::AttemptLimits;
use super::strikes::{Known, Strikes};
use super::table::{Entry, Table};
use super::tag::{Tag, TagKey};

/// The version of what is written here.
const VERSION: u8 = 1;

/// What is wrong with bytes that should be counters or bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The checksum does not fit.
    #[error("the file is damaged: its checksum does not fit")]
    Checksum,
    /// Another program or version wrote it.
    #[error("the file was written by another version of motte")]
    Version,
    /// It ends too early, or says something that cannot be.
    #[error("the file is damaged: its content makes no sense")]
    Content,
}

/// Appends values.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// Reads values, never beyond the end.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Content)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(*self.take(1)?.first().ok_or(RecordError::Content)?)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        let bytes = self.take(8)?.try_into().map_err(|_| RecordError::Content)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let count = usize::try_from(self.u64()?).map_err(|_| RecordError::Content)?;
        self.take(count)
    }

    pub(crate) fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() { Ok(()) } else { Err(RecordError::Content) }
    }
}

/// Adds version and checksum.
pub(crate) fn sealed(version: u8, content: Writer) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend(content.0);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The content, if the checksum and the version fit.
pub(crate) fn unsealed(version: u8, bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(RecordError::Checksum)?;
    if crc32fast::hash(content).to_le_bytes() != *checksum {
        return Err(RecordError::Checksum);
    }
    match content.split_first() {
        Some((first, rest)) if *first == version => Ok(Reader(rest)),
        _ => Err(RecordError::Version),
    }
}

impl Attempts {
    /// What is worth keeping: at most 40 bytes for each entry.
    pub fn encode(&self, now_ms: u64) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(self.key.secret());
        for table in &self.strikes {
            write(&mut out, table, now_ms, write_strikes);
        }
        for table in [&self.known, &self.sessions, &self.healthy] {
            write(&mut out, table, now_ms, |known, out| {
                out.u64(known.seen_ms);
                write_strikes(&known.strikes, out);
            });
        }
        sealed(VERSION, out)
    }

    /// As another run left it. Holds that the clock made too long are cut.
    ///
    /// # Errors
    /// When the bytes are not what [`Attempts::encode`] wrote.
    pub fn decode(bytes: &[u8], limits: AttemptLimits, now_ms: u64) -> Result<Self, RecordError> {
        let mut reader = unsealed(VERSION, bytes)?;
        let secret = reader.bytes()?.try_into().map_err(|_| RecordError::Content)?;
        let mut attempts = Self::new(limits, TagKey::new(secret));
        for table in &mut attempts.strikes {
            read(&mut reader, table, now_ms, |reader| Ok(read_strikes(reader)?.bounded(now_ms, &limits)))?;
        }
        for table in [&mut attempts.known, &mut attempts.sessions, &mut attempts.healthy] {
            read(&mut reader, table, now_ms, |reader| {
                let seen_ms = reader.u64()?.min(now_ms);
                Ok(Known { seen_ms, strikes: read_strikes(reader)?.bounded(now_ms, &limits) })
            })?;
        }
        reader.end()?;
        Ok(attempts)
    }
}

fn write_strikes(strikes: &Strikes, out: &mut Writer) {
    out.u64(u64::from(strikes.failures));
    out.u64(strikes.until_ms);
    out.u64(strikes.over_ms);
}

fn read_strikes(reader: &mut Reader<'_>) -> Result<Strikes, RecordError> {
    let failures = u16::try_from(reader.u64()?).map_err(|_| RecordError::Content)?;
    Ok(Strikes { failures, pending: 0, until_ms: reader.u64()?, over_ms: reader.u64()? })
}

fn write<E: Entry>(out: &mut Writer, table: &Table<E>, now_ms: u64, each: impl Fn(&E, &mut Writer)) {
    out.u64(table.entries(now_ms).count() as u64);
    for (tag, entry) in table.entries(now_ms) {
        out.u64(tag.place);
        out.u64(tag.mark.get());
        each(entry, out);
    }
}

fn read<E: Entry>(
    reader: &mut Reader<'_>,
    table: &mut Table<E>,
    now_ms: u64,
    each: impl Fn(&mut Reader<'_>) -> Result<E, RecordError>,
) -> Result<(), RecordError> {
    for _ in 0..reader.u64()? {
        let place = reader.u64()?;
        let mark = reader.u64()?.try_into().map_err(|_| RecordError::Content)?;
        let entry = each(reader)?;
        if !entry.is_over(now_ms) {
            // In a table that is smaller than before, it displaces as in one that is full.
            let _ = table.entry(Tag { place, mark }, now_ms, |_| entry);
        }
    }
    Ok(())
}
