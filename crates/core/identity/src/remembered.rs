//! What a service permitted lately, so that a reconnect storm does not ask it again for everybody. Only keyed hashes of what
//! was asked are kept, never a password.

use std::collections::{HashMap, VecDeque};

use aws_lc_rs::hmac;

/// A keyed hash of a whole question.
pub type QuestionTag = [u8; 32];

/// Permissions by question, each for the same time, at most so many; the oldest go first.
pub struct Remembered {
    key: hmac::Key,
    keep_ms: u64,
    entries_max: usize,
    entries: HashMap<QuestionTag, (String, u64)>,
    order: VecDeque<(QuestionTag, u64)>,
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Remembered {
    /// Nothing so far. `key` is random and of this process alone.
    pub fn new(key: &[u8; 32], keep_ms: u64, entries_max: usize) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            keep_ms,
            entries_max,
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The tag of a question.
    pub fn tag(&self, question: &[u8]) -> QuestionTag {
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(hmac::sign(&self.key, question).as_ref()) {
            *to = *from;
        }
        tag
    }

    /// The identity that was permitted to this question.
    pub fn identity(&self, tag: &QuestionTag, now_ms: u64) -> Option<&str> {
        self.entries
            .get(tag)
            .filter(|(_, until_ms)| now_ms < *until_ms)
            .map(|(identity, _)| identity.as_str())
    }

    /// Remembers a permission, at most for `most_ms`.
    pub fn put(&mut self, tag: QuestionTag, identity: &str, now_ms: u64, most_ms: u64) {
        let until_ms = now_ms.saturating_add(self.keep_ms.min(most_ms));
        if until_ms <= now_ms || self.entries_max == 0 {
            return;
        }
        while self.order.front().is_some_and(|(_, until_ms)| *until_ms <= now_ms)
            || self.order.len() >= self.entries_max
        {
            let Some((oldest, until_ms)) = self.order.pop_front() else { break };
            // It may have been put again since.
            if self.entries.get(&oldest).is_some_and(|(_, later)| *later == until_ms) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(tag, (identity.to_owned(), until_ms));
        self.order.push_back((tag, until_ms));
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_ends_and_the_oldest_go_first() {
        let mut remembered = Remembered::new(&[7; 32], 1_000, 2);
        let tags = [b"a", b"b", b"c"].map(|question| remembered.tag(question));
        remembered.put(tags[0], "one", 0, u64::MAX);
        remembered.put(tags[1], "two", 1, 500);
        assert_eq!(remembered.identity(&tags[0], 999), Some("one"));
        assert_eq!(remembered.identity(&tags[0], 1_000), None);
        assert_eq!(remembered.identity(&tags[1], 501), None, "the service said so");
        remembered.put(tags[2], "three", 2, u64::MAX);
        assert_eq!((remembered.identity(&tags[0], 3), remembered.len()), (None, 2));
        remembered.put(tags[2], "three", 3, u64::MAX);
        remembered.put(tags[2], "three", 4, u64::MAX);
        assert_eq!((remembered.identity(&tags[2], 1_003), remembered.len()), (Some("three"), 1));
        remembered.put(tags[0], "one", 5, 0);
        assert_eq!(remembered.identity(&tags[0], 5), None);
        assert_ne!(Remembered::new(&[8; 32], 1, 1).tag(b"a"), tags[0]);
    }
}
