//! Protocol versions, Quality of Service and Packet Identifiers.

use std::num::NonZeroU16;

/// A protocol version, as the protocol level of CONNECT says (MQTT-3.1.2-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1, protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1, level 4.
    V311,
    /// MQTT 5.0, level 5.
    V5,
}

impl ProtocolVersion {
    /// The protocol level on the wire.
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The flags of PUBREL, SUBSCRIBE and UNSUBSCRIBE without DUP, which 3.1 sets when it sends them again.
    pub(crate) fn without_dup(self, flags: u8) -> u8 {
        if self == Self::V31 { flags & 0x07 } else { flags }
    }
}

/// Quality of Service of a publication or a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// From its two bits; 3 is malformed (MQTT-3.3.1-4).
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A Packet Identifier, never zero (MQTT-2.2.1-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// From its value; zero is none.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// From a place in the circle of identifiers, counted from 0 for identifier 1; the highest place wraps.
    pub fn from_index(index: u16) -> Self {
        Self(NonZeroU16::new(index.wrapping_add(1)).unwrap_or(NonZeroU16::MIN))
    }

    /// Its value, 1 to 65,535.
    pub fn value(self) -> u16 {
        self.0.get()
    }
}
