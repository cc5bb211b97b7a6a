//! The index finds the rules that a look at each of them finds.

use std::sync::Arc;

use motte_topic::{TopicFilter, TopicName};
use proptest::prelude::*;
use proptest::sample::select;

use crate::action::Action;
use crate::policy::{CompiledPolicy, Policy, PolicyGeneration, RuleId};
use crate::principal::{CertificateFacts, ClientPrincipal, Methods, Principal, Security};
use crate::standing::Standing;

/// Levels that a rule can have; some begin, end or are a placeholder.
const RULE_LEVELS: [&str; 16] = [
    "a",
    "b",
    "",
    "+",
    "$x",
    "g",
    "{identity}",
    "{client_id}",
    "{group}",
    "{user}",
    "x{identity}",
    "{group}-a",
    "{cert.ou}",
    "{identity}{group}",
    "{client_id}b",
    "a",
];
/// Levels that topics have.
const LEVELS: [&str; 11] = ["a", "b", "", "$x", "g", "h", "xa", "g-a", "ag", "h-a", "c"];
/// Names that clients have, of which some could widen a filter or reach the broker's topics.
const NAMES: [&str; 8] = ["a", "b", "g", "+", "#", "a/b", "$x", "c"];

fn filter(levels: &[&'static str]) -> impl Strategy<Value = String> {
    (
        proptest::collection::vec(select(levels.to_vec()), 1..4),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(levels, open, all)| {
            let text = if open { format!("{}/#", levels.join("/")) } else { levels.join("/") };
            if all || text.is_empty() { "#".to_owned() } else { text }
        })
}

fn rule() -> impl Strategy<Value = (bool, String, &'static str)> {
    let condition =
        select(vec!["", "", ", qos_max = 0", ", listener = [\"side\"]", ", method = [\"password\"]"]);
    (any::<bool>(), filter(&RULE_LEVELS), condition)
        .prop_filter("a template", |(_, filter, _)| crate::template::Template::parse(filter).is_ok())
}

fn policy() -> impl Strategy<Value = String> {
    let rules = || proptest::collection::vec(rule(), 1..8);
    let groups = select(vec!["[]", "[\"g\"]", "[\"g\", \"h\"]", "[\"h\", \"+\"]", "[\"$x\", \"#\"]"]);
    (rules(), rules(), groups).prop_map(|(r, s, groups)| {
        let list = |rules: &Vec<(bool, String, &str)>| -> String {
            let line = |(allows, filter, condition): &(bool, String, &str)| {
                let verb = if *allows { "allow" } else { "deny" };
                format!("  {{ {verb} = [\"publish\", \"subscribe\"], topics = [\"{filter}\"]{condition} }},\n")
            };
            rules.iter().map(line).collect()
        };
        let names: String =
            NAMES.iter().map(|name| format!("[identity.\"{name}\"]\nroles = [\"r\"]\ngroups = {groups}\n")).collect();
        format!(
            "version = 1\n[role.r]\nrules = [\n{}]\n[role.s]\nrules = [\n{}]\n[authenticated]\nroles = [\"s\"]\n\
             [group.g]\n[group.h]\n[group.\"+\"]\n[group.\"#\"]\n[group.\"$x\"]\n{names}",
            list(&r),
            list(&s),
        )
    })
}

fn principals() -> impl Strategy<Value = Principal> {
    let client = (
        select(NAMES.to_vec()),
        select(NAMES.to_vec()),
        any::<bool>(),
        proptest::option::of(select(NAMES.to_vec())),
    )
        .prop_map(|(identity, client_id, by_password, unit)| {
            Principal::Client(ClientPrincipal {
                identity: Arc::from(identity),
                client_id: Arc::from(client_id),
                user_name: by_password.then(|| Arc::from(identity)),
                token: None,
                ends_s: None,
                directory: None,
                certificate: Some(Arc::new(CertificateFacts {
                    ou: unit.map(str::to_owned),
                    ..CertificateFacts::default()
                })),
                methods: if by_password { Methods::PASSWORD } else { Methods::CERTIFICATE },
                listener: Arc::from("main"),
                security: Security::Tls,
                address: None,
                credential: 0,
            })
        });
    prop_oneof![9 => client, 1 => Just(Principal::Bridge { name: Arc::from("up") })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_index_finds_what_a_look_at_each_rule_finds(
        text in policy(),
        principal in principals(),
        topics in proptest::collection::vec(filter(&LEVELS), 12),
        filters in proptest::collection::vec(
            filter(&["a", "b", "", "+", "$x", "g", "h", "xa", "g-a", "ag", "c", "+"]), 12),
    ) {
        let text = format!("{text}[bridge.up]\nroles = [\"r\", \"s\"]\n");
        let policy = Policy::parse(&text, "policy.toml").map_err(|error| TestCaseError::fail(error.to_string()))?;
        let policy = CompiledPolicy::compile(&policy, PolicyGeneration(1));
        let standing = Standing::resolve(Arc::new(principal), &policy);
        for topic in topics.iter().filter_map(|text| TopicName::parse(text).ok()) {
            let mut found: Vec<RuleId> = Vec::new();
            standing.for_each_match(&policy, topic.as_ref(), |rule| found.push(rule.id));
            let each = standing.rules_about(&policy, Action::Publish);
            let mut wanted: Vec<RuleId> =
                each.filter(|(filter, _)| filter.matches(topic.as_ref())).map(|(_, rule)| rule.id).collect();
            for list in [&mut found, &mut wanted] {
                list.sort_unstable();
                list.dedup();
            }
            prop_assert_eq!(found, wanted, "{} under {}", topic, text);
        }
        for asked in filters.iter().filter_map(|text| TopicFilter::parse(text).ok()) {
            let meets = |filter: &TopicFilter| motte_topic::intersects(filter, &asked).is_some();
            let mut found = Vec::new();
            standing.for_each_near(&policy, Action::Subscribe, &asked, |filter, rule| {
                found.extend(meets(&filter).then(|| (rule.id, filter.as_str().to_owned())));
            });
            let each = standing.rules_about(&policy, Action::Subscribe).filter(|(filter, _)| meets(filter));
            let mut wanted: Vec<_> = each.map(|(filter, rule)| (rule.id, filter.as_str().to_owned())).collect();
            for list in [&mut found, &mut wanted] {
                list.sort_unstable();
                list.dedup();
            }
            prop_assert_eq!(found, wanted, "{} under {}", asked.as_str(), text);
        }
    }
}
