//! SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (sections 3.8 to 3.11).

use std::num::NonZeroU32;

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::DecodeRules;
use crate::property::{self, UserProperties, Value, Writer, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::{PacketId, ProtocolVersion, QoS};

/// When a new subscription gets the Retained Messages (5.0 section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// With every SUBSCRIBE; the only way below 5.0.
    Always = 0,
    /// Only if the subscription is new.
    IfNew = 1,
    /// Not at all.
    Never = 2,
}

/// Options of one Topic Filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

impl SubscribeOptions {
    /// A QoS and the defaults.
    pub fn qos(qos: QoS) -> Self {
        Self { qos, no_local: false, retain_as_published: false, retain_handling: RetainHandling::Always }
    }

    fn from_byte(byte: u8, version: ProtocolVersion) -> Result<Self, OptionsFault> {
        let reserved = if version == ProtocolVersion::V5 { 0xc0 } else { 0xfc };
        if byte & reserved != 0 {
            return Err(OptionsFault::Reserved);
        }
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(OptionsFault::RetainHandling),
        };
        let qos = QoS::from_bits(byte & 3).ok_or(OptionsFault::QoS)?;
        Ok(Self { qos, no_local: byte & 4 != 0, retain_as_published: byte & 8 != 0, retain_handling })
    }

    fn byte(self, version: ProtocolVersion) -> u8 {
        if version != ProtocolVersion::V5 {
            return self.qos as u8;
        }
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// What is wrong with a byte of options.
enum OptionsFault {
    Reserved,
    QoS,
    RetainHandling,
}

impl OptionsFault {
    /// Reserved bits are malformed, reserved values a Protocol Error (5.0 section 3.8.3.1).
    fn error(self, cursor: &Cursor<'_>) -> MalformedPacket {
        let wrong = |what, statement| cursor.wrong("Subscription Options", what, statement);
        match self {
            Self::Reserved => wrong("reserved bits set", "MQTT-3.8.3-5"),
            Self::QoS => wrong("QoS 3", "5.0 section 3.8.3.1").protocol(),
            Self::RetainHandling => wrong("Retain Handling 3", "5.0 section 3.8.3.1").protocol(),
        }
    }
}

/// One Topic Filter in SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeEntry<'a> {
    /// The filter as sent, with its share prefix: UTF-8, not yet parsed.
    pub filter: &'a str,
    /// Options.
    pub options: SubscribeOptions,
}

/// A wish for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier of all its filters.
    pub subscription_identifier: Option<NonZeroU32>,
    /// User Properties.
    pub user: UserProperties<'a>,
    entries: &'a [u8],
    version: ProtocolVersion,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, "SUBSCRIBE", rules.text);
        if version.without_dup(flags) != 2 {
            return Err(cursor.wrong("fixed header", "reserved bits other than 0010", "MQTT-3.8.1-1"));
        }
        let packet_id = cursor.packet_id()?;
        let (mut subscription_identifier, mut user) = (None, UserProperties::default());
        if version == ProtocolVersion::V5 {
            let section = property::section(&mut cursor, place::SUBSCRIBE, |id, value| {
                if let (id::SUBSCRIPTION_IDENTIFIER, Value::U32(value)) = (id, value) {
                    subscription_identifier = NonZeroU32::new(value);
                }
                Ok(())
            })?;
            user = UserProperties::new(section);
        }
        let entries = cursor.rest();
        if entries.is_empty() {
            return Err(cursor.wrong("payload", "no Topic Filter", "MQTT-3.8.3-2").protocol());
        }
        while !cursor.is_empty() {
            let filter = cursor.text("Topic Filter")?;
            let byte = cursor.u8("Subscription Options")?;
            let options = SubscribeOptions::from_byte(byte, version).map_err(|fault| fault.error(&cursor))?;
            if options.no_local && filter.starts_with("$share/") {
                return Err(cursor
                    .wrong("Subscription Options", "No Local on a Shared Subscription", "MQTT-3.8.3-4")
                    .protocol());
            }
        }
        Ok(Self { packet_id, subscription_identifier, user, entries, version })
    }

    /// Its Topic Filters in order; at least one.
    pub fn filters(&self) -> impl Iterator<Item = SubscribeEntry<'a>> + use<'a> {
        let version = self.version;
        Entries { rest: self.entries, option_bytes: 1 }.filter_map(move |(filter, option)| {
            Some(SubscribeEntry { filter, options: SubscribeOptions::from_byte(option, version).ok()? })
        })
    }

    /// Appends a SUBSCRIBE.
    pub fn encode_new(
        version: ProtocolVersion,
        packet_id: PacketId,
        identifier: Option<NonZeroU32>,
        entries: &[SubscribeEntry<'_>],
        out: &mut Vec<u8>,
    ) {
        let mut body = packet_id.value().to_be_bytes().to_vec();
        if version == ProtocolVersion::V5 {
            let mut properties = Writer::default();
            if let Some(identifier) = identifier {
                properties.varint(id::SUBSCRIPTION_IDENTIFIER, identifier.get());
            }
            properties.finish(&mut body);
        }
        for entry in entries {
            varint::write_bytes(entry.filter.as_bytes(), &mut body);
            body.push(entry.options.byte(version));
        }
        varint::write_packet(0x82, &body, out);
    }
}

