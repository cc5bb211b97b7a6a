//! Policies: files read into rules, rules compiled for decisions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use motte_topic::TopicFilter;
use rustc_hash::FxHashMap;
use toml::Spanned;

use crate::action::Actions;
use crate::client_id::ClientIdPattern;
use crate::error::PolicyError;
use crate::index::RuleIndex;
use crate::permissive::{PermissiveRole, PermissiveUntil};
use crate::principal::{CertificateFacts, Methods, Security};
use crate::reader::{Reader, syntax_error};
use crate::registry::{Registry, Shape};
use crate::template::Template;
use crate::written::{CertificateWritten, PolicyFile};

/// Names a policy in force; every other one has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PolicyGeneration(pub u64);

/// Names the rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

impl RuleId {
    /// No rule of a file: a right that comes with the kind of principal.
    pub const BUILT_IN: Self = Self(u32::MAX);
    /// No rule at all: a permissive role, for the time being.
    pub const PERMISSIVE: Self = Self(u32::MAX - 1);
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// The file.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// The role.
    pub role: Arc<str>,
}

impl std::fmt::Display for RulePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} (role {})", self.file, self.line, self.role)
    }
}

/// How far a role's wildcards may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wildcards {
    /// None in a subscription.
    Deny,
    /// Below at least one literal level.
    Scoped,
    /// Anywhere.
    Allow,
}

/// When a rule holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) qos_max: Option<u8>,
    pub(crate) payload_bytes_max: Option<u64>,
    pub(crate) listeners: Option<Vec<String>>,
    pub(crate) security: Option<Vec<Security>>,
    pub(crate) methods: Option<Methods>,
    pub(crate) from: Option<Vec<IpNet>>,
}

/// A rule of a role, for one topic template.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    pub(crate) allows: bool,
    pub(crate) actions: Actions,
    pub(crate) topic: Template,
    /// The filter itself, when it has no placeholder.
    pub(crate) fixed: Option<TopicFilter>,
    pub(crate) narrow: bool,
    pub(crate) conditions: Conditions,
    /// How far its role's wildcards may reach.
    pub(crate) wildcards: Wildcards,
}

impl Rule {
    /// What it says, without its conditions: `allow publish on a/#`.
    pub(crate) fn words(&self) -> String {
        let verb = if self.allows { "allow" } else { "deny" };
        format!("{verb} {} on {}", self.actions.words(), self.topic)
    }
}

#[derive(Debug, Clone)]
struct Role {
    rules: Vec<Rule>,
    wildcards: Wildcards,
    permissive: Option<PermissiveUntil>,
    place: RulePlace,
}

#[derive(Debug, Clone, Default)]
struct Holder {
    roles: Vec<String>,
    groups: Vec<String>,
    client_ids: Option<Vec<ClientIdPattern>>,
    from: Option<Vec<IpNet>>,
}

#[derive(Debug, Clone)]
struct CertificateMatch {
    cn: Option<String>,
    ou: Option<String>,
    o: Option<String>,
    roles: Vec<String>,
}

/// A policy as read from one or several files. The default is empty and permits nothing.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    roles: BTreeMap<String, Role>,
    places: Vec<RulePlace>,
    identities: BTreeMap<String, Holder>,
    groups: BTreeMap<String, Vec<String>>,
    authenticated: Holder,
    anonymous: Holder,
    certificates: Vec<CertificateMatch>,
    bridges: BTreeMap<String, Vec<String>>,
    operators: BTreeMap<String, Vec<String>>,
    /// `None`: every topic may be published to that a rule allows.
    registry: Option<Vec<Shape>>,
}

