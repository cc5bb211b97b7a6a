//! A shard judged by its inputs and effects alone.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod authentication;
mod authorization;
mod durable;
mod permissive;
mod retained;
mod shard;
mod wills;
