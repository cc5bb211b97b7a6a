//! The small files of the state directory beside journal and vault: sealed with the vault's keys, bound to their names, and
//! numbered. The journal has the number of the last writing of each, so that an older copy that is put back is known, as far
//! as the journal itself is not an older copy. A file that an earlier version left unsealed is read once and sealed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use motte_event::{Event, keep};
use motte_seal::envelope::SealError;
use motte_seal::keyring::Keyring;
use motte_seal::state_file::{self, FileFault, FileSeal, lines};

use crate::store::Store;

/// Begins the names of the journal's facts that say which writing of a file is the last one; the file's name follows, and
/// the value is the number (u64, little-endian).
pub const FILE_FACT: &str = "file/";
/// Login counters.
pub const ATTEMPTS: &str = "attempts.state";
/// Bans.
pub const BANS: &str = "bans.state";
/// What rules were used for.
pub const USAGE: &str = "usage.record";
/// What logins taught; lines are put at its end.
pub const LEARNED: &str = "credentials.learned";
/// Keys of token issuers that were fetched.
pub const ISSUER_KEYS: &str = "issuers.keys";
/// All of them.
pub const SEALED_FILES: [&str; 5] = [ATTEMPTS, BANS, USAGE, LEARNED, ISSUER_KEYS];
/// Those that no version ever left in the clear.
const NEVER_CLEAR: [&str; 1] = [ISSUER_KEYS];
/// Longer than any of them can be within its bounds.
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What is in a sealed file of a state directory, with the keys of its vault: its number and its content.
///
/// # Errors
/// What is wrong with it.
pub fn open_sealed(keys: &Keyring, name: &str, bytes: &[u8]) -> Result<(u64, Vec<u8>), String> {
    let seal = keys.file_seal().map_err(|error| error.to_string())?;
    opened(&seal, name, bytes).map_err(|fault| fault.to_string())
}

fn opened(seal: &FileSeal, name: &str, bytes: &[u8]) -> Result<(u64, Vec<u8>), FileFault> {
    match whole_lines(seal, name, bytes)? {
        (_, _, Some(what)) => Err(FileFault::Damaged { what }),
        (number, plain, None) => Ok((number, plain)),
    }
}

