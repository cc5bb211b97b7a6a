//! What can be wrong with the text of a Topic Name, a Topic Filter or a Shared Subscription.

/// Why a text is no Topic Name, Topic Filter or Share Name; the text names the place and the remedy.
///
/// `at` is a byte offset into the text that was given to the failing `parse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text has no character (MQTT-4.7.3-1).
    #[error("the topic is empty: give it at least one character")]
    Empty,
    /// The text is longer than the standard or a configured limit permits (MQTT-4.7.3-3).
    #[error("the topic has {bytes} bytes, {max} are permitted: shorten it")]
    TooLong {
        /// Length of the text in bytes.
        bytes: usize,
        /// Longest permitted length in bytes.
        max: usize,
    },
    /// The text has more levels than a configured limit permits.
    #[error("the topic has {levels} levels, {max} are permitted: use fewer slashes")]
    TooManyLevels {
        /// Levels in the text: its slashes plus one.
        levels: usize,
        /// Most levels permitted.
        max: usize,
    },
    /// The text contains U+0000 (MQTT-4.7.3-2).
    #[error("byte {at} of the topic is U+0000: remove it")]
    Nul {
        /// Byte offset of the character.
        at: usize,
    },
    /// A Topic Name contains `+` or `#` (MQTT-3.3.2-2, MQTT-4.7.1-1).
    #[error("byte {at} of the topic name is a wildcard: wildcards belong in topic filters only")]
    WildcardInName {
        /// Byte offset of the wildcard.
        at: usize,
    },
    /// A `#` is not the last level or a wildcard shares its level with text (MQTT-4.7.1-1, -2 and -3).
    #[error(
        "the wildcard at byte {at} of the topic filter is misplaced: '+' and '#' must be a level of their own, \
         and '#' the last one"
    )]
    MisplacedWildcard {
        /// Byte offset of the wildcard.
        at: usize,
    },
    /// A Shared Subscription has an empty Share Name (MQTT-4.8.2-1).
    #[error("the share name is empty: write $share/NAME/FILTER")]
    EmptyShareName,
    /// A Share Name contains `/`, `+` or `#` (MQTT-4.8.2-2).
    #[error("byte {at} of the share name is '/', '+' or '#': use other characters")]
    CharacterInShareName {
        /// Byte offset of the character.
        at: usize,
    },
    /// A Share Name is not followed by `/` and a Topic Filter (MQTT-4.8.2-2).
    #[error("the shared subscription has no topic filter: write $share/NAME/FILTER")]
    ShareWithoutFilter,
    /// A plain Topic Filter starts with `$share/`, which only a subscription may.
    #[error("the topic filter starts with $share/: only a subscription may, and only once")]
    ShareInFilter,
}
