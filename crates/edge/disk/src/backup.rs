//! Backups of a journal: taken while it is written, verified, and put back.
//!
//! A segment is only ever appended to, and the newest one's header names the older ones that count with the length of each.
//! So a backup is the files that one header names, each as long as it says, and the newest one as long as it is: what is
//! torn at its end is cut when it is opened, as after a crash. All files are opened before the first is copied, so that what
//! is compacted away meanwhile can still be read. The vault is not in a backup: see `copy_vault`.
//!
//! The manifest is lines of text: `motte-backup 1`, `made` and seconds since 1970, a `file` line with name, length and SHA-256
//! for each file, and `end` with the SHA-256 of all before.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use motte_store::journal::segments_of;
use motte_store::{Disk as _, DiskError, DiskFault, DiskFile as _, JournalError};

use crate::directory::{Directory, DirectoryFile};

/// Names what is in a backup.
pub const MANIFEST: &str = "manifest";
/// First line of a manifest.
const FIRST: &str = "motte-backup 1";
/// A longer manifest names more files than a journal has.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Copied at once.
const CHUNK: usize = 1024 * 1024;
/// What stands behind the last byte of a block that is no zero, at most: a tag or a checksum of zeros.
const TAG_BYTES: u64 = 16;
/// How often a directory is looked at again when a segment went meanwhile.
const TRIES: u32 = 5;

/// Why a backup cannot be made, verified or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or directory.
    #[error("cannot {what} {}: {cause}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The newest segment does not say what belongs to the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is nothing to back up.
    #[error("{} holds no journal; name the state directory of a broker", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest is not what was written.
    #[error("{}: the manifest is damaged ({what}); use another backup", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What shows it.
        what: &'static str,
    },
    /// A file is not what was written.
    #[error("{}: damaged in the backup ({what}); use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        what: &'static str,
    },
    /// Something is in the way.
    #[error("{} is not empty; restore into a directory that is empty or not there", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    sha256: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// When it was made, in seconds since 1970.
    pub made_s: u64,
    /// Its files.
    pub files: Vec<BackedUp>,
}

/// Called with bytes done and bytes in all.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// Copies the journal of a state directory, which may be in use, into a new directory.
///
/// # Errors
/// [`BackupError`]; what was made of the backup stays behind without a manifest, and is none.
pub fn back_up(from: &Path, to: &Path, made_s: u64, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    let directory = Directory::look(from)?;
    let files = hold(&directory)?;
    make_directory(to)?;
    let all = files.iter().map(|(_, _, bytes)| bytes).sum();
    let mut done = 0;
    let mut manifest = Manifest { made_s, files: Vec::new() };
    for (name, file, bytes) in &files {
        let read = Reading { file, offset: 0, left: *bytes };
        let mut tell = |bytes| {
            done += bytes;
            progress(done, all);
        };
        let copied = copy(read, &to.join(name), &mut tell)?;
        manifest.files.push(BackedUp { name: name.clone(), bytes: copied.0, sha256: copied.1 });
    }
    write_new(&to.join(MANIFEST), manifest.encode().as_bytes())?;
    sync_directory(to)?;
    Ok(manifest)
}

