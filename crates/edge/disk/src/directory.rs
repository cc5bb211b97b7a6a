//! A directory of real files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use motte_store::{Disk, DiskError, DiskFault, DiskFile};
use rustix::io::Errno;

/// A directory, made if it was not there (mode 0700). Its files have mode 0600.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held open to be synced.
    handle: File,
    /// Nothing in it is changed.
    is_look: bool,
}

/// A file of a [`Directory`].
#[derive(Debug)]
pub struct DirectoryFile {
    file: File,
    name: String,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let name = path.display().to_string();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|cause| error("create", &name, &cause))?;
        let handle = File::open(path).map_err(|cause| error("open", &name, &cause))?;
        Ok(Self { path: path.to_owned(), handle, is_look: false })
    }

    /// Opens a directory that is there, to look at it: nothing in it can be changed.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn look(path: &Path) -> Result<Self, DiskError> {
        let handle = File::open(path).map_err(|cause| error("open", &path.display().to_string(), &cause))?;
        Ok(Self { path: path.to_owned(), handle, is_look: true })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn may_change(&self, what: &'static str, name: &str) -> Result<(), DiskError> {
        if self.is_look {
            return Err(error(what, &self.path.join(name).display().to_string(), &Errno::ROFS.into()));
        }
        Ok(())
    }

    fn file(
        &self,
        name: &str,
        options: &OpenOptions,
        what: &'static str,
    ) -> Result<DirectoryFile, DiskError> {
        let path = self.path.join(name);
        let file = options.open(&path).map_err(|cause| error(what, &path.display().to_string(), &cause))?;
        Ok(DirectoryFile { file, name: path.display().to_string() })
    }
}

fn error(what: &'static str, name: &str, cause: &io::Error) -> DiskError {
    let errno = cause.raw_os_error().map(Errno::from_raw_os_error);
    let fault = match errno {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => DiskFault::Full,
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => DiskFault::ReadOnly,
        Some(Errno::NOENT) => DiskFault::NotFound,
        Some(Errno::EXIST) => DiskFault::Exists,
        _ => DiskFault::Device,
    };
    DiskError { fault, what, name: name.to_owned(), detail: cause.to_string() }
}

impl Disk for Directory {
    type File = DirectoryFile;

    fn create(&self, name: &str) -> Result<DirectoryFile, DiskError> {
        self.may_change("create", name)?;
        self.file(name, OpenOptions::new().read(true).write(true).create_new(true).mode(0o600), "create")
    }

    fn open(&self, name: &str) -> Result<DirectoryFile, DiskError> {
        self.file(name, OpenOptions::new().read(true).write(!self.is_look), "open")
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let fail = |cause: io::Error| error("list", &self.path.display().to_string(), &cause);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(fail)? {
            // A name that is no text is none of the journal's.
            names.extend(entry.map_err(fail)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.may_change("rename", from)?;
        let (from, to) = (self.path.join(from), self.path.join(to));
        std::fs::rename(&from, &to).map_err(|cause| error("rename", &from.display().to_string(), &cause))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.may_change("remove", name)?;
        let path = self.path.join(name);
        std::fs::remove_file(&path).map_err(|cause| error("remove", &path.display().to_string(), &cause))
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        self.handle.sync_all().map_err(|cause| error("sync", &self.path.display().to_string(), &cause))
    }
}

impl DiskFile for DirectoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(|cause| error("write", &self.name, &cause))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(error("read", &self.name, &cause)),
            }
        }
        Ok(read)
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|data| data.len()).map_err(|cause| error("look at", &self.name, &cause))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|cause| error("sync", &self.name, &cause))
    }
}
