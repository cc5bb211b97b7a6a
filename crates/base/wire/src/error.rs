//! What is wrong with bytes, said so that the broker can answer and the operator can find the place.

use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// A Control Packet that cannot be taken: Malformed Packet, or a Protocol Error that shows in the packet alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{packet}: {what} in {field} ({statement})")]
pub struct MalformedPacket {
    /// Name of the packet, `CONNECT`.
    pub packet: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The statement that it breaks, as in 5.0 where both versions have it.
    pub statement: &'static str,
    /// The Reason Code the standard names for it.
    pub reason: ReasonCode,
    /// How a CONNECT is to be answered: in which version and with which code.
    answer: Option<(ProtocolVersion, ReasonCode)>,
}

impl MalformedPacket {
    /// Malformed Packet, 0x81.
    pub(crate) const fn new(
        packet: &'static str,
        field: &'static str,
        what: &'static str,
        statement: &'static str,
    ) -> Self {
        Self { packet, field, what, statement, reason: ReasonCode::MALFORMED_PACKET, answer: None }
    }

    /// With another Reason Code.
    pub(crate) const fn with(mut self, reason: ReasonCode) -> Self {
        self.reason = reason;
        self
    }

    /// A Protocol Error, 0x82.
    pub(crate) const fn protocol(self) -> Self {
        self.with(ReasonCode::PROTOCOL_ERROR)
    }

    /// To be answered by CONNACK.
    pub(crate) const fn answered(mut self, version: ProtocolVersion) -> Self {
        self.answer = Some((version, self.reason));
        self
    }

    /// The version and Reason Code of the CONNACK that answers this CONNECT, where the standard lets one be sent: the
    /// protocol name was right, and the level known or answered as unknown (MQTT-3.1.2-2).
    pub fn connect_answer(&self) -> Option<(ProtocolVersion, ReasonCode)> {
        self.answer
    }
}

/// Bytes that are no frame, or a frame that is larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The Remaining Length has more than four bytes (MQTT-1.5.5-1).
    #[error("the Remaining Length is malformed")]
    MalformedLength,
    /// The whole packet is larger than the limit; known from its first bytes, before it is read.
    #[error("a packet of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Bytes of the whole packet.
        bytes: u64,
        /// The limit in bytes.
        limit: u32,
    },
}
