//! The parts of the hot path, each alone: `cargo bench -p motte-hot`.
#![expect(clippy::expect_used, reason = "a fault here is one of the benchmark, and ends it")]

use std::sync::Arc;

use divan::{Bencher, black_box};
use motte_access::{
    Action, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy, PolicyGeneration, Principal,
    Security, Subject, Target,
};
use motte_hot::{Site, publish};
use motte_topic::{FilterSet, TopicFilter, TopicName};
use motte_wire::{DecodeRules, Direction, ProtocolVersion, PublishHead, QoS, TextRules, decode, frame};

fn main() {
    divan::main();
}

/// One PUBLISH of 64 bytes at QoS 1: from bytes to a packet.
#[divan::bench]
fn decode_publish(bencher: Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    publish(&mut bytes, "site/7/sensor/12", (QoS::AtLeastOnce, false), 7, &[7; 64]);
    let rules = DecodeRules { from: Direction::Client, text: TextRules::default() };
    bencher.bench_local(|| {
        let whole = frame(black_box(&bytes), 1 << 20).expect("a packet").expect("it is whole");
        black_box(decode(whole, ProtocolVersion::V311, &rules).is_ok())
    });
}

/// The head of a PUBLISH of version 5 with a Subscription Identifier: from parts to bytes.
#[divan::bench]
fn encode_publish(bencher: Bencher<'_, '_>) {
    let identifiers = [std::num::NonZeroU32::MIN];
    let head = PublishHead {
        version: ProtocolVersion::V5,
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "site/7/sensor/12",
        packet_id: None,
        alias: None,
        message_expiry_s: Some(60),
        subscription_identifiers: &identifiers,
        forwarded: &[],
        payload_len: 64,
    };
    let mut out = Vec::with_capacity(128);
    bencher.bench_local(|| {
        out.clear();
        black_box(&head).encode(&mut out)
    });
}

/// A Topic Name against many Topic Filters, of which two match.
#[divan::bench(args = [1_000, 100_000])]
fn match_filters(bencher: Bencher<'_, '_>, count: u32) {
    let mut set = FilterSet::new();
    for number in 0..count {
        for filter in [format!("site/{}/+/{number}", number % 100), format!("site/+/sensor/{number}/#")] {
            set.entry_or_insert_with(&TopicFilter::parse(filter).expect("a filter"), || number);
        }
    }
    let names: Vec<_> = (0..1_000_u32)
        .map(|number| {
            let number = number * 7_919 % count;
            TopicName::parse(format!("site/{}/sensor/{number}", number % 100)).expect("a name")
        })
        .collect();
    let mut next = names.iter().cycle();
    bencher.bench_local(|| {
        let mut matches = 0;
        if let Some(name) = next.next() {
            set.for_each_match(name.as_ref(), |_| matches += 1);
        }
        matches
    });
}

/// A publication, as the Gate sees it.
struct Message<'t>(&'t TopicName);

impl Subject for Message<'_> {
    fn action(&self) -> Action {
        Action::Publish
    }
    fn target(&self) -> Target<'_> {
        Target::Topic(self.0.as_ref())
    }
    fn qos(&self) -> u8 {
        1
    }
    fn retain(&self) -> bool {
        false
    }
    fn payload_bytes(&self) -> usize {
        64
    }
}

fn gate(rules: u32) -> (Gate, Arc<Principal>) {
    use std::fmt::Write as _;
    let mut text = String::from("version = 1\n[role.all]\nrules = [\n");
    for number in 0..rules {
        // A role has a few rules about its holder and many about places.
        let whose = if number < 5 { "{identity}" } else { "+" };
        writeln!(text, "  {{ allow = [\"publish\"], topics = [\"site/{number}/{whose}/+\"] }},")
            .expect("memory");
    }
    text.push_str("]\n[authenticated]\nroles = [\"all\"]\n");
    let policy = Policy::parse(&text, "bench").expect("the policy is ours");
    let gate = Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1))));
    let principal = Arc::new(Principal::Client(ClientPrincipal {
        identity: Arc::from("device"),
        client_id: Arc::from("device"),
        user_name: None,
        token: None,
        ends_s: None,
        directory: None,
        certificate: None,
        methods: Methods::PASSWORD,
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
        credential: 0,
    }));
    (gate, principal)
}

/// A decision that was not made before, under so many rules.
#[divan::bench(args = [10, 10_000])]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the decision itself")]
fn decide_new(bencher: Bencher<'_, '_>, rules: u32) {
    let (gate, principal) = gate(rules);
    let mut standing = gate.standing(principal);
    let names: Vec<_> = (0..1_000_u32)
        .map(|number| {
            TopicName::parse(format!("site/{}/device/{number}", number * 7_919 % rules)).expect("a name")
        })
        .collect();
    let mut next = names.iter().cycle();
    bencher.bench_local(|| {
        next.next().map(|name| {
            matches!(
                gate.decide(&mut standing, Origin::Publish, Message(name)),
                motte_access::AccessDecision::Permit(_)
            )
        })
    });
}

/// A decision that is applied again.
#[divan::bench]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the decision itself")]
fn decide_again(bencher: Bencher<'_, '_>) {
    let (gate, principal) = gate(10_000);
    let mut standing = gate.standing(principal);
    let name = TopicName::parse("site/7/device/temperature").expect("a name");
    let motte_access::AccessDecision::Permit(decided) =
        gate.decide(&mut standing, Origin::Publish, Message(&name))
    else {
        return;
    };
    let grant = gate.grant_of(&standing, &decided);
    bencher.bench_local(|| {
        gate.decide_again(&standing, black_box(&grant), Origin::Publish, Message(&name)).is_ok()
    });
}

/// A PUBLISH from its bytes to the output of one subscriber: to a topic again and again, and to a thousand in turn.
#[divan::bench(args = [1, 1_000])]
fn route_publish(bencher: Bencher<'_, '_>, topics: u32) {
    let mut site = Site::new(0);
    let (publisher, subscriber) = (site.connect("publisher"), site.connect("subscriber"));
    site.subscribe(subscriber, "hot/#", QoS::AtMostOnce);
    let packets: Vec<_> = (0..topics)
        .map(|topic| {
            let mut bytes = Vec::new();
            publish(&mut bytes, &format!("hot/{topic}"), (QoS::AtMostOnce, false), 0, &[7; 64]);
            bytes
        })
        .collect();
    let mut next = packets.iter().cycle();
    bencher.bench_local(|| {
        if let Some(packet) = next.next() {
            site.bytes(publisher, packet);
        }
        site.forget_output(subscriber);
    });
}
