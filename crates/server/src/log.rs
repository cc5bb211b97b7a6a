//! The log: events go through a bounded channel to one thread that writes to stderr, so that a slow terminal or pipe never
//! stops a worker. What does not fit is counted, and the count is written.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use motte_event::{Event, Severity, life};

use motte_config::LogFormat;
use rustc_hash::FxHashMap;

use crate::clock::unix_ms;
use crate::notice;

/// Events that may wait for the log thread.
const WAITING_MAX: usize = 4_096;
/// Events of one kind written in [`WINDOW_MS`]; more are counted, and the count is written.
const REPEATED_MAX: u64 = 200;
/// The time over which repetitions are counted, in milliseconds.
const WINDOW_MS: u64 = 5_000;

#[derive(Debug)]
struct Entry {
    at_ms: u64,
    event: Event,
}

/// A handle to the log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    sender: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    severity_min: Severity,
}

impl Log {
    /// Writes an event, or counts it as dropped when the log thread is behind. Never blocks.
    pub(crate) fn event(&self, event: Event) {
        if event.spec().severity < self.severity_min {
            return;
        }
        if self.sender.try_send(Entry { at_ms: unix_ms(), event }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The log thread; joined once all handles are gone.
#[derive(Debug)]
pub(crate) struct LogThread {
    thread: JoinHandle<()>,
}

impl LogThread {
    /// Waits until everything is written. All [`Log`] handles must be gone before.
    pub(crate) fn join(self) {
        // The thread ends with its channel; if it panicked there is nobody left to tell.
        let _ = self.thread.join();
    }
}

/// Where lines go.
pub(crate) type Sink = Box<dyn Write + Send>;

/// Starts the log.
///
/// # Errors
/// When the system refuses another thread.
pub(crate) fn start(
    format: LogFormat,
    severity_min: Severity,
    sink: Sink,
) -> std::io::Result<(Log, LogThread)> {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let log = Log { sender, dropped: Arc::clone(&dropped), severity_min };
    let thread = std::thread::Builder::new()
        .name("motte-log".into())
        .spawn(move || write_all(format, &receiver, &dropped, sink))?;
    Ok((log, LogThread { thread }))
}

fn write_all(format: LogFormat, receiver: &Receiver<Entry>, dropped: &AtomicU64, sink: Sink) {
    let mut writer = Writer { format, sink, window_ms: unix_ms(), seen: FxHashMap::default() };
    loop {
        let entry = receiver.recv_timeout(Duration::from_secs(1));
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            writer.line(&Entry { at_ms: unix_ms(), event: life::log_dropped(lost) });
        }
        match entry {
            Ok(entry) => writer.entry(&entry),
            Err(RecvTimeoutError::Timeout) => writer.turn_window(unix_ms()),
            Err(RecvTimeoutError::Disconnected) => return writer.end_window(),
        }
    }
}

/// Writes events to standard error at once, for a process that has no log of its own.
pub fn write_events(format: LogFormat, events: &[Event]) {
    let mut writer = Writer {
        format,
        sink: Box::new(std::io::stderr()),
        window_ms: unix_ms(),
        seen: FxHashMap::default(),
    };
    for event in events {
        writer.line(&Entry { at_ms: unix_ms(), event: event.clone() });
    }
}

struct Writer {
    format: LogFormat,
    sink: Sink,
    window_ms: u64,
    /// How often each kind of event happened in this window.
    seen: FxHashMap<&'static str, u64>,
}

impl Writer {
    fn entry(&mut self, entry: &Entry) {
        self.turn_window(entry.at_ms);
        let times = self.seen.entry(entry.event.spec().name).or_default();
        *times += 1;
        if *times <= REPEATED_MAX {
            self.line(entry);
        }
    }

    fn turn_window(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.window_ms) >= WINDOW_MS {
            self.window_ms = now_ms;
            self.end_window();
        }
    }

    fn end_window(&mut self) {
        for (name, times) in std::mem::take(&mut self.seen) {
            if times > REPEATED_MAX {
                let event = notice::repeated(name, times - REPEATED_MAX);
                self.line(&Entry { at_ms: unix_ms(), event });
            }
        }
    }

    /// Nothing can be done about a log that cannot be written; the broker goes on.
    fn line(&mut self, entry: &Entry) {
        let time = timestamp(entry.at_ms);
        let _ = match self.format {
            LogFormat::Text => writeln!(self.sink, "{time} {}", entry.event.to_line()),
            LogFormat::Json => writeln!(self.sink, "{}", entry.event.to_json(&time)),
        };
    }
}

/// RFC 3339 in UTC, with milliseconds.
fn timestamp(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: LogFormat, severity_min: Severity, events: Vec<Event>) -> Vec<String> {
        let kept = Kept::default();
        let (log, thread) = start(format, severity_min, Box::new(kept.clone())).unwrap();
        for event in events {
            log.event(event);
        }
        drop(log);
        thread.join();
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_has_a_time_and_a_severity_below_the_bound_is_left_out() {
        let all = vec![life::stopping("SIGTERM"), gate_info()];
        let text = lines(LogFormat::Text, Severity::Notice, all.clone());
        assert_eq!(text.len(), 1);
        assert!(text[0].contains("Z notice") && text[0].contains("life.stopping"), "{}", text[0]);
        assert_eq!(lines(LogFormat::Json, Severity::Info, all).len(), 2);
    }

    fn gate_info() -> Event {
        motte_event::gate::disconnected("device", "device-1", "lost")
    }

    #[test]
    fn repetitions_are_counted_instead_of_written() {
        let many: Vec<Event> = (0..REPEATED_MAX + 7).map(|_| gate_info()).collect();
        let text = lines(LogFormat::Text, Severity::Info, many);
        assert_eq!(text.len() as u64, REPEATED_MAX + 1);
        assert!(text[text.len() - 1].contains("times=7"), "{}", text[text.len() - 1]);
    }

    /// A sink that takes its first line only when it is told to.
    struct Stuck {
        go: std::sync::mpsc::Receiver<()>,
        kept: Kept,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.go.recv();
            self.kept.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_count_is_written() {
        let (go, told) = std::sync::mpsc::channel();
        let kept = Kept::default();
        let sink = Box::new(Stuck { go: told, kept: kept.clone() });
        let (log, thread) = start(LogFormat::Text, Severity::Info, sink).unwrap();
        for _ in 0..WAITING_MAX + 10 {
            log.event(gate_info());
        }
        // From here on every line is taken at once.
        drop(go);
        drop(log);
        thread.join();
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("life.log_dropped"), "{text}");
    }
}
