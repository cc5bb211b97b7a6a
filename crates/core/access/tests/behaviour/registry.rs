//! The topic registry: what lies outside of it nobody publishes to, and that is said as such.

use std::sync::Arc;

use motte_access::analysis::{Check, Inquiry, Severity, Statement, Verdict, Way, World};
use motte_access::{
    AccessDecision, Action, CompiledPolicy, Denial, Gate, Origin, Policy, PolicyGeneration, Principal,
    Standing,
};
use motte_topic::TopicName;

use crate::subject::{Ask, client, gate, may, permitted};

const RULES: &str = "[role.all]\nwildcards = \"allow\"\nrules = [{ allow = [\"publish\", \"retain\", \"subscribe\", \"share\"], topics = [\"#\", \"$x/#\"] }, { deny = [\"publish\"], topics = [\"closed/#\"] }]\n[authenticated]\nroles = [\"all\"]\n[bridge.b]\nroles = [\"all\"]\n[operator.o]\nroles = [\"all\"]\n";

fn with(registry: &str) -> String {
    format!("version = 1\n{registry}\n{RULES}")
}

const REGISTRY: &str = "topic_registry = [\"devices/+/state\", \"alerts/#\", \"closed/x\"]";

#[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
fn denial(gate: &Gate, standing: &mut Standing, action: Action, topic: &str) -> Denial {
    let topic = TopicName::parse(topic).unwrap();
    match gate.decide(standing, Origin::Publish, Ask::Topic(action, topic, false)) {
        AccessDecision::Deny(_, denial) => denial,
        AccessDecision::Permit(permitted) => panic!("{permitted:?}"),
    }
}

#[test]
fn what_no_shape_matches_is_denied_by_every_right_to_publish_and_to_every_principal() {
    let gate = gate(&with(REGISTRY));
    let principals = [
        (Principal::Client(client("d", "d")), Origin::Publish),
        (Principal::Client(client("d", "d")), Origin::Will),
        (Principal::Client(client("d", "d")), Origin::Retained),
        (Principal::Client(client("d", "d")), Origin::Restart),
        (Principal::Bridge { name: Arc::from("b") }, Origin::Bridge),
        (Principal::Operator { name: Arc::from("o") }, Origin::Admin),
    ];
    for (who, by) in principals {
        for action in [Action::Publish, Action::Retain, Action::SetWill] {
            for (topic, expected) in [
                ("devices/d/state", true),
                ("alerts", true),
                ("alerts/a/b", true),
                ("devices/d/stat", false),
                ("devices/state", false),
                ("devices/d/state/x", false),
                ("Alerts/a", false),
                ("x", false),
                ("$x/a", false),
                ("closed/x", false),
            ] {
                for retain in [false, true] {
                    let what = Ask::Topic(action, TopicName::parse(topic).unwrap(), retain);
                    let told = permitted(&gate, &who, by, what);
                    assert_eq!(told, expected, "{who:?} {by:?} {action:?} {topic} {retain}");
                }
            }
        }
    }
    // What is received is no matter of the registry.
    let reader = client("d", "d");
    assert!(may(&gate, &reader, Action::Receive, "x"));
    for filter in ["#", "x/#", "devices/d/stat"] {
        assert!(may(&gate, &reader, Action::Subscribe, filter) && may(&gate, &reader, Action::Share, filter));
    }
}

#[test]
fn a_wrong_topic_is_told_from_a_missing_right() {
    let gate = gate(&with(REGISTRY));
    let mut standing = gate.standing(Arc::new(Principal::Client(client("d", "d"))));
    let told = denial(&gate, &mut standing, Action::Publish, "devices/d/stat");
    assert!(matches!(told, Denial::Unregistered { .. }), "{told}");
    assert_eq!(
        told.to_string(),
        "`devices/d/stat` is no topic of the topic registry; publish on `devices/d/stat` is denied to everybody"
    );
    let told = denial(&gate, &mut standing, Action::Publish, "closed/x");
    assert!(matches!(told, Denial::Rule { .. }), "{told}");
}

