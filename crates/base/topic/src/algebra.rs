//! Filters as sets of Topic Names: contains, intersects, uncovered, subtract.
//!
//! Every answer is exact, over all Topic Names there are, and takes time near linear in the text of the filters.
//! Two facts make it so. First, the levels of a name are drawn from an endless supply, so that among the names of
//! a filter with a given number of levels the one whose wildcards stand for levels that occur nowhere else is
//! matched by the fewest other filters: if that one is covered, all are. Second, the names two filters share are
//! found level by level, because a filter says nothing about one level that depends on another.
//!
//! One bound bends the first fact: a name has at most 65,535 bytes. [`uncovered`] may call a subject uncovered
//! when only longer names than that would escape; it never calls one covered that is not. Its witness is
//! then the shortest name of the subject. This takes a filter of nearly that length.

use std::collections::BTreeSet;
use std::fmt;

use crate::filter::{HASH, PLUS};
use crate::{TOPIC_BYTES_MAX, TopicFilter, TopicName, TopicRef};

/// What a wildcard stands for in a witness, if no filter at hand has this level.
const ANY_LEVEL: &str = "x";

/// Whether every name of `b` is a name of `a`.
pub fn contains(a: &TopicFilter, b: &TopicFilter) -> bool {
    Levels::of(b).escape_length(&[a]).is_none()
}

/// Whether `a` and `b` have the same names; `+/#` and `#` have.
pub fn equivalent(a: &TopicFilter, b: &TopicFilter) -> bool {
    contains(a, b) && contains(b, a)
}

/// A name that both filters match, or none if there is none.
pub fn intersects(a: &TopicFilter, b: &TopicFilter) -> Option<TopicName> {
    let count = shared_length(a, b)?;
    let (a, b) = (Levels::of(a), Levels::of(b));
    let build = |any: &str| {
        let level = |at| a.literal(at).or_else(|| b.literal(at)).unwrap_or(any).to_owned();
        name_of((0..count).map(level))
    };
    // Without a literal at its wildcards the name may just fit; if not even that does, no shared name does.
    build(ANY_LEVEL).or_else(|| build(""))
}

/// A name of `subject` that is in no filter of `allow` or in some filter of `deny`; none if all are covered.
///
/// Exact but for the bound on length that the module names. The time is linear in the text of all filters.
pub fn uncovered(subject: &TopicFilter, allow: &[&TopicFilter], deny: &[&TopicFilter]) -> Option<TopicName> {
    if let Some(denied) = deny.iter().find_map(|deny| intersects(subject, deny)) {
        return Some(denied);
    }
    let levels = Levels::of(subject);
    let count = levels.escape_length(allow)?;
    let taken: BTreeSet<&str> = allow.iter().flat_map(|allow| allow.levels()).collect();
    let build = |fresh: &str| name_of((0..count).map(|at| levels.literal(at).unwrap_or(fresh).to_owned()));
    build(&fresh_level(&taken))
        .or_else(|| build(shortest_fresh_level(&taken, count)?))
        .or_else(|| levels.shortest_name())
}

/// What is left of `a` without the names of every filter in `b`.
///
/// The result is exact as a set. It is not rewritten into filters, because the rest of a filter is seldom a
/// union of filters: `+` without `a` is none.
pub fn subtract(a: &TopicFilter, b: &[&TopicFilter]) -> Difference {
    let mut except: Vec<TopicFilter> = Vec::new();
    for filter in b {
        if intersects(a, filter).is_none() || except.iter().any(|wider| contains(wider, filter)) {
            continue;
        }
        except.retain(|narrower| !contains(filter, narrower));
        except.push((*filter).clone());
    }
    Difference { minuend: a.clone(), except, witness: uncovered(a, b, &[]) }
}

/// The names of one filter without those of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    minuend: TopicFilter,
    except: Vec<TopicFilter>,
    witness: Option<TopicName>,
}

impl Difference {
    /// Whether no name is left.
    pub const fn is_empty(&self) -> bool {
        self.witness.is_none()
    }

    /// Whether nothing was taken away.
    pub const fn is_whole(&self) -> bool {
        self.except.is_empty()
    }

    /// Whether `name` is left.
    pub fn matches(&self, name: TopicRef<'_>) -> bool {
        self.minuend.matches(name) && !self.except.iter().any(|filter| filter.matches(name))
    }

    /// What was taken from.
    pub const fn minuend(&self) -> &TopicFilter {
        &self.minuend
    }

    /// What was taken away, without filters that took nothing or that another one contains.
    pub fn except(&self) -> &[TopicFilter] {
        &self.except
    }

    /// A name that is left.
    pub const fn witness(&self) -> Option<&TopicName> {
        self.witness.as_ref()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        write!(f, "{}", self.minuend)?;
        for (at, filter) in self.except.iter().enumerate() {
            write!(f, "{}{filter}", if at == 0 { " without " } else { ", " })?;
        }
        Ok(())
    }
}

/// The levels of a filter by position, and whether a `#` follows them.
struct Levels<'a> {
    fixed: Vec<&'a str>,
    is_open: bool,
    is_dollar: bool,
}

/// The numbers of levels at which a filter matches a name.
enum Reach {
    Exactly(usize),
    AtLeast(usize),
}

