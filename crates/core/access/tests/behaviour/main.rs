//! Decisions as operators and attackers see them.

mod bypass;
mod origins;
mod policies;
mod subject;

#[test]
fn a_decision_cannot_be_forged_changed_or_ignored() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
