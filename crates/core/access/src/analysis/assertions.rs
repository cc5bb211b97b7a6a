//! Files of assertions: who may and who may not, to be tested offline.

use serde::Deserialize;
use toml::Spanned;

use crate::analysis::statement::{Statement, StatementError, Whom};
use crate::error::{PolicyError, place};
use crate::reader::syntax_error;

/// A statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// Line, from 1.
    pub line: usize,
    /// The statement.
    pub statement: Statement,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssertionFile {
    version: Spanned<u32>,
    /// Statements in words.
    #[serde(default)]
    prove: Vec<Spanned<String>>,
    #[serde(default)]
    may: Vec<MayWritten>,
    #[serde(default)]
    may_not: Vec<MayWritten>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MayWritten {
    who: Spanned<String>,
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    #[serde(default)]
    retain: Vec<Spanned<String>>,
    #[serde(default)]
    will: Vec<Spanned<String>>,
    #[serde(default)]
    subscribe: Vec<Spanned<String>>,
    #[serde(default)]
    receive: Vec<Spanned<String>>,
    #[serde(default)]
    except: Vec<String>,
}

/// Reads a file of assertions, in the order of its lines.
///
/// # Errors
/// The first fault, with place and remedy.
pub fn assertions(text: &str, file: &str) -> Result<Vec<Assertion>, PolicyError> {
    let written: AssertionFile = toml::from_str(text).map_err(|error| PolicyError {
        remedy: "a file of assertions has `version = 1`, `prove = [...]`, [[may]] and [[may_not]]; see docs/acl.md".into(),
        ..syntax_error(file, text, &error)
    })?;
    let fault = |at: usize, error: StatementError| PolicyError::at(file, text, at, error.what, error.remedy);
    if *written.version.get_ref() != 1 {
        let what = format!("version {} is not known", written.version.get_ref());
        return Err(PolicyError::at(file, text, written.version.span().start, what, "write `version = 1`"));
    }
    let mut found = Vec::new();
    for one in &written.prove {
        let at = one.span().start;
        let statement = Statement::parse(one.get_ref()).map_err(|error| fault(at, error))?;
        found.push(Assertion { line: place(text, at).0, statement });
    }
    let groups =
        written.may.iter().map(|one| (true, one)).chain(written.may_not.iter().map(|one| (false, one)));
    for (can, one) in groups {
        let whom = Whom::parse(one.who.get_ref()).map_err(|error| fault(one.who.span().start, error))?;
        let except: Vec<&str> = one.except.iter().map(String::as_str).collect();
        let ways = [
            ("publish", &one.publish),
            ("retain", &one.retain),
            ("will", &one.will),
            ("subscribe", &one.subscribe),
            ("receive", &one.receive),
        ];
        if ways.iter().all(|(_, filters)| filters.is_empty()) {
            let what = "it says for whom, and not what".to_owned();
            let remedy = "add publish, retain, will, subscribe or receive with a list of filters".into();
            return Err(fault(one.who.span().start, StatementError { what, remedy }));
        }
        for (way, filter) in
            ways.iter().flat_map(|(way, filters)| filters.iter().map(move |filter| (way, filter)))
        {
            let at = filter.span().start;
            let statement = Statement::new(whom.clone(), can, way, filter.get_ref(), &except)
                .map_err(|error| fault(at, error))?;
            found.push(Assertion { line: place(text, at).0, statement });
        }
    }
    found.sort_by_key(|one| one.line);
    if found.is_empty() {
        let what = "it asserts nothing";
        return Err(PolicyError::at(
            file,
            text,
            0,
            what,
            "add statements to `prove`, or [[may]] and [[may_not]]",
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_with_their_lines() {
        let text = "version = 1\nprove = [\"anybody cannot publish $SYS/#\"]\n[[may]]\nwho = \"identity:b-7\"\npublish = [\n  \"a/b\",\n  \"a/{identity}/#\",\n]\n[[may_not]]\nwho = \"role:sensor\"\nsubscribe = [\"#\"]\nexcept = [\"a/{identity}/#\"]\n";
        let read = assertions(text, "tests.toml").unwrap();
        let told: Vec<String> = read.iter().map(|one| format!("{} {}", one.line, one.statement)).collect();
        assert_eq!(
            told,
            [
                "2 anybody cannot publish $SYS/#",
                "6 identity:b-7 can publish a/b",
                "7 identity:b-7 can publish a/{identity}/#",
                "11 role:sensor cannot subscribe # except a/{identity}/#",
            ]
        );
    }

    #[test]
    fn faults_have_a_place_and_a_remedy() {
        for (text, expected) in [
            ("version = 2\n", "t.toml:1:11: version 2"),
            ("version = 1\n", "asserts nothing"),
            ("version = 1\nprove = [\"anybody may x\"]\n", "t.toml:2:10: `anybody may x` is not a whole"),
            ("version = 1\n[[may]]\nwho = \"x\"\npublish = [\"a\"]\n", "t.toml:3:7: `x` does not say whom"),
            ("version = 1\n[[may]]\nwho = \"anybody\"\npublish = [\"a+\"]\n", "is not a Topic Filter"),
            ("version = 1\n[[may]]\nwho = \"anybody\"\n", "and not what"),
            ("version = 1\n[[mayn]]\n", "unknown field"),
        ] {
            let told = assertions(text, "t.toml").unwrap_err().to_string();
            assert!(told.contains(expected) && told.contains("remedy: "), "{told}");
        }
    }
}
