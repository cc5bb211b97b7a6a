//! Faults of a policy that is valid: what reaches too far, what never decides anything, what nobody has.

use std::collections::BTreeSet;

use motte_topic::{TopicFilter, equivalent, meet};

use crate::action::Action;
use crate::analysis::effect::{Effect, effects};
use crate::analysis::population::{Population, TooMany};
use crate::analysis::topic_set::TopicPiece;
use crate::analysis::world::World;
use crate::policy::{CompiledRole, Rule, RulePlace};
use crate::template::{Piece, Placeholder};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// Certainly not meant, or open to everybody.
    Error,
}

impl Severity {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The policy cannot be read.
    Invalid,
    /// A rule permits every topic.
    Everything,
    /// A rule begins with a wildcard.
    LeadingWildcard,
    /// A rule reaches branches that others have for themselves.
    PrivateBranch,
    /// A rule permits what other rules deny wholly.
    Contradicted,
    /// A rule permits only what other rules permit.
    Shadowed,
    /// A rule denies what nobody could do anyway.
    Idle,
    /// No client fulfils the conditions of a rule.
    NeverHolds,
    /// Nobody has a role.
    RoleUnused,
    /// A role permits what no rule grants, for the time being.
    Permissive,
    /// A rule permits publishing only to topics that the topic registry does not know.
    Unregistered,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Invalid,
        Self::Everything,
        Self::LeadingWildcard,
        Self::PrivateBranch,
        Self::Contradicted,
        Self::Shadowed,
        Self::Idle,
        Self::NeverHolds,
        Self::RoleUnused,
        Self::Permissive,
        Self::Unregistered,
    ];

    /// Its identifier.
    pub fn id(self) -> &'static str {
        match self {
            Self::Invalid => "acl-invalid",
            Self::Everything => "acl-everything",
            Self::LeadingWildcard => "acl-leading-wildcard",
            Self::PrivateBranch => "acl-private-branch",
            Self::Contradicted => "acl-contradicted",
            Self::Shadowed => "acl-shadowed",
            Self::Idle => "acl-idle-deny",
            Self::NeverHolds => "acl-never-holds",
            Self::RoleUnused => "acl-role-unused",
            Self::Permissive => "acl-permissive",
            Self::Unregistered => "acl-unregistered",
        }
    }

    /// What it finds, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Invalid => "The policy cannot be read, so the broker keeps the one it has.",
            Self::Everything => "A rule permits every topic.",
            Self::LeadingWildcard => {
                "A rule begins with a wildcard and reaches branches that are yet to come."
            }
            Self::PrivateBranch => "A rule reaches branches that clients have for themselves.",
            Self::Contradicted => "A rule permits what other rules deny wholly, so it permits nothing.",
            Self::Shadowed => "A rule permits only what other rules permit anyway.",
            Self::Idle => "A rule denies only what nobody may do anyway.",
            Self::NeverHolds => "No client can fulfil the conditions of a rule.",
            Self::RoleUnused => "Nobody has a role.",
            Self::Permissive => "A role permits what no rule grants, until a day has passed.",
            Self::Unregistered => {
                "A rule permits publishing only to topics that the topic registry does not know."
            }
        }
    }
}

/// Something to look at, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is.
    pub check: Check,
    /// How much it matters.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The role; empty where it is about none.
    pub role: String,
    /// What was found.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    fn at(
        place: &RulePlace,
        check: Check,
        severity: Severity,
        what: String,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity,
            file: place.file.to_string(),
            line: place.line,
            role: place.role.to_string(),
            what,
            remedy: remedy.into(),
        }
    }
}

impl From<crate::error::PolicyError> for Finding {
    fn from(error: crate::error::PolicyError) -> Self {
        Self {
            check: Check::Invalid,
            severity: Severity::Error,
            file: error.file,
            line: error.line,
            role: String::new(),
            what: error.what,
            remedy: error.remedy,
        }
    }
}

