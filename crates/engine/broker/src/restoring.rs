//! Sessions to records and back. A record carries no decision: what comes back is asked for again.

use std::num::NonZeroU32;
use std::sync::Arc;

use motte_access::{AccessDecision, Origin, Principal};
use motte_session::{Inbound, Letter as _, Outbound, QueueLimits, SessionExpiry, SessionLimits, Will};
use motte_store::{PublicationRecord, SessionId, SessionRecord, SubscriptionRecord, WillRecord};
use motte_topic::{ShareName, TopicFilter, TopicName};
use motte_wire::{PacketId, ProtocolVersion, QoS};

use crate::broker::Broker;
use crate::core::Core;
use crate::deliver::Letter;
use crate::effect::Effects;
use crate::ending::put_will;
use crate::input::{Arrival, Loaded, Now};
use crate::principals;
use crate::publication::{Delivery, Sender, StoredPublication};
use crate::sessions::{OwnSubscription, Session, SessionKey, Spilled, Wish};
use crate::shared::GroupKey;
use crate::timers::Timer;

/// The facts of a Session, without what is on its way.
pub(crate) fn facts(session: &Session, now: Now) -> SessionRecord {
    SessionRecord {
        principal: principals::to_record(&session.principal),
        level: level_of(session.version),
        expiry_s: session.expiry.seconds(),
        ends_at_ms: session.ends_ms.map(|at| to_unix(at, now)),
        subscriptions: session.subscriptions.iter().map(subscription_record).collect(),
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    }
}

/// A Session that was kept, ready to be restored on its home shard.
#[derive(Debug)]
pub struct Restored {
    /// Its number.
    pub number: SessionId,
    /// Its facts, inbound Packet Identifiers and Will.
    pub record: SessionRecord,
    /// Deliveries that were sent and are not finished, in order.
    pub flows: Vec<Loaded>,
    /// Place of the first of those that wait.
    pub waiting_from: u64,
    /// How many wait.
    pub waiting: usize,
    /// Place of the last delivery.
    pub last_seq: u64,
    /// Limits that hold until the client connects again.
    pub limits: Arc<SessionLimits>,
}

impl Broker {
    pub(crate) fn restore(&mut self, restored: Restored, now: Now, fx: &mut impl Effects) {
        self.core.restore(restored, now, fx);
    }
}

impl Core {
    /// Hands over the changes of a turn.
    pub(crate) fn turn_over(&mut self, now: Now, fx: &mut impl Effects) {
        for key in self.durable.take_changed() {
            let Some(session) = self.sessions.by_key(key) else { continue };
            session.is_changed = false;
            let record = facts(session, now);
            self.durable.put(session, |batch, group, number| batch.put_session(group, number, &record));
        }
        self.settle_retained();
        self.durable.submit(now, fx);
    }

    /// Takes deliveries that were read from disk into the queue, each to be decided again before it goes out.
    pub(crate) fn loaded(
        &mut self,
        key: SessionKey,
        deliveries: Vec<Loaded>,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let is_settled = self.durable.is_settled();
        let Some(session) = self.sessions.by_key(key) else { return };
        let Some(spilled) = session.spilled.as_mut() else { return };
        spilled.is_loading = false;
        let read = deliveries.len();
        spilled.count = spilled.count.saturating_sub(read);
        if let Some(last) = deliveries.last() {
            spilled.from = last.delivery.seq + 1;
        }
        if spilled.count == 0 || read == 0 && is_settled {
            // None left, or the rest is lost.
            session.spilled = None;
        } else if read == 0 {
            // Not handed over yet.
            self.timers.set(now.mono_ms + 1, Timer::Load(key));
            return;
        }
        for Loaded { delivery: record, message } in deliveries {
            let made = message.and_then(|message| self.delivery(&record, &message, now));
            let Some(session) = self.sessions.by_key(key) else { return };
            let Some(delivery) = made else {
                self.counters.denied_deliveries += 1;
                self.durable.remove_delivery(session.number, record.seq);
                continue;
            };
            let before = session.outbound.held_bytes();
            if let Some(spilled) = &mut session.spilled {
                spilled.bytes = spilled.bytes.saturating_sub(delivery.bytes());
            }
            let _ = session.outbound.enqueue(delivery, UNBOUNDED);
            self.ledger.change(before, session.outbound.held_bytes(), self.exchange.memory());
        }
        self.pump(key, now, fx);
    }

    /// Goes on with a message that was on its way here; its source's right is asked for again.
    pub(crate) fn arrive(&mut self, arrival: &Arrival, now: Now, fx: &mut impl Effects) {
        let Arrival { transit, home, shared, message } = arrival;
        let stored = message.as_deref().and_then(|message| stored_from(message, now));
        let made = stored.and_then(|(principal, stored)| {
            let mut standing = self.admit.standing(principal);
            match self.admit.inject(Origin::Restart, &mut standing, stored) {
                AccessDecision::Permit(permitted) => Some(Arc::new(permitted)),
                AccessDecision::Deny(..) => None,
            }
        });
        let Some(publication) = made else { return self.durable.arrived(*transit) };
        let Some(shared) = shared else {
            return self.deliver_here(&publication, *transit, Some(home), now, fx);
        };
        let group = group_key(shared).and_then(|key| self.exchange.group(&key));
        match (group, transit) {
            (Some(group), Some(_)) => {
                let attempt = group.begin();
                self.deliver_shared(
                    &mut Letter::on_its_way(&publication, *transit),
                    &group,
                    attempt,
                    now,
                    fx,
                );
            }
            (Some(_) | None, _) => self.durable.arrived(*transit),
        }
    }

