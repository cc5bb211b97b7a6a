//! The process that connects out, served in a thread, against small servers on loopback.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod directory;
mod http;
mod requests;
