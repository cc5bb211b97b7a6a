//! The style that a test can keep: words, files, manifests, events and the map of the tree.

mod events;
mod files;
mod map;
mod words;

use crate::Outcome;
use crate::problem::Problem;
use crate::workspace::Workspace;

/// Every check of this module, in the order of their places.
pub(crate) fn check(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let mut problems = words::check(workspace);
    problems.extend(files::check(workspace)?);
    problems.extend(map::check(workspace));
    problems.extend(events::check(workspace));
    problems.sort();
    problems.dedup();
    Ok(problems)
}
