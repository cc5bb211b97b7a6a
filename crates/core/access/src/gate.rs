//! The Gate: the only file that can make an [`Authorized`].

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use motte_topic::{TopicFilter, TopicRef, uncovered};

use crate::action::{Action, Origin};
use crate::denial::Denial;
use crate::permissive::{Leniency, NOTES_MAX, PermissiveRole, can_reach, is_lack};
use crate::policy::{CompiledPolicy, PolicyGeneration, Rule, RuleId, Wildcards};
use crate::principal::{ClientPrincipal, Principal};
use crate::standing::{Standing, client_id_fits};

/// What a decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// One topic.
    Topic(TopicRef<'a>),
    /// Every topic that a filter can match.
    Filter(&'a TopicFilter),
}

impl Target<'_> {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Filter(filter) => filter.as_str(),
        }
    }

    fn in_system_space(&self) -> bool {
        self.as_str().starts_with("$SYS/") || self.as_str() == "$SYS"
    }
}

/// Something that can be permitted.
pub trait Subject {
    /// The right it needs.
    fn action(&self) -> Action;
    /// What it is about.
    fn target(&self) -> Target<'_>;
    /// Its QoS, 0 to 2.
    fn qos(&self) -> u8;
    /// Whether it is to be retained.
    fn retain(&self) -> bool;
    /// Bytes of its payload.
    fn payload_bytes(&self) -> usize;
}

/// A decision.
#[must_use = "a decision that is dropped decides nothing"]
#[derive(Debug)]
pub enum AccessDecision<T> {
    /// Permitted.
    Permit(Authorized<T>),
    /// Denied; the subject comes back.
    Deny(T, Denial),
}

/// Proof that a subject was permitted. Nobody but the Gate makes one, and what is inside cannot be changed.
#[must_use = "a proof that is dropped permits nothing"]
#[derive(Debug)]
pub struct Authorized<T> {
    subject: T,
    rule: RuleId,
    generation: PolicyGeneration,
}

impl<T> Authorized<T> {
    /// What was permitted.
    pub fn get(&self) -> &T {
        &self.subject
    }

    /// What was permitted, without the proof.
    pub fn into_inner(self) -> T {
        self.subject
    }

    /// The rule that permitted it.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// The policy under which it was permitted.
    pub fn generation(&self) -> PolicyGeneration {
        self.generation
    }
}

impl<T: Subject> Authorized<T> {
    /// The same permitted thing in another form. `None` when the other form asks for anything else: another right, topic,
    /// QoS, RETAIN or size.
    pub fn restate<'a, U: Subject>(&'a self, form: impl FnOnce(&'a T) -> U) -> Option<Authorized<U>> {
        let subject = form(&self.subject);
        let same = subject.action() == self.subject.action()
            && subject.target() == self.subject.target()
            && subject.qos() == self.subject.qos()
            && subject.retain() == self.subject.retain()
            && subject.payload_bytes() == self.subject.payload_bytes();
        same.then_some(Authorized { subject, rule: self.rule, generation: self.generation })
    }
}

/// A decision that can be applied again while nothing it depends on has changed.
#[derive(Debug, Clone)]
pub struct Grant {
    principal: Arc<Principal>,
    action: Action,
    topic: Box<str>,
    qos: u8,
    retain: bool,
    /// Some rule about the topic looks at the payload: the grant holds for the same size only.
    payload_bytes: Option<usize>,
    rule: RuleId,
    generation: PolicyGeneration,
}

/// The one that decides.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<CompiledPolicy>,
    /// Of the policy, with the permissive roles that have not ended.
    generation: PolicyGeneration,
    /// Seconds since 1970; before the first [`Gate::advance`] the end of time, at which nothing is permissive.
    now_s: u64,
    /// When the next permissive role ends.
    change_s: u64,
    lenient: Cell<u64>,
    leniencies: RefCell<Vec<Leniency>>,
}

impl Gate {
    /// Decides by this policy. As long as it is not told the time, no role is permissive.
    pub fn new(policy: Arc<CompiledPolicy>) -> Self {
        Self {
            generation: policy.generation,
            policy,
            now_s: u64::MAX,
            change_s: u64::MAX,
            lenient: Cell::new(0),
            leniencies: RefCell::default(),
        }
    }

    /// Decides by another policy from now on.
    pub fn replace(&mut self, policy: Arc<CompiledPolicy>) {
        self.policy = policy;
        self.look_at_time();
    }

