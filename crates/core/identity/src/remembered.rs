//! What a service permitted lately, so that a reconnect storm does not ask it again for everybody. Only keyed hashes of what
//! was asked are kept, never a password.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aws_lc_rs::hmac;
use motte_access::DirectoryFacts;

/// A keyed hash of a whole question.
pub type QuestionTag = [u8; 32];

/// What was permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// To whom.
    pub identity: Arc<str>,
    /// When it ends whoever came in by it, in seconds since 1970.
    pub ends_s: Option<u64>,
    /// What a directory said of it.
    pub directory: Option<Arc<DirectoryFacts>>,
}

/// Permissions by question, each for the same time, at most so many; the oldest go first.
pub struct Remembered {
    key: hmac::Key,
    keep_ms: u64,
    entries_max: usize,
    entries: HashMap<QuestionTag, (Permission, u64)>,
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

    /// What was permitted to this question.
    pub fn permission(&self, tag: &QuestionTag, now_ms: u64) -> Option<&Permission> {
        self.entries.get(tag).filter(|(_, until_ms)| now_ms < *until_ms).map(|(permission, _)| permission)
    }

    /// Remembers a permission, at most for `most_ms`.
    pub fn put(&mut self, tag: QuestionTag, permission: Permission, now_ms: u64, most_ms: u64) {
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
        self.entries.insert(tag, (permission, until_ms));
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

    fn permission(identity: &str) -> Permission {
        Permission { identity: Arc::from(identity), ends_s: None, directory: None }
    }

    fn identity<'a>(remembered: &'a Remembered, tag: &QuestionTag, now_ms: u64) -> Option<&'a str> {
        remembered.permission(tag, now_ms).map(|found| &*found.identity)
    }

    #[test]
    fn a_permission_ends_and_the_oldest_go_first() {
        let mut remembered = Remembered::new(&[7; 32], 1_000, 2);
        let tags = [b"a", b"b", b"c"].map(|question| remembered.tag(question));
        remembered.put(tags[0], permission("one"), 0, u64::MAX);
        remembered.put(tags[1], permission("two"), 1, 500);
        assert_eq!(identity(&remembered, &tags[0], 999), Some("one"));
        assert_eq!(identity(&remembered, &tags[0], 1_000), None);
        assert_eq!(identity(&remembered, &tags[1], 501), None, "the service said so");
        remembered.put(tags[2], permission("three"), 2, u64::MAX);
        assert_eq!((identity(&remembered, &tags[0], 3), remembered.len()), (None, 2));
        remembered.put(tags[2], permission("three"), 3, u64::MAX);
        remembered.put(tags[2], permission("three"), 4, u64::MAX);
        assert_eq!((identity(&remembered, &tags[2], 1_003), remembered.len()), (Some("three"), 1));
        remembered.put(tags[0], permission("one"), 5, 0);
        assert_eq!(identity(&remembered, &tags[0], 5), None);
        assert_ne!(Remembered::new(&[8; 32], 1, 1).tag(b"a"), tags[0]);
    }
}