impl Policy {
    /// Reads a file's text on top of what is there already.
    ///
    /// # Errors
    /// The first fault, with place and remedy. The policy must then be thrown away.
    pub fn read(&mut self, text: &str, file: &str) -> Result<(), PolicyError> {
        // Nothing but comments: a policy that permits nothing.
        if text.parse::<toml::Table>().is_ok_and(|table| table.is_empty()) {
            return Ok(());
        }
        let written: PolicyFile = toml::from_str(text).map_err(|error| syntax_error(file, text, &error))?;
        let reader = Reader { text, file };
        if *written.version.get_ref() != 1 {
            let what = format!("version {} is not known", written.version.get_ref());
            return Err(reader.fault(written.version.span().start, what, "write `version = 1`"));
        }
        reader.registry(written.topic_registry.as_deref(), &mut self.registry)?;
        for (key, role) in &written.role {
            let name = key.get_ref();
            if self.roles.contains_key(name) {
                let what = format!("role `{name}` is written in two files");
                return Err(reader.fault(0, what, "keep each role in one file"));
            }
            let wildcards = reader.wildcards(role.wildcards.as_ref())?;
            let permissive = reader.permissive_until(role.permissive_until.as_ref())?;
            let mut rules = Vec::new();
            for rule in &role.rules {
                reader.rule(name, rule, &mut self.places, &mut rules)?;
            }
            let place = reader.place(name, key.span().start);
            self.roles.insert(name.clone(), Role { rules, wildcards, permissive, place });
        }
        for (name, group) in &written.group {
            self.groups.entry(name.clone()).or_default().extend(names(&group.roles));
        }
        for (name, identity) in &written.identity {
            if self.identities.contains_key(name) {
                let what = format!("identity `{name}` is written in two files");
                return Err(reader.fault(0, what, "keep each identity in one file"));
            }
            let client_ids = reader.client_ids(identity.client_ids.as_deref())?;
            let from = reader.sources(identity.from.as_ref())?;
            let (roles, groups) = (names(&identity.roles), names(&identity.groups));
            let holder = Holder { roles, groups, client_ids, from };
            self.identities.insert(name.clone(), holder);
        }
        for (holder, from) in
            [(&mut self.authenticated, &written.authenticated), (&mut self.anonymous, &written.anonymous)]
        {
            holder.roles.extend(names(&from.roles));
            if let Some(client_ids) = reader.client_ids(from.client_ids.as_deref())? {
                holder.client_ids = Some(client_ids);
            }
        }
        for one in &written.certificate {
            self.certificates.push(CertificateMatch {
                cn: one.cn.clone(),
                ou: one.ou.clone(),
                o: one.o.clone(),
                roles: names(&one.roles),
            });
        }
        for (name, bridge) in &written.bridge {
            self.bridges.insert(name.clone(), names(&bridge.roles));
        }
        for (name, operator) in &written.operator {
            self.operators.insert(name.clone(), names(&operator.roles));
        }
        self.check_names(&reader, &written)
    }

    /// Reads one file's text.
    ///
    /// # Errors
    /// As [`Policy::read`].
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        policy.read(text, file)?;
        Ok(policy)
    }

    fn check_names(&self, reader: &Reader<'_>, written: &PolicyFile) -> Result<(), PolicyError> {
        let roles = written
            .identity
            .values()
            .flat_map(|identity| &identity.roles)
            .chain(written.group.values().flat_map(|group| &group.roles))
            .chain(&written.authenticated.roles)
            .chain(&written.anonymous.roles)
            .chain(written.certificate.iter().flat_map(|one| &one.roles))
            .chain(written.bridge.values().flat_map(|bridge| &bridge.roles))
            .chain(written.operator.values().flat_map(|operator| &operator.roles));
        for role in roles {
            if !self.roles.contains_key(role.get_ref()) {
                return Err(reader.unknown(role, "role", self.roles.keys()));
            }
        }
        let for_anybody = |one: &&CertificateWritten| one.cn.is_none() && one.ou.is_none() && one.o.is_none();
        let by_certificate = written.certificate.iter().filter(for_anybody).flat_map(|one| &one.roles);
        let of_all = written.authenticated.roles.iter().chain(&written.anonymous.roles).chain(by_certificate);
        for role in of_all {
            if self.roles.get(role.get_ref()).is_some_and(|role| role.permissive.is_some()) {
                let what = format!("`{}` is permissive, and everybody would have it", role.get_ref());
                let remedy = "give it to identities, groups or certificates by name; a whole policy is never permissive";
                return Err(reader.fault(role.span().start, what, remedy));
            }
        }
        for group in written.identity.values().flat_map(|identity| &identity.groups) {
            if !self.groups.contains_key(group.get_ref()) {
                return Err(reader.unknown(group, "group", self.groups.keys()));
            }
        }
        Ok(())
    }
}

fn names(written: &[Spanned<String>]) -> Vec<String> {
    written.iter().map(|name| name.get_ref().clone()).collect()
}

/// A role ready for decisions.
#[derive(Debug)]
pub(crate) struct CompiledRole {
    pub(crate) name: String,
    /// Where it is defined.
    pub(crate) place: RulePlace,
    /// The listener whose policy it belongs to; none for the general one.
    pub(crate) listener: Option<String>,
    /// Numbers of its rules.
    pub(crate) rules: std::ops::Range<u32>,
    pub(crate) permissive: Option<PermissiveUntil>,
}

