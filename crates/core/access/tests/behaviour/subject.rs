//! Small makers for the tests.

use std::net::IpAddr;
use std::sync::Arc;

use motte_access::{
    AccessDecision, Action, CertificateFacts, ClientPrincipal, CompiledPolicy, Gate, Methods, Origin, Policy,
    PolicyGeneration, Principal, Security, Subject, Target,
};
use motte_topic::{TopicFilter, TopicName};

/// Anything that can be asked.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Topic(Action, TopicName, bool),
    Filter(Action, TopicFilter),
}

impl Subject for Ask {
    fn action(&self) -> Action {
        match self {
            Self::Topic(action, ..) | Self::Filter(action, _) => *action,
        }
    }
    fn target(&self) -> Target<'_> {
        match self {
            Self::Topic(_, topic, _) => Target::Topic(topic.as_ref()),
            Self::Filter(_, filter) => Target::Filter(filter),
        }
    }
    fn qos(&self) -> u8 {
        1
    }
    fn retain(&self) -> bool {
        matches!(self, Self::Topic(_, _, true))
    }
    fn payload_bytes(&self) -> usize {
        10
    }
}

pub(crate) fn client(identity: &str, client_id: &str) -> ClientPrincipal {
    ClientPrincipal {
        identity: Arc::from(identity),
        client_id: Arc::from(client_id),
        user_name: Some(Arc::from(identity)),
        token: None,
        ends_s: None,
        directory: None,
        certificate: Some(Arc::new(CertificateFacts {
            cn: Some(identity.into()),
            ..CertificateFacts::default()
        })),
        methods: Methods::CERTIFICATE,
        listener: Arc::from("main"),
        security: Security::Tls,
        address: Some(IpAddr::from([192, 0, 2, 1])),
        credential: 0,
    }
}

pub(crate) fn gate(policy: &str) -> Gate {
    let policy = Policy::parse(policy, "policy.toml").unwrap();
    Gate::new(Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1))))
}

pub(crate) fn permitted(gate: &Gate, who: &Principal, by: Origin, what: Ask) -> bool {
    let mut standing = gate.standing(Arc::new(who.clone()));
    #[expect(clippy::disallowed_methods, reason = "tests of the Gate ask it")]
    let decision = gate.decide(&mut standing, by, what);
    matches!(decision, AccessDecision::Permit(_))
}

pub(crate) fn may(gate: &Gate, who: &ClientPrincipal, action: Action, target: &str) -> bool {
    let what = match action {
        Action::Subscribe | Action::Share => match TopicFilter::parse(target) {
            Ok(filter) => Ask::Filter(action, filter),
            Err(_) => return false,
        },
        _ => match TopicName::parse(target) {
            Ok(topic) => Ask::Topic(action, topic, false),
            Err(_) => return false,
        },
    };
    permitted(gate, &Principal::Client(who.clone()), Origin::Publish, what)
}
