//! A principal under a policy: its roles, and what placeholders stand for in their rules. The rules are shared by everybody
//! who has the role, so a standing stays small.

use std::sync::Arc;

use motte_topic::{TopicFilter, TopicRef};

use crate::action::Action;
use crate::client_id::is_assigned;
use crate::index::{Values, filter_of};
use crate::policy::{CompiledHolder, CompiledPolicy, PolicyGeneration, Rule};
use crate::principal::{ClientPrincipal, Methods, Principal};

/// A principal's rights under one policy.
#[derive(Debug, Clone)]
pub struct Standing {
    principal: Arc<Principal>,
    generation: PolicyGeneration,
    roles: Box<[u32]>,
    values: Values,
    /// Until when it has a role that is permissive, in seconds since 1970.
    permissive_end_s: u64,
}

impl Standing {
    pub(crate) fn resolve(principal: Arc<Principal>, policy: &CompiledPolicy) -> Self {
        Self::resolve_with(principal, policy, &[], &[])
    }

    /// As [`Standing::resolve`], with further roles and groups: for what-if questions of the analyzer.
    pub(crate) fn resolve_with(
        principal: Arc<Principal>,
        policy: &CompiledPolicy,
        further_roles: &[u32],
        further_groups: &[String],
    ) -> Self {
        let (mut roles, mut groups) = roles_of(&principal, policy);
        roles.extend_from_slice(further_roles);
        roles.sort_unstable();
        roles.dedup();
        groups.extend_from_slice(further_groups);
        let values = policy.index.values(&roles, &principal, groups);
        let held = roles.iter().filter_map(|role| policy.roles.get(*role as usize));
        let ends = held.filter_map(|role| role.permissive).map(|until| until.end_s);
        let permissive_end_s = principal.client().and_then(|_| ends.max()).unwrap_or(0);
        Self { principal, generation: policy.generation, roles: roles.into(), values, permissive_end_s }
    }

    /// Who it is.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The policy it was resolved under.
    pub fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    /// The same under a generation of the same policy.
    pub(crate) fn under(self, generation: PolicyGeneration) -> Self {
        Self { generation, ..self }
    }

    /// Whether it has a role that is permissive.
    pub(crate) fn is_permissive(&self, now_s: u64) -> bool {
        now_s < self.permissive_end_s
    }

    /// Numbers of its roles.
    pub(crate) fn roles(&self) -> &[u32] {
        &self.roles
    }

    /// Calls `each` with every rule whose filter matches the topic.
    pub(crate) fn for_each_match<'p>(
        &self,
        policy: &'p CompiledPolicy,
        topic: TopicRef<'_>,
        mut each: impl FnMut(&'p Rule),
    ) {
        for role in &self.roles {
            policy.index.for_each_match(*role, &self.values, topic, |number| {
                policy.rules.get(number as usize).into_iter().for_each(&mut each);
            });
        }
    }

    /// Calls `each` with every rule about an action, and its filter, that can have a topic in common with `filter`.
    pub(crate) fn for_each_near<'p>(
        &self,
        policy: &'p CompiledPolicy,
        action: Action,
        filter: &TopicFilter,
        mut each: impl FnMut(TopicFilter, &'p Rule),
    ) {
        for role in &self.roles {
            policy.index.for_each_near(*role, &self.values, filter, |number, near| {
                let found = policy.rules.get(number as usize).filter(|rule| rule.actions.has(action));
                let Some(rule) = found else { return };
                let own = filter_of(&rule.topic, rule.fixed.as_ref(), &self.principal, near);
                if let Some(own) = own {
                    each(own, rule);
                }
            });
        }
    }

    /// Every rule about an action, with its filter: all of them, one after the other.
    pub(crate) fn rules_about<'s, 'p: 's>(
        &'s self,
        policy: &'p CompiledPolicy,
        action: Action,
    ) -> impl Iterator<Item = (TopicFilter, &'p Rule)> + use<'s, 'p> {
        let held = self.roles.iter().filter_map(|role| policy.roles.get(*role as usize));
        let numbers = held.flat_map(|role| role.rules.clone());
        let all = numbers.filter_map(|number| policy.rules.get(number as usize));
        all.filter(move |rule| rule.actions.has(action)).flat_map(|rule| {
            let filters = match &rule.fixed {
                Some(filter) => vec![filter.clone()],
                None if rule.allows => rule.topic.resolve(&self.principal, &self.values.groups),
                None => rule.topic.resolve_denying(&self.principal, &self.values.groups),
            };
            filters.into_iter().map(move |filter| (filter, rule))
        })
    }
}

