//! Runs the simulation, and shows that it finds bugs that were planted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Outcome;
use crate::workspace::{Workspace, cargo};

/// Seeds of the test command.
const SEEDS: &str = "1000";
/// The planted bugs.
const LIST: &str = "dev/sim/mutations/list.toml";
/// Where the table goes, between these lines.
const PAGE: &str = "docs/reference/simulation.md";
const MARKS: (&str, &str) = ("<!-- mutations -->\n", "<!-- end of mutations -->\n");

const BUILD: [&str; 6] = ["build", "--quiet", "--profile", "simulation", "--package", "motte-sim"];

/// The list as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// One planted bug.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    name: String,
    file: String,
    search: String,
    replace: String,
    /// Within how many seeds it has to be found.
    seeds: u64,
}

/// The seeds of the test command.
pub(crate) fn test(workspace: &Workspace) -> Outcome<bool> {
    run(workspace, &["--seeds", SEEDS])
}

/// Hands over to the simulation, or plants bugs.
pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Outcome<bool> {
    match words {
        ["--mutations"] => mutations(workspace, false),
        ["--mutations", "--write"] => mutations(workspace, true),
        _ => {
            let program = build(&workspace.root, &workspace.root.join("target"))?;
            Ok(Command::new(program).args(words).status()?.success())
        }
    }
}

/// Builds the simulation of a tree; gives the program.
fn build(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let built = cargo().args(BUILD).arg("--target-dir").arg(target).current_dir(root).output()?;
    if !built.status.success() {
        return Err(format!("motte-sim does not build:\n{}", String::from_utf8_lossy(&built.stderr)).into());
    }
    Ok(target.join("simulation/motte-sim"))
}

/// Plants each bug in a copy of the tree. True if all were found in time.
fn mutations(workspace: &Workspace, write: bool) -> Outcome<bool> {
    let text = workspace.texts.get(LIST).ok_or_else(|| format!("{LIST} is missing"))?;
    let list: List = toml::from_str(text).map_err(|error| format!("{LIST}: {error}"))?;
    let copy = workspace.root.join("target/mutations/tree");
    copy_tree(workspace, &copy)?;
    let mut table = String::from("| planted | within | found by seed | as |\n|---|---|---|---|\n");
    let mut all_found = true;
    for mutation in &list.mutation {
        let found = plant(workspace, &copy, mutation)?;
        let told = match &found {
            Some((seed, what)) => format!("{seed} | {what}"),
            None => "not found | ".to_owned(),
        };
        all_found &= found.is_some();
        let row = format!("| {} | {} | {told} |", mutation.name, mutation.seeds);
        println!("{row}");
        writeln!(table, "{row}")?;
    }
    if write {
        let page = workspace.root.join(PAGE);
        let text = std::fs::read_to_string(&page).map_err(|error| format!("{PAGE}: {error}"))?;
        let (before, rest) = text.split_once(MARKS.0).ok_or_else(|| format!("{PAGE} has no {}", MARKS.0))?;
        let (_, after) = rest.split_once(MARKS.1).ok_or_else(|| format!("{PAGE} has no {}", MARKS.1))?;
        std::fs::write(page, format!("{before}{}{table}{}{after}", MARKS.0, MARKS.1))?;
        println!("wrote {PAGE}");
    }
    Ok(all_found)
}

/// Builds the copy with one bug and runs its seeds. Gives the first that breaks a promise, and which.
fn plant(workspace: &Workspace, copy: &Path, mutation: &Mutation) -> Outcome<Option<(String, String)>> {
    let path = copy.join(&mutation.file);
    let sound = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", mutation.file))?;
    if sound.matches(&mutation.search).count() != 1 {
        return Err(format!(
            "{}: what `{}` searches for does not stand there once; renew {LIST}",
            mutation.file, mutation.name
        )
        .into());
    }
    std::fs::write(&path, sound.replacen(&mutation.search, &mutation.replace, 1))?;
    // A folder of its own: to cargo the crates of the copy are those of the tree.
    let built = build(copy, &workspace.root.join("target/mutations/build"));
    std::fs::write(&path, &sound)?;
    let program = built.map_err(|error| format!("{}: {error}", mutation.name))?;
    let output = Command::new(program)
        .args(["--seeds", &mutation.seeds.to_string(), "--jobs", "1", "--no-shrink"])
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().find_map(|line| line.strip_prefix("seed "));
    let panicked = || String::from_utf8_lossy(&output.stderr).lines().take(2).collect::<Vec<_>>().join(" ");
    let (seed, what) = match line.and_then(|line| line.split_once(',')) {
        Some((seed, rest)) => (seed, rest.split_once(": ").map_or(rest, |(_, what)| what).to_owned()),
        None => ("-", panicked()),
    };
    let short: String = what.split(": Some(").next().unwrap_or_default().chars().take(110).collect();
    Ok(Some((seed.to_owned(), short.replace('|', "/"))))
}

/// Writes what was read of the tree to another folder, and nothing that is there already.
fn copy_tree(workspace: &Workspace, copy: &Path) -> Outcome<()> {
    let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock"))?;
    let sources = workspace.sources.iter().map(|source| (source.path.as_str(), source.text.as_str()));
    let texts = workspace.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    for (path, text) in sources.chain(texts).chain([("Cargo.lock", lock.as_str())]) {
        let path = copy.join(path);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}
