//! What one client may cost and ask for, as the listener's configuration says.

use std::sync::Arc;

use motte_topic::TopicLimits;
use motte_wire::{QoS, TextRules};

use crate::outbound::QueueLimits;

/// How far what an acknowledgement stands for has got when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Into memory: it ends with the process.
    Memory,
    /// Into the operating system: it outlives the process, not the power.
    Os,
    /// Onto the disk: it outlives the power.
    #[default]
    Disk,
}

/// The limits that hold for one connection and its Session.
///
/// All of them are announced to MQTT 5.0 clients in CONNACK where the standard has a property for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    /// Largest Control Packet taken once the client is authenticated, in bytes (MQTT-3.1.2-24 counts the whole packet).
    pub packet_bytes_max: u32,
    /// Publications with QoS 1 or 2 that a client may have unacknowledged towards us (Receive Maximum, 5.0 section 3.2.2.3.3).
    pub receive_maximum: u16,
    /// Publications with QoS 1 or 2 that we have unacknowledged towards a client, at most; the client's own Receive
    /// Maximum lowers it.
    pub inflight_out_max: u16,
    /// Highest Topic Alias taken from the client; 0 refuses aliases.
    pub topic_alias_maximum: u16,
    /// Most Topic Aliases used towards the client, whatever it offers (each costs the topic's bytes).
    pub topic_alias_out_maximum: u16,
    /// Bounds of the Keep Alive in seconds; 0 as a maximum means that "no Keep Alive" is accepted.
    pub keep_alive_s_min: u16,
    /// Longest Keep Alive in seconds; a longer one, or none, is replaced by this (Server Keep Alive); 0: no bound.
    pub keep_alive_s_max: u16,
    /// Longest Session Expiry Interval in seconds; longer requests are lowered to it.
    pub session_expiry_s_max: u32,
    /// Messages that may wait for one Session.
    pub queued_messages_max: u32,
    /// Bytes that may wait for one Session.
    pub queued_bytes_max: u64,
    /// Sessions of one identity, connected or not.
    pub sessions_per_identity_max: u32,
    /// Subscriptions of one Session.
    pub subscriptions_max: u32,
    /// Highest QoS accepted from and granted to the client.
    pub maximum_qos: QoS,
    /// Whether Retained Messages are taken and replayed.
    pub retain_available: bool,
    /// Whether `+` and `#` may stand in a Topic Filter.
    pub wildcard_available: bool,
    /// Whether `$share/…` may be subscribed to.
    pub shared_available: bool,
    /// Whether Subscription Identifiers are taken.
    pub subscription_identifiers_available: bool,
    /// Whether a payload said to be UTF-8 is checked to be UTF-8 (Payload Format Indicator 1).
    pub payload_format_checked: bool,
    /// Bytes waiting to be written to one connection above which QoS 0 is dropped and the rest waits in the queue.
    pub write_buffer_bytes_max: usize,
    /// How far an acknowledgement of durable state must have got.
    pub durability: Durability,
    /// Bounds of Topic Names and Topic Filters.
    pub topic: TopicLimits,
    /// Which characters a UTF-8 string may not hold.
    pub text: TextRules,
}

impl SessionLimits {
    /// These limits for a client that is connected under others: what it was told in CONNACK stays, the rest is new.
    pub fn renewed(&self, new: &Arc<Self>) -> Arc<Self> {
        let kept = Self {
            packet_bytes_max: self.packet_bytes_max,
            receive_maximum: self.receive_maximum,
            topic_alias_maximum: self.topic_alias_maximum,
            maximum_qos: self.maximum_qos,
            retain_available: self.retain_available,
            wildcard_available: self.wildcard_available,
            shared_available: self.shared_available,
            subscription_identifiers_available: self.subscription_identifiers_available,
            ..(**new).clone()
        };
        if kept == **new { Arc::clone(new) } else { Arc::new(kept) }
    }

    /// The bounds of a Session's queue.
    pub fn queue(&self) -> QueueLimits {
        QueueLimits {
            messages_max: self.queued_messages_max as usize,
            bytes_max: usize::try_from(self.queued_bytes_max).unwrap_or(usize::MAX),
        }
    }
}
