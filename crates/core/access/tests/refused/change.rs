//! What is inside a proof, changed after the decision.

use motte_access::Authorized;

fn change(mut proof: Authorized<String>) {
    proof.get().push_str("another/topic");
    proof.get_mut().clear();
}

fn main() {}
