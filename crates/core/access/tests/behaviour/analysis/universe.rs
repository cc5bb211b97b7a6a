//! A small universe: every client, message, topic and filter made of a few levels, and what the Gate says to each.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use motte_access::analysis::{ANY_LISTENER, ListenerFacts, Way, World};
use motte_access::{
    AccessDecision, Action, CertificateFacts, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy,
    PolicyGeneration, Principal, Security, Standing, Subject, Target,
};
use motte_topic::{TopicFilter, TopicName};

/// Levels of topics. Policies are made of the first three; `y` and `z` are names that no policy speaks of.
pub(super) const LEVELS: [&str; 11] = ["a", "b", "", "y", "z", "a-b", "u", "anonymous", "a-y", "b-y", "z-y"];

/// The listener that policies name.
pub(super) const LISTENER: &str = "side";

/// All texts of one to `depth` levels of an alphabet, and those below `$x` and `$SYS`.
fn texts(alphabet: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest: Vec<String> = alphabet.iter().map(|level| (*level).to_owned()).collect();
    longest.extend(["$x".to_owned(), "$SYS".to_owned()]);
    for _ in 0..depth {
        all.extend(longest.iter().cloned());
        longest = longest
            .iter()
            .flat_map(|text| alphabet.iter().map(move |level| format!("{text}/{level}")))
            .collect();
    }
    all
}

/// Every topic of up to two levels, and of three where the last is `a` or `z`: policies here write out two.
pub(super) static TOPICS: LazyLock<Vec<TopicName>> = LazyLock::new(|| {
    let short = texts(&LEVELS, 2);
    let long = short.iter().filter(|text| text.contains('/'));
    let long: Vec<String> = long.flat_map(|text| ["a", "z"].map(|last| format!("{text}/{last}"))).collect();
    short.iter().chain(&long).filter_map(|text| TopicName::parse(text).ok()).collect()
});

/// Every topic as a filter, and every filter of up to two levels with wildcards.
pub(super) static FILTERS: LazyLock<Vec<TopicFilter>> = LazyLock::new(|| {
    let mut all = vec!["#".to_owned()];
    for text in texts(&[LEVELS.as_slice(), &["+"]].concat(), 2) {
        all.push(format!("{text}/#"));
        if text.contains('+') {
            all.push(text);
        }
    }
    all.extend(TOPICS.iter().map(ToString::to_string));
    all.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect()
});

/// A policy in force.
pub(super) fn compile(text: &str) -> CompiledPolicy {
    let policy = Policy::parse(text, "policy.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    CompiledPolicy::compile(&policy, PolicyGeneration(1))
}

/// The world of a policy, with the listeners that this universe has.
pub(super) fn world(text: &str) -> World {
    let mut listeners = vec![ListenerFacts::unknown(ANY_LISTENER), ListenerFacts::unknown(LISTENER)];
    for listener in &mut listeners {
        listener.security = vec![Security::Tls];
    }
    World::new(compile(text), listeners)
}

/// Everybody who can come: of the identities `a` (which policies may name), `b`, `y`, `z`.
pub(super) fn clients(gate: &Gate, policy: &str) -> Vec<ClientPrincipal> {
    let mut all = Vec::new();
    for listener in [ANY_LISTENER, LISTENER] {
        for identity in ["a", "b", "z", "a-b", "u"] {
            let units: &[Option<&str>] = if gate.policy().knows_identity(identity) {
                &[None]
            } else {
                &[None, Some("u"), Some("a"), Some("b"), Some("y"), Some("z")]
            };
            let both = Methods::CERTIFICATE.and(Methods::PASSWORD);
            let certified =
                [Methods::CERTIFICATE, both].map(|methods| units.iter().map(move |unit| (methods, *unit)));
            for (methods, unit) in
                [(Methods::PASSWORD, None)].into_iter().chain(certified.into_iter().flatten())
            {
                for client_id in ["a", "b", "y", "z", "a-b", "a-y", "b-y", "z-y", "u"] {
                    all.push(client(listener, identity, client_id, methods, unit));
                }
            }
        }
        for client_id in ["a", "b", "y", "z", "u", "a-b", "a-y", "b-y", "z-y", "anonymous"] {
            all.push(client(listener, "anonymous", client_id, Methods::ANONYMOUS, None));
        }
    }
    let has = |part: &str| policy.contains(part);
    all.retain(|client| {
        gate.client_id_permitted(client).is_ok()
            && (has("listener = ") || *client.listener == *ANY_LISTENER)
            && (has("method = ")
                || has("{user}")
                || has("ou = ")
                || has("{cert")
                || client.methods != Methods::PASSWORD)
            && (has("method = ")
                || has("{user}")
                || client.methods != Methods::CERTIFICATE.and(Methods::PASSWORD))
    });
    if !has("{client_id}") {
        // Others differ from it in nothing.
        let mut seen = Vec::new();
        all.retain(|client| {
            let rest = ClientPrincipal { client_id: Arc::from(""), ..client.clone() };
            let is_new = !seen.contains(&rest);
            seen.extend(is_new.then_some(rest));
            is_new
        });
    }
    if policy.contains("from = ") {
        let elsewhere: Vec<ClientPrincipal> = all.clone();
        all.extend(
            elsewhere
                .into_iter()
                .map(|client| ClientPrincipal { address: Some(IpAddr::from([10, 0, 0, 1])), ..client }),
        );
    }
    all
}

fn client(
    listener: &str,
    identity: &str,
    client_id: &str,
    methods: Methods,
    unit: Option<&str>,
) -> ClientPrincipal {
    let facts = CertificateFacts {
        cn: Some(identity.to_owned()),
        ou: unit.map(str::to_owned),
        ..CertificateFacts::default()
    };
    ClientPrincipal {
        identity: Arc::from(identity),
        client_id: Arc::from(client_id),
        user_name: methods.has(Methods::PASSWORD).then(|| Arc::from(identity)),
        token: None,
        ends_s: None,
        directory: None,
        certificate: methods.has(Methods::CERTIFICATE).then(|| Arc::new(facts)),
        methods,
        listener: Arc::from(listener),
        security: Security::Tls,
        address: Some(IpAddr::from([192, 0, 2, 1])),
        credential: 0,
    }
}

struct Ask<'a> {
    action: Action,
    target: Target<'a>,
    qos: u8,
    retain: bool,
}

