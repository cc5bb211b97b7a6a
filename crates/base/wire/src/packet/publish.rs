//! PUBLISH (section 3.3): the packet that everything is about, decoded without allocating.

use std::num::{NonZeroU16, NonZeroU32};

use motte_topic::TopicRef;

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::{DecodeRules, Direction, PayloadFormat};
use crate::property::{self, Raw, UserProperties, Value, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::{PacketId, ProtocolVersion, QoS};

const NAME: &str = "PUBLISH";

/// An Application Message on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name; `None`: the Topic Alias stands alone (5.0).
    pub topic: Option<TopicRef<'a>>,
    /// Packet Identifier, exactly with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties; none below 5.0.
    pub properties: PublishProperties<'a>,
    /// Payload.
    pub payload: &'a [u8],
}

/// Properties of PUBLISH.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// Topic Alias.
    pub topic_alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Payload Format Indicator.
    pub payload_format: Option<PayloadFormat>,
    /// Response Topic.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// The whole section, checked.
    section: &'a [u8],
}

impl<'a> PublishProperties<'a> {
    /// User Properties in order.
    pub fn user(&self) -> UserProperties<'a> {
        UserProperties::new(self.section)
    }

    /// Subscription Identifiers in order (server to client only).
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = NonZeroU32> + use<'a> {
        Raw::new(self.section).filter(|one| one.id == id::SUBSCRIPTION_IDENTIFIER).filter_map(|one| {
            let digits = one.bytes.get(1..)?;
            let value = digits.iter().rev().fold(0_u32, |value, byte| value << 7 | u32::from(byte & 0x7f));
            NonZeroU32::new(value)
        })
    }

    /// Copies the properties that a server forwards unaltered, in their order, encoded.
    pub fn write_forwarded(&self, out: &mut Vec<u8>) {
        if !self.section.is_empty() {
            property::forward(self.section, out);
        }
    }
}

impl<'a> Publish<'a> {
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, NAME, rules.text);
        let qos = QoS::from_bits(flags >> 1 & 3)
            .ok_or_else(|| cursor.wrong("fixed header", "QoS 3", "MQTT-3.3.1-4"))?;
        let dup = flags & 0x08 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(cursor.wrong("fixed header", "DUP with QoS 0", "MQTT-3.3.1-2"));
        }
        let text = cursor.text("Topic Name")?;
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(cursor.packet_id()?) };
        let mut properties = PublishProperties::default();
        if version == ProtocolVersion::V5 {
            decode_properties(&mut cursor, &mut properties, rules)?;
        }
        let topic = if text.is_empty() && version == ProtocolVersion::V5 {
            if properties.topic_alias.is_none() {
                return Err(cursor
                    .wrong("Topic Name", "empty, without a Topic Alias", "MQTT-4.7.3-1")
                    .protocol());
            }
            None
        } else {
            Some(TopicRef::parse(text).map_err(|_| {
                cursor
                    .wrong("Topic Name", "empty or with a wildcard", "MQTT-3.3.2-2")
                    .with(ReasonCode::TOPIC_NAME_INVALID)
            })?)
        };
        Ok(Self { dup, qos, retain: flags & 1 != 0, topic, packet_id, properties, payload: cursor.rest() })
    }

    /// Whether the payload is said to be text and is not (MQTT-3.3.2-4, as far as a receiver checks).
    pub fn payload_is_bad_text(&self) -> bool {
        self.properties.payload_format == Some(PayloadFormat::Utf8)
            && simdutf8::basic::from_utf8(self.payload).is_err()
    }
}

