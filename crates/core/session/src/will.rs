//! The Will Message, kept for a client until its connection ends.

use motte_topic::TopicName;
use motte_wire::{Connect, QoS};

/// A Will Message as the client gave it at CONNECT, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it will be published.
    pub topic: TopicName,
    /// The QoS of that publication.
    pub qos: QoS,
    /// Whether it becomes the Retained Message of its topic.
    pub retain: bool,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Seconds between the end of the connection and the publication (5.0 section 3.1.3.2.2).
    pub delay_s: u32,
    /// Message Expiry Interval in seconds, counted from the publication.
    pub message_expiry_s: Option<u32>,
    /// The properties to forward, encoded.
    pub forwarded: Vec<u8>,
}

impl Will {
    /// Takes the Will out of a CONNECT packet, if it has one.
    pub fn from_connect(connect: &Connect<'_>) -> Option<Self> {
        let will = connect.will.as_ref()?;
        let mut forwarded = Vec::new();
        will.write_forwarded(&mut forwarded);
        Some(Self {
            topic: will.topic.to_name(),
            qos: will.qos,
            retain: will.retain,
            payload: will.payload.to_vec(),
            delay_s: will.delay_s,
            message_expiry_s: will.message_expiry_s,
            forwarded,
        })
    }

    /// Bytes it keeps in memory.
    pub fn bytes(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.forwarded.len()
    }
}