#[test]
fn without_a_list_nothing_changes_and_an_empty_one_closes() {
    let who = client("d", "d");
    assert!(may(&gate(&with("")), &who, Action::Publish, "anything"));
    let closed = gate(&with("topic_registry = []"));
    assert!(!may(&closed, &who, Action::Publish, "anything"));
    assert!(may(&closed, &who, Action::Subscribe, "#"));
    let broker = Ask::Topic(Action::Publish, TopicName::parse("$SYS/uptime").unwrap(), true);
    assert!(permitted(&closed, &Principal::System, Origin::System, broker), "the broker's own are not asked");
}

#[test]
fn a_permissive_role_does_not_reach_beyond_it() {
    let policy = format!(
        "version = 1\n{REGISTRY}\n[role.tried]\npermissive_until = \"2030-01-01\"\nrules = []\n[identity.d]\nroles = [\"tried\"]\n"
    );
    let mut gate = gate(&policy);
    drop(gate.advance(1_700_000_000));
    assert!(may(&gate, &client("d", "d"), Action::Publish, "alerts/a"));
    assert!(!may(&gate, &client("d", "d"), Action::Publish, "elsewhere"));
}

#[test]
fn shapes_of_several_files_are_one_list_and_a_listeners_own_policy_narrows_it() {
    let mut general = Policy::parse(&with("topic_registry = [\"a/#\"]"), "one.toml").unwrap();
    general.read("version = 1\ntopic_registry = [\"b/#\"]\n", "two.toml").unwrap();
    let side = |registry: &str| Policy::parse(&with(registry), "side.toml").unwrap();
    let own = [("side".to_owned(), side("topic_registry = [\"b/x\", \"c\"]")), ("bare".to_owned(), side(""))];
    let policy = CompiledPolicy::compile_all(&general, &own, PolicyGeneration(1));
    let world = World::of_policy(policy);
    let policy = CompiledPolicy::compile_all(&general, &own, PolicyGeneration(1));
    let gate = Gate::new(Arc::new(policy));
    for (listener, topic, expected) in [
        ("main", "a/x", true),
        ("main", "b/x", true),
        ("main", "c", false),
        ("side", "b/x", true),
        ("side", "b/y", false),
        ("side", "c", false),
        ("side", "a/x", false),
        ("bare", "a/x", true),
        ("bare", "c", false),
    ] {
        let mut who = client("d", "d");
        who.listener = Arc::from(listener);
        assert_eq!(may(&gate, &who, Action::Publish, topic), expected, "{listener} {topic}");
    }
    for (statement, expected) in [
        ("anybody cannot publish # except a/# b/#", true),
        ("anybody cannot publish b/y", false),
        ("anybody cannot publish c", true),
        ("identity:d can publish a/#", true),
        ("identity:d can publish c", false),
    ] {
        let verdict = world.prove(&Statement::parse(statement).unwrap()).unwrap();
        assert_eq!(matches!(verdict, Verdict::Proved(_)), expected, "{statement}: {verdict:?}");
    }
}

#[test]
fn a_remembered_decision_ends_with_the_list_that_comes() {
    let mut gate = gate(&with(""));
    let mut standing = gate.standing(Arc::new(Principal::Client(client("d", "d"))));
    let what = || Ask::Topic(Action::Publish, TopicName::parse("x").unwrap(), false);
    #[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
    let AccessDecision::Permit(permitted) = gate.decide(&mut standing, Origin::Publish, what()) else {
        panic!("x is permitted")
    };
    let grant = gate.grant_of(&standing, &permitted);
    let policy = Policy::parse(&with(REGISTRY), "policy.toml").unwrap();
    gate.replace(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(2))));
    #[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
    let again = gate.decide_again(&standing, &grant, Origin::Publish, what());
    assert!(again.is_err());
    assert!(matches!(denial(&gate, &mut standing, Action::Publish, "x"), Denial::Unregistered { .. }));
}