impl World {
    /// Looks for faults; in the order of files and lines.
    ///
    /// # Errors
    /// [`TooMany`]: it was not decided.
    pub fn lint(&self) -> Result<Vec<Finding>, TooMany> {
        let population = Population::of(&[self], &[], &[])?;
        let mut found = Vec::new();
        let held = self.roles_held();
        for (number, role) in self.policy().roles.iter().enumerate() {
            if !held.contains(&number) {
                let what = format!("nobody has the role {}", role.name);
                let remedy = "give it to an identity, a group or a certificate, or remove it";
                found.push(Finding::at(&role.place, Check::RoleUnused, Severity::Warning, what, remedy));
            }
            if let Some(until) = role.permissive {
                let what = format!(
                    "the role {} is permissive until {}: its holders may do what no rule denies",
                    role.name,
                    until.day()
                );
                let remedy = "grant what is used (`motte acl advise`, `rule.let_pass` in the log) and remove permissive_until";
                found.push(Finding::at(&role.place, Check::Permissive, Severity::Warning, what, remedy));
            }
            for rule in self.rules_of(role).filter(|rule| rule.allows) {
                found.extend(self.reach(role, number, rule));
            }
        }
        for (rule, effect) in self.rules().iter().zip(effects(self, &population)) {
            found.extend(self.effect(rule, &effect));
        }
        found.sort_by(|a, b| (&a.file, a.line, a.check, &a.what).cmp(&(&b.file, b.line, b.check, &b.what)));
        found.dedup();
        Ok(found)
    }

