//! Builds the Debian package with a pinned cargo-deb, which is installed below `target` when it is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::workspace::{Workspace, cargo};

/// The cargo-deb that packages are made with: another one may lay them out otherwise.
const CARGO_DEB: &str = "3.8.0";

/// What cargo-deb calls for stripping and for the dependencies, and the Debian packages they are in.
const TOOLS: [(&str, &str); 2] = [("strip", "binutils"), ("dpkg-shlibdeps", "dpkg-dev")];

/// Makes `target/debian/motte_VERSION_ARCHITECTURE.deb`; without a version, that of the workspace.
pub(crate) fn run(workspace: &Workspace, version: Option<&str>) -> Outcome<bool> {
    for (tool, package) in TOOLS {
        if !answers(Command::new(tool).arg("--version")) {
            return Err(format!("{tool} is missing: install the Debian package {package}").into());
        }
    }
    let tool = cargo_deb(&workspace.root)?;
    let folder = workspace.root.join("target/debian");
    let mut command = Command::new(tool);
    command.args(["--package", "motte", "--locked", "--strip", "--output"]).arg(&folder);
    if let Some(version) = version {
        command.args(["--deb-version", version]);
    }
    fs::create_dir_all(&folder)?;
    Ok(command.current_dir(&workspace.root).status()?.success())
}

/// The pinned cargo-deb, installed if it has to be.
fn cargo_deb(root: &Path) -> Outcome<PathBuf> {
    let tools = root.join("target/tools");
    let program = tools.join("bin/cargo-deb");
    if version_of(&program).as_deref() == Some(CARGO_DEB) {
        return Ok(program);
    }
    println!("cargo-deb {CARGO_DEB} is not in target/tools: installing it");
    let status = cargo()
        .args(["install", "cargo-deb", "--locked", "--force", "--version", CARGO_DEB, "--root"])
        .arg(&tools)
        .current_dir(root)
        .status()?;
    if !status.success() {
        return Err(format!(
            "cargo-deb {CARGO_DEB} cannot be installed: without a registry, put its binary into target/tools/bin"
        )
        .into());
    }
    Ok(program)
}

/// What a program says its version is.
fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().last().map(str::to_owned)
}

fn answers(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
