//! `diff` tells of every change that asking the Gate under both policies shows, and of no other. `lint` calls a rule idle
//! when taking it out changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use motte_access::Gate;
use motte_access::analysis::{Check, Way, Who, diff};
use motte_topic::TopicName;
use proptest::prelude::*;

use super::generate::{policy, policy_pair};
use super::universe::{Asker, FILTERS, TOPICS, clients, compile, world};

/// What everybody may: by client, way and QoS.
fn rights(policy: &str, everybody: &[motte_access::ClientPrincipal]) -> Vec<BTreeMap<(Way, u8), Vec<bool>>> {
    let gate = Gate::new(Arc::new(compile(policy)));
    let each = |client: &motte_access::ClientPrincipal| {
        let mut may = BTreeMap::new();
        if gate.client_id_permitted(client).is_err() {
            return may;
        }
        let mut asker = Asker::new(&gate, client);
        for way in Way::ALL {
            for qos in 0..if policy.contains("qos_max") { 3 } else { 1 } {
                may.insert((way, qos), asker.may(way, qos));
            }
        }
        may
    };
    everybody.iter().map(each).collect()
}

/// Topics that somebody may under `b` and not under `a`, by way.
fn gained(
    a: &[BTreeMap<(Way, u8), Vec<bool>>],
    b: &[BTreeMap<(Way, u8), Vec<bool>>],
    names: &[&str],
) -> BTreeSet<(String, Way, TopicName)> {
    let mut found = BTreeSet::new();
    for ((before, after), name) in a.iter().zip(b).zip(names) {
        for ((way, qos), may) in after {
            // A policy that does not ask for the QoS says the same of each.
            let known = before.get(&(*way, *qos)).or_else(|| before.get(&(*way, 0)));
            for (at, topic) in TOPICS.iter().enumerate() {
                if may[at] && !known.is_some_and(|known| known[at]) {
                    found.insert(((*name).to_owned(), *way, topic.clone()));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(8), ..ProptestConfig::default() })]

    #[test]
    fn every_change_is_told_and_no_other((old, new) in policy_pair()) {
        // Conditions of either policy make clients differ.
        let both = format!("{old}\n{new}");
        let (old_gate, new_gate) =
            (Gate::new(Arc::new(compile(&old))), Gate::new(Arc::new(compile(&new))));
        let mut everybody = clients(&old_gate, &both);
        for client in clients(&new_gate, &both) {
            if !everybody.contains(&client) {
                everybody.push(client);
            }
        }
        let names: Vec<&str> = everybody.iter().map(|client| &*client.identity).collect();
        let spread = |policy: &str| {
            let mut all = rights(policy, &everybody);
            for may in &mut all {
                for way in Way::ALL {
                    if let Some(first) = may.get(&(way, 0)).cloned() {
                        for qos in 1..3 {
                            may.entry((way, qos)).or_insert_with(|| first.clone());
                        }
                    }
                }
            }
            all
        };
        let (before, after) = (spread(&old), spread(&new));
        let told = diff(&world(&old), &world(&new)).unwrap();
        for (changes, expected, verb) in [
            (&told.widened, gained(&before, &after, &names), "gained"),
            (&told.narrowed, gained(&after, &before, &names), "lost"),
        ] {
            let ways: BTreeSet<Way> = changes.iter().map(|change| change.way).collect();
            let wanted: BTreeSet<Way> = expected.iter().map(|(_, way, _)| *way).collect();
            prop_assert_eq!(&ways, &wanted, "{} by these ways: {:?} {:?}\nold {}\nnew {}", verb, changes, expected, old, new);
            // The same for one identity that policies may name.
            let of_a = |change: &&motte_access::analysis::Change| {
                change.who.iter().any(|who| matches!(who, Who::Identity { name, .. } if name == "a"))
            };
            if old_gate.policy().knows_identity("a") && new_gate.policy().knows_identity("a") {
                let ways: BTreeSet<Way> = changes.iter().filter(of_a).map(|change| change.way).collect();
                let wanted: BTreeSet<Way> =
                    expected.iter().filter(|(name, ..)| name == "a").map(|(_, way, _)| *way).collect();
                prop_assert_eq!(ways, wanted, "{} by identity a: {:?}\nold {}\nnew {}", verb, changes, old, new);
            }
        }
    }

    #[test]
    fn a_rule_without_effect_can_be_taken_out(policy in policy()) {
        let findings = world(&policy).lint().unwrap();
        let gate = Gate::new(Arc::new(compile(&policy)));
        let everybody = clients(&gate, &policy);
        let before = rights(&policy, &everybody);
        let idle: BTreeSet<usize> = findings
            .iter()
            .filter(|finding| matches!(finding.check, Check::Shadowed | Check::Contradicted | Check::Idle | Check::NeverHolds))
            .map(|finding| finding.line)
            .collect();
        for line in 1..=policy.lines().count() {
            let text = policy.lines().nth(line - 1).unwrap();
            let is_rule = text.trim_start().starts_with("{ ");
            let only = policy.lines().enumerate().filter(|(at, _)| at + 1 != line).map(|(_, text)| text).collect::<Vec<_>>().join("\n");
            if !is_rule {
                continue;
            }
            if idle.contains(&line) {
            let after = rights(&only, &everybody);
            // Fewer conditions in a policy mean fewer questions; they compare where both were asked.
            let same = before.iter().zip(&after).all(|(before, after)| {
                before.iter().all(|(key, may)| after.get(key).or_else(|| after.get(&(key.0, 0))) == Some(may))
            });
                prop_assert!(same, "line {} decides something\n{}", line, policy);
                if !policy.contains("narrow") {
                    prop_assert!(same_filters(&policy, &only, &everybody), "line {} decides about a filter\n{}", line, policy);
                }
            }
        }
    }
}

/// Whether every SUBSCRIBE is answered alike.
fn same_filters(a: &str, b: &str, everybody: &[motte_access::ClientPrincipal]) -> bool {
    let gates = [a, b].map(|policy| Gate::new(Arc::new(compile(policy))));
    everybody.iter().all(|client| {
        let mut askers = gates.each_ref().map(|gate| Asker::new(gate, client));
        FILTERS.iter().filter(|filter| filter.has_wildcard()).all(|filter| {
            [motte_access::Action::Subscribe, motte_access::Action::Share].into_iter().all(|action| {
                let [a, b] = askers.each_mut().map(|asker| asker.subscribes(action, filter, 0));
                a == b
            })
        })
    })
}

/// Cases for each property: so many, or as many as were asked for.
pub(super) fn cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}
