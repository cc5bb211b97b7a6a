//! Everybody that has to be looked at: a finite number of principals, so chosen that what is true for somebody at all is
//! true for one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::analysis::registered::shapes;
use crate::analysis::values::Values;
use crate::analysis::world::{ListenerFacts, World, addresses, addresses_of};
use crate::principal::{CertificateFacts, ClientPrincipal, DirectoryFacts, Methods, Principal, Security};
use crate::source::source_fits;
use crate::standing::{Standing, client_id_fits};
use crate::template::{Placeholder, Template, is_safe};
use crate::token::TokenFacts;

/// Most principals that are looked at for one question; beyond that it is not answered.
const POPULATION_MAX: usize = 200_000;

/// The name that policy and log give to clients that nobody asked.
const ANONYMOUS: &str = "anonymous";

/// Whom an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// An identity.
    Identity {
        /// Its name.
        name: String,
        /// What of its certificate gives it roles, as `ou=device`.
        certificate: Option<String>,
    },
    /// Anybody with a certificate that gives roles.
    Certificate(String),
    /// Anybody who has proved an identity.
    Authenticated,
    /// A client of a listener that asks nobody.
    Anonymous,
    /// Anybody to whom this role is given, and nothing but what all have besides.
    Role(String),
    /// A bridge.
    Bridge(String),
    /// An operator.
    Operator(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity { name, certificate: None } => write!(f, "identity {name}"),
            Self::Identity { name, certificate: Some(facts) } => {
                write!(f, "identity {name} with a certificate of {facts}")
            }
            Self::Certificate(facts) => write!(f, "anybody with a certificate of {facts}"),
            Self::Authenticated => f.write_str("anybody who is authenticated"),
            Self::Anonymous => f.write_str("anonymous clients"),
            Self::Role(role) => write!(f, "anybody with the role {role}"),
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::Operator(name) => write!(f, "operator {name}"),
        }
    }
}

/// There are too many values to look at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {POPULATION_MAX} combinations of names would have to be looked at\n  remedy: use fewer placeholders in one level, or ask about one identity or role"
)]
pub struct TooMany;

/// One principal to look at.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) who: Who,
    pub(crate) principal: Arc<Principal>,
    /// Roles it has beyond what the policy gives it, with their listener: for what-if questions.
    pub(crate) further: Option<(String, Option<String>, String)>,
}

impl Candidate {
    /// What it may under a world's policy; none when it cannot come in there.
    pub(crate) fn standing(&self, world: &World) -> Option<Standing> {
        let policy = world.policy();
        if let Principal::Client(client) = &*self.principal
            && !(world.takes(client) && client_id_fits(client, policy) && source_fits(client, policy))
        {
            return None;
        }
        let (roles, groups) = match &self.further {
            Some((role, listener, group)) => {
                let is_it =
                    |one: &crate::policy::CompiledRole| one.name == *role && one.listener == *listener;
                let number = policy.roles.iter().position(is_it).and_then(|at| u32::try_from(at).ok());
                (number.into_iter().collect(), vec![group.clone()])
            }
            None => (Vec::new(), Vec::new()),
        };
        Some(Standing::resolve_with(Arc::clone(&self.principal), policy, &roles, &groups))
    }

    /// Its identity, when it is a client.
    pub(crate) fn client(&self) -> Option<&ClientPrincipal> {
        self.principal.client()
    }
}

/// All that must be looked at, and the values that stand for any.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) values: Values,
    /// Identities that policies name or whose certificates are known.
    pub(crate) listed: BTreeSet<String>,
}

impl Population {
    /// Everybody under these worlds for a question about these templates. Identities of the question are looked at by name.
    pub(crate) fn of(worlds: &[&World], question: &[&Template], names: &[&str]) -> Result<Self, TooMany> {
        Builder::new(worlds, question, names).build()
    }