    /// A Retained Message that was kept, decided again.
    pub(crate) fn restore_retained(
        &mut self,
        principal: &Arc<Principal>,
        publication: StoredPublication,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let topic = publication.topic.clone();
        let is_expired = publication.expired(now.mono_ms);
        let mut standing = self.admit.standing(Arc::clone(principal));
        let permitted = match self.admit.inject(Origin::Restart, &mut standing, publication) {
            AccessDecision::Permit(permitted) if !is_expired => Some(permitted),
            AccessDecision::Permit(_) => None,
            AccessDecision::Deny(publication, denial) => {
                let topic = publication.topic.as_str();
                crate::notice::injection_denied(Origin::Restart, principal, topic, &denial, fx);
                None
            }
        };
        match permitted {
            Some(permitted) => {
                if self.exchange.retained_mut().put(Arc::new(permitted), true).is_err() {
                    crate::notice::retained_full(topic.as_str(), fx);
                }
            }
            None => self.forget_retained(&topic),
        }
    }

    fn restore(&mut self, restored: Restored, now: Now, fx: &mut impl Effects) {
        let Restored { number, record, flows, waiting_from, waiting, last_seq, limits } = restored;
        let Some(principal) = principals::from_record(&record.principal).map(Arc::new) else { return };
        let client_id = crate::sessions::client_id(&principal).to_owned();
        if client_id.is_empty() || self.sessions.find(&client_id).is_some() {
            return;
        }
        let outbound = self.flows(flows, number, limits.inflight_out_max, now);
        let expiry = SessionExpiry::from_interval(record.expiry_s, u32::MAX);
        // Who was connected when the process ended has been away since now.
        let ends_ms = match record.ends_at_ms {
            // One that does not outlive its connection is over, whatever the clock on the wall says.
            Some(at) if expiry.outlives_connection() => Some(from_unix(at, now)),
            Some(_) | None => expiry.ends_at_ms(now.mono_ms),
        };
        let will_due_ms =
            record.will.as_ref().map(|will| will_due_ms(will, now).min(ends_ms.unwrap_or(u64::MAX)));
        let held = outbound.held_bytes() + crate::sessions::own_bytes_of(&client_id);
        let standing = self.admit.standing(Arc::clone(&principal));
        let spilled = Spilled { from: waiting_from, count: waiting, ..Spilled::default() };
        let next_seq = self.durable.first_seq().max(last_seq + 1);
        let owner = (Arc::clone(&principal), standing);
        let session = self.sessions.insert(|key| Session {
            version: version_of(record.level),
            expiry,
            ends_ms,
            will: record.will.as_ref().and_then(will_of).map(Box::new),
            will_due_ms: will_due_ms.into(),
            inbound: Inbound::restore(record.inbound.iter().copied()),
            number: number.0,
            next_seq,
            group: fx.group(&principal),
            spilled: (waiting > 0).then(|| Box::new(spilled)),
            ..Session::new(key, owner, limits, outbound)
        });
        let key = session.key;
        if record.ends_at_ms != session.ends_ms.map(|at| to_unix(at, now)) {
            self.durable.change(session);
        }
        if session.will.is_some() {
            put_will(&mut self.durable, session, now);
        }
        self.ledger.change(0, held, self.exchange.memory());
        self.exchange.session_begins(&principal);
        for own in record.subscriptions.iter().filter_map(own_subscription) {
            self.index(key, &own, None);
        }
        if let Some(at) = ends_ms {
            self.timers.set(at, Timer::SessionEnd(key));
        }
        if let Some(at) = will_due_ms {
            self.timers.set(at, Timer::WillDue(key));
        }
    }

    /// What was sent and is not finished, to be sent again.
    fn flows(&mut self, flows: Vec<Loaded>, number: SessionId, window: u16, now: Now) -> Outbound<Delivery> {
        let mut outbound = Outbound::new(window);
        for Loaded { delivery, message } in flows {
            let Some(id) = PacketId::new(delivery.packet_id) else { continue };
            let made = match (delivery.publication, message) {
                (None, _) => Some(Err(delivery.seq)),
                (Some(_), Some(message)) => self.delivery(&delivery, &message, now).map(Ok),
                (Some(_), None) => None,
            };
            match made {
                Some(made) => {
                    outbound.restore_flow(id, made);
                }
                None => self.durable.remove_delivery(number.0, delivery.seq),
            }
        }
        outbound
    }

