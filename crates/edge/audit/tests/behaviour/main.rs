//! Audits of trees of files that the tests make, good ones and hostile ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod configuration;
mod hostile;
mod libraries;
mod machine;
mod root;
mod table;
