//! A last-in-first-out store whose first entries need no heap.

/// Entries kept inline up to `N`, in a vector beyond; a walk over an ordinary trie stays inline.
pub(crate) struct Stack<T, const N: usize> {
    near: [Option<T>; N],
    near_count: usize,
    far: Vec<T>,
}

impl<T, const N: usize> Stack<T, N> {
    pub(crate) fn new() -> Self {
        Self { near: [const { None }; N], near_count: 0, far: Vec::new() }
    }

    pub(crate) fn push(&mut self, entry: T) {
        match self.near.get_mut(self.near_count) {
            Some(slot) => {
                *slot = Some(entry);
                self.near_count += 1;
            }
            None => self.far.push(entry),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        if let Some(entry) = self.far.pop() {
            return Some(entry);
        }
        let last = self.near_count.checked_sub(1)?;
        self.near_count = last;
        self.near.get_mut(last)?.take()
    }

    pub(crate) fn top_mut(&mut self) -> Option<&mut T> {
        if let Some(entry) = self.far.last_mut() {
            return Some(entry);
        }
        self.near.get_mut(self.near_count.checked_sub(1)?)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_reverse_across_the_border() {
        let mut stack = Stack::<u32, 2>::new();
        assert_eq!(stack.pop(), None);
        for entry in 0..5 {
            stack.push(entry);
            assert_eq!(stack.top_mut().copied(), Some(entry));
        }
        for entry in (0..5).rev() {
            assert_eq!(stack.pop(), Some(entry));
        }
        assert!(stack.top_mut().is_none());
    }
}
