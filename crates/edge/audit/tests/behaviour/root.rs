//! A tree of files.

use std::path::{Path, PathBuf};

use jiff::civil::{Date, date};
use motte_audit::openssl::{run_with, table::Table};
use motte_audit::{Check, Finding, Host, Report};

/// Shortly after the date of [`table`].
pub(crate) const TODAY: Date = date(2026, 11, 1);
pub(crate) const FOLDER: &str = "usr/lib/x86_64-linux-gnu";
pub(crate) const BOOKWORM: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

/// A table that stays as it is when the shipped one gets newer.
pub(crate) fn table() -> Table {
    Table::parse(include_str!("table.toml")).unwrap()
}

pub(crate) struct Root {
    dir: tempfile::TempDir,
    proc: Option<PathBuf>,
}

impl Root {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), proc: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// A library that says this of itself, far behind its beginning.
    pub(crate) fn library(&self, path: &str, says: &str) -> &Self {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(300_000, 7);
        bytes.extend([b"\0OpenSSL is not it\0", says.as_bytes(), b"\0rest"].concat());
        self.file(path, bytes)
    }

    /// An installed package of these files.
    pub(crate) fn package(&self, name: &str, version: &str, files: &[&str]) -> &Self {
        let path = self.path().join("var/lib/dpkg/status");
        let former = std::fs::read_to_string(&path).unwrap_or_default();
        let paragraph = format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: {version}\n\n"
        );
        self.file("var/lib/dpkg/status", former + &paragraph);
        let list: String = files.iter().map(|file| format!("/{file}\n")).collect();
        self.file(&format!("var/lib/dpkg/info/{name}:amd64.list"), format!("/.\n{list}"))
    }

    /// A process that maps these.
    pub(crate) fn process(&mut self, pid: u32, name: &str, maps: &str) {
        self.file(&format!("fake/{pid}/maps"), maps).file(&format!("fake/{pid}/comm"), format!("{name}\n"));
        self.proc = Some(self.path().join("fake"));
    }

    pub(crate) fn audit_on(&self, today: Date) -> Report {
        let host = Host { root: self.path().to_owned(), proc: self.proc.clone() };
        run_with(&table(), &host, today).unwrap()
    }

    pub(crate) fn audit(&self) -> Report {
        self.audit_on(TODAY)
    }

    pub(crate) fn findings(&self, check: Check) -> Vec<Finding> {
        self.audit().findings.into_iter().filter(|finding| finding.check == check).collect()
    }

    /// Which checks found something, each once.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = self.audit().findings.iter().map(|finding| finding.check).collect();
        checks.sort();
        checks.dedup();
        checks
    }
}
