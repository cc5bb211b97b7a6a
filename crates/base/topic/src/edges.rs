//! The literal branches of a trie node.
//!
//! Two words per node whatever the fan-out: nothing, one boxed edge, a short list, or an ordered map. The map
//! is ordered by a hash of the level before its text, so that a look-up compares numbers; being a tree, a flood
//! of colliding levels costs a logarithm and never a quadratic walk, growth never moves the whole node, and the
//! order of iteration depends on the levels alone.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::hash::Hasher;
use std::slice;

use rustc_hash::FxHasher;

/// The longest list that is searched in line.
const FEW_MAX: usize = 8;
/// A map that shrinks to this many edges becomes a list again; well below `FEW_MAX`, so that it cannot flap.
const MANY_MIN: usize = 4;

/// The literal branches of one node, by level.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a bare Vec would widen every node of the trie by a word")]
pub(crate) enum Edges<N> {
    #[default]
    None,
    One(Box<Edge<N>>),
    Few(Box<Vec<Edge<N>>>),
    Many(Box<BTreeMap<Level, N>>),
}

/// A branch and what it leads to.
pub(crate) struct Edge<N> {
    label: Box<str>,
    node: N,
}

impl<N> Edges<N> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(list) => list.len(),
            Self::Many(map) => map.len(),
        }
    }

    pub(crate) fn get(&self, label: &str) -> Option<&N> {
        match self {
            Self::None => None,
            Self::One(edge) => (&*edge.label == label).then_some(&edge.node),
            Self::Few(list) => list.iter().find(|edge| &*edge.label == label).map(|edge| &edge.node),
            Self::Many(map) => map.get(&Probe::of(label) as &dyn Keyed),
        }
    }

    pub(crate) fn get_mut(&mut self, label: &str) -> Option<&mut N> {
        match self {
            Self::None => None,
            Self::One(edge) => (&*edge.label == label).then_some(&mut edge.node),
            Self::Few(list) => list.iter_mut().find(|edge| &*edge.label == label).map(|edge| &mut edge.node),
            Self::Many(map) => map.get_mut(&Probe::of(label) as &dyn Keyed),
        }
    }

    /// The branch `label`, made if it was missing.
    #[expect(clippy::expect_used, reason = "the line before makes the branch that is asked for")]
    pub(crate) fn get_or_insert_default(&mut self, label: &str) -> &mut N
    where
        N: Default,
    {
        if self.get(label).is_none() {
            self.add(Edge { label: Box::from(label), node: N::default() });
        }
        self.get_mut(label).expect("the branch was just made")
    }

    /// Adds an edge whose label is not there yet.
    fn add(&mut self, edge: Edge<N>) {
        match self {
            Self::Many(map) => {
                map.insert(Level::of(edge.label), edge.node);
            }
            Self::Few(list) if list.len() < FEW_MAX => list.push(edge),
            _ => {
                *self = match std::mem::take(self) {
                    Self::None => Self::One(Box::new(edge)),
                    Self::One(first) => Self::Few(Box::new(vec![*first, edge])),
                    Self::Few(list) => Self::Many(Box::new(
                        list.into_iter()
                            .chain([edge])
                            .map(|edge| (Level::of(edge.label), edge.node))
                            .collect(),
                    )),
                    Self::Many(map) => Self::Many(map),
                };
            }
        }
    }

    pub(crate) fn remove(&mut self, label: &str) -> Option<N> {
        let (node, left) = match self {
            Self::None => return None,
            Self::One(edge) if &*edge.label != label => return None,
            Self::One(_) => {
                let Self::One(edge) = std::mem::take(self) else { return None };
                return Some(edge.node);
            }
            Self::Few(list) => {
                let at = list.iter().position(|edge| &*edge.label == label)?;
                (list.swap_remove(at).node, list.len())
            }
            Self::Many(map) => (map.remove(&Probe::of(label) as &dyn Keyed)?, map.len()),
        };
        if left <= MANY_MIN {
            self.shrink(left);
        }
        Some(node)
    }

    /// Takes the smallest form that holds the `left` edges that are there.
    fn shrink(&mut self, left: usize) {
        *self = match std::mem::take(self) {
            Self::Few(list) if left <= 1 => match list.into_iter().next() {
                Some(edge) => Self::One(Box::new(edge)),
                None => Self::None,
            },
            Self::Many(map) => Self::Few(Box::new(
                map.into_iter().map(|(level, node)| Edge { label: level.label, node }).collect(),
            )),
            other => other,
        };
    }

    pub(crate) fn iter(&self) -> EdgesIter<'_, N> {
        match self {
            Self::None => EdgesIter::List([].iter()),
            Self::One(edge) => EdgesIter::List(slice::from_ref(&**edge).iter()),
            Self::Few(list) => EdgesIter::List(list.iter()),
            Self::Many(map) => EdgesIter::Map(map.iter()),
        }
    }

    /// Moves every node out, so that a caller can take a deep trie apart in a loop.
    pub(crate) fn drain_into(&mut self, nodes: &mut Vec<N>) {
        match std::mem::take(self) {
            Self::None => {}
            Self::One(edge) => nodes.push(edge.node),
            Self::Few(list) => nodes.extend(list.into_iter().map(|edge| edge.node)),
            Self::Many(map) => nodes.extend(map.into_values()),
        }
    }
}

