//! A trie from Topic Filters to values, asked which of them match a Topic Name.

use std::fmt;
use std::ops::ControlFlow;

use crate::edges::Edges;
use crate::filter::{HASH, PLUS};
use crate::stack::Stack;
use crate::{TopicFilter, TopicRef};

/// Branches that a match leaves open before its stack reaches for the heap.
const OPEN_INLINE: usize = 32;

/// Values under Topic Filters, at most one per filter.
///
/// A match visits each node at most once and only those that the name can still reach. No operation recurses,
/// however deep the filters.
pub struct FilterSet<T> {
    root: Node<T>,
    len: usize,
}

struct Node<T> {
    value: Option<T>,
    edges: Edges<Node<T>>,
    wild: Option<Box<Wild<T>>>,
}

/// The wildcard branches of a node; most nodes have none. `#` ends a filter, so that it is a value, not a node.
struct Wild<T> {
    plus: Option<Node<T>>,
    hash: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { value: None, edges: Edges::None, wild: None }
    }
}

impl<T> Default for Wild<T> {
    fn default() -> Self {
        Self { plus: None, hash: None }
    }
}

impl<T> Node<T> {
    fn child(&self, level: &str) -> Option<&Self> {
        if level == PLUS { self.wild.as_ref()?.plus.as_ref() } else { self.edges.get(level) }
    }

    fn child_mut(&mut self, level: &str) -> Option<&mut Self> {
        if level == PLUS { self.wild.as_mut()?.plus.as_mut() } else { self.edges.get_mut(level) }
    }

    fn child_or_insert(&mut self, level: &str) -> &mut Self {
        if level == PLUS {
            self.wild.get_or_insert_default().plus.get_or_insert_default()
        } else {
            self.edges.get_or_insert_default(level)
        }
    }

    /// Cuts a branch off.
    fn take_child(&mut self, level: &str) -> Option<Self> {
        if level != PLUS {
            return self.edges.remove(level);
        }
        let child = self.wild.as_mut()?.plus.take();
        self.drop_empty_wild();
        child
    }

    fn drop_empty_wild(&mut self) {
        if self.wild.as_ref().is_some_and(|wild| wild.plus.is_none() && wild.hash.is_none()) {
            self.wild = None;
        }
    }

    /// How many things below or at this node keep it alive.
    fn uses(&self) -> usize {
        let wild = self.wild.as_ref();
        usize::from(self.value.is_some())
            + self.edges.len()
            + usize::from(wild.is_some_and(|wild| wild.plus.is_some()))
            + usize::from(wild.is_some_and(|wild| wild.hash.is_some()))
    }
}

/// The levels of a filter that are nodes, and whether a `#` follows them.
fn path(filter: &TopicFilter) -> (impl Iterator<Item = &str>, bool) {
    let text = filter.as_str();
    let (nodes, open) = match text.strip_suffix(HASH) {
        None => (Some(text), false),
        Some(parent) => (parent.strip_suffix('/'), true),
    };
    (nodes.into_iter().flat_map(|nodes| nodes.split('/')), open)
}

