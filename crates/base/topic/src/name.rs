//! Topic Names, borrowed and owned.

use std::borrow::Borrow;
use std::fmt;
use std::str::{FromStr, Split};
use std::sync::Arc;

use crate::{TOPIC_BYTES_MAX, TopicError};

/// A valid Topic Name that borrows its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicRef<'a>(&'a str);

impl<'a> TopicRef<'a> {
    /// Takes `text` as a Topic Name.
    ///
    /// # Errors
    /// The text is empty, longer than 65,535 bytes, or contains U+0000, `+` or `#`
    /// (MQTT-4.7.3-1, MQTT-4.7.3-2, MQTT-4.7.3-3, MQTT-3.3.2-2).
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        check_text(text)?;
        if !may_have_special(text.as_bytes()) {
            return Ok(Self(text));
        }
        match text.bytes().position(|byte| matches!(byte, b'+' | b'#' | 0)) {
            None => Ok(Self(text)),
            Some(at) if text.as_bytes().get(at) == Some(&0) => Err(TopicError::Nul { at }),
            Some(at) => Err(TopicError::WildcardInName { at }),
        }
    }

    /// Wraps a text that is known to be a Topic Name, such as that of a [`TopicName`].
    pub(crate) const fn of_valid(text: &'a str) -> Self {
        Self(text)
    }

    /// The text as it stands on the wire.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, first to last; there is at least one, and each may be empty.
    pub fn levels(self) -> Split<'a, char> {
        self.0.split('/')
    }

    /// Whether the name starts with `$`, so that no leading wildcard matches it (MQTT-4.7.2-1).
    pub fn is_dollar(self) -> bool {
        self.0.starts_with('$')
    }

    /// An owned copy; allocates once.
    pub fn to_name(self) -> TopicName {
        TopicName(Arc::from(self.0))
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl<'a> From<&'a TopicName> for TopicRef<'a> {
    fn from(name: &'a TopicName) -> Self {
        name.as_ref()
    }
}

/// A valid Topic Name that owns its text; cloning counts a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Takes `text` as a Topic Name and copies it.
    ///
    /// # Errors
    /// As [`TopicRef::parse`].
    pub fn parse(text: impl AsRef<str>) -> Result<Self, TopicError> {
        TopicRef::parse(text.as_ref()).map(TopicRef::to_name)
    }

    /// The name, borrowed.
    pub fn as_ref(&self) -> TopicRef<'_> {
        TopicRef(&self.0)
    }

    /// The text as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<TopicRef<'_>> for TopicName {
    fn from(name: TopicRef<'_>) -> Self {
        name.to_name()
    }
}

impl FromStr for TopicName {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Whether one of `+`, `#` and U+0000 may be among the bytes. Of each message it is asked, so it looks at eight at once; it
/// says yes too often, never too rarely.
fn may_have_special(bytes: &[u8]) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(LOW) & !word;
    let any = |word: u64| {
        let plus = word ^ LOW.wrapping_mul(u64::from(b'+'));
        let hash = word ^ LOW.wrapping_mul(u64::from(b'#'));
        (zero(word) | zero(plus) | zero(hash)) & HIGH != 0
    };
    let (eights, _) = bytes.as_chunks();
    eights.iter().any(|eight| any(u64::from_le_bytes(*eight)))
        || match (bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
            (Some(last), ..) => any(u64::from_le_bytes(*last)),
            // Four to seven bytes: the first and the last four hold them all.
            (None, Some(first), Some(last)) => {
                any(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)))
            }
            _ => true,
        }
}

/// The bounds that names and filters share.
pub(crate) fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { bytes: text.len(), max: TOPIC_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_text_without_wildcards_and_nul() {
        for text in ["a", "/", "//", "a/b c/ü", "$SYS/x", "$", " ", &"/".repeat(TOPIC_BYTES_MAX)] {
            assert_eq!(TopicRef::parse(text).map(TopicRef::as_str), Ok(text));
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        assert_eq!(TopicRef::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicRef::parse("a/\0b"), Err(TopicError::Nul { at: 2 }));
        assert_eq!(TopicRef::parse("a/+"), Err(TopicError::WildcardInName { at: 2 }));
        assert_eq!(TopicRef::parse("a#b"), Err(TopicError::WildcardInName { at: 1 }));
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        assert_eq!(TopicRef::parse(&long), Err(TopicError::TooLong { bytes: 65_536, max: 65_535 }));
    }

    #[test]
    fn a_wildcard_is_found_at_every_place_of_every_length() {
        for length in 1..40 {
            for (special, fault) in [
                ('+', TopicError::WildcardInName { at: 0 }),
                ('#', TopicError::WildcardInName { at: 0 }),
                ('\0', TopicError::Nul { at: 0 }),
            ] {
                for at in 0..length {
                    let text: String = (0..length).map(|n| if n == at { special } else { '*' }).collect();
                    let expected = match fault {
                        TopicError::Nul { .. } => TopicError::Nul { at },
                        _ => TopicError::WildcardInName { at },
                    };
                    assert_eq!(TopicRef::parse(&text), Err(expected), "{text:?}");
                }
            }
            assert!(TopicRef::parse(&"*".repeat(length)).is_ok());
        }
    }

    #[test]
    fn levels_may_be_empty() {
        let name = TopicName::parse("/a//").unwrap();
        assert_eq!(name.as_ref().levels().collect::<Vec<_>>(), ["", "a", "", ""]);
        assert!(!name.as_ref().is_dollar());
        assert!(TopicRef::parse("$a").unwrap().is_dollar());
    }
}
