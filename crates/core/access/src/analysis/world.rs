//! What is analyzed: a policy, and the ways by which clients come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::analysis::registered::Registered;
use crate::gate::Gate;
use crate::policy::{CompiledPolicy, Rule};
use crate::principal::{CertificateFacts, ClientPrincipal, Methods, Security};
use crate::source::sources;

/// The listener that stands for every one that the policy does not name.
pub const ANY_LISTENER: &str = "any";

/// What the analyzer must know of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFacts {
    /// Its name.
    pub name: String,
    /// The protection its connections can have.
    pub security: Vec<Security>,
    /// The sets of methods that can let a client in there.
    pub methods: Vec<Methods>,
    /// Whether the identity of a certificate is its Common Name; if not, the Common Name can be anything.
    pub identity_is_cn: bool,
    /// Roles that tokens may grant there: of each issuer a list, for a token is of one issuer.
    pub token_roles: Vec<Vec<String>>,
    /// Roles that groups of a directory may grant there.
    pub group_roles: Vec<String>,
}

impl ListenerFacts {
    /// A listener of which nothing but the name is known: every method and every protection.
    pub fn unknown(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            security: vec![Security::Tls, Security::Plain, Security::Local],
            methods: vec![
                Methods::CERTIFICATE,
                Methods::PASSWORD,
                Methods::CERTIFICATE.and(Methods::PASSWORD),
                Methods::PASSWORD.and(Methods::TOTP),
                Methods::CERTIFICATE.and(Methods::PASSWORD).and(Methods::TOTP),
                Methods::ANONYMOUS,
                Methods::TOKEN,
                Methods::CERTIFICATE.and(Methods::TOKEN),
                Methods::HTTP,
                Methods::LDAP,
            ],
            identity_is_cn: true,
            token_roles: Vec::new(),
            group_roles: Vec::new(),
        }
    }
}

/// A policy and the ways by which clients come.
#[derive(Debug)]
pub struct World {
    pub(crate) gate: Gate,
    pub(crate) listeners: Vec<ListenerFacts>,
    pub(crate) certificates: BTreeMap<String, CertificateFacts>,
    pub(crate) any_certificate: bool,
    pub(crate) registered: Registered,
}

impl World {
    /// A policy behind listeners that are known.
    pub fn new(policy: CompiledPolicy, listeners: Vec<ListenerFacts>) -> Self {
        Self {
            registered: Registered::of(&policy),
            gate: Gate::new(Arc::new(policy)),
            listeners,
            certificates: BTreeMap::new(),
            any_certificate: false,
        }
    }

    /// A policy alone: each listener that it names, and another one, with every method and every protection.
    pub fn of_policy(policy: CompiledPolicy) -> Self {
        let mut names: Vec<String> = policy.by_listener.keys().cloned().collect();
        names.extend(policy.rules.iter().filter_map(|rule| rule.conditions.listeners.clone()).flatten());
        names.push(ANY_LISTENER.to_owned());
        names.sort();
        names.dedup();
        Self::new(policy, names.into_iter().map(ListenerFacts::unknown).collect())
    }

    /// Tells the certificate that an identity has.
    pub fn know_certificate(&mut self, identity: impl Into<String>, facts: CertificateFacts) {
        self.certificates.insert(identity.into(), facts);
    }

    /// Counts with any certificate for every identity, not only with those that are known.
    pub fn assume_any_certificate(&mut self) {
        self.any_certificate = true;
    }

    /// The policy.
    pub fn policy(&self) -> &CompiledPolicy {
        self.gate.policy()
    }

    /// The listeners.
    pub fn listeners(&self) -> &[ListenerFacts] {
        &self.listeners
    }

    /// What is known of an identity's certificate.
    pub fn certificate(&self, identity: &str) -> Option<&CertificateFacts> {
        self.certificates.get(identity)
    }

