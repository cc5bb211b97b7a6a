//! A mosquitto `acl_file`, read as mosquitto 2 reads it.

use crate::verb::Fault;

/// What a line grants or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

/// A line about topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) access: Access,
    pub(super) topic: String,
    /// Whether `%u` and `%c` are placeholders in it.
    pub(super) is_pattern: bool,
    /// Line, from 1.
    pub(super) line: usize,
}

/// The whole file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acl {
    /// For clients without user name.
    pub(super) anonymous: Vec<Entry>,
    /// By user name, in the order of the file.
    pub(super) users: Vec<(String, Vec<Entry>)>,
    /// For everybody, with `%u` and `%c`.
    pub(super) patterns: Vec<Entry>,
}

impl Acl {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that mosquitto would refuse, too.
    pub(super) fn parse(text: &str, file: &str) -> Result<Self, Fault> {
        let mut acl = Self::default();
        let mut user: Option<usize> = None;
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = word(line);
            let fault = |what: &str| {
                let remedy = "correct the line; mosquitto does not start with it either";
                Fault::with_remedy(format!("{file}:{number}: {what}"), remedy)
            };
            match word {
                "user" if !rest.trim().is_empty() => {
                    let name = rest.trim();
                    let known = acl.users.iter().position(|(one, _)| one == name);
                    user = Some(known.unwrap_or_else(|| {
                        acl.users.push((name.to_owned(), Vec::new()));
                        acl.users.len() - 1
                    }));
                }
                "user" => return Err(fault("a user without a name")),
                "topic" | "pattern" => {
                    let mut entry = entry(rest, number).map_err(|what| fault(&what))?;
                    entry.is_pattern = word == "pattern";
                    let list = match user.and_then(|at| acl.users.get_mut(at)) {
                        _ if word == "pattern" => &mut acl.patterns,
                        Some((_, list)) => list,
                        None => &mut acl.anonymous,
                    };
                    list.push(entry);
                }
                other => return Err(fault(&format!("`{other}` is not topic, pattern or user"))),
            }
        }
        Ok(acl)
    }
}

/// The first word and what follows it.
fn word(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches(' ');
    line.split_once(' ').unwrap_or((line, ""))
}

fn entry(rest: &str, line: usize) -> Result<Entry, String> {
    let (first, rest) = word(rest);
    if first.is_empty() {
        return Err("no topic".into());
    }
    if rest.is_empty() {
        return Ok(Entry {
            access: Access::ReadWrite,
            topic: first.trim().to_owned(),
            is_pattern: false,
            line,
        });
    }
    let access = match first {
        "read" => Access::Read,
        "write" => Access::Write,
        "readwrite" => Access::ReadWrite,
        "deny" => Access::Deny,
        other => return Err(format!("`{other}` is not read, write, readwrite or deny")),
    };
    Ok(Entry { access, topic: rest.trim().to_owned(), is_pattern: false, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_accesses_are_read_as_mosquitto_does() {
        let text = "# a comment\ntopic read a/#\n\nuser alice b\ntopic deny a b\ntopic c\npattern write x/%u\nuser bob\nuser alice b\ntopic write d\n";
        let acl = Acl::parse(text, "acl").unwrap();
        let entry =
            |access, topic: &str, line| Entry { access, topic: topic.into(), is_pattern: line == 7, line };
        assert_eq!(acl.anonymous, [entry(Access::Read, "a/#", 2)]);
        assert_eq!(acl.patterns, [entry(Access::Write, "x/%u", 7)]);
        let alice = vec![
            entry(Access::Deny, "a b", 5),
            entry(Access::ReadWrite, "c", 6),
            entry(Access::Write, "d", 10),
        ];
        assert_eq!(acl.users, [("alice b".to_owned(), alice), ("bob".to_owned(), vec![])]);
        for wrong in ["topic", "topic a b", "user", "topics a"] {
            assert!(Acl::parse(wrong, "acl").unwrap_err().to_string().starts_with("acl:1: "), "{wrong}");
        }
    }
}
