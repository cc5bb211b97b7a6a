//! The catalogue of events against the code: each is emitted somewhere and some test provokes it.

use crate::problem::Problem;
use crate::source::{Source, has_word};
use crate::workspace::Workspace;

/// The crate that declares the events.
const CATALOGUE: &str = "crates/base/event";

/// One entry of the catalogue.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Such as `MOTTE-G-0012`.
    id: String,
    /// Such as `gate.auth_refused`.
    name: String,
    place: (String, usize),
}

/// Checks that every event has an emitter and a test outside its own crate.
pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let (catalogue, others): (Vec<_>, Vec<_>) =
        workspace.sources.iter().partition(|source| source.is_below(CATALOGUE));
    let lines = others.iter().flat_map(|source| source.text_lines());
    let tests: String =
        lines.filter(|(_, _, is_test)| *is_test).flat_map(|(_, line, _)| [line, "\n"]).collect();
    let tests_upper = tests.to_uppercase();
    let product: String = others
        .iter()
        .filter(|source| source.is_below("crates"))
        .flat_map(|source| source.code_lines())
        .filter(|(_, _, is_test)| !is_test)
        .flat_map(|(_, line, _)| [line, "\n"])
        .collect();
    let mut problems = Vec::new();
    for entry in catalogue.iter().flat_map(|source| entries(source)) {
        let (path, line) = &entry.place;
        let constructor = entry.name.replace('.', "::");
        if !has_word(&product, &constructor) {
            problems.push(Problem::at(
                path,
                *line,
                format!("{} is never emitted: emit or remove it", entry.name),
            ));
        }
        // A test may know the event by its id, its name, its constructor or its declaration.
        let is_tested = has_word(&tests, &entry.id)
            || has_word(&tests, &entry.name)
            || has_word(&tests_upper, &constructor.to_uppercase());
        if !is_tested {
            problems.push(Problem::at(path, *line, format!("no test provokes {}: write one", entry.name)));
        }
    }
    problems
}

/// The entries a file declares: `events! { "part":`, and then for each its constructor and its id in quotation marks.
fn entries(source: &Source) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut part = String::new();
    for (number, line, is_test) in source.text_lines() {
        if is_test {
            continue;
        }
        if let Some(rest) = line.trim_start().strip_prefix("events! {") {
            quoted(rest).next().unwrap_or_default().clone_into(&mut part);
            continue;
        }
        let Some(id) = quoted(line).next().filter(|text| is_id(text)) else { continue };
        let constructor = line.split_whitespace().next().unwrap_or_default();
        let place = (source.path.clone(), number);
        found.push(Entry { id: id.to_owned(), name: format!("{part}.{constructor}"), place });
    }
    found
}

/// What stands between quotation marks on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

fn is_id(text: &str) -> bool {
    let mut parts = text.split('-');
    parts.next() == Some("MOTTE")
        && parts.next().is_some_and(|area| area.len() == 1)
        && parts
            .next()
            .is_some_and(|number| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_constructor_and_its_id() {
        let text = "events! { \"gate\":\n    refused \"MOTTE-G-0012\" Warning (client_id: &str = \"who\")\n        \"A meaning.\"\n        \"A remedy.\";\n}\n";
        let source = Source::new("crates/base/event/src/catalogue/gate.rs".to_owned(), text.to_owned());
        let found = entries(&source);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].name.as_str()), ("MOTTE-G-0012", "gate.refused"));
        assert!(!is_id("MOTTE-G-12"));
    }
}