    /// A text with placeholders in place of the values that stand for any.
    pub(crate) fn general(&self, text: &str) -> String {
        let placeholders = [
            Placeholder::ClientId,
            Placeholder::CertCn,
            Placeholder::CertOu,
            Placeholder::CertO,
            Placeholder::Group,
            Placeholder::Identity,
        ];
        placeholders.into_iter().fold(text.to_owned(), |text, placeholder| {
            match self.values.fresh(placeholder) {
                "" => text,
                fresh => text.replace(fresh, &placeholder.written()),
            }
        })
    }
}

/// For rules that narrow, all below their first level: a filter as wide as that is granted because it meets the rule, and
/// brings what else may be received there.
fn widened_by_narrowing(worlds: &[&World]) -> Vec<Template> {
    let narrow = worlds.iter().flat_map(|world| world.rules()).filter(|rule| rule.narrow);
    narrow
        .filter_map(|rule| Template::parse(&format!("{}/#", rule.topic.to_string().split('/').next()?)).ok())
        .collect()
}

/// Identities that may use one of these Client Identifiers.
fn identities_of(worlds: &[&World], client_ids: &[String]) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for id in client_ids {
        found.insert(id.clone());
        found.extend(id.match_indices('-').filter_map(|(at, _)| id.get(..at)).map(str::to_owned));
        for world in worlds {
            let policy = world.policy();
            let assigned = std::iter::once(&policy.everywhere).chain(policy.by_listener.values());
            let patterns = assigned.filter_map(|one| one.authenticated.client_ids.as_ref()).flatten();
            found.extend(patterns.flat_map(|pattern| pattern.identities(id)));
        }
    }
    found
}

struct Builder<'a> {
    worlds: &'a [&'a World],
    values: Values,
    /// Placeholders that some template has.
    used: BTreeSet<Placeholder>,
    listed: BTreeSet<String>,
    /// Identities of the question that no policy names: any certificate may be theirs.
    asked: BTreeSet<String>,
    addresses: Vec<IpAddr>,
    found: Vec<Candidate>,
}

