//! The journal on real files: killed in the middle of its work, committed for many, and read by nobody without the key.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod canary;
mod group_commit;
mod kill;
