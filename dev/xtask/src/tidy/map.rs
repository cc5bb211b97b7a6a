//! `ARCHITECTURE.md` against the tree: what it names exists, and no crate is missing from it.

use std::collections::BTreeSet;

use crate::problem::Problem;
use crate::workspace::Workspace;

const MAP: &str = "ARCHITECTURE.md";

/// Folders whose paths the map must have right.
const FOLDERS: [&str; 7] = ["crates/", "dev/", "conformance/", "interop/", "fuzz/", "specs/", "docs/"];

/// Checks the map in both directions.
pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let Some(text) = workspace.texts.get(MAP) else {
        return vec![Problem::new(MAP, "missing: every crate has its place there")];
    };
    let mut problems = Vec::new();
    let words: BTreeSet<(usize, &str)> = text
        .lines()
        .enumerate()
        .flat_map(|(at, line)| words_of(line).map(move |word| (at + 1, word)))
        .collect();
    let names: BTreeSet<&str> = workspace.members.iter().map(|member| member.name.as_str()).collect();
    for (line, word) in &words {
        let path = word.trim_end_matches(['.', '/', ',', ':']);
        if FOLDERS.iter().any(|folder| word.starts_with(folder)) && !workspace.root.join(path).exists() {
            problems.push(Problem::at(MAP, *line, format!("{path} does not exist: correct it")));
        }
        let is_crate_name = path.starts_with("motte-") && path != "motte-state" && !path.contains(['.', '/']);
        if is_crate_name && !names.contains(path) {
            problems.push(Problem::at(MAP, *line, format!("{path} is no crate: correct it")));
        }
    }
    for member in &workspace.members {
        let is_named = words.iter().any(|(_, word)| {
            let path = word.trim_end_matches(['.', ',', ':', '/']);
            path == member.folder || path == member.name || path.starts_with(&format!("{}/", member.folder))
        });
        if !is_named {
            problems.push(Problem::new(MAP, format!("{} is missing: give it a sentence", member.folder)));
        }
    }
    problems
}

/// The words of a line that can be paths or names.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    line.split(move |c| !is_part(c)).filter(|word| !word.is_empty())
}