impl<'a> Builder<'a> {
    fn new(worlds: &'a [&'a World], question: &[&Template], names: &[&str]) -> Self {
        let widened = widened_by_narrowing(worlds);
        let rules = worlds.iter().flat_map(|world| world.rules()).map(|rule| &rule.topic);
        let shapes: Vec<Template> = worlds.iter().flat_map(|world| shapes(world.policy())).collect();
        let rules = rules.chain(&widened).chain(&shapes);
        let templates: Vec<&Template> = rules.chain(question.iter().copied()).collect();
        let used: BTreeSet<Placeholder> = templates.iter().flat_map(|one| one.placeholders()).collect();
        let mut listed: BTreeSet<String> = BTreeSet::new();
        let mut further: BTreeMap<Placeholder, BTreeSet<String>> = BTreeMap::new();
        for world in worlds {
            listed.extend(world.policy().identities().cloned());
            listed.extend(world.certificates.keys().cloned());
            let policy = world.policy();
            for assigned in std::iter::once(&policy.everywhere).chain(policy.by_listener.values()) {
                for one in &assigned.certificates {
                    further.entry(Placeholder::CertCn).or_default().extend(one.cn.clone());
                    further.entry(Placeholder::Identity).or_default().extend(one.cn.clone());
                    further.entry(Placeholder::CertOu).or_default().extend(one.ou.clone());
                    further.entry(Placeholder::CertO).or_default().extend(one.o.clone());
                }
                let groups = assigned.identities.values().flat_map(|holder| holder.groups.iter().cloned());
                further.entry(Placeholder::Group).or_default().extend(groups);
            }
        }
        let asked: BTreeSet<String> =
            names.iter().map(|name| (*name).to_owned()).filter(|name| !listed.contains(name)).collect();
        if used
            .iter()
            .any(|one| !matches!(one, Placeholder::Identity | Placeholder::User | Placeholder::Group))
        {
            // Other values can be made equal to these names.
            further.entry(Placeholder::Identity).or_default().extend(listed.iter().chain(&asked).cloned());
        }
        let mut values = Values::of(&templates, &further);
        let owners = identities_of(worlds, values.all(Placeholder::ClientId).get(1..).unwrap_or_default());
        values.extend(Placeholder::Identity, owners);
        Self { worlds, values, used, listed, asked, addresses: addresses(worlds, &[]), found: Vec::new() }
    }

    fn build(mut self) -> Result<Population, TooMany> {
        let mut listeners: BTreeMap<&str, ListenerFacts> = BTreeMap::new();
        for facts in self.worlds.iter().flat_map(|world| &world.listeners) {
            let merged = listeners.entry(&facts.name).or_insert_with(|| facts.clone());
            merged.security.extend(
                facts
                    .security
                    .iter()
                    .filter(|one| !merged.security.contains(one))
                    .copied()
                    .collect::<Vec<_>>(),
            );
            merged.methods.extend(
                facts.methods.iter().filter(|one| !merged.methods.contains(one)).copied().collect::<Vec<_>>(),
            );
            merged.identity_is_cn &= facts.identity_is_cn;
            merged.token_roles.extend(facts.token_roles.iter().cloned());
            merged.token_roles.sort_unstable();
            merged.token_roles.dedup();
            merged.group_roles.extend(facts.group_roles.iter().cloned());
            merged.group_roles.sort_unstable();
            merged.group_roles.dedup();
        }
        for listener in listeners.values() {
            for methods in &listener.methods {
                self.by_method(listener, *methods)?;
            }
        }
        self.others();
        Ok(Population { candidates: self.found, values: self.values, listed: self.listed })
    }

    /// Bridges and operators.
    fn others(&mut self) {
        let names = |all: fn(&World) -> Vec<&String>| -> BTreeSet<&str> {
            self.worlds.iter().flat_map(|world| all(world)).map(String::as_str).collect()
        };
        let bridges = names(|world| world.policy().bridges.keys().collect());
        let operators = names(|world| world.policy().operators.keys().collect());
        let bridges = bridges
            .into_iter()
            .map(|name| (Who::Bridge(name.to_owned()), Principal::Bridge { name: Arc::from(name) }));
        let operators = operators
            .into_iter()
            .map(|name| (Who::Operator(name.to_owned()), Principal::Operator { name: Arc::from(name) }));
        let all: Vec<Candidate> = bridges
            .chain(operators)
            .map(|(who, principal)| Candidate { who, principal: Arc::new(principal), further: None })
            .collect();
        self.found.extend(all);
    }

    fn by_method(&mut self, listener: &ListenerFacts, methods: Methods) -> Result<(), TooMany> {
        if methods.has(Methods::ANONYMOUS) {
            return self.clients(listener, methods, ANONYMOUS, None, &Who::Anonymous);
        }
        let certified = methods.has(Methods::CERTIFICATE);
        for name in self.listed.clone() {
            let who = Who::Identity { name: name.clone(), certificate: None };
            if !certified {
                self.clients(listener, methods, &name, None, &who)?;
                continue;
            }
            let known = self.worlds.iter().find_map(|world| world.certificates.get(&name).cloned());
            if self.worlds.iter().any(|world| world.any_certificate) && known.is_none() {
                for (facts, giving) in self.certificates(listener, &name) {
                    let who = Who::Identity { name: name.clone(), certificate: giving };
                    self.clients(listener, methods, &name, Some(&facts), &who)?;
                }
            } else {
                let plain = || CertificateFacts { cn: Some(name.clone()), ..CertificateFacts::default() };
                self.clients(listener, methods, &name, Some(&known.unwrap_or_else(plain)), &who)?;
            }
        }
        let free: Vec<String> = self.values.all(Placeholder::Identity).to_vec();
        let all: BTreeSet<String> = free.into_iter().chain(self.asked.iter().cloned()).collect();
        for name in all.into_iter().filter(|name| is_safe(name)) {
            if self.listed.contains(&name) {
                continue;
            }
            let is_any = name == self.values.fresh(Placeholder::Identity);
            let who = |giving: Option<String>| match (is_any, giving) {
                (true, Some(giving)) => Who::Certificate(giving),
                (true, None) => Who::Authenticated,
                (false, certificate) => Who::Identity { name: name.clone(), certificate },
            };
            if !certified {
                self.clients(listener, methods, &name, None, &who(None))?;
                continue;
            }
            for (facts, giving) in self.certificates(listener, &name) {
                self.clients(listener, methods, &name, Some(&facts), &who(giving))?;
            }
        }
        Ok(())
    }

    /// Certificates that an identity can have, each with what of it gives roles.
    fn certificates(&self, listener: &ListenerFacts, name: &str) -> Vec<(CertificateFacts, Option<String>)> {
        let some = |placeholder| -> Vec<Option<String>> {
            let values = self.values.all(placeholder);
            if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
        };
        // A placeholder is known when a template has it; roles ask for values of their own.
        let mut wanted: [BTreeSet<Option<String>>; 3] = [
            if listener.identity_is_cn {
                [Some(name.to_owned())].into()
            } else {
                some(Placeholder::CertCn).into_iter().collect()
            },
            some(Placeholder::CertOu).into_iter().collect(),
            some(Placeholder::CertO).into_iter().collect(),
        ];
        let mut entries = Vec::new();
        for world in self.worlds {
            for one in &world.policy().assignments(&listener.name).certificates {
                entries.push(one);
                if !listener.identity_is_cn {
                    wanted[0].insert(one.cn.clone());
                }
                wanted[1].insert(one.ou.clone());
                wanted[2].insert(one.o.clone());
            }
        }
        let [names, units, organizations] = wanted;
        let mut found = Vec::new();
        for cn in &names {
            for ou in &units {
                for o in &organizations {
                    let facts = CertificateFacts {
                        cn: cn.clone(),
                        ou: ou.clone(),
                        o: o.clone(),
                        ..CertificateFacts::default()
                    };
                    let mut giving: Vec<String> = Vec::new();
                    for one in &entries {
                        if one.fits(&facts) {
                            giving.extend(one.cn.iter().map(|cn| format!("cn={cn}")));
                            giving.extend(one.ou.iter().map(|ou| format!("ou={ou}")));
                            giving.extend(one.o.iter().map(|o| format!("o={o}")));
                        }
                    }
                    giving.sort();
                    giving.dedup();
                    found.push((facts, (!giving.is_empty()).then(|| giving.join(", "))));
                }
            }
        }
        found
    }

    /// All clients of this identity: by Client Identifier, protection and address.
    fn clients(
        &mut self,
        listener: &ListenerFacts,
        methods: Methods,
        identity: &str,
        certificate: Option<&CertificateFacts>,
        who: &Who,
    ) -> Result<(), TooMany> {
        let secured =
            self.worlds.iter().flat_map(|world| world.rules()).any(|rule| rule.conditions.security.is_some());
        // Where no rule asks, one is enough; certificates come by TLS.
        let tls = listener.security.iter().position(|one| *one == Security::Tls);
        let one = tls.unwrap_or(0);
        let security = if secured {
            listener.security.as_slice()
        } else {
            listener.security.get(one..=one).unwrap_or(&[])
        };
        let make = |client_id: &str, security, address| ClientPrincipal {
            identity: Arc::from(identity),
            client_id: Arc::from(client_id),
            user_name: methods.has(Methods::PASSWORD).then(|| Arc::from(identity)),
            token: None,
            ends_s: None,
            directory: None,
            certificate: certificate.cloned().map(Arc::new),
            methods,
            listener: Arc::from(listener.name.as_str()),
            security,
            address: Some(address),
            credential: 0,
        };
        let mut ids = self.client_ids(identity, &listener.name);
        let probe = |id: &String| {
            let client = make(id, Security::Tls, IpAddr::from([192, 0, 2, 1]));
            is_safe(id) && self.worlds.iter().any(|world| client_id_fits(&client, world.policy()))
        };
        ids.retain(probe);
        if !self.used.contains(&Placeholder::ClientId) {
            // One that fits under each policy, or one for each of them.
            let fits_all = |id: &&String| {
                let client = make(id, Security::Tls, IpAddr::from([192, 0, 2, 1]));
                self.worlds.iter().all(|world| client_id_fits(&client, world.policy()))
            };
            if let Some(id) = ids.iter().find(fits_all).cloned() {
                ids = vec![id];
            }
        }
        let grants = grants(listener, methods);
        let own = addresses_of(self.worlds, identity, &listener.name);
        for id in &ids {
            for security in security {
                // Certificates come by TLS.
                if certificate.is_some() && *security != Security::Tls {
                    continue;
                }
                for address in own.as_ref().unwrap_or(&self.addresses) {
                    let client = make(id, *security, *address);
                    let with = |(token, directory): &Grant| {
                        let (token, directory) = (token.clone(), directory.clone());
                        let client = ClientPrincipal { token, directory, ..client.clone() };
                        let principal = Arc::new(Principal::Client(client));
                        Candidate { who: who.clone(), principal, further: None }
                    };
                    self.found.extend(grants.iter().map(with));
                }
            }
        }
        if self.found.len() > POPULATION_MAX { Err(TooMany) } else { Ok(()) }
    }

    /// Client Identifiers to look at, whether they fit or not: its own name, one of each pattern, and all that placeholders
    /// ask for.
    fn client_ids(&self, identity: &str, listener: &str) -> Vec<String> {
        let fresh = self.values.fresh(Placeholder::ClientId);
        let mut ids = vec![identity.to_owned(), format!("{identity}-{fresh}"), fresh.to_owned()];
        for world in self.worlds {
            let assigned = world.policy().assignments(listener);
            let holders =
                [Some(&assigned.authenticated), Some(&assigned.anonymous), assigned.identities.get(identity)];
            for pattern in holders.into_iter().flatten().filter_map(|one| one.client_ids.as_ref()).flatten() {
                ids.push(pattern.example(identity, fresh));
                ids.push(pattern.example(identity, ""));
            }
        }
        ids.extend(self.values.all(Placeholder::ClientId).iter().cloned());
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        ids
    }
}

