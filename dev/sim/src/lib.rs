//! Seeded simulation of the broker core: shards, clients, a network that loses connections, reloads of policy, and an
//! independent model that says what must have arrived.
//!
//! Everything follows from the seed: no clock, no thread, no socket. [`run`] gives the first broken promise with its step.

mod client;
mod model;
mod parts;
mod random;
mod world;

pub use model::Violation;
pub use random::Random;
pub use world::{Outcome, Setup, run};