    /// Tells the time, in seconds since 1970 (UTC). Where it ends the leniency of a role, the generation moves and the roles
    /// are given.
    pub fn advance(&mut self, now_s: u64) -> Vec<PermissiveRole> {
        let before = std::mem::replace(&mut self.now_s, now_s);
        if before <= now_s && now_s < self.change_s {
            return Vec::new();
        }
        self.look_at_time();
        let ended = |role: &PermissiveRole| before < role.until.end_s && role.until.end_s <= now_s;
        self.policy.permissive_roles().into_iter().filter(ended).collect()
    }

    fn look_at_time(&mut self) {
        let ahead = self.policy.permissive_roles().into_iter().filter(|role| self.now_s < role.until.end_s);
        let ahead: Vec<u64> = ahead.map(|role| role.until.end_s).collect();
        self.change_s = ahead.first().copied().unwrap_or(u64::MAX);
        self.generation = self.policy.generation_with(ahead.len() as u64);
    }

    /// Decisions so far that only a permissive role made a permission of, remembered ones too.
    pub fn lenient(&self) -> u64 {
        self.lenient.get()
    }

    /// Takes what permissive roles permitted since it was asked last: new decisions, and not more than 64.
    pub fn take_leniencies(&self) -> Vec<Leniency> {
        self.leniencies.take()
    }

    /// The policy in force.
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// The generation of the policy in force; it moves too when the leniency of a role ends.
    pub fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    /// A principal's rights under the policy in force.
    pub fn standing(&self, principal: Arc<Principal>) -> Standing {
        Standing::resolve(principal, &self.policy).under(self.generation)
    }

    /// Decides. Rights resolved under an older policy are resolved anew.
    pub fn decide<T: Subject>(&self, who: &mut Standing, by: Origin, what: T) -> AccessDecision<T> {
        if who.generation() != self.generation {
            *who = self.standing(Arc::clone(who.principal()));
        }
        let rule = match self.judge(who, by, &what) {
            Ok(rule) => rule,
            Err(denial) => match self.let_pass(who, &what, denial) {
                Ok(rule) => rule,
                Err(denial) => return AccessDecision::Deny(what, denial),
            },
        };
        AccessDecision::Permit(Authorized { subject: what, rule, generation: self.generation })
    }

    /// Permits and notes what is denied for the lack of a rule only, to somebody who has a permissive role.
    fn let_pass<T: Subject>(&self, who: &Standing, what: &T, denial: Denial) -> Result<RuleId, Denial> {
        let may =
            who.is_permissive(self.now_s) && can_reach(what.action(), &what.target()) && is_lack(&denial);
        let Some(client) = who.principal().client().filter(|_| may) else { return Err(denial) };
        self.lenient.set(self.lenient.get().saturating_add(1));
        let mut notes = self.leniencies.borrow_mut();
        if notes.len() < NOTES_MAX {
            notes.push(Leniency {
                identity: client.identity.to_string(),
                client_id: client.client_id.to_string(),
                action: what.action().name(),
                target: what.target().as_str().to_owned(),
                denial,
            });
        }
        Ok(RuleId::PERMISSIVE)
    }

    /// What a decision may be remembered by, for the principal it was made for.
    pub fn grant_of<T: Subject>(&self, who: &Standing, decided: &Authorized<T>) -> Grant {
        let subject = decided.get();
        let mut size_matters = false;
        if let Target::Topic(topic) = subject.target() {
            who.for_each_match(&self.policy, topic, |rule| {
                size_matters |= rule.conditions.payload_bytes_max.is_some();
            });
        }
        Grant {
            principal: Arc::clone(who.principal()),
            action: subject.action(),
            topic: subject.target().as_str().into(),
            qos: subject.qos(),
            retain: subject.retain(),
            payload_bytes: size_matters.then(|| subject.payload_bytes()),
            rule: decided.rule,
            generation: decided.generation,
        }
    }

    /// Applies a remembered decision.
    ///
    /// # Errors
    /// The subject comes back when the grant is for something else, somebody else or another policy: ask
    /// [`Gate::decide`].
    #[inline]
    pub fn decide_again<T: Subject>(
        &self,
        who: &Standing,
        grant: &Grant,
        by: Origin,
        what: T,
    ) -> Result<Authorized<T>, T> {
        let holds = by == Origin::Publish
            && grant.generation == self.generation
            && Arc::ptr_eq(&grant.principal, who.principal())
            && grant.action == what.action()
            && grant.qos == what.qos()
            && grant.retain == what.retain()
            && grant.payload_bytes.is_none_or(|bytes| bytes == what.payload_bytes())
            && *grant.topic == *what.target().as_str();
        if holds {
            if grant.rule == RuleId::PERMISSIVE {
                self.lenient.set(self.lenient.get().saturating_add(1));
            }
            Ok(Authorized { subject: what, rule: grant.rule, generation: grant.generation })
        } else {
            Err(what)
        }
    }

