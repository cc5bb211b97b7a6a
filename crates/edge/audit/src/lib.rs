//! Audits of the host that a broker runs on: what is found, how grave it is, and what to do.
//!
//! An [`Audit`] looks at a [`Host`], which is the machine itself or a tree of files such as an image, and hands out a
//! [`Report`]. It changes nothing, starts nothing and connects to nobody. Everything that it reads is taken for hostile: it
//! stays below the root whatever links say, and files, bytes and depth have bounds ([`tree`]). What could not be looked at is
//! a finding of its own, never silence.
//!
//! Another audit is a module beside [`openssl`], a variant of [`Audit`], and its kinds of findings in [`Check`].

mod finding;
pub mod openssl;
pub mod tree;

use std::path::{Path, PathBuf};

pub use finding::{Check, Fact, Finding, Report};
use jiff::civil::Date;
pub use motte_access::analysis::Severity;
use tree::{Tree, TreeError};

/// Where the kernel tells of processes.
const PROC: &str = "/proc";

/// Something to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// OpenSSL on the host. Motte links none; other programs on the machine do.
    HostOpenssl,
}

impl Audit {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::HostOpenssl];

    /// Its name on the command line and in output.
    pub fn id(self) -> &'static str {
        match self {
            Self::HostOpenssl => "host.openssl",
        }
    }

    /// What it looks at, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::HostOpenssl => {
                "OpenSSL's libraries on the host: known vulnerabilities, support, who uses them, openssl.cnf"
            }
        }
    }

    /// Looks. `today` is the day to count ages from, in UTC.
    ///
    /// # Errors
    ///
    /// The root cannot be opened, or the data that the audit ships cannot be read; everything else is a finding.
    pub fn run(self, host: &Host, today: Date) -> Result<Report, AuditError> {
        match self {
            Self::HostOpenssl => openssl::run(host, today),
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// Where its processes are told of; `None` if nothing of it runs, as in an image.
    pub proc: Option<PathBuf>,
}

impl Host {
    /// The machine itself for `/`, a tree of files for every other folder.
    pub fn at(root: &Path) -> Self {
        let is_machine = root == Path::new("/");
        Self { root: root.to_owned(), proc: is_machine.then(|| PathBuf::from(PROC)) }
    }

    pub(crate) fn tree(&self) -> Result<Tree, AuditError> {
        Tree::open(&self.root).map_err(AuditError::Root)
    }
}

/// Why an audit could not look at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The root cannot be opened.
    #[error(transparent)]
    Root(TreeError),
    /// The table of advisories is not as it should be.
    #[error(
        "the shipped table of OpenSSL advisories cannot be used: {0} (remedy: report it as a fault of Motte)"
    )]
    Table(openssl::table::TableError),
}
