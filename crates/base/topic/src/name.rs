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
    fn levels_may_be_empty() {
        let name = TopicName::parse("/a//").unwrap();
        assert_eq!(name.as_ref().levels().collect::<Vec<_>>(), ["", "a", "", ""]);
        assert!(!name.as_ref().is_dollar());
        assert!(TopicRef::parse("$a").unwrap().is_dollar());
    }
}
