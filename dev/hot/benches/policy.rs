//! Decisions under a large policy, and the memory that it takes: `cargo bench -p motte-hot --bench policy`.
#![expect(clippy::expect_used, reason = "a fault here is one of the benchmark, and ends it")]

use std::fmt::Write as _;
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use motte_access::usage::Recorder;
use motte_access::{
    AccessDecision, Action, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy, PolicyGeneration,
    Principal, Security, Subject, Target,
};
use motte_topic::{TopicFilter, TopicName};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// What is asked for.
enum Ask<'t> {
    Publish(&'t TopicName),
    Subscribe(&'t TopicFilter),
}

impl Subject for Ask<'_> {
    fn action(&self) -> Action {
        match self {
            Self::Publish(_) => Action::Publish,
            Self::Subscribe(_) => Action::Subscribe,
        }
    }
    fn target(&self) -> Target<'_> {
        match self {
            Self::Publish(topic) => Target::Topic(topic.as_ref()),
            Self::Subscribe(filter) => Target::Filter(filter),
        }
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

/// A role with so many rules, each with a placeholder, every tenth of them a rule that denies.
fn policy(rules: u32) -> Policy {
    let mut text = String::from("version = 1\n[role.all]\nrules = [\n");
    for number in 0..rules {
        let verb = if number % 10 == 9 { "deny" } else { "allow" };
        let topic = format!("site/{number}/{{identity}}/+");
        writeln!(text, "  {{ {verb} = [\"publish\", \"subscribe\"], topics = [\"{topic}\"] }},")
            .expect("memory");
    }
    text.push_str("]\n[authenticated]\nroles = [\"all\"]\n");
    Policy::parse(&text, "bench").expect("the policy is ours")
}

fn gate(rules: u32) -> Gate {
    Gate::new(Arc::new(CompiledPolicy::compile(&policy(rules), PolicyGeneration(1))))
}

fn device() -> Arc<Principal> {
    Arc::new(Principal::Client(ClientPrincipal {
        identity: Arc::from("device"),
        client_id: Arc::from("device"),
        user_name: None,
        token: None,
        ends_s: None,
        directory: None,
        certificate: None,
        credential: 0,
        methods: Methods::PASSWORD,
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
    }))
}

fn topics(rules: u32) -> Vec<TopicName> {
    let topic = |number: u32| format!("site/{}/device/{number}", number * 7_919 % rules);
    (0..1_000_u32).map(|number| TopicName::parse(topic(number)).expect("a name")).collect()
}

/// A decision about a publication that was not made before, under so many rules with placeholders.
#[divan::bench(args = [10, 1_000, 10_000], sample_size = 100)]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the decision itself")]
fn publish_new(bencher: Bencher<'_, '_>, rules: u32) {
    let gate = gate(rules);
    let mut standing = gate.standing(device());
    let names = topics(rules);
    let mut next = names.iter().cycle();
    bencher.bench_local(|| {
        let decision =
            next.next().map(|name| gate.decide(&mut standing, Origin::Publish, Ask::Publish(name)));
        matches!(decision, Some(AccessDecision::Permit(_)))
    });
}

/// The same decision again.
#[divan::bench(sample_size = 100)]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the decision itself")]
fn publish_again(bencher: Bencher<'_, '_>) {
    let gate = gate(10_000);
    let mut standing = gate.standing(device());
    let name = TopicName::parse("site/7/device/temperature").expect("a name");
    let AccessDecision::Permit(decided) = gate.decide(&mut standing, Origin::Publish, Ask::Publish(&name))
    else {
        return;
    };
    let grant = gate.grant_of(&standing, &decided);
    bencher.bench_local(|| {
        gate.decide_again(&standing, black_box(&grant), Origin::Publish, Ask::Publish(&name)).is_ok()
    });
}

/// What it costs beside a publication to record its use.
#[divan::bench(sample_size = 100)]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the record of a decision")]
fn record(bencher: Bencher<'_, '_>) {
    let gate = gate(10_000);
    let mut standing = gate.standing(device());
    let name = TopicName::parse("site/7/device/temperature").expect("a name");
    let AccessDecision::Permit(decided) = gate.decide(&mut standing, Origin::Publish, Ask::Publish(&name))
    else {
        return;
    };
    let mut recorder = Recorder::new(Arc::default());
    bencher.bench_local(|| recorder.note(&gate, &standing, black_box(&decided), false, 1));
}

/// A decision about a subscription that was not made before.
#[divan::bench(args = [10, 1_000, 10_000], sample_size = 100)]
#[expect(clippy::disallowed_methods, reason = "the benchmark is of the decision itself")]
fn subscribe_new(bencher: Bencher<'_, '_>, rules: u32) {
    let gate = gate(rules);
    let mut standing = gate.standing(device());
    let filter = |name: &TopicName| {
        let branch = name.as_str().rsplit_once('/').map_or("", |(branch, _)| branch);
        TopicFilter::parse(format!("{branch}/+")).expect("a filter")
    };
    let filters: Vec<TopicFilter> = topics(rules).iter().map(filter).collect();
    let mut next = filters.iter().cycle();
    bencher.bench_local(|| {
        let decision =
            next.next().map(|filter| gate.decide(&mut standing, Origin::Publish, Ask::Subscribe(filter)));
        matches!(decision, Some(AccessDecision::Permit(_)))
    });
}

/// The rights of a client that connects: its memory is in the column of allocations.
#[divan::bench(args = [10, 10_000])]
fn standing(bencher: Bencher<'_, '_>, rules: u32) {
    let gate = gate(rules);
    let device = device();
    bencher.bench_local(|| gate.standing(Arc::clone(&device)));
}

/// A policy made ready for decisions: its memory is what was allocated and not given back.
#[divan::bench(args = [10_000], sample_count = 10)]
fn compile(bencher: Bencher<'_, '_>, rules: u32) {
    let policy = policy(rules);
    bencher.bench_local(|| CompiledPolicy::compile(&policy, PolicyGeneration(1)));
}
