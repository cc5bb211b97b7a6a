//! PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7): one shape, four names.

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::DecodeRules;
use crate::property::{self, UserProperties, Value, Writer, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::{PacketId, ProtocolVersion};

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Reason Code; success below 5.0.
    pub reason: ReasonCode,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

/// Reason Codes that PUBACK and PUBREC may carry.
const PUBLISH_REASONS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// Reason Codes that PUBREL and PUBCOMP may carry.
const RELEASE_REASONS: &[u8] = &[0x00, 0x92];

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user: UserProperties::default() }
    }

    pub(crate) fn decode(
        name: &'static str,
        first: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, name, rules.text);
        let release = first >> 4 == 6;
        let flags = if release { version.without_dup(first & 0x0f) } else { first & 0x0f };
        if flags != if release { 2 } else { 0 } {
            return Err(cursor.wrong("fixed header", "reserved bits set", "MQTT-3.6.1-1"));
        }
        let mut ack = Self::new(cursor.packet_id()?, ReasonCode::SUCCESS);
        if version == ProtocolVersion::V5 && !cursor.is_empty() {
            let code = cursor.u8("Reason Code")?;
            let allowed = if first >> 4 >= 6 { RELEASE_REASONS } else { PUBLISH_REASONS };
            if !allowed.contains(&code) {
                return Err(cursor
                    .wrong("Reason Code", "a code that this packet does not have", "MQTT-3.4.2-1")
                    .protocol());
            }
            ack.reason = ReasonCode(code);
            if !cursor.is_empty() {
                let section = property::section(&mut cursor, place::ACK, |id, value| {
                    if let (id::REASON_STRING, Value::Text(value)) = (id, value) {
                        ack.reason_string = Some(value);
                    }
                    Ok(())
                })?;
                ack.user = UserProperties::new(section);
            }
        }
        cursor.end()?;
        Ok(ack)
    }

    /// Appends PUBACK.
    pub fn encode_puback(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        self.encode(0x40, version, out);
    }

    /// Appends PUBREC.
    pub fn encode_pubrec(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        self.encode(0x50, version, out);
    }

    /// Appends PUBREL.
    pub fn encode_pubrel(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        self.encode(0x62, version, out);
    }

    /// Appends PUBCOMP.
    pub fn encode_pubcomp(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        self.encode(0x70, version, out);
    }

    fn encode(&self, first: u8, version: ProtocolVersion, out: &mut Vec<u8>) {
        let [high, low] = self.packet_id.value().to_be_bytes();
        let plain = self.reason_string.is_none() && self.user.iter().next().is_none();
        if version != ProtocolVersion::V5 || (plain && self.reason == ReasonCode::SUCCESS) {
            out.extend_from_slice(&[first, 2, high, low]);
            return;
        }
        if plain {
            out.extend_from_slice(&[first, 3, high, low, self.reason.0]);
            return;
        }
        let mut body = vec![high, low, self.reason.0];
        let mut properties = Writer::default();
        if let Some(text) = self.reason_string {
            properties.text(id::REASON_STRING, text);
        }
        properties.user(self.user);
        properties.finish(&mut body);
        varint::write_packet(first, &body, out);
    }
}
