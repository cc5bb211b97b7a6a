//! The process from outside: a server in this test's process, clients that write bytes.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod attempts;
mod authorization;
mod bad_certificates;
mod bypass;
mod certificates;
mod client_ids;
mod events;
mod exchanges;
mod harness;
mod hook;
mod hostile;
mod kept_keys;
mod limits;
mod listeners;
mod lists;
mod messages;
mod outward;
mod passwords;
mod reload;
mod restart;
mod secured;
mod status;
mod step_up;
mod token_keys;
mod tokens;
mod ways;