/// The segments in force, open, with the bytes of each that count.
fn hold(directory: &Directory) -> Result<Vec<(String, DirectoryFile, u64)>, BackupError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let held = segments_of(directory)?
            .into_iter()
            .map(|(name, bytes)| {
                let file = directory.open(&name)?;
                let bytes = bytes.map_or_else(|| written(&file), |bytes| Ok(u64::from(bytes)))?;
                Ok((name, file, bytes))
            })
            .collect::<Result<Vec<_>, DiskError>>();
        match held {
            Ok(held) if held.is_empty() => {
                return Err(BackupError::Nothing { path: directory.path().to_owned() });
            }
            Ok(held) => return Ok(held),
            // It was compacted away, and a newer header says so.
            Err(error) if error.fault == DiskFault::NotFound && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long a file is without the zeros that are written ahead at its end. What was copied of these would be zeros or what came
/// meanwhile, as it happens, and so a hole before something newer.
fn written(file: &DirectoryFile) -> Result<u64, DiskError> {
    let mut end = file.length()?;
    let mut part = vec![0; CHUNK];
    while end > 0 {
        let begin = end.saturating_sub(part.len() as u64);
        let bytes = part.get_mut(..usize::try_from(end - begin).unwrap_or(0)).unwrap_or_default();
        let read = file.read_at(begin, bytes)?;
        let last = bytes.get(..read).unwrap_or_default().iter().rposition(|byte| *byte != 0);
        if let Some(last) = last {
            // The last block may end with zeros of its own.
            return Ok((begin + last as u64 + 1 + TAG_BYTES).min(end));
        }
        end = begin;
    }
    Ok(end)
}

/// Reads a backup's manifest and every file it names, and compares.
///
/// # Errors
/// [`BackupError`], with the first file that is not what was written.
pub fn verify(backup: &Path, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(backup)?;
    let all = manifest.bytes();
    let mut done = 0;
    for file in &manifest.files {
        let path = backup.join(&file.name);
        let mut tell = |bytes| {
            done += bytes;
            progress(done, all);
        };
        compare(file, &path, pass(open(&path)?, &path, None, &mut tell)?)?;
    }
    Ok(manifest)
}

/// Puts a backup into a directory that is empty or not there, and compares what it writes with the manifest.
///
/// # Errors
/// [`BackupError`]; the directory is no journal of a broker then and can be removed.
pub fn restore(backup: &Path, to: &Path, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(backup)?;
    let fail = |cause| BackupError::File { what: "look into", path: to.to_owned(), cause };
    if to.exists() {
        if std::fs::read_dir(to).map_err(fail)?.next().is_some() {
            return Err(BackupError::NotEmpty { path: to.to_owned() });
        }
    } else {
        make_directory(to)?;
    }
    let all = manifest.bytes();
    let mut done = 0;
    for file in &manifest.files {
        let path = backup.join(&file.name);
        let mut tell = |bytes| {
            done += bytes;
            progress(done, all);
        };
        compare(file, &path, copy(open(&path)?, &to.join(&file.name), &mut tell)?)?;
    }
    sync_directory(to)?;
    Ok(manifest)
}

fn compare(file: &BackedUp, path: &Path, (bytes, sha256): (u64, String)) -> Result<(), BackupError> {
    let damaged = |what| BackupError::Damaged { path: path.to_owned(), what };
    if bytes != file.bytes {
        return Err(damaged("it is not as long as it was"));
    }
    if sha256 != file.sha256 {
        return Err(damaged("its digest is another"));
    }
    Ok(())
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn encode(&self) -> String {
        let mut out = format!("{FIRST}\nmade {}\n", self.made_s);
        for BackedUp { name, bytes, sha256 } in &self.files {
            // Writing to a text does not fail.
            let _ = writeln!(out, "file {name} {bytes} {sha256}");
        }
        let end = digest(out.as_bytes());
        out + "end " + &end + "\n"
    }

    /// The manifest of a backup.
    ///
    /// # Errors
    /// [`BackupError::File`], [`BackupError::Manifest`].
    pub fn read(backup: &Path) -> Result<Self, BackupError> {
        let path = backup.join(MANIFEST);
        let mut text = Vec::new();
        let fail = |cause| BackupError::File { what: "read", path: path.clone(), cause };
        File::open(&path)
            .and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text))
            .map_err(fail)?;
        Self::decode(&text).map_err(|what| BackupError::Manifest { path: path.clone(), what })
    }

    /// The manifest that these bytes are.
    ///
    /// # Errors
    /// What shows that they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let (lines, end) =
            text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')).ok_or("it has no end")?;
        let checked = bytes.get(..lines.len() + 1).ok_or("it has no end")?;
        if end.strip_prefix("end ") != Some(digest(checked).as_str()) {
            return Err("its digest is another");
        }
        let mut lines = lines.split('\n');
        if lines.next() != Some(FIRST) {
            return Err("it is of another version");
        }
        let made_s =
            lines.next().and_then(|line| line.strip_prefix("made ")?.parse().ok()).ok_or("no time")?;
        let file = |line: &str| {
            let mut words = line.strip_prefix("file ")?.split(' ');
            let (name, bytes, sha256) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
            let is_whole = is_plain && sha256.len() == 64 && words.next().is_none();
            is_whole.then(|| BackedUp { name: name.to_owned(), bytes, sha256: sha256.to_owned() })
        };
        let files: Option<Vec<BackedUp>> = lines.map(file).collect();
        Ok(Self { made_s, files: files.ok_or("a line that is none of a file")? })
    }
}

