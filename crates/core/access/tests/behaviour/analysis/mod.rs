//! The analyzer against the Gate, asked about everybody and everything there is in a small universe.

mod advising;
mod cases;
mod comparing;
mod generate;
mod proving;
mod universe;
