//! Messages that hold whatever arrives, and the key process as its two neighbours see it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod keys;
mod messages;
mod vault;