/// Who has which roles, by number.
#[derive(Debug, Default)]
pub(crate) struct CompiledHolder {
    pub(crate) roles: Vec<u32>,
    pub(crate) groups: Vec<String>,
    pub(crate) client_ids: Option<Vec<ClientIdPattern>>,
    /// The addresses that it comes from; `None`: every one.
    pub(crate) from: Option<Vec<IpNet>>,
}

#[derive(Debug)]
pub(crate) struct CompiledCertificate {
    pub(crate) cn: Option<String>,
    pub(crate) ou: Option<String>,
    pub(crate) o: Option<String>,
    pub(crate) roles: Vec<u32>,
}

impl CompiledCertificate {
    /// Whether a certificate is one of those that the entry speaks of.
    pub(crate) fn fits(&self, facts: &CertificateFacts) -> bool {
        let fits = |wanted: &Option<String>, have: &Option<String>| wanted.is_none() || wanted == have;
        fits(&self.cn, &facts.cn) && fits(&self.ou, &facts.ou) && fits(&self.o, &facts.o)
    }
}

/// Which roles clients have, as one policy says.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    pub(crate) identities: FxHashMap<String, CompiledHolder>,
    pub(crate) authenticated: CompiledHolder,
    pub(crate) anonymous: CompiledHolder,
    pub(crate) certificates: Vec<CompiledCertificate>,
    /// All roles by name: tokens name theirs.
    pub(crate) roles: FxHashMap<String, u32>,
    /// The topics that there are, if the policy says.
    pub(crate) registry: Option<Registry>,
}

/// A policy in force.
#[derive(Debug)]
pub struct CompiledPolicy {
    pub(crate) generation: PolicyGeneration,
    pub(crate) development: bool,
    pub(crate) rules: Vec<Rule>,
    pub(crate) roles: Vec<CompiledRole>,
    pub(crate) index: RuleIndex,
    pub(crate) everywhere: Assignments,
    pub(crate) by_listener: FxHashMap<String, Assignments>,
    pub(crate) bridges: FxHashMap<String, Vec<u32>>,
    pub(crate) operators: FxHashMap<String, Vec<u32>>,
    places: Vec<RulePlace>,
    /// Numbers of rules by their names.
    by_id: FxHashMap<RuleId, u32>,
}

impl CompiledPolicy {
    /// Compiles a policy under a generation that no other policy of this process has.
    pub fn compile(policy: &Policy, generation: PolicyGeneration) -> Self {
        Self::compile_all(policy, &[], generation)
    }

    /// As [`CompiledPolicy::compile`], where clients of some listeners, given by name, have a policy of their own in place
    /// of the general one. Bridges and operators have their rights from the general one alone.
    pub fn compile_all(general: &Policy, own: &[(String, Policy)], generation: PolicyGeneration) -> Self {
        let mut compiled = Self {
            generation,
            development: false,
            rules: Vec::new(),
            roles: Vec::new(),
            index: RuleIndex::default(),
            everywhere: Assignments::default(),
            by_listener: FxHashMap::default(),
            bridges: FxHashMap::default(),
            operators: FxHashMap::default(),
            places: Vec::new(),
            by_id: FxHashMap::default(),
        };
        let numbers = compiled.add(general, None);
        compiled.everywhere = assignments(general, &numbers);
        let named = |all: &BTreeMap<String, Vec<String>>| {
            all.iter().map(|(name, roles)| (name.clone(), numbers_of(roles, &numbers))).collect()
        };
        compiled.bridges = named(&general.bridges);
        compiled.operators = named(&general.operators);
        for (listener, policy) in own {
            let numbers = compiled.add(policy, Some(listener));
            compiled.by_listener.insert(listener.clone(), assignments(policy, &numbers));
        }
        compiled.index.finish();
        compiled
    }

