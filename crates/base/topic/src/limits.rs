//! Bounds an operator puts on topics, below those of the standard.

use crate::TopicError;

/// How long and how deep a Topic Name or Topic Filter may be.
///
/// The standard itself permits 65,535 bytes and so 65,536 levels; a level costs a trie node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimits {
    /// Longest text in bytes.
    pub bytes_max: u16,
    /// Most levels.
    pub levels_max: u16,
}

impl TopicLimits {
    /// No bound but the standard's length, and 65,535 levels.
    pub const STANDARD: Self = Self { bytes_max: u16::MAX, levels_max: u16::MAX };

    /// Checks the length and the depth of `text`, nothing else.
    ///
    /// # Errors
    /// [`TopicError::TooLong`] or [`TopicError::TooManyLevels`].
    #[inline]
    pub fn check(&self, text: &str) -> Result<(), TopicError> {
        let max = usize::from(self.bytes_max);
        if text.len() > max {
            return Err(TopicError::TooLong { bytes: text.len(), max });
        }
        let max = usize::from(self.levels_max);
        // Each level but the last takes a slash, so that a short text need not be counted.
        if text.len() < max {
            return Ok(());
        }
        let levels = text.bytes().filter(|byte| *byte == b'/').count() + 1;
        if levels > max { Err(TopicError::TooManyLevels { levels, max }) } else { Ok(()) }
    }
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self::STANDARD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_depth_are_bounded_separately() {
        let limits = TopicLimits { bytes_max: 5, levels_max: 3 };
        assert_eq!(limits.check("a/b/c"), Ok(()));
        assert_eq!(limits.check("a/b/cd"), Err(TopicError::TooLong { bytes: 6, max: 5 }));
        assert_eq!(limits.check("//"), Ok(()));
        assert_eq!(limits.check("///"), Err(TopicError::TooManyLevels { levels: 4, max: 3 }));
        assert_eq!(TopicLimits::default().check(&"/".repeat(65_534)), Ok(()));
        assert!(TopicLimits::default().check(&"/".repeat(65_535)).is_err());
    }
}
