//! The state directory: one process at a time; and the snapshot of a version that had no journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use motte_store::{Snapshot, SnapshotError};
use rustix::fs::{FlockOperation, flock};

const SNAPSHOT: &str = "sessions.snapshot";
/// There when the snapshot was loaded and none was written since.
const SNAPSHOT_USED: &str = "sessions.snapshot.used";
const LOCK: &str = "lock";
/// A larger file is no snapshot of a broker within its memory budget.
const SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be opened, read or written.
    #[error("cannot {what} {}: {cause}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error("{} is in use by another motte; stop that one, or choose another state directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The snapshot is damaged.
    #[error("{}: {cause}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: SnapshotError,
    },
}

/// Makes the directory (mode 0700) where there is none.
pub(crate) fn make(path: &Path) -> Result<(), StateError> {
    let fail = |cause| StateError::File { what: "create", path: path.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)
}

/// A state directory, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Opens the directory, making it (mode 0700) when it is not there, and locks it.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another process uses it, [`StateError::File`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |cause| StateError::File { what, path, cause }
        };
        make(path)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(fail("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse { path: path.to_owned() }),
            Err(errno) => Err(fail("lock", &lock_path)(errno.into())),
        }
    }

    /// The snapshot's file.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.path.join(SNAPSHOT)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The snapshot that an earlier version left, if there is one. If it was loaded once and not replaced since, it comes
    /// without Wills: those were published then.
    pub(crate) fn load(&self) -> Result<Option<Snapshot>, StateError> {
        let mut snapshot = self.read()?;
        if let Some(snapshot) = &mut snapshot
            && self.path.join(SNAPSHOT_USED).exists()
        {
            snapshot.sessions.iter_mut().for_each(|session| session.will = None);
        }
        Ok(snapshot)
    }

    /// The snapshot is in the journal, which is synced: its files go.
    pub(crate) fn forget_snapshot(&self) -> Result<(), StateError> {
        let path = self.snapshot();
        let fail = |what| {
            let path = path.clone();
            move |cause| StateError::File { what, path, cause }
        };
        std::fs::remove_file(&path).map_err(fail("remove"))?;
        // If it stays it means nothing without the snapshot.
        let _ = std::fs::remove_file(self.path.join(SNAPSHOT_USED));
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(fail("sync"))
    }

    fn read(&self) -> Result<Option<Snapshot>, StateError> {
        let path = self.path.join(SNAPSHOT);
        let fail = |cause| StateError::File { what: "read", path: path.clone(), cause };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let mut bytes = Vec::new();
        file.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
        Snapshot::decode(&bytes).map(Some).map_err(|cause| StateError::Snapshot { path: path.clone(), cause })
    }
}
