//! `motte acl diff`: what a change of policy means.

use std::path::{Path, PathBuf};

use motte_access::analysis::{Change, Difference, World, diff};
use serde_json::{Value, json};

use super::{Answer, WIDENED, plural, source};
use crate::cli::AclDiffArgs;
use crate::verb::Fault;
use crate::verb::serve::load;

/// Most names that are written out for one change.
const NAMES_MAX: usize = 4;

pub(super) fn run(args: &AclDiffArgs) -> Result<Answer, Fault> {
    let (old, new) = (world(args, &args.old)?, world(args, &args.new)?);
    let difference = diff(&old, &new).map_err(|error| Fault::new(error.to_string()))?;
    let code = if difference.widened.is_empty() { 0 } else { WIDENED };
    let text = if args.json { format!("{}\n", value(&difference)) } else { text(&difference) };
    Ok(Answer { text, code })
}

/// What changes, for programs.
pub(super) fn value(difference: &Difference) -> Value {
    let all = |changes: &[Change]| changes.iter().map(change_json).collect::<Vec<_>>();
    json!({ "widened": all(&difference.widened), "narrowed": all(&difference.narrowed) })
}

/// What changes, for people.
pub(super) fn text(difference: &Difference) -> String {
    if difference.widened.is_empty() && difference.narrowed.is_empty() {
        "the same is permitted\n".to_owned()
    } else {
        let mut text = list("becomes permitted", '+', &difference.widened);
        text.push_str(&list("is permitted no longer", '-', &difference.narrowed));
        text.push_str(&format!(
            "{} widened, {} narrowed\n",
            plural(difference.widened.len(), "right"),
            difference.narrowed.len()
        ));
        text
    }
}

fn world(args: &AclDiffArgs, path: &Path) -> Result<World, Fault> {
    if args.configs {
        return Ok(source::of_config(&load(path)?)?);
    }
    let policy = source::compile(&files(path)?, &[])?;
    Ok(match &args.config {
        Some(config) => World::new(policy, source::listeners(&load(config)?)),
        None => World::of_policy(policy),
    })
}

/// The file, or the policy files of a directory in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let fault = |error: std::io::Error| Fault::new(format!("cannot list {}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let what = format!("there is no .toml file in {}", path.display());
        return Err(Fault::with_remedy(what, "give a policy file, or a directory of policy files"));
    }
    Ok(files)
}

fn list(title: &str, sign: char, changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    // What changes alike by several ways is one row.
    let mut rows: Vec<(String, Vec<&str>, &Change)> = Vec::new();
    for change in changes {
        let who = names(change);
        let same = rows.iter_mut().find(|(others, _, one)| {
            *others == who && one.topics.set == change.topics.set && one.when == change.when
        });
        match same {
            Some((_, ways, _)) => ways.push(change.way.name()),
            None => rows.push((who, vec![change.way.name()], change)),
        }
    }
    let width = rows.iter().map(|(_, ways, _)| ways.join(", ").len()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    let mut who_before = "";
    for (who, ways, change) in &rows {
        if *who != who_before {
            text.push_str(&format!("  {who}\n"));
            who_before = who;
        }
        let example = if change.topics.example == change.topics.set {
            String::new()
        } else {
            format!("  such as {}", change.topics.example)
        };
        let when = change.when.as_ref().map(|when| format!("  ({when})")).unwrap_or_default();
        text.push_str(&format!(
            "  {sign} {:<width$}  {}{example}{when}\n",
            ways.join(", "),
            change.topics.set
        ));
    }
    text
}

fn names(change: &Change) -> String {
    let shown: Vec<String> = change.who.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    match change.who.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

fn change_json(change: &Change) -> Value {
    json!({
        "who": change.who.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "way": change.way.name(),
        "topics": change.topics.set,
        "example": change.topics.example,
        "when": change.when,
    })
}