/// An end to wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// User Properties.
    pub user: UserProperties<'a>,
    entries: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, "UNSUBSCRIBE", rules.text);
        if version.without_dup(flags) != 2 {
            return Err(cursor.wrong("fixed header", "reserved bits other than 0010", "MQTT-3.10.1-1"));
        }
        let packet_id = cursor.packet_id()?;
        let mut user = UserProperties::default();
        if version == ProtocolVersion::V5 {
            user = UserProperties::new(property::section(&mut cursor, place::UNSUBSCRIBE, |_, _| Ok(()))?);
        }
        let entries = cursor.rest();
        if entries.is_empty() {
            return Err(cursor.wrong("payload", "no Topic Filter", "MQTT-3.10.3-2").protocol());
        }
        while !cursor.is_empty() {
            cursor.text("Topic Filter")?;
        }
        Ok(Self { packet_id, user, entries })
    }

    /// Its Topic Filters in order, as sent; at least one.
    pub fn filters(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        Entries { rest: self.entries, option_bytes: 0 }.map(|(filter, _)| filter)
    }

    /// Appends an UNSUBSCRIBE.
    pub fn encode_new(version: ProtocolVersion, packet_id: PacketId, filters: &[&str], out: &mut Vec<u8>) {
        let mut body = packet_id.value().to_be_bytes().to_vec();
        if version == ProtocolVersion::V5 {
            body.push(0);
        }
        for filter in filters {
            varint::write_bytes(filter.as_bytes(), &mut body);
        }
        varint::write_packet(0xa2, &body, out);
    }
}

/// Walks checked filters, with or without a byte of options.
struct Entries<'a> {
    rest: &'a [u8],
    option_bytes: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, u8);

    fn next(&mut self) -> Option<(&'a str, u8)> {
        let (len, rest) = self.rest.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        let (options, rest) = rest.split_at_checked(self.option_bytes)?;
        self.rest = rest;
        Some((std::str::from_utf8(text).ok()?, options.first().copied().unwrap_or(0)))
    }
}

/// The answer to SUBSCRIBE: a code for each filter.
#[derive(Debug, Clone, Copy)]
pub struct SubAck<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    codes: &'a [ReasonCode],
    raw: &'a [u8],
    /// Reason String.
    pub reason_string: Option<&'a str>,
}

impl<'a> SubAck<'a> {
    /// Codes in the order of the filters.
    pub fn new(packet_id: PacketId, codes: &'a [ReasonCode]) -> Self {
        Self { packet_id, codes, raw: &[], reason_string: None }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let (packet_id, reason_string, raw) = decode_codes("SUBACK", body, version, rules)?;
        Ok(Self { packet_id, codes: &[], raw, reason_string })
    }

    /// The codes in order.
    pub fn codes(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.codes.iter().copied().chain(self.raw.iter().map(|byte| ReasonCode(*byte)))
    }

    /// Appends the packet; below 5.0 every failure is 0x80 (MQTT-3.9.3-2).
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let mut body = self.packet_id.value().to_be_bytes().to_vec();
        if version == ProtocolVersion::V5 {
            let mut properties = Writer::default();
            if let Some(text) = self.reason_string {
                properties.text(id::REASON_STRING, text);
            }
            properties.finish(&mut body);
        }
        body.extend(self.codes().map(|code| match version {
            ProtocolVersion::V5 => code.0,
            ProtocolVersion::V31 | ProtocolVersion::V311 if code.is_failure() => 0x80,
            ProtocolVersion::V31 | ProtocolVersion::V311 => code.0,
        }));
        varint::write_packet(0x90, &body, out);
    }
}

/// The same answer, written or read.
impl PartialEq for SubAck<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.packet_id == other.packet_id
            && self.reason_string == other.reason_string
            && self.codes().eq(other.codes())
    }
}

impl Eq for SubAck<'_> {}

/// The answer to UNSUBSCRIBE.
#[derive(Debug, Clone, Copy)]
pub struct UnsubAck<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    codes: &'a [ReasonCode],
    raw: &'a [u8],
}

impl<'a> UnsubAck<'a> {
    /// Codes in the order of the filters; not sent below 5.0.
    pub fn new(packet_id: PacketId, codes: &'a [ReasonCode]) -> Self {
        Self { packet_id, codes, raw: &[] }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        if version != ProtocolVersion::V5 {
            let mut cursor = Cursor::new(body, "UNSUBACK", rules.text);
            let packet_id = cursor.packet_id()?;
            cursor.end()?;
            return Ok(Self { packet_id, codes: &[], raw: &[] });
        }
        let (packet_id, _, raw) = decode_codes("UNSUBACK", body, version, rules)?;
        Ok(Self { packet_id, codes: &[], raw })
    }

    /// The codes in order; none below 5.0.
    pub fn codes(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.codes.iter().copied().chain(self.raw.iter().map(|byte| ReasonCode(*byte)))
    }

    /// Appends the packet.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let mut body = self.packet_id.value().to_be_bytes().to_vec();
        if version == ProtocolVersion::V5 {
            body.push(0);
            body.extend(self.codes().map(|code| code.0));
        }
        varint::write_packet(0xb0, &body, out);
    }
}

/// The same answer, written or read.
impl PartialEq for UnsubAck<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.packet_id == other.packet_id && self.codes().eq(other.codes())
    }
}

impl Eq for UnsubAck<'_> {}

type Codes<'a> = (PacketId, Option<&'a str>, &'a [u8]);

fn decode_codes<'a>(
    name: &'static str,
    body: &'a [u8],
    version: ProtocolVersion,
    rules: &DecodeRules,
) -> Result<Codes<'a>, MalformedPacket> {
    let mut cursor = Cursor::new(body, name, rules.text);
    let packet_id = cursor.packet_id()?;
    let mut reason_string = None;
    if version == ProtocolVersion::V5 {
        property::section(&mut cursor, place::ACK, |id, value| {
            if let (id::REASON_STRING, Value::Text(value)) = (id, value) {
                reason_string = Some(value);
            }
            Ok(())
        })?;
    }
    Ok((packet_id, reason_string, cursor.rest()))
}
