//! A record as a file: a first line with version, length and checksum, then a line for each rule and each entry.

use std::fmt::Write as _;

use crate::action::Action;
use crate::usage::{ENTRIES_MAX, RuleName, Usage, UsageKey, UsageRecord};

/// The first words of a file.
const HEADER: &str = "motte-usage 1";

/// Why a file is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageFileError {
    /// The first line is not that of a record.
    #[error("it is no record of usage, or of a version that is not known")]
    Version,
    /// What follows is not what the first line says.
    #[error("it is damaged: its length or checksum is wrong")]
    Damaged,
    /// A line cannot be read.
    #[error("line {0} cannot be read")]
    Line(usize),
}

impl UsageRecord {
    /// The file's text.
    pub fn encode(&self) -> String {
        let mut body = format!("until\t{}\nlost\t{}\n", self.until_s, self.lost);
        for (rule, since_s) in &self.watched {
            let _ = writeln!(body, "rule\t{since_s}\t{}\t{}", escaped(&rule.role), escaped(&rule.words));
        }
        for (key, usage) in &self.entries {
            let kind = if key.quarantined { "quarantined" } else { "used" };
            let _ = writeln!(
                body,
                "{kind}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                usage.count,
                usage.first_s,
                usage.last_s,
                key.action.name(),
                escaped(&key.rule.role),
                escaped(&key.rule.words),
                escaped(&key.shape),
                escaped(&usage.who),
            );
        }
        format!("{HEADER} {} {:08x}\n{body}", body.len(), crc32fast::hash(body.as_bytes()))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`UsageFileError`]; nothing of it is taken then.
    pub fn decode(text: &str) -> Result<Self, UsageFileError> {
        let (first, body) = text.split_once('\n').ok_or(UsageFileError::Version)?;
        let sums = first.strip_prefix(HEADER).ok_or(UsageFileError::Version)?;
        if sums != format!(" {} {:08x}", body.len(), crc32fast::hash(body.as_bytes())) {
            return Err(UsageFileError::Damaged);
        }
        let mut record = Self::default();
        for (at, line) in body.lines().enumerate() {
            record.line(line).ok_or(UsageFileError::Line(at + 2))?;
        }
        Ok(record)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |text: &str| text.parse::<u64>().ok();
        match fields.as_slice() {
            ["until", at] => self.until_s = number(at)?,
            ["lost", count] => self.lost = number(count)?,
            ["rule", since_s, role, words] => {
                let name = RuleName { role: unescaped(role)?, words: unescaped(words)? };
                self.watched.insert(name, number(since_s)?);
            }
            [kind @ ("used" | "quarantined"), count, first, last, action, role, words, shape, who] => {
                if self.entries.len() >= ENTRIES_MAX {
                    return None;
                }
                let key = UsageKey {
                    rule: RuleName { role: unescaped(role)?, words: unescaped(words)? },
                    action: Action::of_name(action)?,
                    quarantined: *kind == "quarantined",
                    shape: unescaped(shape)?,
                };
                let usage = Usage {
                    count: number(count)?,
                    first_s: number(first)?,
                    last_s: number(last)?,
                    who: unescaped(who)?,
                };
                self.entries.insert(key, usage);
            }
            _ => return None,
        }
        Some(())
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next()? {
                '\\' => '\\',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = UsageRecord> {
        let entry = ("\\PC{0,6}[\t\n\\\\]?", "\\PC{0,8}", any::<bool>(), 0_u64..9, any::<u64>());
        (proptest::collection::vec(entry, 0..8), any::<u64>()).prop_map(|(entries, until_s)| {
            let mut record = UsageRecord { until_s, ..UsageRecord::default() };
            for (role, shape, quarantined, count, last_s) in entries {
                let rule = RuleName { role, words: "allow publish on a/#".into() };
                record.watched.insert(rule.clone(), count);
                let key = UsageKey { rule, action: Action::Publish, quarantined, shape };
                record.entries.insert(key, Usage { count, first_s: 1, last_s, who: "a\tb".into() });
            }
            record
        })
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record()) {
            prop_assert_eq!(UsageRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn no_byte_changes_unnoticed(record in record(), at in any::<prop::sample::Index>(), with in any::<char>()) {
            let mut text: Vec<char> = record.encode().chars().collect();
            let at = at.index(text.len());
            prop_assume!(text[at] != with);
            text[at] = with;
            let text: String = text.into_iter().collect();
            prop_assert!(UsageRecord::decode(&text).is_err());
        }

        #[test]
        fn nor_does_another_kind_of_space(record in record()) {
            let text = record.encode().replacen(' ', "\t", 2).replacen('\t', " ", 1);
            prop_assert!(UsageRecord::decode(&text).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in "(motte-usage 1 )?\\PC{0,40}\n?\\PC{0,40}") {
            let _ = UsageRecord::decode(&text);
        }
    }
}
