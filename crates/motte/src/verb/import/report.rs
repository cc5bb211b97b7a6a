//! What the operator is told of an import.

/// What a line of the report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// It was insecure.
    Insecure,
    /// The result permits less.
    Stricter,
    /// It has no place here.
    NotTaken,
    /// It is left to be done.
    ToDo,
}

impl About {
    fn heading(self) -> &'static str {
        match self {
            Self::Insecure => "was insecure",
            Self::Stricter => "is stricter now",
            Self::NotTaken => "not taken",
            Self::ToDo => "left for you",
        }
    }
}

/// The lines, each with the place that it is about.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<(About, String)>,
}

impl Report {
    /// Adds a line once; the place may be empty.
    pub(super) fn add(&mut self, about: About, place: &str, what: impl std::fmt::Display) {
        let line = if place.is_empty() { what.to_string() } else { format!("{place}: {what}") };
        if !self.lines.iter().any(|(_, known)| *known == line) {
            self.lines.push((about, line));
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for about in [About::Insecure, About::Stricter, About::NotTaken, About::ToDo] {
            let mut lines = self.lines.iter().filter(|(one, _)| *one == about).peekable();
            if lines.peek().is_some() {
                writeln!(f, "{}", about.heading())?;
            }
            for (_, line) in lines {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}