/// Writes the vault beside backups, in place of the copy that is there. What was in that copy is overwritten first, so that
/// keys that are no more in the vault are no more in its copy; on media that move what is written (most flash storage, some
/// file systems) the old bytes may stay until these are used again.
///
/// # Errors
/// [`BackupError::File`].
pub fn copy_vault(vault: &[u8], to: &Path) -> Result<(), BackupError> {
    let new = with(to, ".new");
    // A copy that was cut short.
    let _ = std::fs::remove_file(&new);
    write_new(&new, vault)?;
    replace(&new, to)
}

/// Puts a file in place of another, which is overwritten first, as far as the medium does so.
///
/// # Errors
/// [`BackupError::File`]; there is a whole file under that name in any case.
pub fn replace(new: &Path, to: &Path) -> Result<(), BackupError> {
    let fail = |what| {
        let path = to.to_owned();
        move |cause| BackupError::File { what, path, cause }
    };
    let old = with(to, ".old");
    erase(&old)?;
    match std::fs::hard_link(to, &old) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("keep the old")(error)),
    }
    std::fs::rename(new, to).map_err(fail("write"))?;
    sync_directory(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    erase(&old)
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Overwrites a file and removes it, if it is there; one that has another name still is what that name says, and only loses
/// this one.
fn erase(path: &Path) -> Result<(), BackupError> {
    let fail = |cause| BackupError::File { what: "overwrite", path: path.to_owned(), cause };
    let mut file = match File::options().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let about = file.metadata().map_err(fail)?;
    if about.nlink() > 1 {
        return std::fs::remove_file(path).map_err(fail);
    }
    let bytes = about.len();
    io::copy(&mut io::repeat(0).take(bytes), &mut file).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    std::fs::remove_file(path).map_err(fail)
}

/// A held file from its beginning, as far as it counts.
struct Reading<'f> {
    file: &'f DirectoryFile,
    offset: u64,
    left: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..most).unwrap_or_default();
        let read = self.file.read_at(self.offset, into).map_err(io::Error::other)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Copies into a new file; gives its length and digest.
fn copy(from: impl Read, to: &Path, tell: &mut dyn FnMut(u64)) -> Result<(u64, String), BackupError> {
    let fail = |cause| BackupError::File { what: "write", path: to.to_owned(), cause };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(to).map_err(fail)?;
    let passed = pass(from, to, Some(&mut file), tell)?;
    file.sync_all().map_err(fail)?;
    Ok(passed)
}

/// Reads to the end, and writes what was read; gives length and digest.
fn pass(
    mut from: impl Read,
    path: &Path,
    mut to: Option<&mut File>,
    tell: &mut dyn FnMut(u64),
) -> Result<(u64, String), BackupError> {
    let fail = |cause| BackupError::File { what: "copy", path: path.to_owned(), cause };
    let mut context = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut chunk).map_err(fail)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        context.update(part);
        if let Some(to) = &mut to {
            to.write_all(part).map_err(fail)?;
        }
        bytes += read as u64;
        tell(read as u64);
    }
    Ok((bytes, hex(context.finish().as_ref())))
}

fn open(path: &Path) -> Result<File, BackupError> {
    File::open(path).map_err(|cause| BackupError::File { what: "open", path: path.to_owned(), cause })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let fail = |cause| BackupError::File { what: "write", path: path.to_owned(), cause };
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)
}

fn make_directory(path: &Path) -> Result<(), BackupError> {
    let fail = |cause| BackupError::File { what: "make", path: path.to_owned(), cause };
    DirBuilder::new()
        .recursive(path.parent().is_some_and(|p| !p.exists()))
        .mode(0o700)
        .create(path)
        .map_err(fail)
}

fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let fail = |cause| BackupError::File { what: "sync", path: path.to_owned(), cause };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(fail)
}

fn digest(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
