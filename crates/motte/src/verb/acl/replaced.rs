//! A policy file that was replaced, and can be put back.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::verb::Fault;

/// A file with a new content, whose former one is beside it until it is known which of them stays.
pub(super) struct Replaced {
    file: PathBuf,
    former: PathBuf,
}

impl Replaced {
    /// Gives a file another content, with the mode and the owner that it has. At no moment is there none, or half of one.
    pub(super) fn with(file: &Path, text: &str) -> Result<Self, Fault> {
        let fault = |error: io::Error| {
            let what = format!("cannot replace {}: {error}", file.display());
            Fault::with_remedy(what, "run this as the user that owns the file and may write to its directory")
        };
        // What a link names is replaced, not the link.
        let file = file.canonicalize().map_err(fault)?;
        let replaced = Self { former: named(&file, ".former"), file };
        replaced.write(text).map_err(fault)?;
        Ok(replaced)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let next = named(&self.file, ".next");
        // Of an earlier one that was cut short.
        for left in [&next, &self.former] {
            remove(left)?;
        }
        let about = std::fs::metadata(&self.file)?;
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        let (own, its) = (new.metadata()?, &about);
        if (own.uid(), own.gid()) != (its.uid(), its.gid()) {
            fchown(&new, Some(its.uid()), Some(its.gid()))?;
        }
        new.set_permissions(Permissions::from_mode(its.mode() & 0o7777))?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::hard_link(&self.file, &self.former)?;
        std::fs::rename(&next, &self.file)?;
        self.sync()
    }

    /// The new content stays; gives the name of the former one.
    pub(super) fn keep(self) -> PathBuf {
        let before = named(&self.file, ".before");
        match std::fs::rename(&self.former, &before).and_then(|()| self.sync()) {
            Ok(()) => before,
            // It is there all the same, under its other name.
            Err(_) => self.former,
        }
    }

    /// The former content is back.
    pub(super) fn put_back(self) -> Result<(), Fault> {
        std::fs::rename(&self.former, &self.file).and_then(|()| self.sync()).map_err(|error| {
            let (file, former) = (self.file.display(), self.former.display());
            let what = format!("the broker did not take it, and {file} cannot be put back: {error}");
            Fault::with_remedy(what, &format!("move {former} to {file}"))
        })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(self.file.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file with an ending behind its name.
fn named(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_the_former_one_can_be_had_again() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("policy.toml"), directory.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();

        Replaced::with(&link, "refused").unwrap().put_back().unwrap();
        assert_eq!(read("policy.toml"), "old");
        let before = Replaced::with(&link, "new").unwrap().keep();
        assert_eq!(
            (read("policy.toml"), std::fs::read_to_string(before).unwrap()),
            ("new".into(), "old".into())
        );
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(link.is_symlink(), "what it names was replaced");
        drop(Replaced::with(&file, "newer").unwrap());
        Replaced::with(&file, "newest").unwrap().keep();
        assert_eq!((read("policy.toml"), read("policy.toml.before")), ("newest".into(), "newer".into()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "nothing else is left");
        assert!(Replaced::with(&directory.path().join("none"), "x").is_err());
    }
}
