//! Fuzzing on a stable compiler: targets that hold an invariant for any bytes, and a runner that looks for bytes for which
//! they do not.
//!
//! There is no feedback from coverage: the corpora, written with the encoders, start the search deep inside the formats.

pub mod corpus;
pub mod mutate;
pub mod random;
pub mod runner;
pub mod targets;

pub use targets::{TARGETS, Target};
