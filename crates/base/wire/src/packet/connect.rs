//! CONNECT (section 3.1).

use std::num::{NonZeroU16, NonZeroU32};

use motte_topic::TopicRef;

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::packet::{DecodeRules, PayloadFormat};
use crate::property::{self, Raw, UserProperties, Value, Writer, id, place};
use crate::reason::ReasonCode;
use crate::varint;
use crate::version::{ProtocolVersion, QoS};

const NAME: &str = "CONNECT";

/// The first packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Protocol version.
    pub version: ProtocolVersion,
    /// Clean Start; clean session below 5.0.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// The Will.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
    /// The top bit of the protocol level was set: a bridge, by a convention outside the standard.
    pub bridge: bool,
    /// Properties; the defaults below 5.0.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information; true unless said otherwise.
    pub request_problem_information: bool,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user: UserProperties::default(),
        }
    }
}

/// A Will in CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// QoS of the Will Message.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// Its payload.
    pub payload: &'a [u8],
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Message Expiry Interval in seconds.
    pub message_expiry_s: Option<u32>,
    /// Payload Format Indicator.
    pub payload_format: Option<PayloadFormat>,
    /// The whole property section, checked.
    pub(crate) section: &'a [u8],
}

impl<'a> Will<'a> {
    /// A Will without properties.
    pub fn new(topic: TopicRef<'a>, payload: &'a [u8], qos: QoS, retain: bool) -> Self {
        Self {
            qos,
            retain,
            topic,
            payload,
            delay_s: 0,
            message_expiry_s: None,
            payload_format: None,
            section: &[],
        }
    }

    /// With properties to forward, already encoded (see [`crate::PublishProperties::write_forwarded`]).
    #[must_use]
    pub fn with_forwarded(mut self, encoded: &'a [u8]) -> Self {
        self.section = encoded;
        self
    }

    /// Copies the properties that are forwarded with the Will Message, in order.
    pub fn write_forwarded(&self, out: &mut Vec<u8>) {
        property::forward(self.section, out);
    }
}