    fn rules_of<'w>(&'w self, role: &'w CompiledRole) -> impl Iterator<Item = &'w Rule> + use<'w> {
        role.rules.clone().filter_map(|number| self.rules().get(number as usize))
    }

    /// Numbers of the roles that somebody has.
    fn roles_held(&self) -> BTreeSet<usize> {
        let policy = self.policy();
        let mut held: BTreeSet<u32> =
            policy.bridges.values().chain(policy.operators.values()).flatten().copied().collect();
        for assigned in std::iter::once(&policy.everywhere).chain(policy.by_listener.values()) {
            let holders = assigned.identities.values().chain([&assigned.authenticated, &assigned.anonymous]);
            held.extend(holders.flat_map(|holder| &holder.roles));
            held.extend(assigned.certificates.iter().flat_map(|one| &one.roles));
        }
        for listener in &self.listeners {
            let known = &policy.assignments(&listener.name).roles;
            let granted = listener.token_roles.iter().flatten().chain(&listener.group_roles);
            held.extend(granted.filter_map(|name| known.get(name)));
        }
        held.into_iter().map(|number| number as usize).collect()
    }

    /// Whether everybody has a role, or everybody whom nobody asked.
    fn is_for_all(&self, role: usize) -> bool {
        let policy = self.policy();
        let all = std::iter::once(&policy.everywhere).chain(policy.by_listener.values());
        all.flat_map(|one| [&one.authenticated, &one.anonymous])
            .flat_map(|holder| &holder.roles)
            .any(|number| *number as usize == role)
    }

    /// Whether a rule that allows reaches too far.
    fn reach(&self, owner: &CompiledRole, number: usize, rule: &Rule) -> Vec<Finding> {
        let (Some(place), Some(filter)) = (self.policy().place(rule.id), rule.topic.widest()) else {
            return Vec::new();
        };
        let writes = rule.actions.has(Action::Publish) || rule.actions.has(Action::Retain);
        let words = rule.words();
        let is_all = TopicFilter::parse("#").is_ok_and(|all| equivalent(&all, &filter));
        if is_all && rule.topic.placeholders().next().is_none() {
            let for_all = self.is_for_all(number);
            let severity = if for_all { Severity::Error } else { Severity::Warning };
            let whom = if for_all { ", and everybody has it" } else { "" };
            let what = format!("`{words}` permits every topic to the role {}{whom}", owner.name);
            let remedy = "name the branches that the role needs: devices/+/state, alerts/#";
            return vec![Finding::at(place, Check::Everything, severity, what, remedy)];
        }
        let mut found = Vec::new();
        if rule.topic.to_string().starts_with('+') {
            let what = format!("`{words}` begins with a wildcard: it reaches branches that are yet to come");
            let remedy = "write the first level out, one filter for each branch";
            found.push(Finding::at(place, Check::LeadingWildcard, Severity::Warning, what, remedy));
        }
        let severity = if writes { Severity::Warning } else { Severity::Note };
        let branches = self.private_branches(owner, rule, &filter);
        if let Some((_, _, example)) = branches.first() {
            let names: Vec<String> =
                branches.iter().map(|(branch, theirs, _)| format!("{branch} (role {theirs})")).collect();
            let what =
                format!("`{words}` reaches branches of others: {}; such as {example}", names.join(", "));
            let remedy = if writes {
                "write only where the role must: whoever has it can speak for, or to, every client"
            } else {
                "make sure that this role may see what every client says, or narrow the filter"
            };
            found.push(Finding::at(place, Check::PrivateBranch, severity, what, remedy));
        }
        found
    }

    /// Branches of other roles that are for one client each, and that a rule reaches for all clients: the branch, its role and
    /// a topic.
    fn private_branches(
        &self,
        owner: &CompiledRole,
        rule: &Rule,
        filter: &TopicFilter,
    ) -> Vec<(String, String, String)> {
        let denied: Vec<TopicFilter> = self
            .rules_of(owner)
            .filter(|one| !one.allows && one.actions.words() == rule.actions.words())
            .filter_map(|one| one.topic.fixed())
            .collect();
        let mut found: Vec<(String, String, String)> = Vec::new();
        for other in self.policy().roles.iter().filter(|other| other.listener == owner.listener) {
            for branch in self.rules_of(other).filter(|one| one.allows && one.id != rule.id) {
                let text = branch.topic.to_string();
                if found.iter().any(|(known, ..)| *known == text) || !is_foreign(rule, branch) {
                    continue;
                }
                let shared = branch.topic.widest().and_then(|branch| meet(&branch, filter));
                let example = shared.and_then(|shared| TopicPiece::new(shared, &denied)?.example());
                found.extend(example.map(|topic| (text, other.name.clone(), topic.to_string())));
            }
        }
        found
    }

    fn effect(&self, rule: &Rule, effect: &Effect) -> Option<Finding> {
        let place = self.policy().place(rule.id)?;
        let words = rule.words();
        let other = effect
            .by
            .and_then(|by| self.policy().place(by))
            .map(|place| format!("the rule at {}:{}", place.file, place.line));
        let finding = |check, severity, what: String, remedy: &str| {
            Some(Finding::at(place, check, severity, what, remedy))
        };
        match (rule.allows, effect) {
            (true, Effect { publishes: true, is_registered: false, .. }) => finding(
                Check::Unregistered,
                Severity::Warning,
                format!(
                    "`{words}` lets nobody publish anything: the topic registry knows none of its topics"
                ),
                "correct its topics, add their shape to topic_registry, or take publishing out of the rule",
            ),
            (_, Effect { decides: true, .. }) => None,
            (_, Effect { holds: false, .. }) => finding(
                Check::NeverHolds,
                Severity::Warning,
                format!("`{words}` never holds: no client fulfils its conditions"),
                "correct its conditions or placeholders, or remove it",
            ),
            (true, Effect { denied: true, .. }) => finding(
                Check::Contradicted,
                Severity::Error,
                format!(
                    "`{words}` permits nothing: {} denies all of it",
                    other.unwrap_or_else(|| "other rules together".into())
                ),
                "a rule that denies always wins: remove one of the two, or narrow the one that denies",
            ),
            (true, _) => finding(
                Check::Shadowed,
                Severity::Warning,
                format!(
                    "`{words}` decides nothing: {} permits all of it",
                    other.unwrap_or_else(|| "what other rules say together".into())
                ),
                "remove it, or the wider one if this is what was meant",
            ),
            (false, _) => finding(
                Check::Idle,
                Severity::Note,
                format!(
                    "`{words}` decides nothing: nobody who has the role {} may do that anyway",
                    place.role
                ),
                "remove it, or keep it as a safeguard for rules to come",
            ),
        }
    }
}

/// Whether a rule has a wildcard where a branch has a name of its client.
fn is_foreign(rule: &Rule, branch: &Rule) -> bool {
    let own = [Placeholder::Identity, Placeholder::ClientId, Placeholder::User, Placeholder::CertCn];
    let levels = rule.topic.levels();
    let text = |at: usize| match levels.get(at).map(Vec::as_slice) {
        Some([Piece::Text(text)]) => text.as_str(),
        Some(_) => "",
        None => "#",
    };
    branch.topic.levels().iter().enumerate().any(|(at, level)| {
        let is_own = level.iter().any(|piece| matches!(piece, Piece::Placeholder(one) if own.contains(one)));
        is_own && matches!(text(at), "+" | "#")
    })
}
