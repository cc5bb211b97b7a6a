//! Sessions to records and back. A record carries no decision: what comes back is asked for again.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use motte_access::{AccessDecision, Authorized, Origin, Principal};
use motte_session::{
    Inbound, Outbound, OutboundAliases, QueueLimits, Retransmission, SessionExpiry, SessionLimits, Will,
};
use motte_store::{
    DeliveryRecord, FlowRecord, PublicationRecord, SessionRecord, Snapshot, SubscriptionRecord, WillRecord,
};
use motte_topic::{ShareName, TopicFilter, TopicName};
use motte_wire::{PacketId, ProtocolVersion, QoS};

use crate::broker::Broker;
use crate::core::Core;
use crate::input::Now;
use crate::principals;
use crate::publication::{Delivery, Sender, StoredPublication};
use crate::sessions::{OwnSubscription, Session, Wish};
use crate::shared::GroupKey;
use crate::timers::Timer;

/// Collects the records of all shards; each message once, however many wait for it.
#[derive(Debug, Default)]
pub struct Export {
    snapshot: Snapshot,
    places: HashMap<usize, u32>,
}

impl Export {
    /// The collected snapshot.
    pub fn finish(mut self, now: Now) -> Snapshot {
        self.snapshot.taken_at_ms = now.unix_ms;
        self.snapshot
    }

    /// Adds the Retained Messages of the process; once, not per shard.
    pub fn add_retained(&mut self, exchange: &crate::Exchange, now: Now) {
        for message in exchange.retained().all() {
            if !message.get().expired(now.mono_ms) {
                let place = self.publication(message, now);
                self.snapshot.retained.push(place);
            }
        }
    }

    fn publication(&mut self, message: &Arc<Authorized<StoredPublication>>, now: Now) -> u32 {
        let address = Arc::as_ptr(message).addr();
        if let Some(place) = self.places.get(&address) {
            return *place;
        }
        let stored = message.get();
        let place = u32::try_from(self.snapshot.publications.len()).unwrap_or(u32::MAX);
        self.snapshot.publications.push(PublicationRecord {
            topic: stored.topic.as_str().to_owned(),
            payload: stored.payload.to_shared(),
            qos: stored.qos as u8,
            retain: stored.retain,
            forwarded: stored.forwarded.to_vec(),
            expires_at_ms: stored.expires_ms.map(|at| to_unix(at, now)),
            source: principals::to_record(&stored.source),
        });
        self.places.insert(address, place);
        place
    }

    fn delivery(&mut self, delivery: &Delivery, now: Now) -> DeliveryRecord {
        DeliveryRecord {
            publication: self.publication(delivery.publication(), now),
            qos: delivery.qos as u8,
            retain: delivery.retain,
            identifiers: delivery.identifiers.iter().flatten().map(|id| id.get()).collect(),
            shared: delivery
                .shared
                .as_ref()
                .map(|key| (key.share.as_str().to_owned(), key.filter.as_str().to_owned())),
        }
    }

    fn session(&mut self, session: &Session, now: Now) -> SessionRecord {
        let flows = session
            .outbound
            .retransmissions()
            .map(|flow| match flow {
                Retransmission::Publish(id, delivery) => {
                    FlowRecord { packet_id: id.value(), delivery: Some(self.delivery(delivery, now)) }
                }
                Retransmission::Release(id) => FlowRecord { packet_id: id.value(), delivery: None },
            })
            .collect();
        let queued = session.outbound.queued().map(|delivery| self.delivery(delivery, now)).collect();
        SessionRecord {
            principal: principals::to_record(&session.principal),
            level: level_of(session.version),
            expiry_s: session.expiry.seconds(),
            ends_at_ms: session.ends_ms.map(|at| to_unix(at, now)),
            subscriptions: session.subscriptions.iter().map(subscription_record).collect(),
            flows,
            queued,
            inbound: session.inbound.open().to_vec(),
            will: session.will.as_ref().zip(session.will_due_ms).map(|(will, due)| WillRecord {
                topic: will.topic.as_str().to_owned(),
                payload: will.payload.clone(),
                qos: will.qos as u8,
                retain: will.retain,
                forwarded: will.forwarded.clone(),
                message_expiry_s: will.message_expiry_s,
                due_at_ms: to_unix(due, now),
            }),
        }
    }
}

/// A Session record with its messages, ready to be restored on its home shard.
#[derive(Debug)]
pub struct Restored {
    /// The record.
    pub record: SessionRecord,
    /// The messages it refers to, by index.
    pub publications: Arc<Vec<PublicationRecord>>,
    /// Limits that hold until the client connects again.
    pub limits: Arc<SessionLimits>,
}

impl Broker {
    /// Adds this shard's Sessions that outlive their connection. Call it after [`crate::Input::Shutdown`].
    pub fn export(&self, export: &mut Export, now: Now) {
        for session in self.core.sessions.iter().filter(|s| s.expiry.outlives_connection()) {
            let record = export.session(session, now);
            export.snapshot.sessions.push(record);
        }
    }

    pub(crate) fn restore(&mut self, restored: &Restored, now: Now) {
        self.core.restore(restored, now);
    }
}

