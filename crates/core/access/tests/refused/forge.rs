//! A proof made by hand.

use motte_access::{Authorized, PolicyGeneration, RuleId};

fn main() {
    let _proof = Authorized { subject: "anything", rule: RuleId(0), generation: PolicyGeneration(1) };
}
