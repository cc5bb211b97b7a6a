//! Words that must not stand where they stand, each with what to write instead.

use crate::problem::Problem;
use crate::source::{Source, has_word};
use crate::workspace::Workspace;

/// A word that code must not have.
struct Ban {
    word: &'static str,
    /// Whether the ban holds in this file, in test code or not.
    holds: fn(&Source, is_test: bool) -> bool,
    remedy: &'static str,
}

fn anywhere(_: &Source, _: bool) -> bool {
    true
}

/// The floors that read no clock.
fn below_edge(source: &Source, is_test: bool) -> bool {
    !is_test && ["crates/base", "crates/core", "crates/engine"].iter().any(|floor| source.is_below(floor))
}

/// The floors that read no environment.
fn below_server(source: &Source, is_test: bool) -> bool {
    below_edge(source, is_test) || !is_test && source.is_below("crates/edge")
}

fn in_product(source: &Source, is_test: bool) -> bool {
    !is_test && source.is_below("crates")
}

fn in_tests(_: &Source, is_test: bool) -> bool {
    is_test
}

/// Looked for in code alone; comments and texts may speak of them.
const CODE: [Ban; 10] = [
    Ban { word: "dbg!", holds: anywhere, remedy: "remove it" },
    Ban { word: "Instant::now", holds: below_edge, remedy: "take the time as an argument" },
    Ban { word: "SystemTime::now", holds: below_edge, remedy: "take the time as an argument" },
    Ban { word: "std::env", holds: below_server, remedy: "let the server or the command read it" },
    Ban { word: "#[ignore", holds: anywhere, remedy: "mend the test or remove it" },
    Ban { word: "thread::sleep", holds: in_tests, remedy: "wait for a condition with a deadline" },
    Ban { word: "#[allow(", holds: anywhere, remedy: "write #[expect(…, reason = …)]" },
    Ban { word: "#![allow(", holds: anywhere, remedy: "write #![expect(…, reason = …)]" },
    Ban {
        word: "mpsc::channel",
        holds: in_product,
        remedy: "use sync_channel, or another queue with a bound",
    },
    Ban { word: "static mut", holds: anywhere, remedy: "pass the value" },
];

/// Looked for in everything that is written; put together here so that this file does not fail its own check.
const TEXT: [(&str, &str); 4] = [
    (concat!("FIX", "ME"), "mend it, or open an issue"),
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("/wo", "rk/"), "no path of one machine belongs in the tree"),
    (concat!("/ro", "ot/"), "no path of one machine belongs in the tree"),
];

/// Checks every file of the tree.
pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in &workspace.sources {
        check_code(source, &mut problems);
        check_text(&source.path, &source.text, &mut problems);
    }
    for (path, text) in &workspace.texts {
        check_text(path, text, &mut problems);
    }
    problems
}

fn check_code(source: &Source, problems: &mut Vec<Problem>) {
    for (number, line, is_test) in source.code_lines() {
        for ban in &CODE {
            if (ban.holds)(source, is_test) && has_word(line, ban.word) {
                problems.push(Problem::at(&source.path, number, format!("`{}`: {}", ban.word, ban.remedy)));
            }
        }
        let is_expectation = line.contains("#[expect(") || line.contains("#![expect(");
        if is_expectation && !has_reason(&source.code, number) {
            problems.push(Problem::at(&source.path, number, "an expectation needs a reason"));
        }
    }
}

/// Whether the attribute that starts on this line says `reason` before it ends.
fn has_reason(code: &str, number: usize) -> bool {
    let rest = code.lines().skip(number - 1).take(12);
    rest.take_while(|line| !line.trim_start().starts_with("fn ")).any(|line| has_word(line, "reason"))
}

fn check_text(path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (at, line) in text.lines().enumerate() {
        let mut refuse = |text: String| problems.push(Problem::at(path, at + 1, text));
        for (word, remedy) in TEXT {
            if has_word(line, word) {
                refuse(format!("`{word}`: {remedy}"));
            }
        }
        if line.ends_with([' ', '\t']) {
            refuse("trailing space: remove it".to_owned());
        }
        if line.chars().any(is_hidden) {
            refuse("a control or direction character: write it as an escape".to_owned());
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(Problem::new(path, "the last line has no end: add one"));
    }
}

/// Characters that an editor does not show, or that make it show code in another order.
fn is_hidden(character: char) -> bool {
    match character {
        '\t' => false,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path.to_owned(), text.to_owned());
        let mut problems = Vec::new();
        check_code(&source, &mut problems);
        check_text(path, text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_clock_is_banned_below_the_edge_only() {
        let text = "fn f() { let _ = Instant::now(); }\n";
        assert_eq!(problems("crates/core/session/src/lib.rs", text).len(), 1);
        assert_eq!(problems("crates/server/src/lib.rs", text).len(), 0);
        assert_eq!(problems("crates/core/session/src/lib.rs", "// Instant::now is the server's\n").len(), 0);
    }

    #[test]
    fn sleep_is_banned_in_tests_only() {
        let text = "fn f() { std::thread::sleep(d); }\n";
        assert_eq!(problems("conformance/src/lib.rs", text).len(), 1);
        assert_eq!(problems("dev/testkit/src/lib.rs", text).len(), 0);
    }

    #[test]
    fn attributes_that_silence_are_expectations_with_a_reason() {
        assert_eq!(problems("a.rs", "#[allow(dead_code)]\nfn f() {}\n").len(), 1);
        assert_eq!(problems("a.rs", "#[expect(dead_code)]\nfn f() {}\n").len(), 1);
        assert_eq!(
            problems("a.rs", "#[expect(\n    dead_code,\n    reason = \"r\"\n)]\nfn f() {}\n").len(),
            0
        );
        assert_eq!(problems("a.rs", "#[test]\n#[ignore]\nfn f() {}\n").len(), 1);
    }

    #[test]
    fn text_is_checked_everywhere() {
        assert_eq!(problems("a.rs", "// x \n").len(), 1);
        assert_eq!(problems("a.rs", "// x").len(), 1);
        assert_eq!(problems("a.rs", &format!("// {}\n", TEXT[1].0)).len(), 1);
        assert_eq!(problems("a.rs", "// \u{202e}x\n").len(), 1);
    }
}