impl Core {
    fn restore(&mut self, restored: &Restored, now: Now) {
        let Restored { record, publications, limits } = restored;
        let Some(principal) = principals::from_record(&record.principal).map(Arc::new) else { return };
        let client_id = crate::sessions::client_id(&principal).to_owned();
        if client_id.is_empty() || self.sessions.find(&client_id).is_some() {
            return;
        }
        let mut outbound = Outbound::new(limits.inflight_out_max);
        // A queue that was within bounds before is not cut by lower bounds now.
        let unbounded = QueueLimits { messages_max: usize::MAX, bytes_max: usize::MAX };
        let mut messages = Messages { core: self, publications, made: HashMap::new(), now };
        for flow in &record.flows {
            let Some(id) = PacketId::new(flow.packet_id) else { continue };
            match &flow.delivery {
                Some(delivery) => {
                    if let Some(delivery) = messages.delivery(delivery) {
                        outbound.restore_flow(id, Some(delivery));
                    }
                }
                None => {
                    outbound.restore_flow(id, None);
                }
            }
        }
        for delivery in &record.queued {
            if let Some(delivery) = messages.delivery(delivery) {
                let _ = outbound.enqueue(delivery, unbounded);
            }
        }
        let ends_ms = record.ends_at_ms.map(|at| from_unix(at, now));
        let held = outbound.held_bytes() + crate::sessions::own_bytes_of(&client_id);
        let standing = self.admit.standing(Arc::clone(&principal));
        let key = self
            .sessions
            .insert(|key| Session {
                key,
                principal: Arc::clone(&principal),
                standing,
                limits: Arc::clone(limits),
                version: version_of(record.level),
                conn: None,
                maximum_packet_size: u32::MAX,
                expiry: SessionExpiry::from_interval(record.expiry_s, u32::MAX),
                ends_ms,
                will: record.will.as_ref().and_then(will_of).map(Box::new),
                will_due_ms: record.will.as_ref().map(|will| from_unix(will.due_at_ms, now)),
                outbound,
                inbound: Inbound::restore(record.inbound.iter().copied()),
                subscriptions: Vec::new(),
                aliases: OutboundAliases::default(),
                pending_retained: crate::seldom::Seldom::default(),
                online: None,
                full_noticed: false,
                slow_noticed: false,
            })
            .key;
        self.ledger.change(0, held, self.exchange.memory());
        self.exchange.session_begins(&principal);
        for own in record.subscriptions.iter().filter_map(own_subscription) {
            self.index(key, &own, None);
        }
        if let Some(at) = ends_ms {
            self.timers.set(at, Timer::SessionEnd(key));
        }
        if let Some(at) = self.sessions.by_key(key).and_then(|s| s.will_due_ms) {
            self.timers.set(at, Timer::WillDue(key));
        }
    }
}

/// The messages of a snapshot, decided again as they are used.
struct Messages<'a> {
    core: &'a Core,
    publications: &'a [PublicationRecord],
    made: HashMap<u32, Option<Arc<Authorized<StoredPublication>>>>,
    now: Now,
}

impl Messages<'_> {
    fn delivery(&mut self, record: &DeliveryRecord) -> Option<Delivery> {
        let publication = self.publication(record.publication)?;
        let mut delivery = Delivery::undecided(publication, qos_of(record.qos)?, record.retain);
        let identifiers: Box<[NonZeroU32]> =
            record.identifiers.iter().filter_map(|id| NonZeroU32::new(*id)).collect();
        delivery.identifiers = (!identifiers.is_empty()).then_some(identifiers);
        delivery.shared = record.shared.as_ref().and_then(|(share, filter)| {
            let share = ShareName::parse(share).ok()?;
            Some(Arc::new(GroupKey { share, filter: TopicFilter::parse(filter).ok()? }))
        });
        Some(delivery)
    }

    fn publication(&mut self, index: u32) -> Option<Arc<Authorized<StoredPublication>>> {
        if let Some(made) = self.made.get(&index) {
            return made.clone();
        }
        let record = self.publications.get(index as usize)?;
        let made = stored_from(record, self.now).and_then(|(principal, stored)| {
            let mut standing = self.core.admit.standing(principal);
            match self.core.admit.inject(Origin::Restart, &mut standing, stored) {
                AccessDecision::Permit(permitted) => Some(Arc::new(permitted)),
                AccessDecision::Deny(..) => None,
            }
        });
        self.made.insert(index, made.clone());
        made
    }
}

/// A stored publication from its record, with its source.
pub fn stored_from(record: &PublicationRecord, now: Now) -> Option<(Arc<Principal>, StoredPublication)> {
    let principal = Arc::new(principals::from_record(&record.source)?);
    let stored = StoredPublication {
        topic: TopicName::parse(&record.topic).ok()?,
        payload: Arc::clone(&record.payload).into(),
        qos: qos_of(record.qos)?,
        retain: record.retain,
        forwarded: record.forwarded.clone().into_boxed_slice(),
        expires_ms: record.expires_at_ms.map(|at| from_unix(at, now)),
        source: Arc::clone(&principal),
        sender: Sender::default(),
    };
    Some((principal, stored))
}

fn to_unix(mono_ms: u64, now: Now) -> u64 {
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