#[test]
fn dead_rules_are_told_and_explanations_name_the_nearest_shape() {
    let policy = format!(
        "version = 1\n{REGISTRY}\n[role.r]\nrules = [\n{{ allow = [\"publish\"], topics = [\"devices/{{identity}}/stat\"] }},\n{{ allow = [\"publish\"], topics = [\"devices/{{identity}}/#\"] }},\n{{ allow = [\"subscribe\", \"publish\"], topics = [\"cmd/#\"] }},\n{{ allow = [\"subscribe\"], topics = [\"other/#\"] }},\n]\n[authenticated]\nroles = [\"r\"]\n"
    );
    let world = World::of_policy(CompiledPolicy::compile(
        &Policy::parse(&policy, "p.toml").unwrap(),
        PolicyGeneration(1),
    ));
    let found: Vec<(usize, Check, Severity)> =
        world.lint().unwrap().iter().map(|one| (one.line, one.check, one.severity)).collect();
    assert_eq!(
        found,
        [(5, Check::Unregistered, Severity::Warning), (7, Check::Unregistered, Severity::Warning)],
        "and those that publish nothing, or something, are left alone"
    );
    let inquiry = |target: &str| Inquiry {
        client: client("d", "d"),
        way: Way::Publish,
        target: target.to_owned(),
        qos: 0,
        payload_bytes: 0,
    };
    let told = world.explain(&inquiry("devices/d/stat")).unwrap();
    assert!(!told.permitted && told.by_registry && !told.by_token && told.decides.is_none());
    let nearest = told.nearest.unwrap();
    assert_eq!((nearest.line, nearest.rule.as_str()), (2, "topic_registry has devices/+/state"));
    assert!(world.explain(&inquiry("devices/d/state")).unwrap().permitted);
    assert!(!world.explain(&inquiry("alerts/a")).unwrap().by_registry, "there is no rule");
}

#[test]
fn of_two_registries_the_one_that_denies_names_the_nearest_shape() {
    let general = Policy::parse(&with("topic_registry = [\"a/+\"]"), "one.toml").unwrap();
    let own = Policy::parse(&with("\ntopic_registry = [\"a/x\"]"), "side.toml").unwrap();
    let own = [("side".to_owned(), own)];
    let world = World::of_policy(CompiledPolicy::compile_all(&general, &own, PolicyGeneration(1)));
    let mut who = client("d", "d");
    who.listener = Arc::from("side");
    let inquiry =
        Inquiry { client: who, way: Way::Publish, target: "a/y".to_owned(), qos: 0, payload_bytes: 0 };
    let told = world.explain(&inquiry).unwrap();
    assert!(told.by_registry, "{told:?}");
    let nearest = told.nearest.unwrap();
    assert_eq!((nearest.file.as_str(), nearest.rule.as_str()), ("side.toml", "topic_registry has a/x"));
}

#[test]
fn a_name_that_makes_a_rule_meet_a_shape_is_looked_at() {
    // Nobody but the identity 7 can publish, and the policy does not name it.
    let policy = "version = 1\ntopic_registry = [\"dev-7/x\"]\n[role.r]\nrules = [{ allow = [\"publish\"], topics = [\"dev-{identity}/#\"] }]\n[authenticated]\nroles = [\"r\"]\n";
    let world = World::of_policy(CompiledPolicy::compile(
        &Policy::parse(policy, "p.toml").unwrap(),
        PolicyGeneration(1),
    ));
    for (statement, expected) in [
        ("role:r cannot publish #", false),
        ("role:r cannot publish # except dev-7/x", true),
        ("identity:7 can publish dev-7/x", true),
        ("identity:8 cannot publish #", true),
    ] {
        let verdict = world.prove(&Statement::parse(statement).unwrap()).unwrap();
        assert_eq!(matches!(verdict, Verdict::Proved(_)), expected, "{statement}: {verdict:?}");
    }
    assert_eq!(world.lint().unwrap(), [], "the rule is not dead");
}
