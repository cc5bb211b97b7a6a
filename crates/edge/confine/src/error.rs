//! Why a process could not confine itself, with the remedy.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something the kernel or the process cannot do, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is missing, e.g. `Landlock: TCP ports`.
    pub feature: String,
    /// What would bring it: a kernel version, a kernel option, a way to start.
    pub remedy: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (remedy: {})", self.feature, self.remedy)
    }
}

/// Why [`Confinement::enforce`](crate::Confinement::enforce) or a read-back failed.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// [`Mode::Required`](crate::Mode::Required), and the kernel lacks something. Nothing was given up.
    #[error("this kernel cannot confine the process: {}", listed(.0))]
    Missing(Vec<Missing>),
    /// More than one thread runs; those that run already would stay unconfined. Nothing was given up.
    #[error("{0} threads are running (remedy: confine the process before it starts threads)")]
    Threads(usize),
    /// A path of the confinement cannot be opened. Nothing was given up.
    #[error("{}: {source} (remedy: make it, or take it out of the confinement)", path.display())]
    Path {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a step it can do; some of the confinement may be in force already: the process should end.
    #[error("{step}: {reason}")]
    Step {
        /// The step, e.g. `seccomp filter`.
        step: &'static str,
        /// What the kernel or the library said.
        reason: String,
    },
    /// [`Mode::Required`](crate::Mode::Required), and what was read back is less than what was asked: the process should
    /// end.
    #[error("asked for and not in force: {}", .0.join("; "))]
    NotInForce(Vec<String>),
    /// The state of a process cannot be read.
    #[error("{}: {source} (remedy: mount /proc; is the process still there?)", path.display())]
    Unreadable {
        /// The file under `/proc`.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ConfineError {
    /// A failed step, with what was said about it.
    pub(crate) fn step(step: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Step { step, reason: reason.to_string() }
    }
}

fn listed(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
