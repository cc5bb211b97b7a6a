//! The Gate: the only file that can make an [`Authorized`].

use std::sync::Arc;

use motte_topic::{TopicFilter, TopicName, TopicRef};

use crate::compile::CompiledPolicy;
use crate::decide;
use crate::denial::{Denial, RuleId};
use crate::principal::{ClientPrincipal, Principal};
use crate::standing::Standing;
use crate::{Action, Origin};

/// The number of a policy in force; every replacement at a [`Gate`] has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyGeneration(pub u64);

/// What a right is asked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// One topic.
    Topic(TopicRef<'a>),
    /// All topics that a Topic Filter matches.
    Filter(&'a TopicFilter),
}

/// Something that needs a right.
///
/// The answers must not change while the value is not changed: a decision holds for the value it was made on.
pub trait Subject {
    /// The right that it needs. A publication with [`Self::retain`] needs [`Action::Retain`] too.
    fn action(&self) -> Action;
    /// On what.
    fn target(&self) -> Target<'_>;
    /// Quality of Service of the message, or asked for by the subscription: 0, 1 or 2.
    fn qos(&self) -> u8;
    /// Whether the message is to be retained.
    fn retain(&self) -> bool;
    /// Length of the payload in bytes.
    fn payload_bytes(&self) -> usize;
}

/// The answer of the Gate.
#[derive(Debug)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum AccessDecision<T> {
    /// It may be done.
    Permit(Authorized<T>),
    /// It must not be done; the subject comes back with the reason.
    Deny(T, Denial),
}

/// A subject that the Gate permitted. Only the Gate makes one, and it cannot be changed.
#[derive(Debug)]
#[must_use = "a permitted subject is made to be used"]
pub struct Authorized<T> {
    subject: T,
    rule: RuleId,
    generation: PolicyGeneration,
    origin: Origin,
    /// Address of the principal that was asked about; compared, never followed.
    principal: usize,
}

impl<T> Authorized<T> {
    /// What was permitted.
    pub const fn get(&self) -> &T {
        &self.subject
    }

    /// What was permitted, without the proof.
    pub fn into_inner(self) -> T {
        self.subject
    }

    /// The rule that permitted it; [`CompiledPolicy::place`] tells where it stands.
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// The policy that permitted it.
    pub const fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    /// The way it came.
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl<T: Subject> Authorized<T> {
    /// The proof for another form of the same subject, such as one that owns its text.
    ///
    /// `None` when the new form needs a right on anything else: another action, target, quality, retain flag or
    /// length of payload.
    pub fn restate<U: Subject>(&self, form: impl FnOnce(&T) -> U) -> Option<Authorized<U>> {
        self.restate_borrowed(form)
    }

    /// As [`Self::restate`], for a form that borrows from this one.
    pub fn restate_borrowed<'a, U: Subject>(
        &'a self,
        form: impl FnOnce(&'a T) -> U,
    ) -> Option<Authorized<U>> {
        let subject = form(&self.subject);
        let is_same = subject.action() == self.subject.action()
            && subject.target() == self.subject.target()
            && subject.qos() == self.subject.qos()
            && subject.retain() == self.subject.retain()
            && subject.payload_bytes() == self.subject.payload_bytes();
        is_same.then_some(Authorized {
            subject,
            rule: self.rule,
            generation: self.generation,
            origin: self.origin,
            principal: self.principal,
        })
    }
}

/// A decision to apply again to the same principal, way, action and topic under the same policy.
#[derive(Debug)]
pub struct Grant {
    principal: Arc<Principal>,
    generation: PolicyGeneration,
    origin: Origin,
    action: Action,
    /// None: the decision cannot be applied again.
    topic: Option<TopicName>,
    retain: bool,
    qos_max: u8,
    payload_bytes_max: usize,
    rule: RuleId,
}

/// Where every right is asked for.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<CompiledPolicy>,
    generation: PolicyGeneration,
}