    /// Whether a client may use its Client Identifier.
    ///
    /// # Errors
    /// [`Denial::ClientId`].
    pub fn client_id_permitted(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        if client_id_fits(client, &self.policy) {
            return Ok(RuleId::BUILT_IN);
        }
        Err(Denial::ClientId {
            identity: client.identity.to_string(),
            client_id: client.client_id.to_string(),
        })
    }

    /// Decides without a proof: for the analyzer, which asks and lets nothing through.
    pub(crate) fn judge<T: Subject>(&self, who: &Standing, by: Origin, what: &T) -> Result<RuleId, Denial> {
        let (action, target) = (what.action(), what.target());
        let kind = || Denial::Kind { principal: who.principal().name().to_owned(), origin: by.name() };
        match (&**who.principal(), by) {
            (Principal::System, Origin::System | Origin::Retained | Origin::Restart | Origin::Cluster) => {
                return if target.in_system_space() || target.as_str().starts_with("$motte/") {
                    Ok(RuleId::BUILT_IN)
                } else {
                    Err(kind())
                };
            }
            (
                Principal::Client(_),
                Origin::Publish
                | Origin::Will
                | Origin::Retained
                | Origin::Shared
                | Origin::Restart
                | Origin::Cluster,
            )
            | (
                Principal::Bridge { .. },
                Origin::Bridge | Origin::Retained | Origin::Restart | Origin::Cluster,
            )
            | (
                Principal::Operator { .. },
                Origin::Admin | Origin::Retained | Origin::Restart | Origin::Cluster,
            ) => {}
            (Principal::Client(_), Origin::Bridge | Origin::Admin | Origin::System)
            | (
                Principal::Bridge { .. },
                Origin::Publish | Origin::Will | Origin::Shared | Origin::Admin | Origin::System,
            )
            | (
                Principal::Operator { .. },
                Origin::Publish | Origin::Will | Origin::Shared | Origin::Bridge | Origin::System,
            )
            | (Principal::Node { .. }, _)
            | (
                Principal::System,
                Origin::Publish | Origin::Will | Origin::Shared | Origin::Bridge | Origin::Admin,
            ) => {
                return Err(kind());
            }
        }
        let publishes = matches!(action, Action::Publish | Action::Retain | Action::SetWill);
        if publishes && target.in_system_space() {
            return Err(Denial::SystemSpace { target: target.as_str().to_owned() });
        }
        crate::token::bound(who.principal(), action, &target)?;
        crate::registry::bound(&self.policy, who.principal(), action, &target)?;
        if self.policy.development {
            return Ok(RuleId::BUILT_IN);
        }
        match target {
            Target::Topic(topic) => {
                let first = self.judge_topic(who, action, topic, what);
                if !(what.retain() && publishes) {
                    return first;
                }
                // A rule that denies one of them is said rather than that the other is not granted.
                let second = self.judge_topic(who, Action::Retain, topic, what);
                let is_denying =
                    |verdict: &Result<RuleId, Denial>| matches!(verdict, Err(Denial::Rule { .. }));
                if is_denying(&second) && !is_denying(&first) {
                    return second;
                }
                first.and_then(|rule| second.map(|_| rule))
            }
            Target::Filter(filter) => self.judge_filter(who, action, filter, what),
        }
    }

    pub(crate) fn judge_topic<T: Subject>(
        &self,
        who: &Standing,
        action: Action,
        topic: TopicRef<'_>,
        what: &T,
    ) -> Result<RuleId, Denial> {
        let (mut allowed, mut denied) = (None, None);
        who.for_each_match(&self.policy, topic, |rule| {
            if rule.actions.has(action) && holds(rule, who.principal(), what.qos(), what.payload_bytes()) {
                let found = if rule.allows { &mut allowed } else { &mut denied };
                *found = (*found).min(Some(rule.id)).or(Some(rule.id));
            }
        });
        match (denied, allowed) {
            (Some(rule), _) => Err(self.denied_by(rule, action, topic.as_str())),
            (None, Some(rule)) => Ok(rule),
            (None, None) => Err(Denial::NoRule { action: action.name(), target: topic.as_str().to_owned() }),
        }
    }

