//! Files: module docs, length, membership in a module, and the lints of each manifest.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Value;

use crate::Outcome;
use crate::problem::Problem;
use crate::source::Source;
use crate::workspace::{Member, Workspace};

/// Lines a file may have without an entry in the ratchet.
const LINES_MAX: usize = 500;
/// Lines an excused file may have spare before its entry must follow it down.
const SLACK: usize = 25;
/// The list of excused files.
const RATCHET: &str = "dev/xtask/ratchet.toml";

/// Files longer than the rule, with the length they must not outgrow.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    lines: BTreeMap<String, usize>,
}

/// Checks every Rust file and every manifest.
pub(crate) fn check(workspace: &Workspace) -> Outcome<Vec<Problem>> {
    let text = workspace.texts.get(RATCHET).ok_or_else(|| format!("{RATCHET} is missing"))?;
    let ratchet: Ratchet = toml::from_str(text).map_err(|error| format!("{RATCHET}: {error}"))?;
    let mut problems = Vec::new();
    for source in &workspace.sources {
        if !source.text.trim_start().starts_with("//!") {
            problems
                .push(Problem::new(&source.path, "no module docs: open with `//!` and what the file is for"));
        }
    }
    let lengths = workspace.sources.iter().map(|source| (source.path.as_str(), source.text.lines().count()));
    check_lengths(&lengths.collect(), &ratchet, &mut problems);
    for member in &workspace.members {
        let lints = member.manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            problems.push(Problem::new(
                format!("{}/Cargo.toml", member.folder),
                "add `[lints] workspace = true`",
            ));
        }
        let sources: Vec<_> =
            workspace.sources.iter().filter(|source| source.is_below(&member.folder)).collect();
        check_membership(member, &sources, &mut problems);
    }
    Ok(problems)
}

fn check_lengths(lengths: &BTreeMap<&str, usize>, ratchet: &Ratchet, problems: &mut Vec<Problem>) {
    for (path, lines) in lengths {
        let excused = ratchet.lines.get(*path).copied();
        let max = excused.unwrap_or(LINES_MAX);
        if *lines > max {
            problems.push(Problem::new(path, format!("{lines} lines, {max} are permitted: split it")));
        } else if excused.is_some() && *lines <= LINES_MAX {
            problems.push(Problem::new(RATCHET, format!("{path} has {lines} lines: remove its entry")));
        } else if excused.is_some() && *lines + SLACK < max {
            problems.push(Problem::new(RATCHET, format!("{path} has {lines} lines: lower its entry")));
        }
    }
    for path in ratchet.lines.keys().filter(|path| !lengths.contains_key(path.as_str())) {
        problems.push(Problem::new(RATCHET, format!("{path} is gone: remove its entry")));
    }
}

/// Finds files that no module declares and no text names, so that no compiler ever reads them.
fn check_membership(member: &Member, sources: &[&Source], problems: &mut Vec<Problem>) {
    for source in sources {
        let Some(inside) = source.path.strip_prefix(&format!("{}/", member.folder)) else { continue };
        let parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if is_root(&parts) || is_declared(&parts, member, sources) || is_named(inside, sources) {
            continue;
        }
        problems.push(Problem::new(&source.path, "in no module: declare it or remove it"));
    }
}

/// Whether cargo itself compiles this file.
fn is_root(parts: &[&str]) -> bool {
    matches!(
        parts,
        ["build"]
            | ["src", "lib" | "main"]
            | ["src", "bin", _]
            | ["src", "bin", _, "main"]
            | ["tests" | "examples" | "benches", _]
            | ["tests" | "examples" | "benches", _, "main"]
    )
}

/// Whether the file of the parent module says `mod name;`.
fn is_declared(parts: &[&str], member: &Member, sources: &[&Source]) -> bool {
    let parts = parts.strip_suffix(&["mod"]).unwrap_or(parts);
    let [folder @ .., name] = parts else { return false };
    let folder = folder.join("/");
    let parents = ["lib.rs", "main.rs", "mod.rs"].map(|file| format!("{}/{folder}/{file}", member.folder));
    let sibling = format!("{}/{folder}.rs", member.folder);
    let declaration = format!("mod {name};");
    sources.iter().any(|source| {
        (parents.contains(&source.path) || source.path == sibling)
            && source.code.lines().any(|line| line.trim_end().ends_with(&declaration))
    })
}

/// Whether a text in the crate names the file or its folder, as `#[path]`, `include!` and compile-fail tests do.
fn is_named(inside: &str, sources: &[&Source]) -> bool {
    let file = inside.rsplit('/').next().unwrap_or(inside);
    let folder = inside.strip_suffix(file).map(|folder| format!("\"{folder}*.rs\"")).unwrap_or_default();
    let file = format!("{file}\"");
    sources.iter().any(|source| source.text.contains(&folder) || source.text.contains(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratchet_goes_one_way() {
        let ratchet = Ratchet { lines: BTreeMap::from([("a.rs".to_owned(), 700)]) };
        let count = |lengths: &[(&str, usize)]| {
            let mut problems = Vec::new();
            check_lengths(&lengths.iter().copied().collect(), &ratchet, &mut problems);
            problems.len()
        };
        assert_eq!(count(&[("a.rs", 700), ("b.rs", 500)]), 0);
        assert_eq!(count(&[("a.rs", 701)]), 1);
        assert_eq!(count(&[("a.rs", 600)]), 1);
        assert_eq!(count(&[("a.rs", 400)]), 1);
        assert_eq!(count(&[("b.rs", 501)]), 2);
    }

    fn strays(files: &[(&str, &str)]) -> Vec<String> {
        let member = Member { folder: "c".to_owned(), name: "c".to_owned(), manifest: toml::Table::new() };
        let sources: Vec<_> =
            files.iter().map(|(path, text)| Source::new(format!("c/{path}"), (*text).to_owned())).collect();
        let mut problems = Vec::new();
        check_membership(&member, &sources.iter().collect::<Vec<_>>(), &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_in_no_module_is_found() {
        let lib = ("src/lib.rs", "pub mod a;\npub(crate) mod b;\n");
        assert_eq!(
            strays(&[lib, ("src/a.rs", "mod tests;\n"), ("src/b/mod.rs", ""), ("src/a/tests.rs", "")]),
            [""; 0]
        );
        assert_eq!(strays(&[lib, ("src/c.rs", "")]).len(), 1);
        assert_eq!(strays(&[lib, ("src/a.rs", "// mod d;\n"), ("src/a/d.rs", "")]).len(), 1);
    }

    #[test]
    fn roots_and_named_files_are_no_strays() {
        let test = ("tests/fail.rs", "fn f() { cases.compile_fail(\"tests/fail/*.rs\"); }\n");
        assert_eq!(strays(&[test, ("tests/fail/a.rs", ""), ("src/main.rs", ""), ("build.rs", "")]), [""; 0]);
    }
}
