//! Revocation lists that were fetched, kept in the state directory for the next start: a server of lists that is away then
//! must not keep every device out. They are as public as on that server, and signed; whoever reads them checks that.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use motte_config::Url;

/// Longest file that is read, in bytes: as long as an answer may be.
const BYTES_MAX: u64 = motte_roles::ANSWER_BYTES_MAX as u64;

/// The directory they are in; without a state directory nothing is kept.
#[derive(Debug)]
pub(crate) struct KeptLists {
    directory: Option<PathBuf>,
}

impl KeptLists {
    /// Below a state directory.
    pub(crate) fn new(state_dir: Option<&Path>) -> Self {
        Self { directory: state_dir.map(|state| state.join("fetched-lists")) }
    }

    /// What was kept of an address; nothing where that cannot be read.
    pub(crate) fn read(&self, url: &Url) -> Vec<u8> {
        let Some(path) = self.path(url) else { return Vec::new() };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes));
        if read.is_ok() { bytes } else { Vec::new() }
    }

    /// Keeps what an address answered.
    pub(crate) fn write(&self, url: &Url, bytes: &[u8]) {
        let (Some(directory), Some(path)) = (&self.directory, self.path(url)) else { return };
        let write = || -> io::Result<()> {
            fs::create_dir_all(directory)?;
            let new = path.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(new, path)
        };
        // A full disk is told of by what has to be kept; this is fetched again.
        let _ = write();
    }

    /// A file of its own for each address, by a name that any file system takes.
    fn path(&self, url: &Url) -> Option<PathBuf> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        let name: String =
            url.as_str().bytes().map(|byte| if is_plain(byte) { char::from(byte) } else { '_' }).collect();
        let start = name.get(..name.len().min(100)).unwrap_or_default();
        let number = url.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(self.directory.as_ref()?.join(format!("{start}-{number:016x}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_address() {
        let directory = tempfile::tempdir().unwrap();
        let kept = KeptLists::new(Some(directory.path()));
        let [one, two] =
            ["http://ca.example/../a?b", "http://ca.example/../a_b"].map(|text| Url::parse(text).unwrap());
        assert!(kept.read(&one).is_empty());
        kept.write(&one, b"1");
        kept.write(&two, b"2");
        kept.write(&one, b"3");
        assert_eq!((kept.read(&one), kept.read(&two)), (b"3".to_vec(), b"2".to_vec()));
        let nowhere = KeptLists::new(None);
        nowhere.write(&one, b"1");
        assert!(nowhere.read(&one).is_empty());
    }
}
