//! The record of what rules were used for: read at the start, written at intervals and at the stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_access::usage::UsageRecord;
use motte_config::Config;
use motte_event::{Event, rule};

use crate::clock::unix_ms;

const RECORD: &str = "usage.record";
const RECORD_NEW: &str = "usage.record.new";
/// What could not be read is kept under this name.
const RECORD_DAMAGED: &str = "usage.record.damaged";
/// Longer than a record can be within its bounds.
const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time between two writings.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Seconds after which it is written though nothing was used: it says until when it was watched.
const IDLE_S: u64 = 3_600;

/// The record and its file.
#[derive(Debug)]
pub(crate) struct UsageFile {
    path: PathBuf,
    record: Arc<Mutex<UsageRecord>>,
    /// Its count of changes when it was written last, and when that was, in seconds since 1970.
    written: (u64, u64),
    is_failing: bool,
    /// When it is written next.
    due: Instant,
}

impl UsageFile {
    /// The record of a configuration that wants one; an event tells of one that could not be read.
    pub(crate) fn open(config: &Config, events: &mut Vec<Event>) -> Option<Self> {
        let dir = config.state_dir.as_deref().filter(|_| config.record_usage)?;
        let path = dir.join(RECORD);
        let record = read(&path).unwrap_or_else(|cause| {
            // Kept if it can be; a new one is begun either way.
            let _ = std::fs::rename(&path, dir.join(RECORD_DAMAGED));
            events.push(rule::record_unreadable(&path.display().to_string(), &cause));
            None
        });
        let record = Arc::new(Mutex::new(record.unwrap_or_default()));
        Some(Self { path, record, written: (0, 0), is_failing: false, due: Instant::now() + WRITE_EVERY })
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
        let outcome = replace(&self.path, &text);
        let was_failing = std::mem::replace(&mut self.is_failing, outcome.is_err());
        match outcome {
            Ok(()) => {
                self.written = (changes, now_s);
                None
            }
            Err(_) if was_failing => None,
            Err(error) => {
                Some(rule::record_not_written(&self.path.display().to_string(), &error.to_string()))
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<UsageRecord>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    file.take(RECORD_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    UsageRecord::decode(&text).map(Some).map_err(|error| error.to_string())
}

/// Whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_file_name(RECORD_NEW);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
