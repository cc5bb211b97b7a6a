//! SUBSCRIBE and UNSUBSCRIBE: each Topic Filter parsed, decided, indexed; then the Retained Messages it asks for.

use std::sync::Arc;

use motte_access::AccessDecision;
use motte_topic::SubscriptionFilter;
use motte_wire::{QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeEntry, UnsubAck, Unsubscribe};

use crate::broker::Broker;
use crate::core::Core;
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::notice;
use crate::publication::SubscriptionRequest;
use crate::sessions::{OwnSubscription, PendingRetained, SessionKey, Wish};
use crate::shared::{GroupKey, Member};
use crate::subscriptions::Subscriber;

/// Retained Messages that may wait for one client before its further subscriptions are refused: each costs 24 bytes, and
/// every filter may match all of them.
const PENDING_RETAINED_MAX: usize = 100_000;

/// What became of one Topic Filter.
enum Outcome {
    Granted { own: OwnSubscription, new: bool, handling: RetainHandling },
    Refused(ReasonCode),
}

impl Broker {
    pub(crate) fn subscribe(
        &mut self,
        conn: ConnId,
        packet: &Subscribe<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Some(live) = self.connections.live(conn) else { return };
        let (key, version) = (live.session, live.version);
        let identifiers_ok =
            self.core.sessions.by_key(key).is_some_and(|s| s.limits.subscription_identifiers_available);
        if packet.subscription_identifier.is_some() && !identifiers_ok {
            let reason = ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED;
            return self.protocol_error(conn, reason, "Subscription Identifiers are not available", now, fx);
        }
        let mut codes = Vec::new();
        let most =
            self.core.sessions.by_key(key).map_or(0, |session| session.limits.subscriptions_max as usize);
        let is_refused =
            self.core.durable.is_refusing() && self.core.sessions.by_key(key).is_some_and(|s| s.is_kept());
        for entry in packet.filters() {
            if is_refused {
                codes.push(ReasonCode::QUOTA_EXCEEDED);
                continue;
            }
            // One packet may not make more work than a Session may have subscriptions.
            if codes.len() >= most {
                codes.push(ReasonCode::QUOTA_EXCEEDED);
                continue;
            }
            match self.core.subscribe_one(key, packet, &entry, fx) {
                Outcome::Granted { own, new, handling } => {
                    codes.push(ReasonCode::granted(own.wish.qos));
                    let replay = match handling {
                        RetainHandling::Always => true,
                        RetainHandling::IfNew => new,
                        RetainHandling::Never => false,
                    };
                    // MQTT-3.8.4-4 of 5.0 section 4.8.2: a Shared Subscription gets no Retained Messages when made.
                    if replay && own.share.is_none() {
                        self.core.replay_retained(key, &own, now);
                    }
                }
                Outcome::Refused(reason) => codes.push(reason),
            }
        }
        if codes.iter().any(|code| !code.is_failure()) {
            self.core.subscriptions_changed(key, conn, fx);
        }
        if let Some(output) = fx.output(conn) {
            SubAck::new(packet.packet_id, &codes).encode(version, output.buffer());
        }
        self.core.pump_retained(key, now, fx);
    }

    pub(crate) fn unsubscribe(&mut self, conn: ConnId, packet: &Unsubscribe<'_>, fx: &mut impl Effects) {
        let Some(live) = self.connections.live(conn) else { return };
        let (key, version) = (live.session, live.version);
        let mut codes = Vec::new();
        let most =
            self.core.sessions.by_key(key).map_or(0, |session| session.limits.subscriptions_max as usize);
        for text in packet.filters() {
            if codes.len() >= most {
                codes.push(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
                continue;
            }
            codes.push(match SubscriptionFilter::parse(text) {
                Ok(wanted) => self.core.unsubscribe_one(key, &wanted),
                Err(_) => ReasonCode::TOPIC_FILTER_INVALID,
            });
        }
        if codes.contains(&ReasonCode::SUCCESS) {
            self.core.subscriptions_changed(key, conn, fx);
        }
        if let Some(output) = fx.output(conn) {
            UnsubAck::new(packet.packet_id, &codes).encode(version, output.buffer());
        }
    }
}

impl Core {
    /// The acknowledgement waits until the change is kept, if the Session is.
    fn subscriptions_changed(&mut self, key: SessionKey, conn: ConnId, fx: &mut impl Effects) {
        if let Some(session) = self.sessions.by_key(key).filter(|session| session.is_kept()) {
            self.durable.change(session);
            self.durable.hold(conn, fx);
        }
    }