fn decode_properties<'a>(
    cursor: &mut Cursor<'a>,
    properties: &mut PublishProperties<'a>,
    rules: &DecodeRules,
) -> Result<(), MalformedPacket> {
    if cursor.rest().first() == Some(&0) {
        cursor.u8("Property Length")?;
        return Ok(());
    }
    let inside = cursor.clone();
    let section = property::section(cursor, place::PUBLISH, |id, value| {
        match (id, value) {
            (id::TOPIC_ALIAS, Value::U16(value)) => properties.topic_alias = NonZeroU16::new(value),
            (id::MESSAGE_EXPIRY, Value::U32(value)) => properties.message_expiry_s = Some(value),
            (id::PAYLOAD_FORMAT, Value::Byte(value)) => {
                properties.payload_format = PayloadFormat::from_byte(value);
            }
            (id::RESPONSE_TOPIC, Value::Text(value)) => {
                if TopicRef::parse(value).is_err() {
                    return Err(inside.wrong("Response Topic", "no Topic Name", "MQTT-3.3.2-14").protocol());
                }
                properties.response_topic = Some(value);
            }
            (id::CORRELATION_DATA, Value::Bytes(value)) => properties.correlation_data = Some(value),
            (id::CONTENT_TYPE, Value::Text(value)) => properties.content_type = Some(value),
            (id::SUBSCRIPTION_IDENTIFIER, _) if rules.from == Direction::Client => {
                return Err(inside
                    .wrong("Subscription Identifier", "sent by a client", "MQTT-3.3.4-6")
                    .protocol());
            }
            _ => {}
        }
        Ok(())
    })
    .map_err(|error| {
        // Topic Alias 0 has a Reason Code of its own (MQTT-3.3.2-8).
        if error.field == "Topic Alias" && error.what == "zero" {
            inside.wrong("Topic Alias", "zero", "MQTT-3.3.2-8").with(ReasonCode::TOPIC_ALIAS_INVALID)
        } else {
            error
        }
    })?;
    properties.section = section;
    Ok(())
}

/// Everything of a PUBLISH but its payload, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct PublishHead<'a> {
    /// Protocol version of the receiver.
    pub version: ProtocolVersion,
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name; empty when the alias stands alone.
    pub topic: &'a str,
    /// Packet Identifier, exactly with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Topic Alias; not sent below 5.0.
    pub alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds; not sent below 5.0.
    pub message_expiry_s: Option<u32>,
    /// Subscription Identifiers; not sent below 5.0.
    pub subscription_identifiers: &'a [NonZeroU32],
    /// Forwarded properties, encoded; not sent below 5.0.
    pub forwarded: &'a [u8],
    /// Bytes of the payload that will follow.
    pub payload_len: usize,
}

impl PublishHead<'_> {
    fn properties_len(&self) -> usize {
        let identifiers: usize =
            self.subscription_identifiers.iter().map(|id| 1 + varint::len(id.get() as usize)).sum();
        self.forwarded.len()
            + identifiers
            + if self.alias.is_some() { 3 } else { 0 }
            + if self.message_expiry_s.is_some() { 5 } else { 0 }
    }

    fn remaining_len(&self) -> usize {
        let properties = match self.version {
            ProtocolVersion::V5 => {
                let len = self.properties_len();
                varint::len(len) + len
            }
            ProtocolVersion::V31 | ProtocolVersion::V311 => 0,
        };
        2 + self.topic.len() + if self.packet_id.is_some() { 2 } else { 0 } + properties + self.payload_len
    }

    /// Bytes of the whole packet with its payload.
    pub fn wire_len(&self) -> usize {
        let remaining = self.remaining_len();
        1 + varint::len(remaining) + remaining
    }

    /// Appends everything but the payload. Gives the place of the Packet Identifier, counted from where `out` ended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Option<usize> {
        let start = out.len();
        let remaining = self.remaining_len();
        // The payload follows elsewhere, or is shared.
        out.reserve(remaining - self.payload_len + 5);
        out.push(0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain));
        varint::write(u32::try_from(remaining).unwrap_or(u32::MAX), out);
        varint::write_bytes(self.topic.as_bytes(), out);
        let place = self.packet_id.map(|id| {
            let place = out.len() - start;
            out.extend_from_slice(&id.value().to_be_bytes());
            place
        });
        if self.version == ProtocolVersion::V5 {
            varint::write(u32::try_from(self.properties_len()).unwrap_or(u32::MAX), out);
            if let Some(seconds) = self.message_expiry_s {
                out.push(id::MESSAGE_EXPIRY);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            if let Some(alias) = self.alias {
                out.push(id::TOPIC_ALIAS);
                out.extend_from_slice(&alias.get().to_be_bytes());
            }
            for identifier in self.subscription_identifiers {
                out.push(id::SUBSCRIPTION_IDENTIFIER);
                varint::write(identifier.get(), out);
            }
            out.extend_from_slice(self.forwarded);
        }
        place
    }
}
