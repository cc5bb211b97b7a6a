//! Policies at random: several roles, rules that allow and deny, placeholders, `$` topics, conditions, wildcards, narrowing,
//! and every way to have a role.

use proptest::prelude::*;
use proptest::sample::select;

/// A filter of one or two levels and perhaps `#`.
pub(super) fn filter() -> impl Strategy<Value = String> {
    let first = select(vec!["a", "b", "", "+", "{identity}", "{client_id}", "$x", "$SYS", "{cert.ou}", "a"]);
    let next = select(vec!["a", "b", "", "+", "{identity}", "{client_id}", "{group}", "{user}"]);
    (first, proptest::option::of(next), prop::bool::weighted(0.35), prop::bool::weighted(0.05)).prop_map(
        |(first, next, open, all)| {
            if all {
                return "#".to_owned();
            }
            let mut text = first.to_owned();
            if let Some(next) = next {
                text.push('/');
                text.push_str(next);
            }
            if open || text.is_empty() {
                text.push_str("/#");
            }
            text
        },
    )
}

fn rule() -> impl Strategy<Value = String> {
    let actions =
        select(vec!["publish", "subscribe", "retain", "share", "receive", "publish", "subscribe", "will"]);
    let condition = select(vec![
        "",
        "",
        "",
        "",
        ", qos_max = 0",
        ", qos_max = 1",
        ", method = [\"password\"]",
        ", method = [\"certificate\"]",
        ", listener = [\"side\"]",
        ", from = [\"10.0.0.0/8\"]",
        ", narrow = true",
        ", narrow = true",
    ]);
    let actions = proptest::collection::vec(actions, 1..3);
    (prop::bool::weighted(0.35), actions, filter(), condition).prop_map(
        |(denies, actions, filter, condition)| {
            let verb = if denies { "deny" } else { "allow" };
            let condition =
                if denies { condition.replace(", narrow = true", "") } else { condition.to_owned() };
            format!("{{ {verb} = {actions:?}, topics = [\"{filter}\"]{condition} }}")
        },
    )
}

fn role(name: &'static str) -> impl Strategy<Value = String> {
    let wildcards = select(vec!["scoped", "scoped", "allow", "deny"]);
    (wildcards, proptest::collection::vec(rule(), 1..4)).prop_map(move |(wildcards, rules)| {
        format!("[role.{name}]\nwildcards = \"{wildcards}\"\nrules = [\n    {},\n]\n", rules.join(",\n    "))
    })
}

fn holders() -> impl Strategy<Value = &'static str> {
    select(vec![
        "[identity.a]\nroles = [\"r\"]\n",
        "[identity.a]\nroles = [\"r\", \"s\"]\ngroups = [\"b\", \"y\"]\n[group.b]\n[group.y]\n",
        "[identity.a]\nroles = [\"r\"]\nclient_ids = [\"*\"]\n[authenticated]\nroles = [\"s\"]\n",
        "[authenticated]\nroles = [\"r\"]\n[[certificate]]\nou = \"u\"\nroles = [\"s\"]\n",
        "[authenticated]\nroles = [\"r\", \"s\"]\nclient_ids = [\"{identity}\"]\n",
        "[identity.a]\nroles = [\"s\"]\n[anonymous]\nroles = [\"r\"]\n",
        "[[certificate]]\nou = \"u\"\nroles = [\"r\"]\n[[certificate]]\ncn = \"b\"\nroles = [\"s\"]\n",
    ])
}

/// No topic registry, or one of some shapes.
fn registry() -> impl Strategy<Value = String> {
    let shape = select(vec![
        "a", "b", "a/#", "b/a", "+/a", "+/+", "$x/#", "a/z", "z/#", "/#", "#", "a-b/+", "+/b/#", "a/a", "u",
    ]);
    let shapes = proptest::collection::vec(shape, 0..4);
    proptest::option::weighted(0.4, shapes)
        .prop_map(|shapes| shapes.map_or_else(String::new, |shapes| format!("topic_registry = {shapes:?}\n")))
}

/// A whole policy with the roles `r` and `s`.
pub(super) fn policy() -> impl Strategy<Value = String> {
    (registry(), role("r"), role("s"), holders())
        .prop_map(|(registry, r, s, holders)| format!("version = 1\n{registry}{r}{s}{holders}"))
}

/// A policy in which everybody with the role `r` has a right that nobody else has, and the same policy in which every
/// authenticated client has the role, and no other one than all have.
pub(super) fn policy_with_a_role_given() -> impl Strategy<Value = (String, String)> {
    (role("r"), role("s"), holders()).prop_filter_map("groups", |(r, s, holders)| {
        let r = r.replace("rules = [\n", &format!("rules = [\n    {MARK},\n"));
        let held = format!("version = 1\n{r}{s}{holders}");
        let common = holders.split_once("[authenticated]\n").map_or("", |(_, rest)| rest);
        let common = common.split("[[").next().unwrap_or_default();
        let common = if common.is_empty() { "roles = []\n" } else { common };
        let given = common.replace("roles = [\"r\"", "roles = [").replace("roles = [, ", "roles = [");
        let given = given
            .replace("roles = []", "roles = [\"r\"]")
            .replace("roles = [\"s\"]", "roles = [\"r\", \"s\"]");
        let given = format!("version = 1\n{r}{s}[authenticated]\n{given}");
        (!held.contains("{group}")).then_some((held, given))
    })
}

/// The right that tells who has the role `r`.
const MARK: &str = "{ allow = [\"administer\"], topics = [\"mark\"] }";

/// Two policies that differ in one role and perhaps in what topics there are.
pub(super) fn policy_pair() -> impl Strategy<Value = (String, String)> {
    let registries = (registry(), registry());
    (registries, role("r"), role("r"), role("s"), holders()).prop_map(|(registries, old, new, s, holders)| {
        let (before, after) = registries;
        let old = format!("version = 1\n{before}{old}{s}{holders}");
        (old, format!("version = 1\n{after}{new}{s}{holders}"))
    })
}
