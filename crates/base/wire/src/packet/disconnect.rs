//! DISCONNECT and AUTH (sections 3.14 and 3.15).

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::{DecodeRules, Direction};
use crate::property::{self, UserProperties, Value, Writer, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::ProtocolVersion;

/// Reason Codes that a client may give in DISCONNECT (5.0 section 3.14.2.1).
const CLIENT_REASONS: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Reason Code.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, client to server only.
    pub session_expiry_s: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Without properties.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_s: None,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        }
    }

    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, "DISCONNECT", rules.text);
        if flags != 0 {
            return Err(cursor.wrong("fixed header", "reserved bits set", "MQTT-3.14.1-1"));
        }
        let mut packet = Self::new(ReasonCode::SUCCESS);
        if version == ProtocolVersion::V5 && !cursor.is_empty() {
            packet.reason = ReasonCode(cursor.u8("Reason Code")?);
            if rules.from == Direction::Client && !CLIENT_REASONS.contains(&packet.reason.0) {
                return Err(cursor
                    .wrong("Reason Code", "a code that a client does not send", "MQTT-3.14.2-1")
                    .protocol());
            }
            if !cursor.is_empty() {
                let inside = cursor.clone();
                let section = property::section(&mut cursor, place::DISCONNECT, |id, value| {
                    match (id, value) {
                        (id::SESSION_EXPIRY, Value::U32(_)) if rules.from == Direction::Server => {
                            return Err(inside
                                .wrong("Session Expiry Interval", "sent by a server", "MQTT-3.14.2-2")
                                .protocol());
                        }
                        (id::SESSION_EXPIRY, Value::U32(value)) => packet.session_expiry_s = Some(value),
                        (id::REASON_STRING, Value::Text(value)) => packet.reason_string = Some(value),
                        (id::SERVER_REFERENCE, Value::Text(value)) => packet.server_reference = Some(value),
                        _ => {}
                    }
                    Ok(())
                })?;
                packet.user = UserProperties::new(section);
            }
        }
        cursor.end()?;
        Ok(packet)
    }

    /// Appends the packet.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let mut properties = Writer::default();
        if let Some(seconds) = self.session_expiry_s {
            properties.u32(id::SESSION_EXPIRY, seconds);
        }
        if let Some(text) = self.reason_string {
            properties.text(id::REASON_STRING, text);
        }
        if let Some(text) = self.server_reference {
            properties.text(id::SERVER_REFERENCE, text);
        }
        properties.user(self.user);
        encode_tail(0xe0, version, self.reason, &properties, out);
    }
}

/// A step of enhanced authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// 0x00, 0x18 or 0x19.
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// A step with method and data.
    pub fn new(reason: ReasonCode, method: Option<&'a str>, data: Option<&'a [u8]>) -> Self {
        Self { reason, method, data, reason_string: None, user: UserProperties::default() }
    }

    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, "AUTH", rules.text);
        if version != ProtocolVersion::V5 {
            return Err(cursor.wrong("fixed header", "packet type 15 below 5.0", "3.1.1 section 2.2.1"));
        }
        if flags != 0 {
            return Err(cursor.wrong("fixed header", "reserved bits set", "MQTT-3.15.1-1"));
        }
        let mut packet = Self::new(ReasonCode::SUCCESS, None, None);
        if !cursor.is_empty() {
            packet.reason = ReasonCode(cursor.u8("Reason Code")?);
            if !matches!(packet.reason.0, 0x00 | 0x18 | 0x19) {
                return Err(cursor
                    .wrong("Reason Code", "a code that AUTH does not have", "MQTT-3.15.2-1")
                    .protocol());
            }
            let section = property::section(&mut cursor, place::AUTH, |id, value| {
                match (id, value) {
                    (id::AUTHENTICATION_METHOD, Value::Text(value)) => packet.method = Some(value),
                    (id::AUTHENTICATION_DATA, Value::Bytes(value)) => packet.data = Some(value),
                    (id::REASON_STRING, Value::Text(value)) => packet.reason_string = Some(value),
                    _ => {}
                }
                Ok(())
            })?;
            packet.user = UserProperties::new(section);
            property::data_needs_method(&cursor, packet.method, packet.data)?;
        }
        cursor.end()?;
        Ok(packet)
    }

    /// Appends the packet.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let mut properties = Writer::default();
        if let Some(method) = self.method {
            properties.text(id::AUTHENTICATION_METHOD, method);
        }
        if let Some(data) = self.data {
            properties.data(id::AUTHENTICATION_DATA, data);
        }
        if let Some(text) = self.reason_string {
            properties.text(id::REASON_STRING, text);
        }
        properties.user(self.user);
        encode_tail(0xf0, version, self.reason, &properties, out);
    }
}

/// The short forms: no code means success, no length means no properties.
fn encode_tail(
    first: u8,
    version: ProtocolVersion,
    reason: ReasonCode,
    properties: &Writer,
    out: &mut Vec<u8>,
) {
    if version != ProtocolVersion::V5 || (reason == ReasonCode::SUCCESS && properties.is_empty()) {
        out.extend_from_slice(&[first, 0]);
        return;
    }
    let mut body = vec![reason.0];
    if first == 0xf0 || !properties.is_empty() {
        properties.finish(&mut body);
    }
    varint::write_packet(first, &body, out);
}