impl<'a> Levels<'a> {
    fn of(filter: &'a TopicFilter) -> Self {
        let mut fixed: Vec<&str> = filter.levels().collect();
        let is_open = fixed.last() == Some(&HASH);
        if is_open {
            fixed.pop();
        }
        Self { fixed, is_open, is_dollar: filter.starts_with_dollar() }
    }

    /// The level that every name has at this position; none where a wildcard stands.
    fn literal(&self, at: usize) -> Option<&'a str> {
        self.fixed.get(at).copied().filter(|level| *level != PLUS)
    }

    /// The fewest levels a name of this filter has. A single empty level is no name (MQTT-4.7.3-1).
    fn length_min(&self) -> usize {
        let least = if self.literal(0) == Some("") { 2 } else { 1 };
        self.fixed.len().max(least)
    }

    /// The least number of levels at which some name of this filter is in none of `allow`.
    fn escape_length(&self, allow: &[&TopicFilter]) -> Option<usize> {
        let mut exact = BTreeSet::new();
        let mut covered_from = usize::MAX;
        for filter in allow {
            match self.reach_of(filter) {
                Some(Reach::Exactly(count)) => {
                    exact.insert(count);
                }
                Some(Reach::AtLeast(count)) => covered_from = covered_from.min(count),
                None => {}
            }
        }
        let mut count = self.length_min();
        while self.is_open && count < covered_from && exact.contains(&count) {
            count += 1;
        }
        (count < covered_from && !exact.contains(&count)).then_some(count)
    }

    /// At which numbers of levels `other` matches the name of this filter whose wildcards stand for levels that
    /// no filter has.
    fn reach_of(&self, other: &TopicFilter) -> Option<Reach> {
        if self.is_dollar && other.starts_with_wildcard() {
            return None;
        }
        let mut count = 0;
        for wanted in other.levels() {
            if wanted == HASH {
                return Some(Reach::AtLeast(count));
            }
            let is_beyond = count >= self.fixed.len() && !self.is_open;
            if is_beyond || (wanted != PLUS && self.literal(count) != Some(wanted)) {
                return None;
            }
            count += 1;
        }
        Some(Reach::Exactly(count))
    }

    /// The shortest name of this filter; wildcards stand for as little as they may.
    fn shortest_name(&self) -> Option<TopicName> {
        let count = self.length_min();
        let any = if count == 1 { ANY_LEVEL } else { "" };
        name_of((0..count).map(|at| self.literal(at).unwrap_or(any).to_owned()))
    }
}

/// The fewest levels of a name that both filters match; none if no name is in both.
fn shared_length(a: &TopicFilter, b: &TopicFilter) -> Option<usize> {
    if a.starts_with_wildcard() && b.starts_with_dollar()
        || b.starts_with_wildcard() && a.starts_with_dollar()
    {
        return None;
    }
    let (mut a_levels, mut b_levels) = (a.levels(), b.levels());
    let mut count = 0;
    let is_open = loop {
        match (a_levels.next(), b_levels.next()) {
            (None, None) => break false,
            (Some(HASH), rest) => break follow(rest, b_levels, &mut count),
            (rest, Some(HASH)) => break follow(rest, a_levels, &mut count),
            (Some(x), Some(y)) if x == y || x == PLUS || y == PLUS => count += 1,
            _ => return None,
        }
    };
    let is_first_empty = a.as_str().starts_with('/') || b.as_str().starts_with('/');
    match count {
        0 => Some(1),
        1 if is_first_empty => is_open.then_some(2),
        count => Some(count),
    }
}

/// Counts the levels of one filter from `first` on, while the other's `#` permits anything, and says whether
/// it ends in `#` as well.
fn follow<'a>(first: Option<&'a str>, rest: impl Iterator<Item = &'a str>, count: &mut usize) -> bool {
    for level in first.into_iter().chain(rest) {
        if level == HASH {
            return true;
        }
        *count += 1;
    }
    false
}

/// A readable level that is none of `taken`.
fn fresh_level(taken: &BTreeSet<&str>) -> String {
    let mut fresh = ANY_LEVEL.to_owned();
    let mut number = 1_usize;
    while taken.contains(fresh.as_str()) {
        fresh = format!("{ANY_LEVEL}{number}");
        number += 1;
    }
    fresh
}

/// A level of at most one byte that is none of `taken`, for a name of `count` levels that must be short.
fn shortest_fresh_level(taken: &BTreeSet<&str>, count: usize) -> Option<&'static str> {
    const SHORT: &str = "xyzabcdefghijklmnopqrstuvwABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    if count > 1 && !taken.contains("") {
        return Some("");
    }
    (0..SHORT.len()).filter_map(|at| SHORT.get(at..=at)).find(|level| !taken.contains(level))
}

/// The name with these levels, if it is short enough to be one.
fn name_of(levels: impl Iterator<Item = String>) -> Option<TopicName> {
    let mut text = String::new();
    for (at, level) in levels.enumerate() {
        if at > 0 {
            text.push('/');
        }
        text.push_str(&level);
        if text.len() > TOPIC_BYTES_MAX {
            return None;
        }
    }
    TopicName::parse(text).ok()
}

#[cfg(test)]
mod tests;
