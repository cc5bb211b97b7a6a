//! Output buffers that connections borrow while they have something to send.

use motte_broker::Output;

/// Buffers kept for the next connection that needs one.
const KEPT_MAX: usize = 1_024;
/// A buffer that grew beyond this is given back to the system.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The pool of a worker. Boxed, because a connection holds one pointer instead of a whole output, and the boxes are reused.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    #[expect(clippy::vec_box, reason = "the boxes are what is pooled")]
    free: Vec<Box<Output>>,
}

impl Buffers {
    /// An empty output.
    #[expect(clippy::unnecessary_box_returns, reason = "the boxes are what is pooled")]
    pub(crate) fn take(&mut self) -> Box<Output> {
        self.free.pop().unwrap_or_default()
    }

    /// Takes an output back.
    pub(crate) fn give_back(&mut self, mut output: Box<Output>) {
        output.clear();
        if self.free.len() < KEPT_MAX && output.capacity() <= KEPT_BYTES_MAX {
            self.free.push(output);
        }
    }
}