    /// Whether a listener lets a client in that comes like this. [`ANY_LISTENER`] stands for those that are not named.
    pub(crate) fn takes(&self, client: &ClientPrincipal) -> bool {
        self.listeners.iter().any(|listener| {
            (listener.name == *client.listener || listener.name == ANY_LISTENER)
                && listener.methods.contains(&client.methods)
        })
    }

    /// Whether a client's identity is held to addresses.
    pub(crate) fn binds(&self, client: &ClientPrincipal) -> bool {
        sources(&client.identity, &client.listener, self.policy()).next().is_some()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.policy().rules
    }

    /// Whether roles come with certificates.
    pub(crate) fn certificates_give_roles(&self) -> bool {
        let policy = self.policy();
        std::iter::once(&policy.everywhere)
            .chain(policy.by_listener.values())
            .any(|one| !one.certificates.is_empty())
    }
}

/// What a message brings: its QoS and the bytes of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Message {
    pub(crate) qos: u8,
    pub(crate) payload_bytes: usize,
}

/// Messages that differ for some rule, the most permitted first.
pub(crate) fn messages(worlds: &[&World]) -> Vec<Message> {
    let conditions = || worlds.iter().flat_map(|world| world.rules()).map(|rule| &rule.conditions);
    let qos: &[u8] = if conditions().any(|one| one.qos_max.is_some()) { &[0, 1, 2] } else { &[0] };
    let beyond = |max: u64| usize::try_from(max).ok().and_then(|max| max.checked_add(1));
    let mut sizes: Vec<usize> =
        conditions().filter_map(|one| one.payload_bytes_max).filter_map(beyond).collect();
    sizes.push(0);
    sizes.sort_unstable();
    sizes.dedup();
    qos.iter()
        .flat_map(|qos| {
            sizes.iter().map(|payload_bytes| Message { qos: *qos, payload_bytes: *payload_bytes })
        })
        .collect()
}

/// Addresses that differ for some rule, or for the binding of an identity to `sources`. Ranges lie in one another or apart, so
/// what distinguishes them lies at their ends.
pub(crate) fn addresses(worlds: &[&World], sources: &[ipnet::IpNet]) -> Vec<IpAddr> {
    let rules = worlds.iter().flat_map(|world| world.rules());
    let mut nets: Vec<ipnet::IpNet> =
        rules.filter_map(|rule| rule.conditions.from.clone()).flatten().collect();
    nets.extend(sources);
    let mut found = vec![IpAddr::from([192, 0, 2, 1])];
    if nets.is_empty() {
        return found;
    }
    found.push(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
    for net in &nets {
        found.extend([net.network(), net.broadcast()]);
        found.extend(next(net.broadcast(), 1).into_iter().chain(next(net.network(), -1)));
    }
    // One address of each part into which the ranges cut the world is enough.
    let mut parts = Vec::new();
    found.retain(|address| {
        let part: Vec<bool> = nets.iter().map(|net| net.contains(address)).collect();
        let is_new = !parts.contains(&part);
        if is_new {
            parts.push(part);
        }
        is_new
    });
    found
}

/// Addresses that differ for an identity which a policy holds to some; they are looked at for it alone. `None`: it may come from
/// everywhere.
pub(crate) fn addresses_of(worlds: &[&World], identity: &str, listener: &str) -> Option<Vec<IpAddr>> {
    let own = worlds.iter().flat_map(|world| sources(identity, listener, world.policy())).flatten();
    let own: Vec<ipnet::IpNet> = own.copied().collect();
    (!own.is_empty()).then(|| addresses(worlds, &own))
}

/// The address so many further on.
fn next(address: IpAddr, step: i8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            IpAddr::from(address.to_bits().checked_add_signed(i32::from(step))?.to_be_bytes())
        }
        IpAddr::V6(address) => {
            IpAddr::from(address.to_bits().checked_add_signed(i128::from(step))?.to_be_bytes())
        }
    })
}
