//! The records. Times are unix milliseconds, so that they mean the same after a restart.

use std::sync::Arc;

/// Who was responsible: enough to ask the Gate about them again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrincipalRecord {
    /// 0 client, 1 bridge, 2 operator, 3 node, 4 system.
    pub kind: u8,
    /// The identity, or the name of a bridge, operator or node.
    pub identity: String,
    /// The Client Identifier; empty for other kinds than client.
    pub client_id: String,
    /// User Name given at CONNECT.
    pub user_name: Option<String>,
    /// Methods that authenticated the client, as the access crate numbers them.
    pub methods: u8,
    /// Name of the listener.
    pub listener: String,
    /// Protection of the connection, as the access crate numbers it.
    pub security: u8,
    /// Peer address in text form.
    pub address: Option<String>,
    /// Facts of certificate and token, as name and value in a fixed order of names.
    pub certificate: Option<Vec<(String, String)>>,
}

/// An Application Message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationRecord {
    /// Topic Name.
    pub topic: String,
    /// Payload, shared between the records of one message.
    pub payload: Arc<[u8]>,
    /// QoS 0, 1 or 2 as published.
    pub qos: u8,
    /// RETAIN as published.
    pub retain: bool,
    /// Forwarded properties, encoded.
    pub forwarded: Vec<u8>,
    /// When it expires.
    pub expires_at_ms: Option<u64>,
    /// Who published it.
    pub source: Arc<PrincipalRecord>,
}

/// An Application Message whose parts lie elsewhere; see [`PublicationRecord`] for them.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// Topic Name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// QoS 0, 1 or 2 as published.
    pub qos: u8,
    /// RETAIN as published.
    pub retain: bool,
    /// Forwarded properties, encoded.
    pub forwarded: &'a [u8],
    /// When it expires.
    pub expires_at_ms: Option<u64>,
    /// Who published it.
    pub source: &'a PrincipalRecord,
}

impl<'a> From<&'a PublicationRecord> for Publication<'a> {
    fn from(record: &'a PublicationRecord) -> Self {
        Self {
            topic: &record.topic,
            payload: &record.payload,
            qos: record.qos,
            retain: record.retain,
            forwarded: &record.forwarded,
            expires_at_ms: record.expires_at_ms,
            source: &record.source,
        }
    }
}

/// One delivery that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Index of its publication in [`crate::Snapshot::publications`].
    pub publication: u32,
    /// QoS of the delivery.
    pub qos: u8,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Subscription Identifiers.
    pub identifiers: Vec<u32>,
    /// Share Name and Topic Filter, when it came through a Shared Subscription.
    pub shared: Option<(String, String)>,
}

/// One open flow towards the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRecord {
    /// Packet Identifier.
    pub packet_id: u16,
    /// The delivery; `None` once PUBREL was sent.
    pub delivery: Option<DeliveryRecord>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// Share Name of a Shared Subscription.
    pub share: Option<String>,
    /// Topic Filter without the share prefix.
    pub filter: String,
    /// Granted QoS.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
}

/// A Will that is not published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillRecord {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Forwarded properties, encoded.
    pub forwarded: Vec<u8>,
    /// Message Expiry Interval in seconds, from publication.
    pub message_expiry_s: Option<u32>,
    /// When it is to be published; [`Self::AFTER_CONNECTION`] and the delay in milliseconds while its client is connected.
    pub due_at_ms: u64,
}

impl WillRecord {
    /// The bit of `due_at_ms` that makes it a delay from the end of the connection.
    pub const AFTER_CONNECTION: u64 = 1 << 63;
}

/// A Session that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Who owns it.
    pub principal: PrincipalRecord,
    /// 3, 4 or 5: the protocol level it was last used with.
    pub level: u8,
    /// Session Expiry Interval in seconds.
    pub expiry_s: u32,
    /// When it ends; `None`: never.
    pub ends_at_ms: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// Open flows towards the client, oldest first.
    pub flows: Vec<FlowRecord>,
    /// Waiting deliveries, oldest first.
    pub queued: Vec<DeliveryRecord>,
    /// Packet Identifiers of QoS 2 publications received and not yet released.
    pub inbound: Vec<u16>,
    /// The Will, if it is still to be published.
    pub will: Option<WillRecord>,
}