    /// Adds a policy's roles; gives their numbers.
    fn add<'p>(&mut self, policy: &'p Policy, listener: Option<&str>) -> FxHashMap<&'p str, u32> {
        let first_place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.extend(policy.places.iter().cloned());
        let mut numbers = FxHashMap::default();
        for (name, role) in &policy.roles {
            let number = u32::try_from(self.roles.len()).unwrap_or(u32::MAX);
            numbers.insert(name.as_str(), number);
            self.add_role(name, role, listener, first_place);
        }
        numbers
    }

    /// Adds a role; `first_place` is where the places of its policy begin among all.
    fn add_role(&mut self, name: &str, role: &Role, listener: Option<&str>, first_place: u32) {
        let from = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        self.index.begin_role();
        for (number, rule) in (from..).zip(&role.rules) {
            let id = RuleId(rule.id.0.saturating_add(first_place));
            self.index.add(number, rule);
            self.by_id.insert(id, number);
            self.rules.push(Rule { id, wildcards: role.wildcards, ..rule.clone() });
        }
        self.roles.push(CompiledRole {
            name: name.to_owned(),
            place: role.place.clone(),
            listener: listener.map(str::to_owned),
            rules: from..u32::try_from(self.rules.len()).unwrap_or(u32::MAX),
            permissive: role.permissive,
        });
    }

    /// What is assigned to the clients of a listener.
    pub(crate) fn assignments(&self, listener: &str) -> &Assignments {
        self.by_listener.get(listener).unwrap_or(&self.everywhere)
    }

    /// Names of all identities, of whatever listener.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.everywhere)
            .chain(self.by_listener.values())
            .flat_map(|one| one.identities.keys())
    }

    /// Permits everything to everybody but publishing to `$SYS/`. For `motte dev` and tests only.
    pub fn development_allow_all(generation: PolicyGeneration) -> Self {
        Self { development: true, ..Self::compile(&Policy::default(), generation) }
    }

    /// Its generation.
    pub fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    /// Where a rule stands; `None` for built-in rights.
    pub fn place(&self, rule: RuleId) -> Option<&RulePlace> {
        self.places.get(rule.0 as usize)
    }

    /// The roles that are permissive, the one that ends first before the others.
    pub fn permissive_roles(&self) -> Vec<PermissiveRole> {
        let found = self.roles.iter().filter_map(|role| {
            Some(PermissiveRole {
                name: role.name.clone(),
                file: role.place.file.to_string(),
                line: role.place.line,
                until: role.permissive?,
            })
        });
        let mut found: Vec<PermissiveRole> = found.collect();
        found.sort_by(|a, b| (a.until, &a.name).cmp(&(b.until, &b.name)));
        found
    }

    /// Its generation when so many of its permissive roles are still to end.
    pub(crate) fn generation_with(&self, permissive: u64) -> PolicyGeneration {
        PolicyGeneration(self.generation.0.wrapping_add(permissive << 40))
    }

    /// A rule by its name.
    pub(crate) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(*self.by_id.get(&id)? as usize)
    }

    /// Whether clients of a listener can have a role of this name.
    pub fn knows_role(&self, listener: &str, name: &str) -> bool {
        self.development || self.assignments(listener).roles.contains_key(name)
    }

    /// Whether an identity is named in the policy.
    pub fn knows_identity(&self, identity: &str) -> bool {
        let all = std::iter::once(&self.everywhere).chain(self.by_listener.values());
        all.into_iter().any(|one| one.identities.contains_key(identity))
    }
}

fn assignments(policy: &Policy, numbers: &FxHashMap<&str, u32>) -> Assignments {
    let holder = |holder: &Holder| {
        let group_roles = holder.groups.iter().filter_map(|group| policy.groups.get(group)).flatten();
        let roles: Vec<String> = holder.roles.iter().chain(group_roles).cloned().collect();
        CompiledHolder {
            roles: numbers_of(&roles, numbers),
            groups: holder.groups.clone(),
            client_ids: holder.client_ids.clone(),
            from: holder.from.clone(),
        }
    };
    let certificates = policy.certificates.iter().map(|one| CompiledCertificate {
        cn: one.cn.clone(),
        ou: one.ou.clone(),
        o: one.o.clone(),
        roles: numbers_of(&one.roles, numbers),
    });
    Assignments {
        identities: policy.identities.iter().map(|(name, one)| (name.clone(), holder(one))).collect(),
        authenticated: holder(&policy.authenticated),
        anonymous: holder(&policy.anonymous),
        certificates: certificates.collect(),
        roles: numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
        registry: policy.registry.as_deref().map(Registry::new),
    }
}

fn numbers_of(roles: &[String], numbers: &FxHashMap<&str, u32>) -> Vec<u32> {
    let mut found: Vec<u32> = roles.iter().filter_map(|role| numbers.get(role.as_str()).copied()).collect();
    found.sort_unstable();
    found.dedup();
    found
}