/// The roles of a principal and the groups it is in.
fn roles_of(principal: &Principal, policy: &CompiledPolicy) -> (Vec<u32>, Vec<String>) {
    match principal {
        Principal::Client(client) => {
            let mut roles = Vec::new();
            let mut groups = Vec::new();
            for holder in holders_of(client, policy) {
                roles.extend_from_slice(&holder.roles);
                groups.extend(holder.groups.iter().cloned());
            }
            if let Some(facts) =
                client.certificate.as_deref().filter(|_| client.methods.has(Methods::CERTIFICATE))
            {
                let certificates = &policy.assignments(&client.listener).certificates;
                for one in certificates.iter().filter(|one| one.fits(facts)) {
                    roles.extend_from_slice(&one.roles);
                }
            }
            if let Some(facts) = client.token.as_deref().filter(|_| client.methods.has(Methods::TOKEN)) {
                let known = &policy.assignments(&client.listener).roles;
                let named = facts.roles.iter().chain(&facts.group_roles);
                roles.extend(named.filter_map(|name| known.get(name)));
            }
            if let Some(facts) = client.directory.as_deref().filter(|_| client.methods.has(Methods::LDAP)) {
                let known = &policy.assignments(&client.listener).roles;
                roles.extend(facts.roles.iter().filter_map(|name| known.get(name)));
            }
            roles.sort_unstable();
            roles.dedup();
            (roles, groups)
        }
        Principal::Bridge { name } => (policy.bridges.get(&**name).cloned().unwrap_or_default(), Vec::new()),
        Principal::Operator { name } => {
            (policy.operators.get(&**name).cloned().unwrap_or_default(), Vec::new())
        }
        // A node speaks only for principals of its own, the system has rights of its kind.
        Principal::Node { .. } | Principal::System => (Vec::new(), Vec::new()),
    }
}

/// The groups a principal is in.
pub(crate) fn groups_of(principal: &Principal, policy: &CompiledPolicy) -> Vec<String> {
    roles_of(principal, policy).1
}

fn holders_of<'p>(client: &ClientPrincipal, policy: &'p CompiledPolicy) -> Vec<&'p CompiledHolder> {
    if client.methods == Methods::default() {
        // Nothing was proved, nothing is granted.
        return Vec::new();
    }
    if client.methods.has(Methods::ANONYMOUS) {
        return vec![&policy.assignments(&client.listener).anonymous];
    }
    let assigned = policy.assignments(&client.listener);
    let mut holders = vec![&assigned.authenticated];
    holders.extend(assigned.identities.get(&*client.identity));
    holders
}

/// Whether a client may use its Client Identifier.
pub(crate) fn client_id_fits(client: &ClientPrincipal, policy: &CompiledPolicy) -> bool {
    if policy.development {
        return true;
    }
    if is_assigned(&client.client_id, &client.identity) {
        return true;
    }
    let named = holders_of(client, policy).into_iter().rev().find_map(|holder| holder.client_ids.as_ref());
    if let Some(patterns) = named {
        return patterns.iter().any(|pattern| pattern.matches(&client.client_id, &client.identity));
    }
    // Names that belong to an identity of any policy are for it alone: `dev` does not get `dev-1` where that is somebody,
    // at whichever listener, because Sessions are the whole broker's.
    let id = &client.client_id;
    let ends = std::iter::once(id.len()).chain(id.rmatch_indices('-').map(|(at, _)| at));
    let owner = ends.filter_map(|end| id.get(..end)).find(|name| policy.knows_identity(name));
    if let Some(owner) = owner
        && *owner != *client.identity
    {
        return false;
    }
    client.methods.has(Methods::ANONYMOUS) || is_own(&client.client_id, &client.identity)
}

/// Whether a Client Identifier is an identity's own name, or begins with it and a hyphen.
fn is_own(client_id: &str, identity: &str) -> bool {
    client_id.strip_prefix(identity).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