/// What a token or a directory says of somebody.
type Grant = (Option<Arc<TokenFacts>>, Option<Arc<DirectoryFacts>>);

/// What tokens, or groups of a directory, may grant: nothing, one role, all of an issuer or of the directory. One role is enough to
/// reach whatever roles reach by themselves, and each further one can only deny more of it; together they can cover a filter that
/// none covers alone.
fn grants(listener: &ListenerFacts, methods: Methods) -> Vec<Grant> {
    let (by_token, by_directory) = (methods.has(Methods::TOKEN), methods.has(Methods::LDAP));
    if !by_token && !by_directory {
        return vec![(None, None)];
    }
    let grant = |roles: &[String]| {
        let token = || Arc::new(TokenFacts { roles: roles.to_vec(), ..TokenFacts::default() });
        let directory = || Arc::new(DirectoryFacts { roles: roles.to_vec(), ..DirectoryFacts::default() });
        (by_token.then(token), by_directory.then(directory))
    };
    let mut found = vec![grant(&[])];
    let by_group = std::slice::from_ref(&listener.group_roles);
    let lists = if by_token { listener.token_roles.as_slice() } else { by_group };
    for all in lists {
        found.extend(all.iter().map(std::slice::from_ref).map(grant));
        if all.len() > 1 {
            found.push(grant(all));
        }
    }
    found
}
