//! Messages that hold whatever arrives, and the key and the admin process as their neighbours see them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod control;
mod keys;
mod messages;
mod vault;
