//! An Application Message inside the broker: borrowed from the packet while it is decided and delivered at once, stored
//! when it must wait, travel to another shard or be retained.

use std::num::NonZeroU32;
use std::sync::Arc;

use motte_access::{Action, Authorized, PolicyGeneration, Principal, Subject, Target};
use motte_session::Letter;
use motte_topic::{TopicFilter, TopicName, TopicRef};
use motte_wire::QoS;

use crate::payload::Payload;
use crate::shared::GroupKey;

/// The Session that published, for No Local; 0 is none (operators, bridges, Wills after their Session ended).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sender(pub u64);

/// A message as it arrives.
#[derive(Debug)]
pub struct Publication<'a> {
    /// Where it was published.
    pub topic: TopicRef<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// QoS as published.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Properties to forward, encoded.
    pub forwarded: &'a [u8],
    /// When it expires, in monotonic milliseconds.
    pub expires_ms: Option<u64>,
    /// Who is responsible for it.
    pub source: &'a Arc<Principal>,
    /// The Session it came from.
    pub sender: Sender,
}

/// A message that outlives its packet.
#[derive(Debug)]
pub struct StoredPublication {
    /// Where it was published.
    pub topic: TopicName,
    /// Its payload, shared by everybody who waits for it.
    pub payload: Payload,
    /// QoS as published.
    pub qos: QoS,
    /// RETAIN as published.
    pub retain: bool,
    /// Properties to forward, encoded.
    pub forwarded: Box<[u8]>,
    /// When it expires, in monotonic milliseconds.
    pub expires_ms: Option<u64>,
    /// Who is responsible for it.
    pub source: Arc<Principal>,
    /// The Session it came from.
    pub sender: Sender,
}

impl Publication<'_> {
    /// The same message, owned.
    pub fn store(&self, topic: &TopicName) -> StoredPublication {
        StoredPublication {
            topic: topic.clone(),
            payload: Payload::from(self.payload),
            qos: self.qos,
            retain: self.retain,
            forwarded: Box::from(self.forwarded),
            expires_ms: self.expires_ms,
            source: Arc::clone(self.source),
            sender: self.sender,
        }
    }
}

impl StoredPublication {
    /// The same message, borrowed.
    pub fn borrow(&self) -> Publication<'_> {
        Publication {
            topic: self.topic.as_ref(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            forwarded: &self.forwarded,
            expires_ms: self.expires_ms,
            source: &self.source,
            sender: self.sender,
        }
    }

    /// Bytes it counts for in quotas: topic, payload, properties and bookkeeping.
    pub fn bytes(&self) -> usize {
        let payload = self.payload.shared().map_or(0, |payload| payload.len());
        self.topic.as_str().len() + payload + self.forwarded.len() + size_of::<Self>()
    }

    /// Whether it has expired.
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// Seconds left of a Message Expiry Interval, at least 1 while it has not passed (MQTT-3.3.2-6).
pub fn seconds_left(expires_ms: Option<u64>, now_ms: u64) -> Option<u32> {
    expires_ms.map(|at| u32::try_from(at.saturating_sub(now_ms).div_ceil(1_000)).unwrap_or(u32::MAX))
}

impl Subject for Publication<'_> {
    fn action(&self) -> Action {
        Action::Publish
    }
    fn target(&self) -> Target<'_> {
        Target::Topic(self.topic)
    }
    fn qos(&self) -> u8 {
        self.qos as u8
    }
    fn retain(&self) -> bool {
        self.retain
    }
    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }
}

impl Subject for StoredPublication {
    fn action(&self) -> Action {
        Action::Publish
    }
    fn target(&self) -> Target<'_> {
        Target::Topic(self.topic.as_ref())
    }
    fn qos(&self) -> u8 {
        self.qos as u8
    }
    fn retain(&self) -> bool {
        self.retain
    }
    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }
}

/// The right asked for at CONNECT: to leave this Will.
#[derive(Debug)]
pub struct WillRequest<'a> {
    /// The Will.
    pub will: &'a motte_session::Will,
}

impl Subject for WillRequest<'_> {
    fn action(&self) -> Action {
        Action::SetWill
    }
    fn target(&self) -> Target<'_> {
        Target::Topic(self.will.topic.as_ref())
    }
    fn qos(&self) -> u8 {
        self.will.qos as u8
    }
    fn retain(&self) -> bool {
        self.will.retain
    }
    fn payload_bytes(&self) -> usize {
        self.will.payload.len()
    }
}

