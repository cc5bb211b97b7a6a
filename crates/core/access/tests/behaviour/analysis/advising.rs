//! Advice from what was used: nothing that was used is denied by it, and nothing more is permitted.

use std::sync::{Arc, Mutex};

use motte_access::analysis::{Proposal, advise, diff};
use motte_access::usage::{Recorder, RuleName, UsageKey, UsageRecord};
use motte_access::{
    AccessDecision, Action, CompiledPolicy, Gate, Origin, Policy, PolicyGeneration, Principal, Subject,
};
use motte_topic::{TopicFilter, TopicName};
use proptest::prelude::*;

use super::generate::policy;
use super::universe::{FILTERS, TOPICS, clients, world};
use crate::subject::{Ask, client};

/// When things are used in these tests, and since when rules are watched.
const USED_S: u64 = 2_000;
const WATCHED_S: u64 = 1_000;

/// A gate whose permissions are recorded.
struct Recorded {
    gate: Gate,
    recorder: Recorder,
    record: Arc<Mutex<UsageRecord>>,
    at_s: u64,
}

impl Recorded {
    fn under(text: &str) -> Self {
        let policy = Policy::parse(text, "policy.toml").unwrap();
        let gate = Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1))));
        let record = Arc::new(Mutex::new(UsageRecord::default()));
        record.lock().unwrap().watch(gate.policy().rule_names(), WATCHED_S);
        Self { gate, recorder: Recorder::new(Arc::clone(&record)), record, at_s: USED_S }
    }

    fn does<T: Subject>(&mut self, who: &Principal, by: Origin, what: T, quarantined: bool) -> bool {
        let mut standing = self.gate.standing(Arc::new(who.clone()));
        #[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
        let decision = self.gate.decide(&mut standing, by, what);
        let AccessDecision::Permit(decided) = decision else { return false };
        self.recorder.note(&self.gate, &standing, &decided, quarantined, self.at_s);
        true
    }

    fn publishes(&mut self, identity: &str, topic: &str) {
        let ask = Ask::Topic(Action::Publish, TopicName::parse(topic).unwrap(), false);
        assert!(
            self.does(&Principal::Client(client(identity, identity)), Origin::Publish, ask, false),
            "{topic}"
        );
    }

    fn subscribes(&mut self, identity: &str, filter: &str) {
        let ask = Ask::Filter(Action::Subscribe, TopicFilter::parse(filter).unwrap());
        assert!(
            self.does(&Principal::Client(client(identity, identity)), Origin::Publish, ask, false),
            "{filter}"
        );
    }

    fn record(mut self) -> UsageRecord {
        self.recorder.tell(self.gate.policy(), self.at_s);
        let record = self.record.lock().unwrap().clone();
        // As it would come from its file.
        UsageRecord::decode(&record.encode()).unwrap()
    }
}

const SITE: &str = r#"version = 1
[role.sensor]
rules = [
    { allow = ["publish", "retain", "subscribe"], topics = ["devices/+/#"], qos_max = 1 }, # wide
    { allow = ["publish"], topics = ["alarm/{identity}", "test/#"] },
    { allow = ["subscribe"], topics = ["old/#"] },
    { deny = ["publish"], topics = ["devices/{identity}/cert"] },
]
[authenticated]
roles = ["sensor"]
"#;

#[test]
fn a_thousand_devices_in_their_own_branches_are_one_rule() {
    let mut site = Recorded::under(SITE);
    for number in 0..1_000 {
        let name = format!("d{number}");
        site.publishes(&name, &format!("devices/{name}/t"));
        site.publishes(&name, &format!("alarm/{name}"));
        site.subscribes(&name, &format!("devices/{name}/cmd/#"));
    }
    let record = site.record();
    assert!(record.entries().count() < 8, "{}", record.encode());
    let advice = advise(SITE, "policy.toml", &record, 1_500).unwrap();
    let wanted = r#"version = 1
[role.sensor]
rules = [
    { allow = ["publish"], topics = ["devices/{identity}/t"], qos_max = 1 },
    { allow = ["subscribe"], topics = ["devices/{identity}/cmd/#"], qos_max = 1 }, # wide
    { allow = ["publish"], topics = ["alarm/{identity}"] },
    { deny = ["publish"], topics = ["devices/{identity}/cert"] },
]
[authenticated]
roles = ["sensor"]
"#;
    assert_eq!(advice.text, wanted);
    assert_eq!(advice.advised.len(), 3);
    let first = &advice.advised[0];
    assert_eq!((first.line, first.role.as_str()), (4, "sensor"));
    assert_eq!((first.evidence[0].count, first.evidence[0].last_s), (1_000, USED_S));
    assert_eq!(advice.advised[2].proposal, Proposal::Drop);
    assert!(diff(&world(SITE), &world(&advice.text)).unwrap().widened.is_empty());
}

#[test]
fn a_rule_is_judged_only_when_it_was_watched_long_enough() {
    let record = Recorded::under(SITE).record();
    let advice = advise(SITE, "policy.toml", &record, WATCHED_S - 1).unwrap();
    assert_eq!(advice.text, SITE);
    let since = Some(WATCHED_S);
    assert!(advice.advised.iter().all(|one| one.proposal == Proposal::NotJudged { watched_since_s: since }));
    let other = SITE.replace("old/#", "new/#");
    let advice = advise(&other, "policy.toml", &record, 1_500).unwrap();
    assert_eq!(advice.advised[2].proposal, Proposal::NotJudged { watched_since_s: None });
    assert!(advice.text.contains("new/#"));
}

