//! Shared Subscriptions: the Share Name and the text of a subscription.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{TOPIC_BYTES_MAX, TopicError, TopicFilter};

/// What the filter of a Shared Subscription starts with (MQTT-4.8.2-1).
pub(crate) const PREFIX: &str = "$share/";

/// The name of a group of subscribers that share one subscription; cloning counts a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(Arc<str>);

impl ShareName {
    /// Takes `text` as a Share Name and copies it.
    ///
    /// # Errors
    /// The text is empty, too long, or contains `/`, `+`, `#` or U+0000 (MQTT-4.8.2-1, MQTT-4.8.2-2).
    pub fn parse(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(TopicError::EmptyShareName);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong { bytes: text.len(), max: TOPIC_BYTES_MAX });
        }
        match text.bytes().position(|byte| matches!(byte, b'/' | b'+' | b'#' | 0)) {
            None => Ok(Self(Arc::from(text))),
            Some(at) if text.as_bytes().get(at) == Some(&0) => Err(TopicError::Nul { at }),
            Some(at) => Err(TopicError::CharacterInShareName { at }),
        }
    }

    /// The text as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ShareName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE names: a Topic Filter, alone or shared under a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionFilter {
    /// The group, when the subscription is shared.
    pub share: Option<ShareName>,
    /// What is subscribed to.
    pub filter: TopicFilter,
}

impl SubscriptionFilter {
    /// Takes `$share/NAME/FILTER` or a plain Topic Filter.
    ///
    /// `$share` alone, without a slash, is an ordinary filter.
    ///
    /// # Errors
    /// As [`TopicFilter::parse`] and [`ShareName::parse`]; [`TopicError::ShareWithoutFilter`] when nothing
    /// follows the Share Name (MQTT-4.8.2-2). The bound of 65,535 bytes holds for the whole text.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return TopicFilter::parse(text).map(Self::from);
        };
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong { bytes: text.len(), max: TOPIC_BYTES_MAX });
        }
        let Some((share, filter)) = rest.split_once('/') else {
            ShareName::parse(rest).map_err(|error| displaced(error, PREFIX.len()))?;
            return Err(TopicError::ShareWithoutFilter);
        };
        let share_name = ShareName::parse(share).map_err(|error| displaced(error, PREFIX.len()))?;
        let filter = TopicFilter::parse(filter).map_err(|error| match error {
            TopicError::Empty => TopicError::ShareWithoutFilter,
            other => displaced(other, PREFIX.len() + share.len() + 1),
        })?;
        Ok(Self { share: Some(share_name), filter })
    }

    /// The text as it stands on the wire; parsing it gives an equal value.
    pub fn as_string(&self) -> String {
        self.to_string()
    }
}

impl From<TopicFilter> for SubscriptionFilter {
    fn from(filter: TopicFilter) -> Self {
        Self { share: None, filter }
    }
}

impl FromStr for SubscriptionFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl fmt::Display for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(share) => write!(f, "{PREFIX}{share}/{}", self.filter),
            None => f.write_str(self.filter.as_str()),
        }
    }
}

/// The same error with its place counted from the start of the whole text.
fn displaced(error: TopicError, by: usize) -> TopicError {
    match error {
        TopicError::Nul { at } => TopicError::Nul { at: at + by },
        TopicError::MisplacedWildcard { at } => TopicError::MisplacedWildcard { at: at + by },
        TopicError::CharacterInShareName { at } => TopicError::CharacterInShareName { at: at + by },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back_as_they_were_written() {
        for (text, share, filter) in [
            ("$share/g/a/+", Some("g"), "a/+"),
            ("$share/g//", Some("g"), "/"),
            ("$share/g/#", Some("g"), "#"),
            ("$share/$share/$SYS/#", Some("$share"), "$SYS/#"),
            ("a/+", None, "a/+"),
            ("$share", None, "$share"),
            ("$SHARE/g/a", None, "$SHARE/g/a"),
        ] {
            let parsed = SubscriptionFilter::parse(text).unwrap();
            assert_eq!(parsed.share.as_ref().map(ShareName::as_str), share, "{text}");
            assert_eq!(parsed.filter.as_str(), filter);
            assert_eq!(parsed.as_string(), text);
        }
    }

    #[test]
    fn a_malformed_share_is_refused_with_its_place() {
        for (text, error) in [
            ("$share/", TopicError::EmptyShareName),
            ("$share//a", TopicError::EmptyShareName),
            ("$share/g", TopicError::ShareWithoutFilter),
            ("$share/g/", TopicError::ShareWithoutFilter),
            ("$share/+/a", TopicError::CharacterInShareName { at: 7 }),
            ("$share/#", TopicError::CharacterInShareName { at: 7 }),
            ("$share/g#/a", TopicError::CharacterInShareName { at: 8 }),
            ("$share/g/a#", TopicError::MisplacedWildcard { at: 10 }),
            ("$share/g\0/a", TopicError::Nul { at: 8 }),
            ("$share/g/\0", TopicError::Nul { at: 9 }),
            ("$share/g/$share/h/a", TopicError::ShareInFilter),
        ] {
            assert_eq!(SubscriptionFilter::parse(text), Err(error), "{text}");
        }
        assert_eq!(ShareName::parse("a/b"), Err(TopicError::CharacterInShareName { at: 1 }));
        let long = format!("$share/g/{}", "x".repeat(TOPIC_BYTES_MAX - 8));
        assert_eq!(SubscriptionFilter::parse(long), Err(TopicError::TooLong { bytes: 65_536, max: 65_535 }));
    }
}
