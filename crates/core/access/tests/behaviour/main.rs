//! Decisions as operators and attackers see them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod analysis;
mod bypass;
mod origins;
mod permissive;
mod policies;
mod registry;
mod sources;
mod subject;

#[test]
fn a_decision_cannot_be_forged_changed_or_ignored() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
