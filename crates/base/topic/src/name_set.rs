//! A trie from Topic Names to values, asked which of them a Topic Filter matches.

use std::fmt;
use std::ops::ControlFlow;

use crate::edges::{Edges, EdgesIter};
use crate::filter::{HASH, PLUS};
use crate::stack::Stack;
use crate::{TopicFilter, TopicName, TopicRef};

/// Levels below a wildcard that a match walks before its stack reaches for the heap.
const OPEN_INLINE: usize = 16;

/// Values under Topic Names, at most one per name.
///
/// A match walks only branches that the filter can still reach. No operation recurses, however deep the names.
pub struct NameSet<T> {
    root: Node<T>,
    len: usize,
}

struct Node<T> {
    entry: Option<(TopicName, T)>,
    edges: Edges<Node<T>>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { entry: None, edges: Edges::None }
    }
}

/// A node whose branches are being walked, and what of the filter is left for each of them.
struct Open<'a, 'f, T> {
    edges: EdgesIter<'a, Node<T>>,
    rest: Option<&'f str>,
    /// At the root a wildcard passes over names that start with `$` (MQTT-4.7.2-1).
    is_dollar_barred: bool,
}

impl<T> NameSet<T> {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self { root: Node::default(), len: 0 }
    }

    /// How many names have a value.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no name has a value.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `value` under `name`, and gives back the one that was there.
    pub fn insert(&mut self, name: &TopicName, value: T) -> Option<T> {
        let mut node = &mut self.root;
        for level in name.as_ref().levels() {
            node = node.edges.get_or_insert_default(level);
        }
        if let Some((_, old)) = &mut node.entry {
            return Some(std::mem::replace(old, value));
        }
        node.entry = Some((name.clone(), value));
        self.len += 1;
        None
    }

    /// The value under `name`.
    pub fn get<'n>(&self, name: impl Into<TopicRef<'n>>) -> Option<&T> {
        let mut node = &self.root;
        for level in name.into().levels() {
            node = node.edges.get(level)?;
        }
        node.entry.as_ref().map(|(_, value)| value)
    }

    /// The value under `name`, to change.
    pub fn get_mut<'n>(&mut self, name: impl Into<TopicRef<'n>>) -> Option<&mut T> {
        let mut node = &mut self.root;
        for level in name.into().levels() {
            node = node.edges.get_mut(level)?;
        }
        node.entry.as_mut().map(|(_, value)| value)
    }

    /// Takes the value under `name` away, and with it every node that only it needed.
    pub fn remove<'n>(&mut self, name: impl Into<TopicRef<'n>>) -> Option<T> {
        let name = name.into();
        let mut node = &mut self.root;
        let mut kept_depth = 0;
        for (depth, level) in name.levels().enumerate() {
            if node.entry.is_some() || node.edges.len() > 1 {
                kept_depth = depth;
            }
            node = node.edges.get_mut(level)?;
        }
        let (_, value) = node.entry.take()?;
        self.len -= 1;
        if node.edges.len() == 0 {
            self.cut(name, kept_depth);
        }
        Some(value)
    }

    /// Cuts the branch of `name` off below its node at `depth`.
    fn cut(&mut self, name: TopicRef<'_>, depth: usize) {
        let mut levels = name.levels();
        let mut node = &mut self.root;
        for level in levels.by_ref().take(depth) {
            match node.edges.get_mut(level) {
                Some(child) => node = child,
                None => return,
            }
        }
        if let Some(branch) = levels.next().and_then(|level| node.edges.remove(level)) {
            dismantle(branch);
        }
    }

    /// Calls `visit` with every name that `filter` matches and its value, until it breaks, in no promised order.
    pub fn for_each_match(
        &self,
        filter: &TopicFilter,
        mut visit: impl FnMut(&TopicName, &T) -> ControlFlow<()>,
    ) {
        let _ = self.walk(filter, &mut visit);
    }

    fn walk(
        &self,
        filter: &TopicFilter,
        visit: &mut impl FnMut(&TopicName, &T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut open = Stack::<Open<'_, '_, T>, OPEN_INLINE>::new();
        let mut here = Some((&self.root, Some(filter.as_str())));
        let mut is_dollar_barred = true;
        while let Some((node, rest)) = here.take().or_else(|| next_branch(&mut open)) {
            let (level, below) = match rest.map(|rest| (rest, rest.split_once('/'))) {
                None => (None, None),
                Some((_, Some((level, below)))) => (Some(level), Some(below)),
                Some((level, None)) => (Some(level), None),
            };
            if matches!(level, None | Some(HASH))
                && let Some((name, value)) = &node.entry
            {
                visit(name, value)?;
            }
            match level {
                None => {}
                // What `#` leaves for each branch is `#` again: the branch itself and all below.
                Some(HASH) => {
                    open.push(Open { edges: node.edges.iter(), rest: Some(HASH), is_dollar_barred });
                }
                Some(PLUS) => open.push(Open { edges: node.edges.iter(), rest: below, is_dollar_barred }),
                Some(level) => here = node.edges.get(level).map(|child| (child, below)),
            }
            is_dollar_barred = false;
        }
        ControlFlow::Continue(())
    }

    /// Removes every name for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&TopicName, &T) -> bool) {
        let doomed: Vec<TopicName> =
            self.iter().filter(|(name, value)| !keep(name, value)).map(|(name, _)| name.clone()).collect();
        for name in &doomed {
            self.remove(name);
        }
    }

    /// Every name with its value, in no promised order.
    pub fn iter(&self) -> NameSetIter<'_, T> {
        NameSetIter { open: vec![self.root.edges.iter()] }
    }
}

/// The next branch of the innermost node that has one left.
fn next_branch<'a, 'f, T, const N: usize>(
    open: &mut Stack<Open<'a, 'f, T>, N>,
) -> Option<(&'a Node<T>, Option<&'f str>)> {
    while let Some(top) = open.top_mut() {
        match top.edges.next() {
            Some((label, _)) if top.is_dollar_barred && label.starts_with('$') => {}
            Some((_, node)) => return Some((node, top.rest)),
            None => {
                open.pop();
            }
        }
    }
    None
}

/// Drops a branch in a loop, because dropping a deep one by recursion would overflow the stack.
fn dismantle<T>(branch: Node<T>) {
    let mut nodes = vec![branch];
    while let Some(mut node) = nodes.pop() {
        node.edges.drain_into(&mut nodes);
    }
}

impl<T> Drop for NameSet<T> {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.root));
    }
}

impl<T> Default for NameSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for NameSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a, T> IntoIterator for &'a NameSet<T> {
    type Item = (&'a TopicName, &'a T);
    type IntoIter = NameSetIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The names of a [`NameSet`] with their values.
pub struct NameSetIter<'a, T> {
    open: Vec<EdgesIter<'a, Node<T>>>,
}

impl<'a, T> Iterator for NameSetIter<'a, T> {
    type Item = (&'a TopicName, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.open.last_mut()?.next() {
                None => {
                    self.open.pop();
                }
                Some((_, node)) => {
                    self.open.push(node.edges.iter());
                    if let Some((name, value)) = &node.entry {
                        return Some((name, value));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
