//! One thing that is wrong with the tree, and how a list of them is shown.

use std::fmt;

/// Something a check found, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    place: String,
    text: String,
}

impl Problem {
    /// A problem of a whole file or crate.
    pub(crate) fn new(place: impl fmt::Display, text: impl fmt::Display) -> Self {
        Self { place: place.to_string(), text: text.to_string() }
    }

    /// A problem of one line, counted from 1.
    pub(crate) fn at(path: &str, line: usize, text: impl fmt::Display) -> Self {
        Self::new(format!("{path}:{line}"), text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Prints what a check found; true if that is nothing.
pub(crate) fn report(check: &str, problems: &[Problem]) -> bool {
    for problem in problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => println!("{check}: in order"),
        1 => println!("{check}: 1 problem"),
        count => println!("{check}: {count} problems"),
    }
    problems.is_empty()
}