impl<'a> Connect<'a> {
    /// A CONNECT with nothing but a Client Identifier, Clean Start and a Keep Alive of 60 seconds.
    pub fn new(version: ProtocolVersion, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_s: 60,
            client_id,
            will: None,
            user_name: None,
            password: None,
            bridge: false,
            properties: ConnectProperties::default(),
        }
    }

    pub(crate) fn decode(flags: u8, body: &'a [u8], rules: &DecodeRules) -> Result<Self, MalformedPacket> {
        let mut cursor = Cursor::new(body, NAME, rules.text);
        if flags != 0 {
            return Err(cursor.wrong("fixed header", "reserved bits set", "MQTT-2.1.3-1"));
        }
        let (version, bridge) = version(&mut cursor)?;
        Self::after_version(&mut cursor, version, bridge).map_err(|error| {
            // The level is known, so 5.0 gets its Reason Code; 3.x has no return code for a malformed packet.
            if version == ProtocolVersion::V5 { error.answered(version) } else { error }
        })
    }

    fn after_version(
        cursor: &mut Cursor<'a>,
        version: ProtocolVersion,
        bridge: bool,
    ) -> Result<Self, MalformedPacket> {
        let flags = cursor.u8("Connect Flags")?;
        check_flags(cursor, flags, version)?;
        let keep_alive_s = cursor.u16("Keep Alive")?;
        let mut properties = ConnectProperties::default();
        if version == ProtocolVersion::V5 {
            connect_properties(cursor, &mut properties)?;
        }
        let client_id = cursor.text("Client Identifier")?;
        let will = if flags & 0x04 != 0 { Some(will(cursor, flags, version)?) } else { None };
        // In 3.1 the Remaining Length counts for more than the flags: what it leaves no room for is not there.
        let left_out = |cursor: &Cursor<'_>| version == ProtocolVersion::V31 && cursor.is_empty();
        let user_name =
            if flags & 0x80 != 0 && !left_out(cursor) { Some(cursor.text("User Name")?) } else { None };
        let password =
            if flags & 0x40 != 0 && !left_out(cursor) { Some(cursor.bytes("Password")?) } else { None };
        cursor.end()?;
        let clean_start = flags & 0x02 != 0;
        Ok(Self {
            version,
            clean_start,
            keep_alive_s,
            client_id,
            will,
            user_name,
            password,
            bridge,
            properties,
        })
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let name: &[u8] = if self.version == ProtocolVersion::V31 { b"MQIsdp" } else { b"MQTT" };
        varint::write_bytes(name, &mut body);
        body.push(self.version.level() | if self.bridge { 0x80 } else { 0 });
        let mut flags = u8::from(self.clean_start) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.user_name.is_some()) << 7;
        body.push(flags);
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        if self.version == ProtocolVersion::V5 {
            self.encode_properties(&mut body);
        }
        varint::write_bytes(self.client_id.as_bytes(), &mut body);
        if let Some(will) = &self.will {
            if self.version == ProtocolVersion::V5 {
                let mut properties = Writer::default();
                if will.delay_s > 0 {
                    properties.u32(id::WILL_DELAY, will.delay_s);
                }
                if let Some(seconds) = will.message_expiry_s {
                    properties.u32(id::MESSAGE_EXPIRY, seconds);
                }
                let mut forwarded = Vec::new();
                will.write_forwarded(&mut forwarded);
                if let Some(format) = will.payload_format
                    && !Raw::new(&forwarded).any(|one| one.id == id::PAYLOAD_FORMAT)
                {
                    properties.byte(id::PAYLOAD_FORMAT, format as u8);
                }
                properties.raw(&forwarded);
                properties.finish(&mut body);
            }
            varint::write_bytes(will.topic.as_str().as_bytes(), &mut body);
            varint::write_bytes(will.payload, &mut body);
        }
        if let Some(user_name) = self.user_name {
            varint::write_bytes(user_name.as_bytes(), &mut body);
        }
        if let Some(password) = self.password {
            varint::write_bytes(password, &mut body);
        }
        varint::write_packet(0x10, &body, out);
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
        if let Some(maximum) = from.maximum_packet_size {
            properties.u32(id::MAXIMUM_PACKET_SIZE, maximum.get());
        }
        if from.topic_alias_maximum > 0 {
            properties.u16(id::TOPIC_ALIAS_MAXIMUM, from.topic_alias_maximum);
        }
        if from.request_response_information {
            properties.flag(id::REQUEST_RESPONSE_INFORMATION, true);
        }
        if !from.request_problem_information {
            properties.flag(id::REQUEST_PROBLEM_INFORMATION, false);
        }
        if let Some(method) = from.authentication_method {
            properties.text(id::AUTHENTICATION_METHOD, method);
        }
        if let Some(data) = from.authentication_data {
            properties.data(id::AUTHENTICATION_DATA, data);
        }
        properties.user(from.user);
        properties.finish(body);
    }
}

/// Protocol name and level (MQTT-3.1.2-1, MQTT-3.1.2-2).
fn version(cursor: &mut Cursor<'_>) -> Result<(ProtocolVersion, bool), MalformedPacket> {
    let name = cursor.bytes("Protocol Name")?;
    let unsupported = |cursor: &Cursor<'_>, what| {
        cursor.wrong("Protocol Level", what, "MQTT-3.1.2-2").with(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION)
    };
    match name {
        b"MQTT" | b"MQIsdp" => {}
        _ => return Err(unsupported(cursor, "a protocol name that is not MQTT")),
    }
    let level = cursor.u8("Protocol Level")?;
    let bridge = level & 0x80 != 0;
    match (name, level & 0x7f) {
        (b"MQIsdp", 3) => Ok((ProtocolVersion::V31, bridge)),
        (b"MQTT", 4) => Ok((ProtocolVersion::V311, bridge)),
        (b"MQTT", 5) => Ok((ProtocolVersion::V5, bridge)),
        // A level below 5 expects the return code of 3.1.1, one above expects the Reason Code of 5.0.
        (_, level) => {
            let answer = if level > 5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
            Err(unsupported(cursor, "a level that is not 3, 4 or 5").answered(answer))
        }
    }
}