impl Gate {
    /// A Gate under this policy.
    pub fn new(policy: Arc<CompiledPolicy>) -> Self {
        let generation = policy.generation();
        Self { policy, generation }
    }

    /// Puts another policy in force. Older decisions lose their worth.
    ///
    /// The generation always grows: a policy that carries no greater one than the policy in force is counted
    /// as the next.
    pub fn replace(&mut self, policy: Arc<CompiledPolicy>) {
        let next = PolicyGeneration(self.generation.0.saturating_add(1));
        self.generation = policy.generation().max(next);
        self.policy = policy;
    }

    /// The generation of the policy in force.
    pub const fn generation(&self) -> PolicyGeneration {
        self.generation
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Arc<CompiledPolicy> {
        &self.policy
    }

    /// A principal's rights under the policy in force.
    pub fn standing(&self, principal: Arc<Principal>) -> Standing {
        Standing::resolve(principal, &self.policy, self.generation)
    }

    /// Decides. The rights of `who` are resolved again first if the policy has been replaced since.
    pub fn decide<T: Subject>(&self, who: &mut Standing, by: Origin, what: T) -> AccessDecision<T> {
        if who.generation() != self.generation {
            *who = self.standing(Arc::clone(who.principal()));
        }
        match decide::judge(&self.policy, who, by, &what) {
            Ok(rule) => AccessDecision::Permit(Authorized {
                subject: what,
                rule,
                generation: self.generation,
                origin: by,
                principal: address(who.principal()),
            }),
            Err(denial) => AccessDecision::Deny(what, denial),
        }
    }

    /// What a decision may be remembered by; of no use when `decided` was for another principal or a filter.
    pub fn grant_of<T: Subject>(&self, who: &Standing, decided: &Authorized<T>) -> Grant {
        let subject = &decided.subject;
        let is_own = decided.principal == address(who.principal())
            && decided.generation == self.generation
            && who.generation() == self.generation;
        let topic = match subject.target() {
            Target::Topic(topic) if is_own => Some(topic.to_name()),
            Target::Topic(_) | Target::Filter(_) => None,
        };
        let (qos_max, payload_bytes_max) = self.policy.bounds_of(decided.rule);
        Grant {
            principal: Arc::clone(who.principal()),
            generation: decided.generation,
            origin: decided.origin,
            action: subject.action(),
            topic,
            retain: subject.retain(),
            qos_max,
            payload_bytes_max,
            rule: decided.rule,
        }
    }

    /// Permits what an earlier decision covers, without looking at a rule.
    ///
    /// # Errors
    /// The subject comes back when the grant does not cover it: ask [`Self::decide`].
    pub fn decide_again<T: Subject>(
        &self,
        who: &Standing,
        grant: &Grant,
        by: Origin,
        what: T,
    ) -> Result<Authorized<T>, T> {
        let is_covered = grant.generation == self.generation
            && who.generation() == self.generation
            && Arc::ptr_eq(&grant.principal, who.principal())
            && grant.origin == by
            && grant.action == what.action()
            && (grant.retain || !what.retain())
            && what.qos() <= grant.qos_max
            && what.payload_bytes() <= grant.payload_bytes_max
            && match (what.target(), &grant.topic) {
                (Target::Topic(topic), Some(granted)) => topic.as_str() == granted.as_str(),
                (Target::Topic(_) | Target::Filter(_), _) => false,
            };
        if !is_covered {
            return Err(what);
        }
        Ok(Authorized {
            subject: what,
            rule: grant.rule,
            generation: self.generation,
            origin: by,
            principal: address(who.principal()),
        })
    }

    /// Whether a client may use its Client Identifier, and the rule that says so.
    ///
    /// # Errors
    /// The policy does not know the identity, or gives it other Client Identifiers.
    pub fn client_id_permitted(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        self.policy.client_id_permitted(client)
    }
}

fn address(principal: &Arc<Principal>) -> usize {
    Arc::as_ptr(principal).addr()
}
