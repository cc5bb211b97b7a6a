//! Topic Filters and the one matching rule.

use std::borrow::Borrow;
use std::fmt;
use std::str::{FromStr, Split};
use std::sync::Arc;

use crate::name::check_text;
use crate::{TopicError, TopicRef};

/// The wildcard for exactly one level.
pub(crate) const PLUS: &str = "+";
/// The wildcard for the parent and any number of levels below.
pub(crate) const HASH: &str = "#";

/// A valid Topic Filter without a `$share/` prefix; cloning counts a reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Takes `text` as a Topic Filter and copies it.
    ///
    /// # Errors
    /// The text is empty, longer than 65,535 bytes, contains U+0000 or a misplaced wildcard (MQTT-4.7.1-1,
    /// MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-1, -2 and -3), or starts with `$share/`: that is the grammar of
    /// [`SubscriptionFilter`](crate::SubscriptionFilter).
    pub fn parse(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        check_filter(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// The filter that matches `name` and nothing else.
    ///
    /// # Errors
    /// [`TopicError::ShareInFilter`] for a name below `$share/`, which no filter can ask for.
    pub fn exactly(name: TopicRef<'_>) -> Result<Self, TopicError> {
        Self::parse(name.as_str())
    }

    /// Wraps a text that is known to be a Topic Filter, such as one put together from the levels of one.
    pub(crate) fn of_valid(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes, first to last; a wildcard is the level `+` or `#`.
    pub fn levels(&self) -> Split<'_, char> {
        self.0.split('/')
    }

    /// Whether the filter can match more than one name.
    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// The one name it matches, if it has no wildcard.
    pub fn as_name(&self) -> Option<TopicRef<'_>> {
        (!self.has_wildcard()).then(|| TopicRef::of_valid(&self.0))
    }

    /// Whether the first level starts with `$`.
    pub fn starts_with_dollar(&self) -> bool {
        self.0.starts_with('$')
    }

    /// Whether the first level is a wildcard, so that names starting with `$` are beyond it (MQTT-4.7.2-1).
    pub(crate) fn starts_with_wildcard(&self) -> bool {
        self.0.starts_with(['+', '#'])
    }

    /// Whether `name` is among the names of this filter; time linear in the name, no allocation.
    ///
    /// `#` stands for its parent too, and a leading wildcard never matches a name that starts with `$`
    /// (MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.2-1).
    pub fn matches(&self, name: TopicRef<'_>) -> bool {
        if name.is_dollar() && self.starts_with_wildcard() {
            return false;
        }
        let mut levels = name.levels();
        for wanted in self.levels() {
            if wanted == HASH {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == PLUS || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn check_filter(text: &str) -> Result<(), TopicError> {
    check_text(text)?;
    if text.starts_with(crate::share::PREFIX) {
        return Err(TopicError::ShareInFilter);
    }
    let bytes = text.as_bytes();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            0 => return Err(TopicError::Nul { at }),
            b'+' | b'#' => {
                let before = at == 0 || bytes.get(at - 1) == Some(&b'/');
                let after = match bytes.get(at + 1) {
                    None => true,
                    Some(next) => byte == b'+' && *next == b'/',
                };
                if !(before && after) {
                    return Err(TopicError::MisplacedWildcard { at });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, name: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(TopicRef::parse(name).unwrap())
    }

    #[test]
    fn a_wildcard_is_a_level_of_its_own_and_hash_the_last() {
        for text in ["#", "+", "a/#", "+/a/#", "/+", "+/", "/#", "+/+", "$SYS/#", "$share", "$shared/#"] {
            assert_eq!(TopicFilter::parse(text).map(|filter| filter.to_string()).as_deref(), Ok(text));
        }
        for (text, at) in
            [("a#", 1), ("#/", 0), ("#/a", 0), ("a+", 1), ("+a", 0), ("a/+b", 2), ("##", 0), ("++", 0)]
        {
            assert_eq!(TopicFilter::parse(text), Err(TopicError::MisplacedWildcard { at }), "{text}");
        }
        assert_eq!(TopicFilter::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicFilter::parse("+/\0"), Err(TopicError::Nul { at: 2 }));
        assert_eq!(TopicFilter::parse("$share/g/a"), Err(TopicError::ShareInFilter));
    }

    #[test]
    fn hash_matches_its_parent_and_everything_below() {
        for name in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/w"] {
            assert!(matches("sport/tennis/player1/#", name));
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/+/#", "sport/x"));
        assert!(!matches("sport/+/#", "sport"));
        assert!(!matches("sport/#", "sports"));
    }

    #[test]
    fn plus_matches_one_level_even_an_empty_one() {
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    }

    #[test]
    fn a_leading_wildcard_never_matches_a_dollar_name() {
        for filter in ["#", "+", "+/#", "+/monitor/Clients"] {
            assert!(!matches(filter, "$SYS/monitor/Clients"));
            assert!(!matches(filter, "$SYS"));
        }
        assert!(matches("$SYS/#", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
        assert!(matches("a/+", "a/$SYS"));
    }

    #[test]
    fn case_and_normal_form_are_not_folded() {
        assert!(!matches("ACCOUNTS", "Accounts"));
        assert!(!matches("\u{e9}", "e\u{301}"));
    }

    #[test]
    fn a_filter_without_wildcards_is_a_name() {
        assert_eq!(TopicFilter::parse("a/b").unwrap().as_name().map(TopicRef::as_str), Some("a/b"));
        assert_eq!(TopicFilter::parse("a/+").unwrap().as_name(), None);
        assert!(TopicFilter::exactly(TopicRef::parse("$share/g/a").unwrap()).is_err());
    }
}