    /// A filter is granted when everything it can match is, or when a rule narrows it.
    fn judge_filter<T: Subject>(
        &self,
        who: &Standing,
        action: Action,
        filter: &TopicFilter,
        what: &T,
    ) -> Result<RuleId, Denial> {
        let mut near = Vec::new();
        who.for_each_near(&self.policy, action, filter, |granted, rule| {
            if holds(rule, who.principal(), what.qos(), what.payload_bytes())
                && motte_topic::intersects(&granted, filter).is_some()
            {
                near.push((granted, rule));
            }
        });
        near.sort_by_key(|(_, rule)| rule.id);
        let (allowing, denying): (Vec<_>, Vec<_>) = near.iter().partition(|(_, rule)| rule.allows);
        let deny: Vec<&TopicFilter> = denying.iter().map(|(denied, _)| denied).collect();
        let permitting = || allowing.iter().filter(|(_, rule)| permits_wildcards(rule.wildcards, filter));
        let allow: Vec<&TopicFilter> = permitting().map(|(granted, _)| granted).collect();
        let rule_of = permitting().map(|(_, rule)| rule.id).next();
        let narrowed = permitting().find(|(_, rule)| rule.narrow).map(|(_, rule)| rule.id);
        let too_wide = !allowing.is_empty();
        // A filter that is denied as a whole is not narrowed to nothing.
        if let Some((_, first)) = denying.first()
            && uncovered(filter, &deny, &[]).is_none()
        {
            return Err(self.denied_by(first.id, action, filter.as_str()));
        }
        let Some(rule) = rule_of else {
            return Err(if too_wide {
                Denial::Wildcards { filter: filter.as_str().to_owned() }
            } else {
                Denial::NoRule { action: action.name(), target: filter.as_str().to_owned() }
            });
        };
        match uncovered(filter, &allow, &deny) {
            None => Ok(rule),
            Some(_) if narrowed.is_some() => Ok(narrowed.unwrap_or(rule)),
            Some(witness) => Err(Denial::Reaches {
                filter: filter.as_str().to_owned(),
                witness: witness.as_str().to_owned(),
            }),
        }
    }

    fn denied_by(&self, rule: RuleId, action: Action, target: &str) -> Denial {
        let place =
            self.policy.place(rule).map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        Denial::Rule { action: action.name(), target: target.to_owned(), place }
    }
}

/// Whether a role's wildcards may reach as far as a filter does.
fn permits_wildcards(wildcards: Wildcards, filter: &TopicFilter) -> bool {
    match wildcards {
        Wildcards::Allow => true,
        // Below a first level that is written out, and not empty.
        Wildcards::Scoped => {
            !filter.has_wildcard()
                || filter.levels().next().is_some_and(|level| !matches!(level, "+" | "#" | ""))
        }
        Wildcards::Deny => !filter.has_wildcard(),
    }
}

/// Whether a rule's conditions hold. What the message itself brings (QoS, size) limits what is allowed and never what is
/// denied: a deny rule with such a condition denies what is within it.
pub(crate) fn holds(rule: &Rule, principal: &Principal, qos: u8, payload_bytes: usize) -> bool {
    let conditions = &rule.conditions;
    let message = conditions.qos_max.is_none_or(|max| qos <= max)
        && conditions.payload_bytes_max.is_none_or(|max| payload_bytes as u64 <= max);
    if !message {
        return false;
    }
    // What cannot be known of a principal keeps a rule that allows from holding, and one that denies from being escaped.
    let unknown = !rule.allows;
    let Principal::Client(client) = principal else {
        let unconditional = conditions.listeners.is_none()
            && conditions.security.is_none()
            && conditions.methods.is_none()
            && conditions.from.is_none();
        return unconditional || unknown;
    };
    conditions.listeners.as_ref().is_none_or(|names| names.iter().any(|name| **name == *client.listener))
        && conditions.security.as_ref().is_none_or(|kinds| kinds.contains(&client.security))
        && conditions.methods.is_none_or(|methods| client.methods.has(methods))
        && conditions.from.as_ref().is_none_or(|nets| match client.address {
            Some(address) => nets.iter().any(|net| net.contains(&address)),
            None => unknown,
        })
}

/// The rules that bear on a topic, for explanations.
pub(crate) fn bearing<'p>(gate: &'p Gate, who: &Standing, topic: TopicRef<'_>) -> Vec<&'p Rule> {
    let mut found = Vec::new();
    who.for_each_match(&gate.policy, topic, |rule| found.push(rule));
    found
}