    fn subscribe_one(
        &mut self,
        key: SessionKey,
        packet: &Subscribe<'_>,
        entry: &SubscribeEntry<'_>,
        fx: &mut impl Effects,
    ) -> Outcome {
        let Some(session) = self.sessions.by_key(key) else {
            return Outcome::Refused(ReasonCode::UNSPECIFIED_ERROR);
        };
        let limits = Arc::clone(&session.limits);
        let Ok(wanted) = SubscriptionFilter::parse(entry.filter) else {
            return Outcome::Refused(ReasonCode::TOPIC_FILTER_INVALID);
        };
        if limits.topic.check(wanted.filter.as_str()).is_err() {
            return Outcome::Refused(ReasonCode::TOPIC_FILTER_INVALID);
        }
        if wanted.share.is_some() && !limits.shared_available {
            return Outcome::Refused(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if wanted.filter.has_wildcard() && !limits.wildcard_available {
            return Outcome::Refused(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if session.pending_retained.len() > PENDING_RETAINED_MAX {
            notice::subscriptions_full(session, fx);
            return Outcome::Refused(ReasonCode::QUOTA_EXCEEDED);
        }
        let known = session.subscription(wanted.share.as_ref(), &wanted.filter);
        if known.is_none() && session.subscriptions.len() >= limits.subscriptions_max as usize {
            notice::subscriptions_full(session, fx);
            return Outcome::Refused(ReasonCode::QUOTA_EXCEEDED);
        }
        let qos = entry.options.qos.min(limits.maximum_qos);
        let request = SubscriptionRequest { filter: wanted.filter, shared: wanted.share.is_some(), qos };
        let filter = match self.admit.subscribe(&mut session.standing, request) {
            AccessDecision::Permit(permitted) => permitted.into_inner().filter,
            AccessDecision::Deny(request, denial) => {
                self.counters.subscriptions_denied += 1;
                notice::subscribe_denied(&session.principal, request.filter.as_str(), &denial, fx);
                return Outcome::Refused(ReasonCode::NOT_AUTHORIZED);
            }
        };
        let wish = Wish {
            qos,
            no_local: entry.options.no_local,
            retain_as_published: entry.options.retain_as_published,
            identifier: packet.subscription_identifier,
        };
        let own = OwnSubscription { share: wanted.share, filter, wish };
        self.index(key, &own, known);
        Outcome::Granted { own, new: known.is_none(), handling: entry.options.retain_handling }
    }

    /// Enters a subscription into its Session and the index; `known` is its place when the Session has it already.
    pub(crate) fn index(&mut self, key: SessionKey, own: &OwnSubscription, known: Option<usize>) {
        let Some(session) = self.sessions.by_key(key) else { return };
        match known.and_then(|at| session.subscriptions.get_mut(at)) {
            Some(entry) => entry.wish = own.wish,
            None => {
                session.subscriptions.push(own.clone());
                self.ledger.change(0, own.bytes(), self.exchange.memory());
            }
        }
        match &own.share {
            None => {
                let is_kept = session.is_kept() && own.wish.qos > QoS::AtMostOnce;
                let subscriber = Subscriber { session: key.slot, wish: own.wish, is_kept };
                self.subscriptions.add(&own.filter, subscriber, known.is_some(), self.shard, &self.exchange);
            }
            Some(share) => {
                let (is_kept, online) = (session.is_kept(), session.online_flag());
                let member = Member { shard: self.shard, session: key, is_kept, online };
                let group = GroupKey { share: share.clone(), filter: own.filter.clone() };
                self.exchange.join(&group, member);
            }
        }
    }

    /// Takes a subscription out of the index.
    pub(crate) fn unindex(&mut self, own: &OwnSubscription, key: SessionKey) {
        match &own.share {
            None => self.subscriptions.remove(&own.filter, key.slot, self.shard, &self.exchange),
            Some(share) => {
                let group = GroupKey { share: share.clone(), filter: own.filter.clone() };
                self.exchange.leave(&group, self.shard, key);
            }
        }
    }

    fn unsubscribe_one(&mut self, key: SessionKey, wanted: &SubscriptionFilter) -> ReasonCode {
        let Some(session) = self.sessions.by_key(key) else { return ReasonCode::UNSPECIFIED_ERROR };
        match session.subscription(wanted.share.as_ref(), &wanted.filter) {
            Some(at) => {
                let own = session.subscriptions.remove(at);
                self.ledger.change(own.bytes(), 0, self.exchange.memory());
                self.unindex(&own, key);
                ReasonCode::SUCCESS
            }
            None => ReasonCode::NO_SUBSCRIPTION_EXISTED,
        }
    }

    /// Puts the Retained Messages of a new subscription in line; each is decided when it goes out.
    fn replay_retained(&mut self, key: SessionKey, own: &OwnSubscription, now: Now) {
        let found = self.exchange.retained().matching(&own.filter, now.mono_ms);
        let Some(session) = self.sessions.by_key(key) else { return };
        let pending = found.into_iter().map(|message| PendingRetained {
            message,
            qos: own.wish.qos,
            identifier: own.wish.identifier,
        });
        session.pending_retained.extend(pending);
    }
}
