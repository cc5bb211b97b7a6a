//! Seeded simulation of the broker core: shards on a disk that forgets and fails, clients on a network that loses
//! connections, crashes, reloads of policy, clocks that jump; and an independent model that says what must have arrived.
//!
//! Everything follows from the seed: no clock, no thread, no socket. [`run`] gives the first broken promise with its step,
//! [`shrink`] the smallest scenario that still breaks one.

mod client;
mod model;
mod parts;
mod random;
mod retained;
mod scenario;
mod shared;
mod shrink;
mod world;

pub use model::Violation;
pub use random::Random;
pub use scenario::{Scenario, Setup, numbers, ranges};
pub use shrink::shrink;
pub use world::{Outcome, replay, run};
