//! What a client asks for.

use motte_wire::{ProtocolVersion, QoS};

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutMessage {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Message Expiry Interval in seconds (5.0).
    pub expiry_s: Option<u32>,
    /// Content Type (5.0).
    pub content_type: Option<String>,
    /// Response Topic (5.0).
    pub response_topic: Option<String>,
    /// Correlation Data (5.0).
    pub correlation_data: Option<Vec<u8>>,
    /// User Properties (5.0), in order.
    pub user: Vec<(String, String)>,
}

impl OutMessage {
    /// Topic, payload, QoS 0, nothing else.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expiry_s: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user: Vec::new(),
        }
    }

    /// The properties that go as they are, encoded (5.0 section 2.2.2).
    pub(crate) fn forwarded(&self) -> Vec<u8> {
        use motte_wire::id;
        let mut out = Vec::new();
        let mut put = |id: u8, values: &[&[u8]]| {
            out.push(id);
            for value in values {
                let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(value.get(..usize::from(len)).unwrap_or_default());
            }
        };
        if let Some(text) = &self.content_type {
            put(id::CONTENT_TYPE, &[text.as_bytes()]);
        }
        if let Some(text) = &self.response_topic {
            put(id::RESPONSE_TOPIC, &[text.as_bytes()]);
        }
        if let Some(data) = &self.correlation_data {
            put(id::CORRELATION_DATA, &[data]);
        }
        for (name, value) in &self.user {
            put(id::USER_PROPERTY, &[name.as_bytes(), value.as_bytes()]);
        }
        out
    }
}

/// A Will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillOptions {
    /// The message.
    pub message: OutMessage,
    /// Will Delay Interval in seconds (5.0).
    pub delay_s: u32,
}

/// How to connect.
#[derive(Debug)]
pub struct ConnectOptions {
    /// 3.1, 3.1.1 or 5.0.
    pub version: ProtocolVersion,
    /// Client Identifier; empty lets the broker choose.
    pub client_id: String,
    /// Clean Start.
    pub clean_start: bool,
    /// Session Expiry Interval in seconds (5.0).
    pub session_expiry_s: Option<u32>,
    /// Keep Alive in seconds.
    pub keep_alive_s: u16,
    /// User Name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Will.
    pub will: Option<WillOptions>,
}

impl ConnectOptions {
    /// 5.0, Clean Start, Keep Alive 60 seconds.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            version: ProtocolVersion::V5,
            client_id: client_id.into(),
            clean_start: true,
            session_expiry_s: None,
            keep_alive_s: 60,
            user_name: None,
            password: None,
            will: None,
        }
    }
}
