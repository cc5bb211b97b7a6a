//! Files that the supervisor has opened for the core, which has no way to a file by its path but below its own state.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use motte_config::{Config, is_list_name};
use motte_roles::{Link, LinkError, Task};
use motte_server::OpenFile;

/// More files than any configuration names.
const FILES_MAX: usize = 4_096;
/// Told where the system gave no number.
const EIO: u16 = 5;

/// Files by the paths that the configuration has for them; of those that could not be opened, why.
#[derive(Debug, Default)]
pub(crate) struct Given(HashMap<PathBuf, Result<File, i32>>);

impl Given {
    /// Takes what a message brought.
    pub(crate) fn take(&mut self, path: PathBuf, errno: u16, descriptor: Option<OwnedFd>) {
        if self.0.len() < FILES_MAX {
            let file = descriptor.filter(|_| errno == 0).map(File::from);
            self.0.insert(path, file.ok_or_else(|| i32::from(if errno == 0 { EIO } else { errno })));
        }
    }

    /// Closes them all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        match self.0.get(path) {
            Some(Ok(file)) => {
                // Named twice, it is read twice, each time from its beginning.
                let mut again = file.try_clone()?;
                again.rewind()?;
                Ok(again)
            }
            Some(Err(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Err(io::Error::other("the configuration changed while it was read; reload again")),
        }
    }
}

/// The way to these files.
pub(crate) fn opener(files: Arc<Mutex<Given>>) -> OpenFile {
    Box::new(move |path| files.lock().unwrap_or_else(PoisonError::into_inner).open(path))
}

/// Opens what a configuration names, except for keys, and hands it to the core.
pub(crate) fn send(config: &Config, to: &Link) -> Result<(), LinkError> {
    let mut files: Vec<PathBuf> = config.files_without_secrets().into_iter().map(Path::to_owned).collect();
    let lists = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| &tls.crl);
    // Of a directory of revocation lists also what is in it: the core finds the names there and asks for the files.
    for entry in lists.filter_map(|path| path.read_dir().ok()).flatten().flatten() {
        files.extend(Some(entry.path()).filter(|path| is_list_name(path)));
    }
    files.sort_unstable();
    files.dedup();
    for path in &files {
        let file = |errno| Task::File { path: path.clone(), errno };
        match File::open(path) {
            Ok(opened) => to.send_with(&file(0), opened.as_fd())?,
            Err(error) => {
                let errno = error.raw_os_error().and_then(|errno| u16::try_from(errno).ok());
                to.send(&file(errno.unwrap_or(EIO)))?;
            }
        }
    }
    Ok(())
}
