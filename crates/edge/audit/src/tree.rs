//! A tree of files that may be hostile: nothing outside of it is opened, and what is read has bounds.
//!
//! The kernel resolves every path below the root (`openat2` with `RESOLVE_IN_ROOT`, Linux 5.6): an absolute link means a path
//! in the tree, `..` ends at the root, and a chain of links without end is an error. Only regular files are opened for
//! reading, so that no pipe or device is waited for.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// Bytes that one audit reads in all.
pub const BYTES_MAX: u64 = 2 * 1_024 * 1_024 * 1_024;
/// Entries that one audit looks at in all.
pub const ENTRIES_MAX: u64 = 1_000_000;
/// How often an open is tried again because somebody renamed something meanwhile (`EAGAIN` of `openat2`).
const ATTEMPTS: usize = 16;

/// A folder that stands for `/`.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    bytes_left: Cell<u64>,
    entries_left: Cell<u64>,
}

/// The root cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source} (remedy: name a folder that can be read)", path.display())]
pub struct TreeError {
    /// The root as given.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// Why something in the tree was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is not there.
    #[error("it is not there")]
    Missing,
    /// It is neither a regular file nor a folder, or not the one that was asked for.
    #[error("it is no regular file")]
    Kind,
    /// It is larger than what is read of such a file, in bytes.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// The bounds of the whole audit are reached.
    #[error("the bounds of the audit are reached")]
    Spent,
    /// The kernel refused.
    #[error("{0}")]
    Refused(io::Error),
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            other => Self::Refused(other.into()),
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a device, a socket.
    Other,
}

/// An open regular file; every byte that is read counts against the bounds of the audit.
#[derive(Debug)]
pub struct Opened<'t> {
    /// Which file it is.
    pub identity: Identity,
    file: File,
    tree: &'t Tree,
}

impl Tree {
    /// Opens a root.
    ///
    /// # Errors
    ///
    /// It is no folder, or cannot be opened.
    pub fn open(root: &Path) -> Result<Self, TreeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(root, flags, Mode::empty());
        let root = opened.map_err(|errno| TreeError { path: root.to_owned(), source: errno.into() })?;
        Ok(Self { root, bytes_left: Cell::new(BYTES_MAX), entries_left: Cell::new(ENTRIES_MAX) })
    }

    fn at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Unread> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        for _ in 0..ATTEMPTS {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Opens a regular file; `path` is below the root, links are followed within it.
    ///
    /// # Errors
    ///
    /// [`Unread`] says why not.
    pub fn file(&self, path: &Path) -> Result<Opened<'_>, Unread> {
        // Looked at before it is opened: the open of a device can do something, that of a pipe can wait.
        let looked = fstat(self.at(path, OFlags::PATH)?)?;
        if FileType::from_raw_mode(looked.st_mode) != FileType::RegularFile {
            return Err(Unread::Kind);
        }
        let opened = self.at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = fstat(&opened)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Unread::Kind);
        }
        let identity = Identity { device: stat.st_dev, inode: stat.st_ino };
        Ok(Opened { identity, file: File::from(opened), tree: self })
    }

    /// The bytes of a file of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`Unread`] says why not.
    pub fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, Unread> {
        let mut opened = self.file(path)?;
        let mut bytes = Vec::new();
        let read = opened.by_ref().take(max.saturating_add(1)).read_to_end(&mut bytes);
        if self.bytes_left.get() == 0 {
            return Err(Unread::Spent);
        }
        if read? as u64 > max {
            return Err(Unread::TooLarge(max));
        }
        Ok(bytes)
    }

    /// What a folder holds, in the order of names, and which folder it is. A link to a folder is followed within the root.
    ///
    /// # Errors
    ///
    /// [`Unread`] says why not.
    pub fn folder(&self, path: &Path) -> Result<(Identity, Vec<Entry>), Unread> {
        let opened = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stat = fstat(&opened)?;
        let identity = Identity { device: stat.st_dev, inode: stat.st_ino };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let left = self.entries_left.get().checked_sub(1).ok_or(Unread::Spent)?;
            self.entries_left.set(left);
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => self.kind(&path.join(&name)),
                known => Kind::from(known),
            };
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((identity, entries))
    }

    fn kind(&self, path: &Path) -> Kind {
        let opened = self.at(path, OFlags::PATH | OFlags::NOFOLLOW).ok();
        let stat = opened.and_then(|opened| fstat(opened).ok());
        stat.map_or(Kind::Other, |stat| Kind::from(FileType::from_raw_mode(stat.st_mode)))
    }

    /// Whether there is something at this path.
    pub fn has(&self, path: &Path) -> bool {
        self.at(path, OFlags::PATH).is_ok()
    }
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

impl Opened<'_> {
    /// Whether the bytes of the audit are used up, so that an end that was read may be none.
    pub(crate) fn is_spent(&self) -> bool {
        self.tree.bytes_left.get() == 0
    }
}

impl Read for Opened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.tree.bytes_left.get();
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        let read = self.file.read(part)?;
        self.tree.bytes_left.set(left.saturating_sub(read as u64));
        Ok(read)
    }
}

/// A path below the root as it is shown, with a leading `/`.
pub(crate) fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}

/// The path in the tree that an absolute one of the host means.
pub(crate) fn below(path: &[u8]) -> PathBuf {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    PathBuf::from(OsStr::from_bytes(path.get(start..).unwrap_or_default()))
}

/// A path in a form that is the same for `/lib` and `/usr/lib`, which are one folder where `/usr` is merged: packages and
/// processes name either.
pub(crate) fn merged(path: &Path) -> &[u8] {
    let path = path.as_os_str().as_bytes();
    path.strip_prefix(b"usr/").filter(|rest| rest.starts_with(b"lib")).unwrap_or(path)
}
