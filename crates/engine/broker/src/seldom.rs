//! A queue that is mostly empty: then it takes one word of its owner.

use std::collections::VecDeque;

/// A queue.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "one word instead of four in what there is a million of")]
pub struct Seldom<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Seldom<T> {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    /// The first.
    pub fn front(&self) -> Option<&T> {
        self.0.as_ref()?.front()
    }

    /// The last.
    pub fn back(&self) -> Option<&T> {
        self.0.as_ref()?.back()
    }

    /// The first, to change.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.front_mut()
    }

    /// Takes the first; with the last the memory goes.
    pub fn pop_front(&mut self) -> Option<T> {
        let queue = self.0.as_mut()?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.0 = None;
        }
        first
    }

    /// Puts some at the end.
    pub fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        let mut more = more.into_iter().peekable();
        if more.peek().is_some() {
            self.0.get_or_insert_default().extend(more);
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_nothing_stays() {
        let mut queue = Seldom::default();
        queue.extend([]);
        assert!(queue.0.is_none() && queue.is_empty());
        queue.extend([1, 2]);
        queue.extend([3]);
        assert_eq!((queue.len(), queue.front()), (3, Some(&1)));
        assert_eq!(std::iter::from_fn(|| queue.pop_front()).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(queue.0.is_none(), "an empty one keeps no memory");
        queue.extend([4]);
        queue.clear();
        assert_eq!(queue.pop_front(), None);
    }
}
