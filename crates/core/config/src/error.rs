//! Faults in a configuration.

/// A fault with its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}\n  remedy: {remedy}")]
pub struct ConfigError {
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

/// All faults that were found; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Collects faults while a file is read.
#[derive(Debug)]
pub(crate) struct Faults<'a> {
    text: &'a str,
    file: &'a str,
    found: Vec<ConfigError>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(text: &'a str, file: &'a str) -> Self {
        Self { text, file, found: Vec::new() }
    }

    /// Notes a fault at a byte of the text.
    pub(crate) fn add(&mut self, at: usize, what: impl Into<String>, remedy: impl Into<String>) {
        let (line, column) = line_and_column(self.text, at);
        let (what, remedy) = (what.into(), remedy.into());
        self.found.push(ConfigError { file: self.file.to_owned(), line, column, what, remedy });
    }

    /// Notes what the TOML reader says.
    pub(crate) fn add_syntax(&mut self, error: &toml::de::Error) {
        let message = error.message().to_owned();
        let remedy = match unknown_key(&message) {
            Some((key, known)) => nearest(key, &known).map_or_else(
                || "remove the key; every key is in examples/configs/motte.toml".to_owned(),
                |near| format!("did you mean `{near}`? Every key is in examples/configs/motte.toml"),
            ),
            None => "correct the value at this place; every key is in examples/configs/motte.toml".to_owned(),
        };
        self.add(error.span().map_or(0, |span| span.start), message, remedy);
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), ConfigErrors> {
        if self.found.is_empty() { Ok(()) } else { Err(ConfigErrors(self.found)) }
    }
}

/// Line and column of a byte, both from 1.
pub(crate) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1)
}

/// The key and the known ones in "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?;
    Some((key, quoted.collect()))
}

fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let best =
        known.iter().map(|candidate| (common(key, candidate), *candidate)).max_by_key(|(score, _)| *score)?;
    (best.0 * 2 > key.len()).then_some(best.1)
}

/// How alike two keys are: characters in common, in order, less the difference in length.
fn common(a: &str, b: &str) -> usize {
    let mut rest = b.chars();
    let shared =
        a.chars().filter(|c| rest.clone().any(|d| d == *c) && rest.by_ref().any(|d| d == *c)).count();
    shared.saturating_sub(a.len().abs_diff(b.len()) / 2)
}
