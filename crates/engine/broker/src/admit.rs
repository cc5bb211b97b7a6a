//! The chokepoint: the only place that asks the Gate. Everything that may become a delivery passes one of these
//! functions, each named for its way in.
#![expect(clippy::disallowed_methods, reason = "this file is the one caller of the Gate")]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use motte_access::usage::{Recorder, UsageRecord};
use motte_access::{
    AccessDecision, Authorized, ClientPrincipal, CompiledPolicy, Denial, Gate, Grant, Leniency, Origin,
    PermissiveRole, PolicyGeneration, Principal, RuleId, Standing, Subject,
};
use motte_session::Will;
use motte_topic::TopicName;

use crate::publication::{Publication, Reception, StoredPublication, SubscriptionRequest, WillRequest};
use crate::sessions::Session;

/// The Gate, as the broker asks it.
#[derive(Debug)]
pub struct Admit {
    gate: Gate,
    /// Notes what rules are used for, when that is wished.
    recorder: Option<RefCell<Recorder>>,
    now_s: u64,
}

impl Admit {
    /// Asks under this policy.
    pub fn new(policy: Arc<CompiledPolicy>) -> Self {
        Self { gate: Gate::new(policy), recorder: None, now_s: 0 }
    }

    /// Asks under another policy from now on; its generation differs, so every older decision is asked again.
    pub fn replace(&mut self, policy: Arc<CompiledPolicy>) {
        self.tell_usage();
        self.gate.replace(policy);
        self.watch();
    }

    /// Tells the time; gives the roles whose leniency it ended.
    pub fn advance(&mut self, now_s: u64) -> Vec<PermissiveRole> {
        self.now_s = now_s;
        self.gate.advance(now_s)
    }

    /// Records from now on what rules are used for.
    pub fn record_usage(&mut self, record: Arc<Mutex<UsageRecord>>, now_s: u64) {
        self.now_s = now_s;
        self.recorder = Some(RefCell::new(Recorder::new(record)));
        self.watch();
    }

    fn watch(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().watch(self.gate.policy(), self.now_s);
        }
    }

    /// Tells the process what was recorded so far.
    pub fn tell_usage(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().tell(self.gate.policy(), self.now_s);
        }
    }

    /// Asks the Gate, and records what it permits.
    fn ask<T: Subject>(&self, who: &mut Standing, by: Origin, what: T) -> AccessDecision<T> {
        let decision = self.gate.decide(who, by, what);
        if let AccessDecision::Permit(decided) = &decision {
            self.note(who, decided);
        }
        decision
    }

    /// No Session is set apart as suspicious yet, so all of it counts.
    #[inline]
    fn note<T: Subject>(&self, who: &Standing, decided: &Authorized<T>) {
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().note(&self.gate, who, decided, false, self.now_s);
        }
    }

    /// How often a permissive role made a permission of a denial.
    pub fn lenient(&self) -> u64 {
        self.gate.lenient()
    }

    /// What permissive roles permitted since it was asked last.
    pub fn take_leniencies(&self) -> Vec<Leniency> {
        self.gate.take_leniencies()
    }

    /// The generation of the policy in force.
    pub fn generation(&self) -> PolicyGeneration {
        self.gate.generation()
    }

    /// A principal's rights under the policy in force.
    pub fn standing(&self, principal: Arc<Principal>) -> Standing {
        self.gate.standing(principal)
    }

    /// Whether a client may use its Client Identifier.
    pub fn client_id(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        self.gate.client_id_permitted(client)
    }

    /// Whether a client comes from where its identity may.
    pub fn source(&self, client: &ClientPrincipal) -> Result<RuleId, Denial> {
        self.gate.source_permitted(client)
    }

    /// PUBLISH, on arrival; `remembered` is an earlier grant for the same topic.
    #[inline]
    pub fn publish<'a>(
        &self,
        who: &mut Standing,
        remembered: Option<&Grant>,
        what: Publication<'a>,
    ) -> AccessDecision<Publication<'a>> {
        let what = match remembered {
            Some(grant) => match self.gate.decide_again(who, grant, Origin::Publish, what) {
                Ok(authorized) => {
                    self.note(who, &authorized);
                    return AccessDecision::Permit(authorized);
                }
                Err(what) => what,
            },
            None => what,
        };
        self.ask(who, Origin::Publish, what)
    }

    /// What a decision may be remembered by.
    pub fn grant<T: Subject>(&self, who: &Standing, decided: &Authorized<T>) -> Grant {
        self.gate.grant_of(who, decided)
    }

    /// A Will, at CONNECT.
    pub fn set_will(&self, who: &mut Standing, will: &Will) -> Result<(), Denial> {
        match self.ask(who, Origin::Will, WillRequest { will }) {
            AccessDecision::Permit(_) => Ok(()),
            AccessDecision::Deny(_, denial) => Err(denial),
        }
    }

    /// A publication with another way in than a client's PUBLISH: a Will that fires, an operator, a bridge, a node, the
    /// system, a record.
    pub fn inject(
        &self,
        by: Origin,
        who: &mut Standing,
        what: StoredPublication,
    ) -> AccessDecision<StoredPublication> {
        self.ask(who, by, what)
    }

    /// SUBSCRIBE, for one Topic Filter.
    pub fn subscribe(
        &self,
        who: &mut Standing,
        what: SubscriptionRequest,
    ) -> AccessDecision<SubscriptionRequest> {
        let by = if what.shared { Origin::Shared } else { Origin::Publish };
        self.ask(who, by, what)
    }

    /// A Session as the recipient of a topic.
    pub fn receive(&self, session: &mut Session, topic: &TopicName) -> Option<Authorized<Reception>> {
        self.receive_by(Origin::Publish, session, topic)
    }

    /// A Session as the recipient of a topic by another way than a live subscription.
    pub fn receive_by(
        &self,
        by: Origin,
        session: &mut Session,
        topic: &TopicName,
    ) -> Option<Authorized<Reception>> {
        let what = Reception { session: session.key.slot, topic: topic.clone() };
        match self.ask(&mut session.standing, by, what) {
            AccessDecision::Permit(seat) => Some(seat),
            AccessDecision::Deny(..) => None,
        }
    }

    /// Whether a Retained Message's source may still publish it, when the policy moved since it was taken.
    pub fn source_still_may(&self, message: &Authorized<StoredPublication>) -> bool {
        if message.generation() == self.generation() {
            return true;
        }
        let stored = message.get();
        let mut who = self.standing(Arc::clone(&stored.source));
        matches!(self.ask(&mut who, Origin::Retained, stored.borrow()), AccessDecision::Permit(_))
    }

    /// A permitted publication, owned, so that it can wait.
    pub fn keep(
        publication: &Authorized<Publication<'_>>,
        topic: &TopicName,
    ) -> Option<Authorized<StoredPublication>> {
        publication.restate(|p| p.store(topic))
    }

    /// A permitted stored publication, borrowed, so that it can be routed.
    pub fn lend(publication: &Authorized<StoredPublication>) -> Option<Authorized<Publication<'_>>> {
        publication.restate(StoredPublication::borrow)
    }
}