impl<T> FilterSet<T> {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self { root: Node::default(), len: 0 }
    }

    /// How many filters have a value.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no filter has a value.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of exactly this filter.
    pub fn get(&self, filter: &TopicFilter) -> Option<&T> {
        let (levels, open) = path(filter);
        let mut node = &self.root;
        for level in levels {
            node = node.child(level)?;
        }
        if open { node.wild.as_ref()?.hash.as_ref() } else { node.value.as_ref() }
    }

    /// The value of exactly this filter, to change.
    pub fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut T> {
        let (levels, open) = path(filter);
        let mut node = &mut self.root;
        for level in levels {
            node = node.child_mut(level)?;
        }
        if open { node.wild.as_mut()?.hash.as_mut() } else { node.value.as_mut() }
    }

    /// The value of exactly this filter, made by `make` if it had none.
    pub fn entry_or_insert_with(&mut self, filter: &TopicFilter, make: impl FnOnce() -> T) -> &mut T {
        let (levels, open) = path(filter);
        let mut node = &mut self.root;
        for level in levels {
            node = node.child_or_insert(level);
        }
        let slot = if open { &mut node.wild.get_or_insert_default().hash } else { &mut node.value };
        let is_new = slot.is_none();
        let value = slot.get_or_insert_with(make);
        self.len += usize::from(is_new);
        value
    }

    /// Takes the value of exactly this filter away, and with it every node that only it needed.
    pub fn remove(&mut self, filter: &TopicFilter) -> Option<T> {
        let (levels, open) = path(filter);
        let mut node = &mut self.root;
        let mut kept_depth = 0;
        for (depth, level) in levels.enumerate() {
            if node.uses() > 1 {
                kept_depth = depth;
            }
            node = node.child_mut(level)?;
        }
        let value = if open { node.wild.as_mut()?.hash.take() } else { node.value.take() }?;
        node.drop_empty_wild();
        self.len -= 1;
        if node.uses() == 0 {
            self.cut(filter, kept_depth);
        }
        Some(value)
    }

    /// Cuts the branch of `filter` off below its node at `depth`.
    fn cut(&mut self, filter: &TopicFilter, depth: usize) {
        let (mut levels, _) = path(filter);
        let mut node = &mut self.root;
        for level in levels.by_ref().take(depth) {
            match node.child_mut(level) {
                Some(child) => node = child,
                None => return,
            }
        }
        if let Some(branch) = levels.next().and_then(|level| node.take_child(level)) {
            dismantle(branch);
        }
    }

    /// Calls `visit` with the value of every filter that matches `name`, each once, in no promised order.
    pub fn for_each_match(&self, name: TopicRef<'_>, mut visit: impl FnMut(&T)) {
        let _ = self.walk(name, |value| {
            visit(value);
            ControlFlow::Continue(())
        });
    }

    /// Whether any filter matches `name`.
    pub fn any_match(&self, name: TopicRef<'_>) -> bool {
        self.walk(name, |_| ControlFlow::Break(())).is_break()
    }

    fn walk(&self, name: TopicRef<'_>, mut visit: impl FnMut(&T) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut open = Stack::<(&Node<T>, Option<&str>), OPEN_INLINE>::new();
        let mut here = Some((&self.root, Some(name.as_str())));
        // Only the root can be barred: the rule on `$` speaks of the first level (MQTT-4.7.2-1).
        let mut wild_barred = name.is_dollar();
        while let Some((node, rest)) = here.take().or_else(|| open.pop()) {
            let wild = node.wild.as_ref().filter(|_| !wild_barred);
            wild_barred = false;
            if let Some(value) = wild.and_then(|wild| wild.hash.as_ref()) {
                visit(value)?;
            }
            let Some(rest) = rest else {
                if let Some(value) = &node.value {
                    visit(value)?;
                }
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            here = node.edges.get(level).map(|child| (child, rest));
            if let Some(plus) = wild.and_then(|wild| wild.plus.as_ref()) {
                if here.is_none() {
                    here = Some((plus, rest));
                } else {
                    open.push((plus, rest));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Every filter with its value, in no promised order; each filter is put together anew.
    pub fn iter(&self) -> FilterSetIter<'_, T> {
        let root = Visit { node: &self.root, label: None, parent_bytes: 0, is_first: true };
        FilterSetIter { path: String::new(), visits: vec![root], next: None }
    }
}

/// Drops a branch in a loop, because dropping a deep one by recursion would overflow the stack.
fn dismantle<T>(branch: Node<T>) {
    let mut nodes = vec![branch];
    while let Some(mut node) = nodes.pop() {
        node.edges.drain_into(&mut nodes);
        if let Some(plus) = node.wild.take().and_then(|wild| wild.plus) {
            nodes.push(plus);
        }
    }
}

impl<T> Drop for FilterSet<T> {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.root));
    }
}

impl<T> Default for FilterSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for FilterSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a, T> IntoIterator for &'a FilterSet<T> {
    type Item = (TopicFilter, &'a T);
    type IntoIter = FilterSetIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The filters of a [`FilterSet`] with their values.
pub struct FilterSetIter<'a, T> {
    path: String,
    visits: Vec<Visit<'a, T>>,
    next: Option<(TopicFilter, &'a T)>,
}

struct Visit<'a, T> {
    node: &'a Node<T>,
    /// None at the root.
    label: Option<&'a str>,
    parent_bytes: usize,
    is_first: bool,
}

impl<'a, T> Iterator for FilterSetIter<'a, T> {
    type Item = (TopicFilter, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.next.take() {
                return Some(item);
            }
            let Visit { node, label, parent_bytes, is_first } = self.visits.pop()?;
            self.path.truncate(parent_bytes);
            if let Some(label) = label {
                if !is_first {
                    self.path.push('/');
                }
                self.path.push_str(label);
            }
            let (parent_bytes, is_first) = (self.path.len(), label.is_none());
            let visit = |(label, node)| Visit { node, label: Some(label), parent_bytes, is_first };
            self.visits.extend(node.edges.iter().map(visit));
            if let Some(wild) = &node.wild {
                self.visits.extend(wild.plus.as_ref().map(|plus| visit((PLUS, plus))));
                if let Some(value) = &wild.hash {
                    let slash = if is_first { "" } else { "/" };
                    let filter = TopicFilter::of_valid(&format!("{}{slash}{HASH}", self.path));
                    self.next = Some((filter, value));
                }
            }
            if let Some(value) = &node.value {
                return Some((TopicFilter::of_valid(&self.path), value));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