    /// A delivery from its record: its source's right is asked for now, its recipient's when it goes out.
    fn delivery(
        &mut self,
        record: &motte_store::Delivery,
        message: &PublicationRecord,
        now: Now,
    ) -> Option<Delivery> {
        let is_last =
            self.restored_source.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, &message.source));
        if !is_last {
            let principal = Arc::new(principals::from_record(&message.source)?);
            self.restored_source = Some((Arc::clone(&message.source), self.admit.standing(principal)));
        }
        let (_, standing) = self.restored_source.as_mut()?;
        let stored = stored_with(message, Arc::clone(standing.principal()), now)?;
        let AccessDecision::Permit(permitted) = self.admit.inject(Origin::Restart, standing, stored) else {
            return None;
        };
        let mut delivery = Delivery::undecided(Arc::new(permitted), qos_of(record.qos)?, record.retain);
        let identifiers: Box<[NonZeroU32]> =
            record.identifiers.iter().filter_map(|id| NonZeroU32::new(*id)).collect();
        delivery.identifiers = (!identifiers.is_empty()).then_some(identifiers);
        delivery.seq = record.seq;
        delivery.shared = record.shared.as_ref().and_then(group_key).map(Arc::new);
        Some(delivery)
    }
}

fn will_due_ms(will: &WillRecord, now: Now) -> u64 {
    match will.due_at_ms.checked_sub(WillRecord::AFTER_CONNECTION) {
        Some(delay_ms) => now.mono_ms.saturating_add(delay_ms),
        None => from_unix(will.due_at_ms, now),
    }
}

fn group_key((share, filter): &(String, String)) -> Option<GroupKey> {
    Some(GroupKey { share: ShareName::parse(share).ok()?, filter: TopicFilter::parse(filter).ok()? })
}

/// What was within bounds before is not cut by lower bounds now.
const UNBOUNDED: QueueLimits = QueueLimits { messages_max: usize::MAX, bytes_max: usize::MAX };

/// A stored publication from its record, with its source.
pub fn stored_from(record: &PublicationRecord, now: Now) -> Option<(Arc<Principal>, StoredPublication)> {
    let principal = Arc::new(principals::from_record(&record.source)?);
    let stored = stored_with(record, Arc::clone(&principal), now)?;
    Some((principal, stored))
}

fn stored_with(record: &PublicationRecord, source: Arc<Principal>, now: Now) -> Option<StoredPublication> {
    Some(StoredPublication {
        topic: TopicName::parse(&record.topic).ok()?,
        payload: Arc::clone(&record.payload).into(),
        qos: qos_of(record.qos)?,
        retain: record.retain,
        forwarded: record.forwarded.clone().into_boxed_slice(),
        expires_ms: record.expires_at_ms.map(|at| from_unix(at, now)),
        source,
        sender: Sender::default(),
    })
}

pub(crate) fn to_unix(mono_ms: u64, now: Now) -> u64 {
    if mono_ms >= now.mono_ms {
        now.unix_ms.saturating_add(mono_ms - now.mono_ms)
    } else {
        now.unix_ms.saturating_sub(now.mono_ms - mono_ms)
    }
}

fn from_unix(unix_ms: u64, now: Now) -> u64 {
    if unix_ms >= now.unix_ms {
        now.mono_ms.saturating_add(unix_ms - now.unix_ms)
    } else {
        now.mono_ms.saturating_sub(now.unix_ms - unix_ms)
    }
}

fn level_of(version: ProtocolVersion) -> u8 {
    match version {
        ProtocolVersion::V31 => 3,
        ProtocolVersion::V311 => 4,
        ProtocolVersion::V5 => 5,
    }
}

fn version_of(level: u8) -> ProtocolVersion {
    match level {
        3 => ProtocolVersion::V31,
        4 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    }
}

fn qos_of(value: u8) -> Option<QoS> {
    match value {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

fn will_of(record: &WillRecord) -> Option<Will> {
    Some(Will {
        topic: TopicName::parse(&record.topic).ok()?,
        qos: qos_of(record.qos)?,
        retain: record.retain,
        payload: record.payload.clone(),
        delay_s: 0,
        message_expiry_s: record.message_expiry_s,
        forwarded: record.forwarded.clone(),
    })
}

fn subscription_record(own: &OwnSubscription) -> SubscriptionRecord {
    SubscriptionRecord {
        share: own.share.as_ref().map(|share| share.as_str().to_owned()),
        filter: own.filter.as_str().to_owned(),
        qos: own.wish.qos as u8,
        no_local: own.wish.no_local,
        retain_as_published: own.wish.retain_as_published,
        identifier: own.wish.identifier.map(NonZeroU32::get),
    }
}

fn own_subscription(record: &SubscriptionRecord) -> Option<OwnSubscription> {
    let share = match &record.share {
        Some(share) => Some(ShareName::parse(share).ok()?),
        None => None,
    };
    let wish = Wish {
        qos: qos_of(record.qos)?,
        no_local: record.no_local,
        retain_as_published: record.retain_as_published,
        identifier: record.identifier.and_then(NonZeroU32::new),
    };
    Some(OwnSubscription { share, filter: TopicFilter::parse(&record.filter).ok()?, wish })
}
