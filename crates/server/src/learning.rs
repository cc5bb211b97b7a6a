//! What logins taught, kept over a restart: a small sealed file in the state directory to which lines are appended, and which is
//! written anew at each start with what the password file still speaks of.

use std::io;
use std::sync::{Mutex, PoisonError};

use motte_event::Event;
use motte_identity::Journal;

use crate::kept_file::{AppendedLines, KeptFiles, LEARNED};
use crate::rules::Rules;
use crate::state::StateError;

/// Reads what was learned in the runs before, and keeps what will be.
pub(crate) fn begin(files: &KeptFiles, rules: &Rules, events: &mut Vec<Event>) -> Result<(), StateError> {
    let Some(listener) = rules.listeners.first() else { return Ok(()) };
    let text = files.read(LEARNED, events).unwrap_or_default();
    let kept = listener.authenticator.remember(&String::from_utf8_lossy(&text));
    let lines = files.begin_lines(LEARNED, &kept);
    let fail = |cause| StateError::File { what: "write", path: files.path(LEARNED), cause };
    listener.authenticator.keep_in(Box::new(Learnt(Mutex::new(lines.map_err(fail)?))));
    Ok(())
}

/// Lines at the end of the file. Only the threads that check passwords write to it; a worker never waits for a disk.
struct Learnt(Mutex<AppendedLines>);

impl Journal for Learnt {
    fn keep(&self, line: &str, surely: bool) -> Result<(), String> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.put(line, surely).map_err(|error: io::Error| error.to_string())
    }
}
