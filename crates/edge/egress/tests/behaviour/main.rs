//! The process that connects out, served in a thread, against small servers of HTTP on loopback.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod http;
mod requests;