fn check_flags(cursor: &Cursor<'_>, flags: u8, version: ProtocolVersion) -> Result<(), MalformedPacket> {
    let wrong = |what, statement| Err(cursor.wrong("Connect Flags", what, statement));
    if flags & 0x01 != 0 {
        return wrong("the reserved bit is set", "MQTT-3.1.2-3");
    }
    let will = flags & 0x04 != 0;
    if !will && flags & 0x18 != 0 {
        return wrong("a Will QoS without a Will", "MQTT-3.1.2-11");
    }
    if flags & 0x18 == 0x18 {
        return wrong("Will QoS 3", "MQTT-3.1.2-12");
    }
    if !will && flags & 0x20 != 0 {
        return wrong("Will Retain without a Will", "MQTT-3.1.2-13");
    }
    if version != ProtocolVersion::V5 && flags & 0xc0 == 0x40 {
        return wrong("a Password without a User Name", "MQTT-3.1.2-22");
    }
    Ok(())
}

fn connect_properties<'a>(
    cursor: &mut Cursor<'a>,
    properties: &mut ConnectProperties<'a>,
) -> Result<(), MalformedPacket> {
    let section = property::section(cursor, place::CONNECT, |id, value| {
        match (id, value) {
            (id::SESSION_EXPIRY, Value::U32(value)) => properties.session_expiry_s = Some(value),
            (id::RECEIVE_MAXIMUM, Value::U16(value)) => properties.receive_maximum = NonZeroU16::new(value),
            (id::MAXIMUM_PACKET_SIZE, Value::U32(value)) => {
                properties.maximum_packet_size = NonZeroU32::new(value);
            }
            (id::TOPIC_ALIAS_MAXIMUM, Value::U16(value)) => properties.topic_alias_maximum = value,
            (id::REQUEST_RESPONSE_INFORMATION, Value::Byte(value)) => {
                properties.request_response_information = value == 1;
            }
            (id::REQUEST_PROBLEM_INFORMATION, Value::Byte(value)) => {
                properties.request_problem_information = value == 1;
            }
            (id::AUTHENTICATION_METHOD, Value::Text(value)) => properties.authentication_method = Some(value),
            (id::AUTHENTICATION_DATA, Value::Bytes(value)) => properties.authentication_data = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    properties.user = UserProperties::new(section);
    property::data_needs_method(cursor, properties.authentication_method, properties.authentication_data)
}

fn will<'a>(
    cursor: &mut Cursor<'a>,
    flags: u8,
    version: ProtocolVersion,
) -> Result<Will<'a>, MalformedPacket> {
    let (mut delay_s, mut message_expiry_s, mut payload_format) = (0, None, None);
    let mut section: &[u8] = &[];
    if version == ProtocolVersion::V5 {
        let inside = cursor.clone();
        section = property::section(cursor, place::WILL, |id, value| {
            match (id, value) {
                (id::WILL_DELAY, Value::U32(value)) => delay_s = value,
                (id::MESSAGE_EXPIRY, Value::U32(value)) => message_expiry_s = Some(value),
                (id::PAYLOAD_FORMAT, Value::Byte(value)) => payload_format = PayloadFormat::from_byte(value),
                (id::RESPONSE_TOPIC, Value::Text(text)) if TopicRef::parse(text).is_err() => {
                    return Err(inside.wrong("Response Topic", "no Topic Name", "MQTT-3.3.2-14").protocol());
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    let text = cursor.text("Will Topic")?;
    let topic = TopicRef::parse(text).map_err(|_| {
        cursor.wrong("Will Topic", "no Topic Name", "MQTT-4.7.3-1").with(ReasonCode::TOPIC_NAME_INVALID)
    })?;
    let payload = cursor.bytes("Will Payload")?;
    let qos = QoS::from_bits(flags >> 3 & 3)
        .ok_or_else(|| cursor.wrong("Connect Flags", "Will QoS 3", "MQTT-3.1.2-12"))?;
    Ok(Will {
        qos,
        retain: flags & 0x20 != 0,
        topic,
        payload,
        delay_s,
        message_expiry_s,
        payload_format,
        section,
    })
}