impl Subject for Ask<'_> {
    fn action(&self) -> Action {
        self.action
    }
    fn target(&self) -> Target<'_> {
        self.target
    }
    fn qos(&self) -> u8 {
        self.qos
    }
    fn retain(&self) -> bool {
        self.retain
    }
    fn payload_bytes(&self) -> usize {
        0
    }
}

/// One client asking the Gate.
pub(super) struct Asker<'a> {
    pub(super) gate: &'a Gate,
    pub(super) standing: Standing,
}

impl<'a> Asker<'a> {
    pub(super) fn new(gate: &'a Gate, client: &ClientPrincipal) -> Self {
        Self { gate, standing: gate.standing(Arc::new(Principal::Client(client.clone()))) }
    }

    fn ask(&mut self, action: Action, target: Target<'_>, qos: u8, retain: bool) -> bool {
        let what = Ask { action, target, qos, retain };
        #[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
        let decision = self.gate.decide(&mut self.standing, Origin::Publish, what);
        matches!(decision, AccessDecision::Permit(_))
    }

    fn topic(&mut self, action: Action, topic: &TopicName, qos: u8, retain: bool) -> bool {
        self.ask(action, Target::Topic(topic.as_ref()), qos, retain)
    }

    /// Whether it has the role with the mark.
    pub(super) fn is_marked(&mut self) -> bool {
        let mark = TopicName::parse("mark").unwrap();
        self.topic(Action::Administer, &mark, 0, false)
    }

    pub(super) fn subscribes(&mut self, action: Action, filter: &TopicFilter, qos: u8) -> bool {
        self.ask(action, Target::Filter(filter), qos, false)
    }

    /// The topics of this universe that it may by a way with this QoS, in the order of [`TOPICS`].
    pub(super) fn may(&mut self, way: Way, qos: u8) -> Vec<bool> {
        let actions: &[Action] = match way {
            Way::Subscribe => &[Action::Subscribe, Action::Share],
            Way::Share => &[Action::Share],
            Way::Publish | Way::Retain | Way::Will | Way::Receive => {
                let (action, retain) = match way {
                    Way::Will => (Action::SetWill, false),
                    Way::Receive => (Action::Receive, false),
                    _ => (Action::Publish, way == Way::Retain),
                };
                let qos = if way == Way::Receive { 0 } else { qos };
                return TOPICS.iter().map(|topic| self.topic(action, topic, qos, retain)).collect();
            }
        };
        let mut granted: Vec<&TopicFilter> = Vec::new();
        for action in actions {
            granted.extend(FILTERS.iter().filter(|filter| self.subscribes(*action, filter, qos)));
        }
        TOPICS
            .iter()
            .map(|topic| {
                granted.iter().any(|filter| filter.matches(topic.as_ref()))
                    && self.topic(Action::Receive, topic, 0, false)
            })
            .collect()
    }
}
