//! The verbs as their users see them: the real binary, what it writes, and how it ends.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod acl;
mod advise;
mod audit;
mod bench;
mod bench_trouble;
mod kept;
mod key;
mod killed;
mod peer;
mod site;
mod user;
