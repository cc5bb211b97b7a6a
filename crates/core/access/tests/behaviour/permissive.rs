//! Permissive roles as they are written.

use motte_access::{Action, CompiledPolicy, Policy, PolicyGeneration};

use crate::subject::{client, gate, may};

fn policy(until: &str, holders: &str) -> String {
    format!(
        "version = 1\n[role.r]\npermissive_until = \"{until}\"\nrules = [{{ allow = [\"publish\"], topics = [\"a\"] }}, {{ deny = [\"retain\"], topics = [\"c\"] }}]\n{holders}"
    )
}

const HELD: &str = "[identity.dev]\nroles = [\"r\"]\n";

#[test]
fn a_day_is_written_as_one_and_ends_with_its_last_second() {
    let read = |until: &str| Policy::parse(&policy(until, HELD), "policy.toml");
    let compiled = CompiledPolicy::compile(&read("2026-11-30").unwrap(), PolicyGeneration(1));
    let roles = compiled.permissive_roles();
    assert_eq!(roles.len(), 1);
    assert_eq!((roles[0].name.as_str(), roles[0].until.end_s), ("r", 1_796_083_200));
    for wrong in ["", "soon", "2026-02-30", "30.11.2026", "1960-01-01"] {
        let error = read(wrong).unwrap_err();
        assert_eq!(error.line, 3, "{error}");
        assert!(error.what.contains("is not a date") && error.remedy.contains("2027-03-31"), "{error}");
    }
}

#[test]
fn nobody_makes_everybody_permissive() {
    let whole = [
        "[authenticated]\nroles = [\"r\"]\n",
        "[anonymous]\nroles = [\"r\"]\n",
        "[[certificate]]\nroles = [\"r\"]\n",
    ];
    for holders in whole {
        let error = Policy::parse(&policy("2026-11-30", holders), "policy.toml").unwrap_err();
        assert!(error.what.contains("everybody would have it"), "{error}");
    }
}

#[test]
fn it_needs_the_time_and_a_rule_that_denies_wins() {
    let mut gate = gate(&policy("2026-11-30", HELD));
    let (dev, other) = (client("dev", "dev"), client("other", "other"));
    assert!(!may(&gate, &dev, Action::Publish, "b"), "without a clock nothing is permissive");
    let strict = gate.generation();
    assert!(gate.advance(1_796_083_199).is_empty());
    assert_ne!(gate.generation(), strict);
    for (action, target) in [(Action::Publish, "b"), (Action::SetWill, "b"), (Action::Subscribe, "#")] {
        assert!(may(&gate, &dev, action, target), "{target}");
        assert!(!may(&gate, &other, action, target), "only who has the role");
    }
    assert!(!may(&gate, &dev, Action::Retain, "c"));
    assert!(!may(&gate, &dev, Action::Administer, "b") && !may(&gate, &dev, Action::Subscribe, "$SYS/#"));
    assert_eq!((gate.lenient(), gate.take_leniencies().len()), (3, 3));
    let ended = gate.advance(1_796_083_200);
    assert_eq!(ended.first().map(|role| role.name.as_str()), Some("r"));
    assert_eq!(gate.generation(), strict);
    assert!(!may(&gate, &dev, Action::Publish, "b") && may(&gate, &dev, Action::Publish, "a"));
}
