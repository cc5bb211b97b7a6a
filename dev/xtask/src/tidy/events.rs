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

/// The entries a file declares: an id in quotation marks, and the first name in quotation marks after it.
fn entries(source: &Source) -> Vec<Entry> {
    let lines: Vec<_> = source.text_lines().collect();
    let mut found = Vec::new();
    for (at, (number, line, is_test)) in lines.iter().enumerate() {
        let Some(id) = quoted(line).find(|text| is_id(text)).filter(|_| !is_test) else { continue };
        let after = lines.iter().skip(at).take(4).flat_map(|(_, line, _)| quoted(line));
        if let Some(name) = after.skip_while(|text| text != &id).find(|text| is_name(text)) {
            let place = (source.path.clone(), *number);
            found.push(Entry { id: id.to_owned(), name: name.to_owned(), place });
        }
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

fn is_name(text: &str) -> bool {
    text.split_once('.').is_some_and(|(area, name)| {
        let is_plain =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_plain(area) && is_plain(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_id_and_the_name_behind_it() {
        let text = "event! {\n    \"MOTTE-G-0012\", \"gate.auth_refused\", Warning,\n    \"A meaning.\"\n}\n";
        let source = Source::new("crates/base/event/src/catalogue/gate.rs".to_owned(), text.to_owned());
        let found = entries(&source);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].name.as_str()), ("MOTTE-G-0012", "gate.auth_refused"));
        assert!(!is_id("MOTTE-G-12") && !is_name("A meaning.") && !is_name("gate"));
    }
}