/// The right asked for at SUBSCRIBE.
#[derive(Debug)]
pub struct SubscriptionRequest {
    /// The Topic Filter, without share prefix.
    pub filter: TopicFilter,
    /// Whether it is a Shared Subscription.
    pub shared: bool,
    /// The QoS asked for.
    pub qos: QoS,
}

impl Subject for SubscriptionRequest {
    fn action(&self) -> Action {
        if self.shared { Action::Share } else { Action::Subscribe }
    }
    fn target(&self) -> Target<'_> {
        Target::Filter(&self.filter)
    }
    fn qos(&self) -> u8 {
        self.qos as u8
    }
    fn retain(&self) -> bool {
        false
    }
    fn payload_bytes(&self) -> usize {
        0
    }
}

/// The right asked for at delivery: this Session receives from this topic. The recipient is inside, so a proof for one
/// Session cannot serve another.
#[derive(Debug, Clone)]
pub struct Reception {
    /// The receiving Session.
    pub session: u32,
    /// The topic.
    pub topic: TopicName,
}

impl Subject for Reception {
    fn action(&self) -> Action {
        Action::Receive
    }
    fn target(&self) -> Target<'_> {
        Target::Topic(self.topic.as_ref())
    }
    fn qos(&self) -> u8 {
        0
    }
    fn retain(&self) -> bool {
        false
    }
    fn payload_bytes(&self) -> usize {
        0
    }
}

/// One message for one Session, waiting or on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    publication: Arc<Authorized<StoredPublication>>,
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN of this delivery.
    pub retain: bool,
    /// Subscription Identifiers of every subscription that matched (MQTT-3.3.4-3).
    pub identifiers: Option<Box<[NonZeroU32]>>,
    /// The Shared Subscription it came through.
    pub shared: Option<Arc<GroupKey>>,
    /// Its place in the Session's queue where that is kept; 0 if it is not.
    pub seq: u64,
    /// Policy under which the recipient's right was decided; another one in force means: decide again before sending.
    /// `None`: never decided (it comes from a record).
    decided: Option<PolicyGeneration>,
}

impl Delivery {
    /// A delivery that may be made: the proof names the Session and the topic.
    ///
    /// `None` when the proof is for another topic than the message's.
    pub fn permitted(
        seat: &Authorized<Reception>,
        publication: &Arc<Authorized<StoredPublication>>,
        qos: QoS,
        retain: bool,
    ) -> Option<Self> {
        (seat.get().topic.as_str() == publication.get().topic.as_str()).then(|| Self {
            publication: Arc::clone(publication),
            qos,
            retain,
            identifiers: None,
            shared: None,
            seq: 0,
            decided: Some(seat.generation()),
        })
    }

    /// A delivery from a record: its recipient's right is asked for before it goes out.
    pub fn undecided(publication: Arc<Authorized<StoredPublication>>, qos: QoS, retain: bool) -> Self {
        Self { publication, qos, retain, identifiers: None, shared: None, seq: 0, decided: None }
    }

    /// Whether the recipient's right must be asked for again under `generation`.
    pub fn stale(&self, generation: PolicyGeneration) -> bool {
        self.decided != Some(generation)
    }

    /// Makes the recipient's right be asked for again: no policy in force has the number 0.
    pub fn reconsider(&mut self) {
        if self.decided.is_some() {
            self.decided = Some(PolicyGeneration(0));
        }
    }

    /// Whether it was ever decided in this process.
    pub fn was_decided(&self) -> bool {
        self.decided.is_some()
    }

    /// Notes that the recipient's right was decided again.
    pub fn renewed(&mut self, seat: &Authorized<Reception>) {
        if seat.get().topic.as_str() == self.publication.get().topic.as_str() {
            self.decided = Some(seat.generation());
        }
    }

    /// The message.
    pub fn message(&self) -> &StoredPublication {
        self.publication.get()
    }

    /// The message with its proof.
    pub fn publication(&self) -> &Arc<Authorized<StoredPublication>> {
        &self.publication
    }
}

impl Letter for Delivery {
    fn qos(&self) -> QoS {
        self.qos
    }
    fn bytes(&self) -> usize {
        self.message().bytes()
    }
    fn expired(&self, now_ms: u64) -> bool {
        self.message().expired(now_ms)
    }
    fn mark(&self) -> u64 {
        self.seq
    }
}
