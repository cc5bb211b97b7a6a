//! A decision that is dropped.

#![deny(unused_must_use)]

use motte_access::{Gate, Origin, Standing, Subject};

fn ignore<T: Subject>(gate: &Gate, who: &mut Standing, what: T) {
    gate.decide(who, Origin::Publish, what);
}

fn main() {}
