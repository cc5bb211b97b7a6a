//! What a client gets.

use motte_wire::{ConnAck, Publish, QoS, ReasonCode};

/// The broker's acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Session Present.
    pub session_present: bool,
    /// The Client Identifier that the broker assigned.
    pub assigned_client_id: Option<String>,
    /// Keep Alive that the broker wants instead, in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// Largest packet that the broker takes, in bytes.
    pub maximum_packet_size: Option<u32>,
}

impl Accepted {
    pub(crate) fn from_packet(packet: &ConnAck<'_>) -> Self {
        Self {
            session_present: packet.session_present,
            assigned_client_id: packet.properties.assigned_client_id.map(str::to_owned),
            server_keep_alive_s: packet.properties.server_keep_alive_s,
            maximum_packet_size: packet.properties.maximum_packet_size.map(std::num::NonZeroU32::get),
        }
    }
}

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// DUP.
    pub dup: bool,
    /// Message Expiry Interval left, in seconds.
    pub expiry_s: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
    /// Subscription Identifiers.
    pub identifiers: Vec<u32>,
    /// User Properties in order.
    pub user: Vec<(String, String)>,
}

impl Message {
    pub(crate) fn from_packet(packet: &Publish<'_>, topic: String) -> Self {
        let properties = &packet.properties;
        Self {
            topic,
            payload: packet.payload.to_vec(),
            qos: packet.qos,
            retain: packet.retain,
            dup: packet.dup,
            expiry_s: properties.message_expiry_s,
            content_type: properties.content_type.map(str::to_owned),
            response_topic: properties.response_topic.map(str::to_owned),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            identifiers: properties.subscription_identifiers().map(std::num::NonZeroU32::get).collect(),
            user: properties.user().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }
}

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message; it is acknowledged already.
    Message(Message),
    /// An acknowledgement of a publication, with its Packet Identifier.
    Published(u16, ReasonCode),
    /// SUBACK or UNSUBACK with its Packet Identifier.
    Subscribed(u16, Vec<ReasonCode>),
    /// The broker said goodbye.
    Disconnected(ReasonCode),
}
