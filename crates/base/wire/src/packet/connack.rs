//! CONNACK (section 3.2).

use std::num::{NonZeroU16, NonZeroU32};

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::DecodeRules;
use crate::property::{self, UserProperties, Value, Writer, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::{ProtocolVersion, QoS};

/// The answer to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present.
    pub session_present: bool,
    /// Reason Code; below 5.0 the nearest return code is sent.
    pub reason: ReasonCode,
    /// Properties; not sent below 5.0.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK. What equals the standard's default is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in seconds, when it differs from CONNECT's.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS, when it is not 2.
    pub maximum_qos: Option<QoS>,
    /// Retain Available.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_identifiers_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// Server Keep Alive in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl Default for ConnAckProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_maximum: None,
            maximum_qos: None,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            wildcard_available: true,
            subscription_identifiers_available: true,
            shared_available: true,
            server_keep_alive_s: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
            user: UserProperties::default(),
        }
    }
}

impl<'a> ConnAck<'a> {
    /// Acceptance.
    pub fn accepted(session_present: bool) -> Self {
        Self { session_present, reason: ReasonCode::SUCCESS, properties: ConnAckProperties::default() }
    }

    /// Refusal; Session Present is 0 (MQTT-3.2.2-6).
    pub fn refusal(reason: ReasonCode) -> Self {
        Self { session_present: false, reason, properties: ConnAckProperties::default() }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: ProtocolVersion,
        rules: &DecodeRules,
    ) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, "CONNACK", rules.text);
        let flags = cursor.u8("Connect Acknowledge Flags")?;
        if flags & 0xfe != 0 {
            return Err(cursor.wrong("Connect Acknowledge Flags", "reserved bits set", "MQTT-3.2.2-1"));
        }
        let code = cursor.u8("Connect Reason Code")?;
        let mut properties = ConnAckProperties::default();
        let reason = if version == ProtocolVersion::V5 {
            decode_properties(&mut cursor, &mut properties)?;
            ReasonCode(code)
        } else {
            from_return_code(code)
        };
        cursor.end()?;
        Ok(Self { session_present: flags & 1 != 0, reason, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        let present =
            u8::from(self.session_present && !self.reason.is_failure() && version != ProtocolVersion::V31);
        if version != ProtocolVersion::V5 {
            out.extend_from_slice(&[0x20, 2, present, return_code(self.reason)]);
            return;
        }
        let mut body = vec![present, self.reason.0];
        self.encode_properties(&mut body);
        varint::write_packet(0x20, &body, out);
    }

    fn encode_properties(&self, body: &mut Vec<u8>) {
        let from = &self.properties;
        let mut properties = Writer::default();
        if let Some(seconds) = from.session_expiry_s {
            properties.u32(id::SESSION_EXPIRY, seconds);
        }
        if let Some(maximum) = from.receive_maximum {
            properties.u16(id::RECEIVE_MAXIMUM, maximum.get());
        }
        if let Some(qos) = from.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce) {
            properties.byte(id::MAXIMUM_QOS, qos as u8);
        }
        if let Some(maximum) = from.maximum_packet_size {
            properties.u32(id::MAXIMUM_PACKET_SIZE, maximum.get());
        }
        if from.topic_alias_maximum > 0 {
            properties.u16(id::TOPIC_ALIAS_MAXIMUM, from.topic_alias_maximum);
        }
        if let Some(seconds) = from.server_keep_alive_s {
            properties.u16(id::SERVER_KEEP_ALIVE, seconds);
        }
        for (id, available) in [
            (id::RETAIN_AVAILABLE, from.retain_available),
            (id::WILDCARD_AVAILABLE, from.wildcard_available),
            (id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE, from.subscription_identifiers_available),
            (id::SHARED_AVAILABLE, from.shared_available),
        ] {
            if !available {
                properties.flag(id, false);
            }
        }
        for (id, text) in [
            (id::ASSIGNED_CLIENT_IDENTIFIER, from.assigned_client_id),
            (id::REASON_STRING, from.reason_string),
            (id::RESPONSE_INFORMATION, from.response_information),
            (id::SERVER_REFERENCE, from.server_reference),
            (id::AUTHENTICATION_METHOD, from.authentication_method),
        ] {
            if let Some(text) = text {
                properties.text(id, text);
            }
        }
        if let Some(data) = from.authentication_data {
            properties.data(id::AUTHENTICATION_DATA, data);
        }
        properties.user(from.user);
        properties.finish(body);
    }
}

fn decode_properties<'a>(
    cursor: &mut Cursor<'a>,
    properties: &mut ConnAckProperties<'a>,
) -> Result<(), MalformedPacket> {
    let section = property::section(cursor, place::CONNACK, |id, value| {
        match (id, value) {
            (id::SESSION_EXPIRY, Value::U32(value)) => properties.session_expiry_s = Some(value),
            (id::RECEIVE_MAXIMUM, Value::U16(value)) => properties.receive_maximum = NonZeroU16::new(value),
            (id::MAXIMUM_QOS, Value::Byte(value)) => properties.maximum_qos = QoS::from_bits(value),
            (id::RETAIN_AVAILABLE, Value::Byte(value)) => properties.retain_available = value == 1,
            (id::MAXIMUM_PACKET_SIZE, Value::U32(value)) => {
                properties.maximum_packet_size = NonZeroU32::new(value);
            }
            (id::ASSIGNED_CLIENT_IDENTIFIER, Value::Text(value)) => {
                properties.assigned_client_id = Some(value);
            }
            (id::TOPIC_ALIAS_MAXIMUM, Value::U16(value)) => properties.topic_alias_maximum = value,
            (id::REASON_STRING, Value::Text(value)) => properties.reason_string = Some(value),
            (id::WILDCARD_AVAILABLE, Value::Byte(value)) => properties.wildcard_available = value == 1,
            (id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE, Value::Byte(value)) => {
                properties.subscription_identifiers_available = value == 1;
            }
            (id::SHARED_AVAILABLE, Value::Byte(value)) => properties.shared_available = value == 1,
            (id::SERVER_KEEP_ALIVE, Value::U16(value)) => properties.server_keep_alive_s = Some(value),
            (id::RESPONSE_INFORMATION, Value::Text(value)) => properties.response_information = Some(value),
            (id::SERVER_REFERENCE, Value::Text(value)) => properties.server_reference = Some(value),
            (id::AUTHENTICATION_METHOD, Value::Text(value)) => properties.authentication_method = Some(value),
            (id::AUTHENTICATION_DATA, Value::Bytes(value)) => properties.authentication_data = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    properties.user = UserProperties::new(section);
    property::data_needs_method(cursor, properties.authentication_method, properties.authentication_data)
}

/// The return code of 3.1.1 that comes nearest (3.1.1 section 3.2.2.3).
fn return_code(reason: ReasonCode) -> u8 {
    match reason {
        reason if !reason.is_failure() => 0,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
        ReasonCode::NOT_AUTHORIZED | ReasonCode::BANNED | ReasonCode::BAD_AUTHENTICATION_METHOD => 5,
        _ => 3,
    }
}

fn from_return_code(code: u8) -> ReasonCode {
    match code {
        0 => ReasonCode::SUCCESS,
        1 => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        2 => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        3 => ReasonCode::SERVER_UNAVAILABLE,
        4 => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        5 => ReasonCode::NOT_AUTHORIZED,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    }
}