/// The edges of one node, in an order that depends on the levels and their history alone.
pub(crate) enum EdgesIter<'a, N> {
    List(slice::Iter<'a, Edge<N>>),
    Map(btree_map::Iter<'a, Level, N>),
}

impl<'a, N> Iterator for EdgesIter<'a, N> {
    type Item = (&'a str, &'a N);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next().map(|edge| (&*edge.label, &edge.node)),
            Self::Map(map) => map.next().map(|(level, node)| (&*level.label, node)),
        }
    }
}

/// A level as a key of the map.
pub(crate) struct Level {
    hash: u64,
    label: Box<str>,
}

impl Level {
    fn of(label: Box<str>) -> Self {
        Self { hash: hash_of(&label), label }
    }
}

/// A borrowed level to look one up with.
struct Probe<'a> {
    hash: u64,
    label: &'a str,
}

impl<'a> Probe<'a> {
    fn of(label: &'a str) -> Self {
        Self { hash: hash_of(label), label }
    }
}

/// What owned and borrowed keys are ordered by.
trait Keyed {
    fn key(&self) -> (u64, &str);
}

impl Keyed for Level {
    fn key(&self) -> (u64, &str) {
        (self.hash, &self.label)
    }
}

impl Keyed for Probe<'_> {
    fn key(&self) -> (u64, &str) {
        (self.hash, self.label)
    }
}

impl<'a> Borrow<dyn Keyed + 'a> for Level {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn Keyed + '_ {}

impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Level {}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

fn hash_of(label: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(label.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_finds_adds_and_removes() {
        let mut edges = Edges::<u32>::default();
        for n in 0..40_u32 {
            *edges.get_or_insert_default(&n.to_string()) = n;
            assert_eq!(edges.len(), usize::try_from(n).unwrap() + 1);
        }
        assert!(matches!(edges, Edges::Many(_)));
        for n in 0..40 {
            assert_eq!(edges.get(&n.to_string()), Some(&n));
            assert_eq!(edges.remove(&format!("{n}x")), None);
            assert_eq!(edges.remove(&n.to_string()), Some(n));
            assert_eq!(edges.get(&n.to_string()), None);
            let mut left: Vec<_> = edges.iter().map(|(_, n)| *n).collect();
            left.sort_unstable();
            assert_eq!(left, (n + 1..40).collect::<Vec<_>>());
        }
        assert!(matches!(edges, Edges::None));
    }

    #[test]
    fn a_node_pays_two_words_for_its_edges() {
        assert_eq!(size_of::<Edges<u64>>(), 2 * size_of::<usize>());
    }
}
