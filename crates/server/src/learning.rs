//! What logins taught, kept over a restart: a small file in the state directory to which lines are appended, and which is
//! written anew at each start with what the password file still speaks of.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use motte_config::Config;
use motte_identity::Journal;

use crate::rules::Rules;
use crate::state::{StateDirectory, StateError};

const LEARNED: &str = "credentials.learned";
const LEARNED_NEW: &str = "credentials.learned.new";
/// A line is about 25 bytes; a file of this size speaks of more accounts than there are.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Opens the state directory, if there is one, with what was learned in it.
pub(crate) fn open_state(config: &Config, rules: &Rules) -> Result<Option<StateDirectory>, StateError> {
    let Some(directory) = config.state_dir.as_deref() else { return Ok(None) };
    // Locked before anything in it is read.
    let state = StateDirectory::open(directory)?;
    if let Some(authenticator) = rules.listeners.first().map(|listener| &listener.authenticator) {
        let path = directory.join(LEARNED);
        let fail = |what| {
            let path = path.clone();
            move |cause| StateError::File { what, path, cause }
        };
        let text = read(&path).map_err(fail("read"))?;
        let kept = authenticator.remember(&text);
        let file = write_anew(directory, &kept).map_err(fail("write"))?;
        authenticator.keep_in(Box::new(Appended(file)));
    }
    Ok(Some(state))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(BYTES_MAX).read_to_string(&mut text).map(|_| text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(text),
        Err(error) => Err(error),
    }
}

/// Puts a file with this text in place of the last one; lines go to its end from then on.
fn write_anew(directory: &Path, text: &str) -> io::Result<File> {
    let new = directory.join(LEARNED_NEW);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(LEARNED))?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Lines at the end of a file. Only the threads that check passwords write to it; a worker never waits for a disk.
struct Appended(File);

impl Journal for Appended {
    fn keep(&self, line: &str, surely: bool) -> Result<(), String> {
        let mut file = &self.0;
        // One write, so that lines of two threads do not mix; on a line of its own, also after one that a full disk cut short.
        let written = file.write_all(format!("\n{line}\n").as_bytes());
        written
            .and_then(|()| if surely { file.sync_data() } else { Ok(()) })
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_short_does_not_take_the_next_one_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = write_anew(directory.path(), "").unwrap();
        file.write_all(b"spent 00").unwrap();
        Appended(file).keep("spent 0123456789abcdef", true).unwrap();
        let text = read(&directory.path().join(LEARNED)).unwrap();
        assert!(text.lines().any(|line| line == "spent 0123456789abcdef"), "{text}");
    }
}
