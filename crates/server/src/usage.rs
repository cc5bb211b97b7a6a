//! The record of what rules were used for: read at the start, written at intervals and at the stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_access::usage::UsageRecord;
use motte_config::Config;
use motte_event::{Event, rule};

use crate::clock::unix_ms;
use crate::kept_file::{KeptFiles, USAGE};

/// Time between two writings.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Seconds after which it is written though nothing was used: it says until when it was watched.
const IDLE_S: u64 = 3_600;

/// The record and its file.
#[derive(Debug)]
pub(crate) struct UsageFile {
    files: KeptFiles,
    record: Arc<Mutex<UsageRecord>>,
    /// Its count of changes when it was written last, and when that was, in seconds since 1970.
    written: (u64, u64),
    is_failing: bool,
    /// When it is written next.
    due: Instant,
}

impl UsageFile {
    /// The record of a configuration that wants one; an event tells of one that could not be read.
    pub(crate) fn open(config: &Config, files: Option<&KeptFiles>, events: &mut Vec<Event>) -> Option<Self> {
        let files = files.filter(|_| config.record_usage)?.clone();
        let decode = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            UsageRecord::decode(&text).map_err(|error| error.to_string())
        };
        let record = files.read(USAGE, events).map(decode).transpose().unwrap_or_else(|cause| {
            files.put_aside(USAGE);
            events.push(rule::record_unreadable(&files.path(USAGE).display().to_string(), &cause));
            None
        });
        let record = Arc::new(Mutex::new(record.unwrap_or_default()));
        Some(Self { files, record, written: (0, 0), is_failing: false, due: Instant::now() + WRITE_EVERY })
    }

    /// The record, to be told what is used.
    pub(crate) fn record(&self) -> Arc<Mutex<UsageRecord>> {
        Arc::clone(&self.record)
    }

    /// How long until it is to be written.
    pub(crate) fn wait(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Writes it where it changed; tells once that it cannot.
    pub(crate) fn write(&mut self) -> Option<Event> {
        self.due = Instant::now() + WRITE_EVERY;
        let now_s = unix_ms() / 1_000;
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, at_s) = self.written;
        if changes == record.changes() && now_s.saturating_sub(at_s) < IDLE_S {
            return None;
        }
        record.touch(now_s);
        let (changes, text) = (record.changes(), record.encode());
        drop(record);
        let outcome = self.files.write(USAGE, text.as_bytes());
        let was_failing = std::mem::replace(&mut self.is_failing, outcome.is_err());
        match outcome {
            Ok(()) => {
                self.written = (changes, now_s);
                None
            }
            Err(_) if was_failing => None,
            Err(error) => {
                let file = self.files.path(USAGE).display().to_string();
                Some(rule::record_not_written(&file, &error.to_string()))
            }
        }
    }
}
