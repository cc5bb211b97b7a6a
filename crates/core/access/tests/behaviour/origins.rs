//! Every way in, every right, under no policy, a denying one, an allowing one, and one that was taken back.

use std::sync::Arc;

use motte_access::{
    AccessDecision, Action, CompiledPolicy, Gate, Origin, Policy, PolicyGeneration, Principal, Subject,
};
use motte_topic::{TopicFilter, TopicName};

use crate::subject::{Ask, client, gate, permitted};

const ALLOW: &str = r##"
version = 1
[role.all]
wildcards = "allow"
rules = [{ allow = ["publish", "retain", "subscribe", "share", "administer"], topics = ["#"] }]
[authenticated]
roles = ["all"]
[bridge.b]
roles = ["all"]
[operator.o]
roles = ["all"]
"##;

fn deny() -> String {
    ALLOW.replace(
        "rules = [",
        "rules = [{ deny = [\"publish\", \"subscribe\", \"administer\"], topics = [\"#\"] }, ",
    )
}

fn principals() -> Vec<Principal> {
    vec![
        Principal::Client(client("dev", "dev")),
        Principal::Bridge { name: Arc::from("b") },
        Principal::Operator { name: Arc::from("o") },
        Principal::Node { name: Arc::from("n") },
        Principal::System,
    ]
}

fn ask(action: Action) -> Ask {
    match action {
        Action::Subscribe | Action::Share => Ask::Filter(action, TopicFilter::parse("t/#").unwrap()),
        _ => Ask::Topic(action, TopicName::parse("t").unwrap(), true),
    }
}

#[test]
fn without_a_policy_or_under_a_denying_one_nothing_is_permitted_by_any_way() {
    for policy in ["", "# nothing\n", "version = 1\n", &deny()] {
        let gate = gate(policy);
        for (who, by, action) in all() {
            assert!(!permitted(&gate, &who, by, ask(action)), "{policy}: {who:?} {by:?} {action:?}");
        }
    }
}

#[test]
fn under_an_allowing_policy_each_kind_of_principal_keeps_to_its_ways() {
    let gate = gate(ALLOW);
    for (who, by, action) in all() {
        let expected = match (&who, by) {
            (Principal::Client(_), Origin::Publish | Origin::Will | Origin::Shared)
            | (Principal::Bridge { .. }, Origin::Bridge)
            | (Principal::Operator { .. }, Origin::Admin) => true,
            (Principal::Node { .. } | Principal::System, _) => false,
            (_, Origin::Retained | Origin::Restart | Origin::Cluster) => true,
            _ => false,
        };
        assert_eq!(permitted(&gate, &who, by, ask(action)), expected, "{who:?} {by:?} {action:?}");
    }
}

#[test]
fn what_is_taken_back_is_denied_by_every_way_and_remembered_decisions_lapse() {
    let mut gate = gate(ALLOW);
    let who = Arc::new(Principal::Client(client("dev", "dev")));
    let mut standing = gate.standing(Arc::clone(&who));
    let what = ask(Action::Publish);
    let grant = granted(&gate, &mut standing, what.clone());
    assert!(again(&gate, &standing, &grant, what.clone()));
    let closed = Policy::parse(&deny(), "policy.toml").unwrap();
    gate.replace(Arc::new(CompiledPolicy::compile(&closed, PolicyGeneration(2))));
    assert!(!again(&gate, &standing, &grant, what.clone()), "a grant outlived its policy");
    for by in Origin::ALL {
        assert!(!permitted(&gate, &who, by, what.clone()), "{by:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
fn granted(gate: &Gate, standing: &mut motte_access::Standing, what: Ask) -> motte_access::Grant {
    match gate.decide(standing, Origin::Publish, what) {
        AccessDecision::Permit(authorized) => gate.grant_of(standing, &authorized),
        AccessDecision::Deny(what, denial) => panic!("{:?}: {denial}", what.action()),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
fn again(gate: &Gate, standing: &motte_access::Standing, grant: &motte_access::Grant, what: Ask) -> bool {
    gate.decide_again(standing, grant, Origin::Publish, what).is_ok()
}

#[test]
fn the_system_keeps_to_its_own_topics_and_nobody_else_publishes_there() {
    let gate = gate(ALLOW);
    let sys = || Ask::Topic(Action::Publish, TopicName::parse("$SYS/uptime").unwrap(), true);
    assert!(permitted(&gate, &Principal::System, Origin::System, sys()));
    assert!(!permitted(&gate, &Principal::System, Origin::System, ask(Action::Publish)));
    assert!(!permitted(&gate, &Principal::Client(client("dev", "dev")), Origin::Publish, sys()));
}

fn all() -> Vec<(Principal, Origin, Action)> {
    let ways = |who: Principal| {
        Origin::ALL.into_iter().flat_map(move |by| {
            let who = who.clone();
            Action::ALL.into_iter().map(move |action| (who.clone(), by, action))
        })
    };
    principals().into_iter().flat_map(ways).collect()
}
