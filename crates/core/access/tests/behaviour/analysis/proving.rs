//! `prove` says of each statement what asking the Gate about everybody says.

use motte_access::Gate;
use motte_access::analysis::{Statement, Verdict, Way, Whom};
use motte_topic::TopicFilter;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::comparing::cases;
use super::generate::{policy, policy_with_a_role_given};
use super::universe::{Asker, TOPICS, clients, compile, world};

/// A filter without placeholders.
fn target() -> impl Strategy<Value = &'static str> {
    select(vec![
        "a", "b", "a/b", "a/#", "+", "#", "+/b", "a/+", "b/a/#", "$x/#", "$SYS/#", "/#", "/a", "a/b/z",
        "z/#", "z", "+/+/a", "$x/a", "a/z", "a/+/z",
    ])
}

/// Whether somebody may something of a filter.
fn anybody_may(
    policy: &str,
    identity: Option<&str>,
    way: Way,
    filter: &str,
    except: Option<&str>,
) -> Option<String> {
    let gate = Gate::new(Arc::new(compile(policy)));
    let filter = TopicFilter::parse(filter).unwrap();
    for client in clients(&gate, policy) {
        if identity.is_some_and(|name| *client.identity != *name || client.methods.names() == "anonymous") {
            continue;
        }
        let own =
            except.map(|text| TopicFilter::parse(text.replace("{identity}", &client.identity)).unwrap());
        let mut asker = Asker::new(&gate, &client);
        for qos in 0..if policy.contains("qos_max") { 3 } else { 1 } {
            let may = asker.may(way, qos);
            let found = TOPICS.iter().zip(may).find(|(topic, may)| {
                *may && filter.matches(topic.as_ref())
                    && !own.as_ref().is_some_and(|own| own.matches(topic.as_ref()))
            });
            if let Some((topic, _)) = found {
                return Some(format!("{client:?} {} {topic} with QoS {qos}", way.name()));
            }
        }
    }
    None
}

/// OU and CN of a certificate that give roles.
type Names = (Option<String>, Option<String>);

const WAYS: [Way; 5] = [Way::Publish, Way::Retain, Way::Will, Way::Subscribe, Way::Receive];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(64), ..ProptestConfig::default() })]

    #[test]
    fn what_is_proved_nobody_can_and_what_is_refuted_somebody_can(
        policy in policy(),
        way in select(WAYS.to_vec()),
        target in target(),
        who in select(vec![None, Some("a"), Some("b"), Some("z")]),
        except in select(vec![None, None, Some("a/{identity}/#"), Some("{identity}/#"), Some("+/b")]),
    ) {
        let whom = who.map_or(Whom::Anybody, |name| Whom::Identity(name.into()));
        let except_list: Vec<&str> = except.into_iter().collect();
        let statement = Statement::new(whom, false, way.name(), target, &except_list).unwrap();
        let verdict = world(&policy).prove(&statement).unwrap();
        let found = anybody_may(&policy, who, way, target, except);
        match (&verdict, &found) {
            (Verdict::Proved(_), Some(found)) => prop_assert!(false, "{statement}\nwas proved, but {found}\n{policy}"),
            (Verdict::Refuted(counter), None) => {
                prop_assert!(false, "{statement}\nwas refuted by {counter:?}, but nobody can\n{policy}");
            }
            (Verdict::Refuted(counter), Some(_)) => {
                prop_assert!(counter.topic.is_some() && counter.rule.is_some(), "{counter:?}\n{policy}");
                prop_assert!(counter.filter.is_some() == (way == Way::Subscribe), "{counter:?}");
            }
            (Verdict::Proved(_), None) => {}
        }
    }

    #[test]
    fn of_a_role_it_is_said_of_everybody_who_has_it_and_would_have_it(
        (held, given) in policy_with_a_role_given(),
        way in select(WAYS.to_vec()),
        target in target(),
    ) {
        let statement = Statement::new(Whom::Role("r".into()), false, way.name(), target, &[]).unwrap();
        let filter = TopicFilter::parse(target).unwrap();
        let gates = [&held, &given].map(|policy| Gate::new(Arc::new(compile(policy))));
        let mut found = None;
        for (gate, is_given) in gates.iter().zip([false, true]) {
            for client in clients(gate, &held) {
                // Named identities have what they have.
                let is_named = gates[0].policy().knows_identity(&client.identity);
                let fits = gates[0].client_id_permitted(&client).is_ok();
                let facts = client.certificate.as_deref();
                let gives = |key: &str, value: &Option<String>| {
                    value.as_ref().is_some_and(|value| held.contains(&format!("{key} = \"{value}\"")))
                };
                let has_more = facts.is_some_and(|facts| gives("ou", &facts.ou) || gives("cn", &facts.cn));
                if is_given && (has_more || is_named || !fits || client.methods.names() == "anonymous") {
                    continue;
                }
                let mut asker = Asker::new(gate, &client);
                if !asker.is_marked() {
                    continue;
                }
                for qos in 0..if held.contains("qos_max") { 3 } else { 1 } {
                    let may = asker.may(way, qos);
                    let topic = TOPICS.iter().zip(may).find(|(topic, may)| *may && filter.matches(topic.as_ref()));
                    found = found.or(topic.map(|(topic, _)| format!("{client:?} {topic}")));
                }
            }
        }
        let verdict = world(&held).prove(&statement).unwrap();
        let is_proved = matches!(verdict, Verdict::Proved(_));
        prop_assert_eq!(is_proved, found.is_none(), "{}: {:?}, but {:?}\n{}\n{}", statement, verdict, found, held, given);
    }

    #[test]
    fn what_can_be_done_is_done_by_each_identity(
        policy in policy(),
        way in select(WAYS.to_vec()),
        target in target(),
        name in select(vec!["a", "b", "z"]),
    ) {
        let statement = Statement::new(Whom::Identity(name.into()), true, way.name(), target, &[]).unwrap();
        let filter = TopicFilter::parse(target).unwrap();
        let gate = Gate::new(Arc::new(compile(&policy)));
        // Each certificate that it may have is another client; each must find a way.
        let mut everybody: BTreeMap<Option<Names>, bool> = BTreeMap::new();
        for client in clients(&gate, &policy) {
            if *client.identity != *name || client.methods.names() == "anonymous" {
                continue;
            }
            let mut asker = Asker::new(&gate, &client);
            let mut may = asker.may(if way == Way::Subscribe { Way::Receive } else { way }, 0);
            if way == Way::Subscribe && !asker.subscribes(motte_access::Action::Subscribe, &filter, 0) {
                may = vec![false; TOPICS.len()];
            }
            let all = TOPICS.iter().zip(may).all(|(topic, may)| may || !filter.matches(topic.as_ref()));
            let given = |key: &str, value: &Option<String>| {
                value.clone().filter(|value| policy.contains(&format!("{key} = \"{value}\"")))
            };
            let facts = client.certificate.as_deref();
            let unit = facts.map(|facts| (given("ou", &facts.ou), given("cn", &facts.cn)));
            let unit = unit.filter(|(ou, cn)| ou.is_some() || cn.is_some());
            *everybody.entry(unit).or_default() |= all;
        }
        let expected = !everybody.is_empty() && everybody.values().all(|can| *can);
        let verdict = world(&policy).prove(&statement).unwrap();
        prop_assert_eq!(matches!(verdict, Verdict::Proved(_)), expected, "{}: {:?}\n{}", statement, verdict, policy);
    }
}
