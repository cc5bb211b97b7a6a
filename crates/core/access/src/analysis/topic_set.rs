//! Sets of topics: filters without other filters, in union.

use std::fmt;

use motte_topic::{TopicFilter, TopicName, TopicRef, contains, intersects, meet, uncovered};

/// The topics of one filter without those of others. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicPiece {
    filter: TopicFilter,
    except: Vec<TopicFilter>,
}

impl TopicPiece {
    /// The topics of `filter` without those of `except`; none when nothing is left.
    pub(crate) fn new<'f>(
        filter: TopicFilter,
        except: impl IntoIterator<Item = &'f TopicFilter>,
    ) -> Option<Self> {
        let mut taken: Vec<TopicFilter> = Vec::new();
        for one in except {
            if intersects(&filter, one).is_none() {
                continue;
            }
            let one = meet(&filter, one).unwrap_or_else(|| one.clone());
            if !taken.iter().any(|wider| contains(wider, &one)) {
                taken.retain(|narrower| !contains(&one, narrower));
                taken.push(one);
            }
        }
        taken.sort();
        let piece = Self { filter, except: taken };
        piece.example_in(&piece.filter).is_some().then_some(piece)
    }

    /// What the topics are taken from.
    pub const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// What is taken away.
    pub fn except(&self) -> &[TopicFilter] {
        &self.except
    }

    /// Whether a topic is in it.
    pub fn matches(&self, topic: TopicRef<'_>) -> bool {
        self.filter.matches(topic) && !self.except.iter().any(|filter| filter.matches(topic))
    }

    /// A topic that is in it.
    pub fn example(&self) -> Option<TopicName> {
        self.example_in(&self.filter)
    }

    fn example_in(&self, filter: &TopicFilter) -> Option<TopicName> {
        let except: Vec<&TopicFilter> = self.except.iter().collect();
        uncovered(filter, &except, &[])
    }

    /// What is left of it without another.
    fn without(&self, other: &Self) -> Vec<Self> {
        let Some(shared) = meet(&self.filter, &other.filter) else { return vec![self.clone()] };
        let outside = Self::new(self.filter.clone(), self.except.iter().chain([&shared]));
        let kept =
            other.except.iter().filter_map(|spared| Self::new(meet(&self.filter, spared)?, &self.except));
        outside.into_iter().chain(kept).collect()
    }
}

impl fmt::Display for TopicPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.filter)?;
        for (at, filter) in self.except.iter().enumerate() {
            write!(f, "{}{filter}", if at == 0 { " without " } else { ", " })?;
        }
        Ok(())
    }
}

/// A union of pieces, none of which is in another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSet {
    pieces: Vec<TopicPiece>,
}

impl TopicSet {
    /// The topics of filters without those of others.
    pub(crate) fn of<'f>(allow: impl IntoIterator<Item = &'f TopicFilter>, deny: &[&TopicFilter]) -> Self {
        let pieces = allow.into_iter();
        pieces.filter_map(|filter| TopicPiece::new(filter.clone(), deny.iter().copied())).collect()
    }

    /// Its pieces.
    pub fn pieces(&self) -> &[TopicPiece] {
        &self.pieces
    }

    /// Whether no topic is in it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether a topic is in it.
    pub fn matches(&self, topic: TopicRef<'_>) -> bool {
        self.pieces.iter().any(|piece| piece.matches(topic))
    }

    /// A topic that is in it.
    pub fn example(&self) -> Option<TopicName> {
        self.pieces.iter().find_map(TopicPiece::example)
    }

    /// The topics that are in both.
    #[must_use]
    pub(crate) fn meet(&self, other: &Self) -> Self {
        let pairs = self.pieces.iter().flat_map(|a| other.pieces.iter().map(move |b| (a, b)));
        pairs
            .filter_map(|(a, b)| {
                TopicPiece::new(meet(&a.filter, &b.filter)?, a.except.iter().chain(&b.except))
            })
            .collect()
    }

    /// The topics that are not in the other.
    #[must_use]
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = self.pieces.clone();
        for piece in &other.pieces {
            rest = rest.iter().flat_map(|one| one.without(piece)).collect::<Self>().pieces;
        }
        Self { pieces: rest }
    }

    /// Adds the topics of another.
    pub(crate) fn extend(&mut self, other: &Self) {
        for piece in &other.pieces {
            self.add(piece.clone());
        }
    }

    fn add(&mut self, piece: TopicPiece) {
        if self.pieces.iter().any(|wider| piece.without(wider).is_empty()) {
            return;
        }
        self.pieces.retain(|narrower| !narrower.without(&piece).is_empty());
        self.pieces.push(piece);
    }
}

impl FromIterator<TopicPiece> for TopicSet {
    fn from_iter<T: IntoIterator<Item = TopicPiece>>(pieces: T) -> Self {
        let mut set = Self::default();
        for piece in pieces {
            set.add(piece);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    const LEVELS: [&str; 4] = ["", "a", "b", "$x"];

    fn names() -> Vec<TopicName> {
        let mut texts: Vec<String> = LEVELS.iter().map(|level| (*level).to_owned()).collect();
        texts.push("z".into());
        let first = texts.clone();
        for _ in 0..2 {
            let longer: Vec<String> = texts
                .iter()
                .flat_map(|text| first.iter().map(move |level| format!("{text}/{level}")))
                .collect();
            texts.extend(longer);
        }
        texts.sort();
        texts.dedup();
        texts.iter().filter_map(|text| TopicName::parse(text).ok()).collect()
    }

    fn filter() -> impl Strategy<Value = TopicFilter> {
        let level = select([LEVELS.as_slice(), &["+"]].concat());
        (proptest::collection::vec(level, 1..3), any::<bool>()).prop_filter_map(
            "no filter",
            |(levels, open)| {
                let text = levels.join("/");
                TopicFilter::parse(if open { format!("{text}/#") } else { text }).ok()
            },
        )
    }

    fn set() -> impl Strategy<Value = TopicSet> {
        let filters = || proptest::collection::vec(filter(), 0..3);
        (filters(), filters())
            .prop_map(|(allow, deny)| TopicSet::of(&allow, &deny.iter().collect::<Vec<_>>()))
    }

    proptest! {
        #[test]
        fn sets_have_the_topics_they_should(a in set(), b in set(), c in set()) {
            let (both, rest) = (a.meet(&b), a.without(&b));
            let mut all = a.clone();
            all.extend(&b);
            let deep = rest.without(&c);
            for name in names() {
                let name = name.as_ref();
                let (in_a, in_b, in_c) = (a.matches(name), b.matches(name), c.matches(name));
                prop_assert_eq!(both.matches(name), in_a && in_b, "{} in both", name);
                prop_assert_eq!(rest.matches(name), in_a && !in_b, "{} left", name);
                prop_assert_eq!(all.matches(name), in_a || in_b, "{} in all", name);
                prop_assert_eq!(deep.matches(name), in_a && !in_b && !in_c, "{} left by two", name);
            }
            for set in [&both, &rest, &all, &deep] {
                for piece in set.pieces() {
                    let example = piece.example();
                    prop_assert!(example.is_some_and(|name| set.matches(name.as_ref())), "{piece}");
                }
            }
        }
    }
}
