//! Real files for the journal, and the thread that commits for all workers with one sync.
//!
//! Never here: what is in a file. That is the journal's.

mod committer;
mod directory;

pub use committer::{Committed, Committer, CommitterBounds, Completion, Submission};
pub use directory::{Directory, DirectoryFile};
