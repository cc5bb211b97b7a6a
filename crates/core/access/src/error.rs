//! Why a policy file is refused.

/// A fault in a policy file, with its place and its remedy. A file with a fault is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}\n  remedy: {remedy}")]
pub struct PolicyError {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Line and column of a byte in a text, from 1.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

impl PolicyError {
    pub(crate) fn at(
        file: &str,
        text: &str,
        at: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (line, column) = place(text, at);
        Self { file: file.to_owned(), line, column, what: what.into(), remedy: remedy.into() }
    }
}
