//! Real files for the journal, the thread that commits for all workers with one sync, and backups.
//!
//! Never here: what is in a file. That is the journal's.

pub mod backup;
mod committer;
mod directory;

pub use committer::{Committed, Committer, CommitterBounds, Completion, Lane, Submission};
pub use directory::{Directory, DirectoryFile};
