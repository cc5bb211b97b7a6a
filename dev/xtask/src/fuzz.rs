//! Runs every fuzz target for a bounded time.

use crate::Outcome;
use crate::workspace::{Workspace, cargo};

/// How long each target runs when nothing is said.
pub(crate) const SECONDS_DEFAULT: u32 = 60;

/// Hands over to the harness in `fuzz/`, which needs no other compiler and no sanitizer.
pub(crate) fn run(workspace: &Workspace, seconds: u32) -> Outcome<bool> {
    if !workspace.root.join("fuzz/Cargo.toml").is_file() {
        return Err("fuzz/ has no Cargo.toml: there is no target to run".into());
    }
    let status = cargo()
        .args(["run", "--quiet", "--release", "--package", "motte-fuzz", "--", "--seconds"])
        .arg(seconds.to_string())
        .current_dir(&workspace.root)
        .status()?;
    Ok(status.success())
}