#[test]
fn a_time_in_which_no_broker_ran_was_not_watched() {
    let rules = || Policy::parse(SITE, "policy.toml").unwrap();
    let compiled = CompiledPolicy::compile(&rules(), PolicyGeneration(1));
    let mut record = UsageRecord::default();
    record.watch(compiled.rule_names(), 10_000);
    record.touch(20_000);
    let rule = compiled.rule_names().next().unwrap();
    record.watch(compiled.rule_names(), 21_000);
    assert_eq!(record.watched_since(&rule), Some(10_000), "a short restart");
    record.watch(compiled.rule_names(), 121_000);
    assert_eq!(record.watched_since(&rule), Some(110_000), "and a long one");
}

#[test]
fn what_was_used_long_ago_or_in_quarantine_is_no_evidence() {
    let mut site = Recorded::under(SITE);
    site.at_s = 1_200;
    site.subscribes("d", "old/x");
    site.at_s = USED_S;
    let ask = Ask::Topic(Action::Publish, TopicName::parse("test/x").unwrap(), false);
    assert!(site.does(&Principal::Client(client("d", "d")), Origin::Publish, ask, true));
    let record = site.record();
    assert_eq!(record.entries().filter(|(key, _)| key.quarantined).count(), 1);
    let advice = advise(SITE, "policy.toml", &record, 1_500).unwrap();
    assert!(!advice.text.contains("old/#") && !advice.text.contains("test/#"), "{}", advice.text);
    let earlier = advise(SITE, "policy.toml", &record, 1_100).unwrap();
    assert!(earlier.text.contains("old/x") && !earlier.text.contains("test/#"), "{}", earlier.text);
}

#[test]
fn a_record_is_bounded_whatever_clients_do() {
    let mut site = Recorded::under(SITE);
    for number in 0..5_000 {
        site.publishes("d", &format!("test/{number}/{}", number % 7));
    }
    let record = site.record();
    let of_test = |key: &UsageKey| key.rule.words.contains("test/#");
    let shapes: Vec<&str> =
        record.entries().filter(|(key, _)| of_test(key)).map(|(key, _)| key.shape.as_str()).collect();
    assert!(shapes.len() <= 64, "{shapes:?}");
    assert_eq!(
        record.entries().filter(|(key, _)| of_test(key)).map(|(_, usage)| usage.count).sum::<u64>(),
        5_000
    );
    let rule = RuleName { role: "sensor".into(), words: "allow publish on test/#".into() };
    assert_eq!(record.watched_since(&rule), Some(WATCHED_S));
    let advice = advise(SITE, "policy.toml", &record, 1_500).unwrap();
    assert!(advice.text.contains("\"test/+/+\""), "{}", advice.text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn advice_denies_nothing_that_was_used_and_permits_nothing_more(
        text in policy(),
        asks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u8..5), 1..40),
    ) {
        let mut site = Recorded::under(&text);
        let everybody = clients(&site.gate, &text);
        prop_assume!(!everybody.is_empty());
        let mut done: Vec<(Principal, Ask, Origin)> = Vec::new();
        for (who, target, way) in asks {
            let principal = Principal::Client(who.get(&everybody).clone());
            let topic = || target.get(&TOPICS).clone();
            let filter = || target.get(&FILTERS).clone();
            let (ask, by) = match way {
                0 => (Ask::Topic(Action::Publish, topic(), false), Origin::Publish),
                1 => (Ask::Topic(Action::Publish, topic(), true), Origin::Publish),
                2 => (Ask::Topic(Action::SetWill, topic(), false), Origin::Will),
                3 => (Ask::Filter(Action::Subscribe, filter()), Origin::Publish),
                _ => (Ask::Filter(Action::Share, filter()), Origin::Shared),
            };
            if site.does(&principal, by, ask.clone(), false) {
                // Whoever subscribes gets what comes.
                if let Ask::Filter(_, filter) = &ask {
                    for topic in TOPICS.iter().filter(|topic| filter.matches(topic.as_ref())).take(20) {
                        let receive = Ask::Topic(Action::Receive, topic.clone(), false);
                        if site.does(&principal, Origin::Publish, receive.clone(), false) {
                            done.push((principal.clone(), receive, Origin::Publish));
                        }
                    }
                }
                done.push((principal, ask, by));
            }
        }
        let advice = advise(&text, "policy.toml", &site.record(), 1_500).unwrap();
        let changed = Policy::parse(&advice.text, "advised.toml");
        prop_assert!(changed.is_ok(), "{:?}\n{}\n{}", changed, text, advice.text);
        let mut after = Recorded::under(&advice.text);
        for (who, ask, by) in done {
            prop_assert!(after.does(&who, by, ask.clone(), false), "{:?} {:?}\n{}\n{}", who, ask, text, advice.text);
        }
        let change = diff(&world(&text), &world(&advice.text)).unwrap();
        prop_assert!(change.widened.is_empty(), "{:?}\n{}\n{}", change.widened, text, advice.text);
    }
}
