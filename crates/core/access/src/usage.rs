//! What a policy was used for: for each rule the shapes of the topics that it permitted, how often, and when.
//!
//! A shape is a topic or filter with placeholders where a client's own names stand, so a thousand devices in their own branches
//! are one. All is bounded: shapes of a rule that become too many are folded into fewer with `+`, never beyond the rule.

mod file;
mod fold;
mod recorder;
mod shape;

use std::collections::BTreeMap;

use crate::action::Action;

pub use file::UsageFileError;
pub(crate) use fold::{covers, fold};
pub use recorder::Recorder;
pub(crate) use shape::Used;

/// Most shapes of one rule and right.
pub const SHAPES_MAX: usize = 64;
/// Most entries of a record.
pub const ENTRIES_MAX: usize = 16_384;

/// Longer than this without a word, in seconds, and nobody watched: the time does not count.
const GAP_S: u64 = 7_200;

/// A rule as a record knows it: what it says, not where it stands, so that editing a file does not part them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The role.
    pub role: String,
    /// What it says, without its conditions.
    pub words: String,
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The rule.
    pub rule: RuleName,
    /// The right.
    pub action: Action,
    /// Whether the Session was set apart as suspicious: that is no evidence.
    pub quarantined: bool,
    /// The shape.
    pub shape: String,
}

/// How something was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// How often; deliveries count once for each decision, not for each message.
    pub count: u64,
    /// First, in seconds since 1970.
    pub first_s: u64,
    /// Last, in seconds since 1970.
    pub last_s: u64,
    /// An identity that did it.
    pub who: String,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_s = self.first_s.min(other.first_s);
        if other.last_s >= self.last_s {
            self.last_s = other.last_s;
            self.who.clone_from(&other.who);
        }
    }
}

/// What a policy was used for, over a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRecord {
    /// Until when it was written, in seconds since 1970.
    pub until_s: u64,
    /// Uses that had no place any more: the record is incomplete.
    pub lost: u64,
    /// Since when each rule that allows is watched.
    pub(crate) watched: BTreeMap<RuleName, u64>,
    pub(crate) entries: BTreeMap<UsageKey, Usage>,
    /// Counts changes since it was read; not part of its file.
    changes: u64,
}

impl UsageRecord {
    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&UsageKey, &Usage)> {
        self.entries.iter()
    }

    /// Since when a rule is watched, in seconds since 1970; `None`: it was never in force while something was recorded.
    pub fn watched_since(&self, rule: &RuleName) -> Option<u64> {
        self.watched.get(rule).copied()
    }

    /// How often it changed since it was read.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// It is watched until now, whether something was used or not.
    pub fn touch(&mut self, now_s: u64) {
        self.until_s = self.until_s.max(now_s);
    }

    /// These rules are in force from now on. What others were used for is forgotten, as nobody can use it. A time in which no
    /// broker ran does not count as watched.
    pub fn watch(&mut self, rules: impl Iterator<Item = RuleName>, now_s: u64) {
        let before = std::mem::take(&mut self.watched);
        let gap_s = now_s.saturating_sub(self.until_s);
        let gap_s = if gap_s > GAP_S { gap_s } else { 0 };
        for rule in rules {
            let since = before.get(&rule).map(|since| since.saturating_add(gap_s).min(now_s));
            self.watched.insert(rule, since.unwrap_or(now_s));
        }
        self.entries.retain(|key, _| self.watched.contains_key(&key.rule));
        self.touch(now_s);
        self.changes = self.changes.wrapping_add(1);
    }

    /// Adds a use.
    pub fn add(&mut self, key: UsageKey, usage: &Usage) {
        self.touch(usage.last_s);
        self.changes = self.changes.wrapping_add(1);
        if let Some(known) = self.entries.get_mut(&key) {
            return known.add(usage);
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.lost = self.lost.saturating_add(usage.count);
            return;
        }
        let same_rule = UsageKey { shape: String::new(), ..key.clone() };
        self.entries.insert(key, usage.clone());
        let is_same = |one: &UsageKey| {
            one.rule == same_rule.rule
                && one.action == same_rule.action
                && one.quarantined == same_rule.quarantined
        };
        let shapes: Vec<String> = self
            .entries
            .range(same_rule.clone()..)
            .take_while(|(one, _)| is_same(one))
            .map(|(one, _)| one.shape.clone())
            .collect();
        if shapes.len() <= SHAPES_MAX {
            return;
        }
        for (from, to) in shapes.iter().zip(fold(&shapes, SHAPES_MAX / 2)).filter(|(from, to)| *from != to) {
            let named = |shape: &String| UsageKey { shape: shape.clone(), ..same_rule.clone() };
            let Some(usage) = self.entries.remove(&named(from)) else { continue };
            self.entries.entry(named(&to)).and_modify(|known| known.add(&usage)).or_insert(usage);
        }
    }
}