type WholeLines = (u64, Vec<u8>, Option<&'static str>);

/// A file's number and content; of one that grows the lines before the first damage, and what that is: whoever spent a code
/// before must not spend it again because the end is torn.
fn whole_lines(seal: &FileSeal, name: &str, bytes: &[u8]) -> Result<WholeLines, FileFault> {
    if name != LEARNED {
        return seal.open(name, bytes).map(|content| (content.number, content.plain, None));
    }
    let lines = lines::open(seal, name, bytes)?;
    Ok((lines.number, lines.text.into_bytes(), lines.damage.map(|(_, what)| what)))
}

/// What is wrong with the small files of a state directory: each file's name and what it is. `numbers` says which writing of
/// each the journal knows of. Files that are not there and not known of are none of its business.
pub fn check_files(
    state: &Path,
    keys: &Keyring,
    numbers: &BTreeMap<String, u64>,
) -> Result<Vec<(&'static str, String)>, String> {
    let seal = keys.file_seal().map_err(|error| error.to_string())?;
    let faults = SEALED_FILES.into_iter().filter_map(|name| {
        let known = numbers.get(name).copied().unwrap_or_default();
        let looked = read_file(&state.join(name)).map_err(|error| error.to_string());
        let looked = looked.and_then(|bytes| judged(&seal, name, bytes, known));
        let damage = |found: Option<Found>| found.and_then(|found| found.damage).map(str::to_owned);
        looked.map_or_else(Some, damage).map(|what| (name, what))
    });
    Ok(faults.collect())
}

/// What a file holds, and whether it was sealed.
fn judged(seal: &FileSeal, name: &str, bytes: Option<Vec<u8>>, known: u64) -> Result<Option<Found>, String> {
    let Some(bytes) = bytes else {
        return if known == 0 { Ok(None) } else { Err("it is missing".to_owned()) };
    };
    if !state_file::is_sealed(&bytes) && known == 0 && !NEVER_CLEAR.contains(&name) {
        return Ok(Some(Found { number: 0, plain: bytes, is_sealed: false, damage: None }));
    }
    let (number, plain, damage) = whole_lines(seal, name, &bytes).map_err(|fault| fault.to_string())?;
    if number < known {
        return Err(format!("it is an older copy: its number is {number}, and {known} was written"));
    }
    Ok(Some(Found { number, plain, is_sealed: true, damage }))
}

struct Found {
    number: u64,
    plain: Vec<u8>,
    is_sealed: bool,
    /// What is wrong behind the lines in `plain`, each of which is as it was written.
    damage: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Numbers {
    last: BTreeMap<String, u64>,
    /// Written before there was a journal to note it in.
    unnoted: Vec<(String, u64)>,
    store: Weak<Store>,
}

/// The small files of a state directory; a clone is another way to the same.
#[derive(Debug, Clone)]
pub(crate) struct KeptFiles {
    directory: PathBuf,
    seal: Arc<FileSeal>,
    numbers: Arc<Mutex<Numbers>>,
}

impl KeptFiles {
    /// Those of a state directory with an open vault.
    pub(crate) fn new(directory: &Path, seal: FileSeal) -> Self {
        Self { directory: directory.to_owned(), seal: Arc::new(seal), numbers: Arc::default() }
    }

    /// Which writings the journal knows of.
    pub(crate) fn known(&self, known: BTreeMap<String, u64>) {
        self.numbers().last = known;
    }

    /// Where numbers are noted from now on.
    pub(crate) fn note_in(&self, store: &Arc<Store>) {
        let mut numbers = self.numbers();
        numbers.store = Arc::downgrade(store);
        for (name, number) in std::mem::take(&mut numbers.unnoted) {
            store.note_file(&name, number);
        }
    }

    /// Where a file is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What a file holds; `None` if it is not there, or is none of ours: then an event says so and it is put aside.
    pub(crate) fn read(&self, name: &str, events: &mut Vec<Event>) -> Option<Vec<u8>> {
        let path = self.path(name);
        let known = self.numbers().last.get(name).copied().unwrap_or_default();
        let bytes = read_file(&path).map_err(|error| error.to_string());
        let found = bytes.and_then(|bytes| judged(&self.seal, name, bytes, known));
        match found {
            Ok(None) => None,
            Ok(Some(Found { number, plain, is_sealed, damage })) => {
                if let Some(cause) = damage {
                    // It is written anew at once with what is whole, which a cut would have left as well.
                    self.put_aside(name);
                    events.push(keep::state_file_refused(&path.display().to_string(), cause));
                }
                self.numbers().last.insert(name.to_owned(), number.max(known));
                if !is_sealed
                    && name != LEARNED
                    && let Err(error) = self.write(name, &plain)
                {
                    events.push(keep::state_file_refused(&path.display().to_string(), &error.to_string()));
                }
                Some(plain)
            }
            Err(cause) => {
                self.put_aside(name);
                events.push(keep::state_file_refused(&path.display().to_string(), &cause));
                None
            }
        }
    }

    /// Keeps what could not be read under another name; a new one is begun either way.
    pub(crate) fn put_aside(&self, name: &str) {
        let path = self.path(name);
        let aside = format!("{name}.damaged");
        let Ok(Some(bytes)) = read_file(&path) else { return };
        if state_file::is_sealed(&bytes) {
            let _ = std::fs::rename(&path, self.path(&aside));
        } else if let Ok(sealed) = self.seal.seal(&aside, 0, &bytes) {
            // Nothing is in the state directory in the clear, not even what is of no use.
            let _ = self.replace(&aside, &sealed);
            let _ = erase(&path);
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Puts a file in place of the last one: whole or not at all.
    pub(crate) fn write(&self, name: &str, plain: &[u8]) -> io::Result<()> {
        let number = self.next(name);
        let bytes = self.seal.seal(name, number, plain).map_err(refused)?;
        self.replace(name, &bytes)?;
        self.written(name, number);
        Ok(())
    }

    /// Begins a file of lines with these, in place of the last one.
    pub(crate) fn begin_lines(&self, name: &str, text: &str) -> io::Result<AppendedLines> {
        let number = self.next(name);
        let (mut bytes, mut seal) = lines::LineSeal::begin(&self.seal, name, number).map_err(refused)?;
        for line in text.lines() {
            let record = seal.record(bytes.len() as u64, line).map_err(refused)?;
            bytes.extend_from_slice(&record);
        }
        let file = self.replace(name, &bytes)?;
        self.written(name, number);
        Ok(AppendedLines { file, end: bytes.len() as u64, seal })
    }

    fn next(&self, name: &str) -> u64 {
        self.numbers().last.get(name).copied().unwrap_or_default().saturating_add(1)
    }

    fn written(&self, name: &str, number: u64) {
        let mut numbers = self.numbers();
        numbers.last.insert(name.to_owned(), number);
        match numbers.store.upgrade() {
            Some(store) => {
                drop(numbers);
                store.note_file(name, number);
            }
            None => numbers.unnoted.push((name.to_owned(), number)),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // One that was not sealed is overwritten, as far as the medium does so.
        let old = File::options().read(true).write(true).open(&path).ok();
        let was_sealed = old.as_ref().is_none_or(begins_sealed);
        std::fs::rename(&new, &path)?;
        File::open(&self.directory)?.sync_all()?;
        if let Some(old) = old.filter(|_| !was_sealed) {
            let _ = overwrite(old);
        }
        Ok(file)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file to whose end lines are put.
#[derive(Debug)]
pub(crate) struct AppendedLines {
    file: File,
    end: u64,
    seal: lines::LineSeal,
}

impl AppendedLines {
    /// Puts a line at the end. With `surely` it is on disk when this returns.
    pub(crate) fn put(&mut self, line: &str, surely: bool) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let record = self.seal.record(self.end, line).map_err(refused)?;
        if let Err(error) = self.file.write_all_at(&record, self.end) {
            // What is there of it goes; the next line is written over it if not.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += record.len() as u64;
        if surely { self.file.sync_data() } else { Ok(()) }
    }
}

fn refused(error: SealError) -> io::Error {
    io::Error::other(error)
}

fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(BYTES_MAX).read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn begins_sealed(mut file: &File) -> bool {
    let mut front = [0; 8];
    file.read_exact(&mut front).is_ok() && state_file::is_sealed(&front)
}

fn erase(path: &Path) -> io::Result<()> {
    overwrite(File::options().write(true).open(path)?)
}

/// Writes zeros over all of a file.
pub(crate) fn overwrite(mut file: File) -> io::Result<()> {
    use std::io::Seek as _;
    let bytes = file.metadata()?.len();
    file.rewind()?;
    io::copy(&mut io::repeat(0).take(bytes), &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> KeptFiles {
        KeptFiles::new(directory, Keyring::closed().unwrap().file_seal().unwrap())
    }

    fn read(files: &KeptFiles, name: &str) -> (Option<Vec<u8>>, usize) {
        let mut events = Vec::new();
        (files.read(name, &mut events), events.len())
    }

    #[test]
    fn what_an_earlier_version_left_is_sealed_and_the_clear_text_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let path = directory.path().join(BANS);
        std::fs::write(&path, "clear").unwrap();
        let old = File::open(&path).unwrap();
        assert_eq!(read(&files, BANS), (Some(b"clear".to_vec()), 0));
        assert!(state_file::is_sealed(&std::fs::read(&path).unwrap()));
        let mut left = Vec::new();
        (&old).read_to_end(&mut left).unwrap();
        assert_eq!(left, [0; 5]);
        assert_eq!(read(&files, BANS), (Some(b"clear".to_vec()), 0));
    }

    #[test]
    fn a_file_that_was_moved_replayed_unsealed_or_taken_away_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let path = |name: &str| directory.path().join(name);
        files.write(BANS, b"one").unwrap();
        let older = std::fs::read(path(BANS)).unwrap();
        files.write(BANS, b"two").unwrap();
        let newer = std::fs::read(path(BANS)).unwrap();
        files.write(ATTEMPTS, b"counters").unwrap();
        std::fs::copy(path(ATTEMPTS), path(USAGE)).unwrap();
        assert_eq!(read(&files, USAGE), (None, 1), "moved");
        assert!(path("usage.record.damaged").exists() && !path(USAGE).exists());
        std::fs::write(path(BANS), older).unwrap();
        assert_eq!(read(&files, BANS), (None, 1), "replayed");
        std::fs::write(path(BANS), "clear").unwrap();
        assert_eq!(read(&files, BANS), (None, 1), "unsealed");
        let aside = std::fs::read(path("bans.state.damaged")).unwrap();
        assert!(state_file::is_sealed(&aside) && !path(BANS).exists());
        assert_eq!(read(&files, BANS), (None, 1), "missing");
        std::fs::write(path(BANS), newer).unwrap();
        assert_eq!(read(&files, BANS), (Some(b"two".to_vec()), 0));
    }

    #[test]
    fn keys_of_issuers_are_never_believed_in_the_clear() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path(ISSUER_KEYS), "somebody's keys").unwrap();
        assert_eq!(read(&files, ISSUER_KEYS), (None, 1));
        assert!(state_file::is_sealed(&std::fs::read(path("issuers.keys.damaged")).unwrap()));
        assert!(!path(ISSUER_KEYS).exists());
        files.write(ISSUER_KEYS, b"ours").unwrap();
        assert_eq!(read(&files, ISSUER_KEYS), (Some(b"ours".to_vec()), 0));
    }

    #[test]
    fn a_line_that_could_not_be_written_does_not_take_the_next_one_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let mut lines = files.begin_lines(LEARNED, "spent 1\n").unwrap();
        // As a full disk leaves it.
        std::os::unix::fs::FileExt::write_all_at(&lines.file, b"half a record", lines.end).unwrap();
        lines.put("spent 2", true).unwrap();
        assert_eq!(read(&files, LEARNED), (Some(b"spent 1\nspent 2\n".to_vec()), 0));
    }

    #[test]
    fn a_torn_end_of_zeros_takes_no_line_before_it_along() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let mut lines = files.begin_lines(LEARNED, "").unwrap();
        lines.put("spent 1", true).unwrap();
        // As a file system leaves it that had the length on disk before the line.
        lines.file.set_len(lines.end + 40).unwrap();
        assert_eq!(read(&files, LEARNED), (Some(b"spent 1\n".to_vec()), 1));
    }
}
