//! The properties of 5.0: one table of what each is, where it may stand and how often.

use crate::cursor::Cursor;
use crate::error::MalformedPacket;
use crate::varint;

/// What a property holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One byte.
    Byte,
    /// One byte, 0 or 1.
    Flag,
    /// Two bytes.
    U16,
    /// Two bytes, not zero.
    U16Positive,
    /// Four bytes.
    U32,
    /// Four bytes, not zero.
    U32Positive,
    /// A variable byte integer, not zero.
    VarintPositive,
    /// A UTF-8 string.
    Text,
    /// Bytes.
    Bytes,
    /// Two UTF-8 strings.
    Pair,
}

/// The value of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Byte(u8),
    U16(u16),
    U32(u32),
    Text(&'a str),
    Bytes(&'a [u8]),
    Pair,
}

/// A place where properties stand: one bit each.
pub(crate) mod place {
    pub(crate) const CONNECT: u16 = 1;
    pub(crate) const CONNACK: u16 = 1 << 1;
    pub(crate) const PUBLISH: u16 = 1 << 2;
    pub(crate) const WILL: u16 = 1 << 3;
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK: the same set for all.
    pub(crate) const ACK: u16 = 1 << 4;
    pub(crate) const SUBSCRIBE: u16 = 1 << 5;
    pub(crate) const UNSUBSCRIBE: u16 = 1 << 6;
    pub(crate) const DISCONNECT: u16 = 1 << 7;
    pub(crate) const AUTH: u16 = 1 << 8;
    pub(crate) const ALL: u16 = 0x1ff;
}

/// One property of the standard (5.0 section 2.2.2.2).
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Its identifier.
    pub id: u8,
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    places: u16,
}

const fn property(id: u8, name: &'static str, kind: Kind, places: u16) -> Property {
    Property { id, name, kind, places }
}

macro_rules! properties {
    ($($id:literal $constant:ident $name:literal $kind:ident [$($place:ident)*];)*) => {
        /// Identifiers of properties.
        pub mod id {
            $(#[doc = $name] pub const $constant: u8 = $id;)*
        }

        /// All properties, by identifier.
        pub const PROPERTIES: &[Property] = &[
            $(property($id, $name, Kind::$kind, 0 $(| place::$place)*),)*
        ];
    };
}

properties! {
    1 PAYLOAD_FORMAT "Payload Format Indicator" Flag [PUBLISH WILL];
    2 MESSAGE_EXPIRY "Message Expiry Interval" U32 [PUBLISH WILL];
    3 CONTENT_TYPE "Content Type" Text [PUBLISH WILL];
    8 RESPONSE_TOPIC "Response Topic" Text [PUBLISH WILL];
    9 CORRELATION_DATA "Correlation Data" Bytes [PUBLISH WILL];
    11 SUBSCRIPTION_IDENTIFIER "Subscription Identifier" VarintPositive [PUBLISH SUBSCRIBE];
    17 SESSION_EXPIRY "Session Expiry Interval" U32 [CONNECT CONNACK DISCONNECT];
    18 ASSIGNED_CLIENT_IDENTIFIER "Assigned Client Identifier" Text [CONNACK];
    19 SERVER_KEEP_ALIVE "Server Keep Alive" U16 [CONNACK];
    21 AUTHENTICATION_METHOD "Authentication Method" Text [CONNECT CONNACK AUTH];
    22 AUTHENTICATION_DATA "Authentication Data" Bytes [CONNECT CONNACK AUTH];
    23 REQUEST_PROBLEM_INFORMATION "Request Problem Information" Flag [CONNECT];
    24 WILL_DELAY "Will Delay Interval" U32 [WILL];
    25 REQUEST_RESPONSE_INFORMATION "Request Response Information" Flag [CONNECT];
    26 RESPONSE_INFORMATION "Response Information" Text [CONNACK];
    28 SERVER_REFERENCE "Server Reference" Text [CONNACK DISCONNECT];
    31 REASON_STRING "Reason String" Text [CONNACK ACK DISCONNECT AUTH];
    33 RECEIVE_MAXIMUM "Receive Maximum" U16Positive [CONNECT CONNACK];
    34 TOPIC_ALIAS_MAXIMUM "Topic Alias Maximum" U16 [CONNECT CONNACK];
    35 TOPIC_ALIAS "Topic Alias" U16Positive [PUBLISH];
    36 MAXIMUM_QOS "Maximum QoS" Flag [CONNACK];
    37 RETAIN_AVAILABLE "Retain Available" Flag [CONNACK];
    38 USER_PROPERTY "User Property" Pair [ALL];
    39 MAXIMUM_PACKET_SIZE "Maximum Packet Size" U32Positive [CONNECT CONNACK];
    40 WILDCARD_AVAILABLE "Wildcard Subscription Available" Flag [CONNACK];
    41 SUBSCRIPTION_IDENTIFIERS_AVAILABLE "Subscription Identifiers Available" Flag [CONNACK];
    42 SHARED_AVAILABLE "Shared Subscription Available" Flag [CONNACK];
}

fn find(id: u32) -> Option<&'static Property> {
    let id = u8::try_from(id).ok()?;
    PROPERTIES.iter().find(|property| property.id == id)
}

/// Takes the property section of a packet: checks every property and hands each to `each`. Gives the section's bytes.
pub(crate) fn section<'a>(
    cursor: &mut Cursor<'a>,
    at: u16,
    mut each: impl FnMut(u8, Value<'a>) -> Result<(), MalformedPacket>,
) -> Result<&'a [u8], MalformedPacket> {
    let len = cursor.varint("Property Length")?;
    let bytes = cursor.take(len as usize, "properties")?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let mut inside = cursor.over(bytes);
    let mut seen: u64 = 0;
    while !inside.is_empty() {
        let id = inside.varint("property identifier")?;
        let Some(property) = find(id) else {
            return Err(inside.wrong("properties", "a property that does not exist", "MQTT-2.2.2-2"));
        };
        if property.places & at == 0 {
            return Err(inside.wrong(
                property.name,
                "a property that may not stand in this packet",
                "5.0 section 2.2.2.2",
            ));
        }
        // Subscription Identifiers repeat in PUBLISH only; a client never sends them there (MQTT-3.3.4-6).
        let repeats = property.kind == Kind::Pair || (id == 11 && at == place::PUBLISH);
        let bit = 1_u64 << property.id;
        if seen & bit != 0 && !repeats {
            return Err(inside
                .wrong(property.name, "a property that stands twice", "5.0 section 2.2.2.2")
                .protocol());
        }
        seen |= bit;
        let value = value(&mut inside, property)?;
        each(property.id, value)?;
    }
    Ok(bytes)
}

/// Authentication Data says nothing without its method (5.0 section 3.1.2.11.10).
pub(crate) fn data_needs_method(
    cursor: &Cursor<'_>,
    method: Option<&str>,
    data: Option<&[u8]>,
) -> Result<(), MalformedPacket> {
    if data.is_some() && method.is_none() {
        let what = "data without an Authentication Method";
        return Err(cursor.wrong("Authentication Data", what, "5.0 section 3.1.2.11.10").protocol());
    }
    Ok(())
}

fn value<'a>(inside: &mut Cursor<'a>, property: &Property) -> Result<Value<'a>, MalformedPacket> {
    let name = property.name;
    let zero = |inside: &Cursor<'a>| inside.wrong(name, "zero", "5.0 section 2.2.2.2").protocol();
    Ok(match property.kind {
        Kind::Byte => Value::Byte(inside.u8(name)?),
        Kind::Flag => match inside.u8(name)? {
            byte @ (0 | 1) => Value::Byte(byte),
            _ => {
                return Err(inside
                    .wrong(name, "a value other than 0 or 1", "5.0 section 2.2.2.2")
                    .protocol());
            }
        },
        Kind::U16 => Value::U16(inside.u16(name)?),
        Kind::U16Positive => match inside.u16(name)? {
            0 => return Err(zero(inside)),
            value => Value::U16(value),
        },
        Kind::U32 => Value::U32(inside.u32(name)?),
        Kind::U32Positive => match inside.u32(name)? {
            0 => return Err(zero(inside)),
            value => Value::U32(value),
        },
        Kind::VarintPositive => match inside.varint(name)? {
            0 => return Err(zero(inside)),
            value => Value::U32(value),
        },
        Kind::Text => Value::Text(inside.text(name)?),
        Kind::Bytes => Value::Bytes(inside.bytes(name)?),
        Kind::Pair => {
            inside.text(name)?;
            inside.text(name)?;
            Value::Pair
        }
    })
}

/// User Properties of a packet, in order, from its checked property section.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserProperties<'a> {
    section: &'a [u8],
}

/// The same pairs in the same order, whatever stands between them.
impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl<'a> UserProperties<'a> {
    pub(crate) fn new(section: &'a [u8]) -> Self {
        Self { section }
    }

    /// The pairs in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        Raw { rest: self.section }.filter_map(|one| {
            if one.id != id::USER_PROPERTY {
                return None;
            }
            let body = one.bytes.get(1..)?;
            let (name, rest) = split_text(body)?;
            let (value, _) = split_text(rest)?;
            Some((name, value))
        })
    }
}

fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// One property in a checked section, as bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawProperty<'a> {
    pub(crate) id: u8,
    /// Identifier and value.
    pub(crate) bytes: &'a [u8],
}

/// Walks a checked section.
#[derive(Debug, Clone)]
pub(crate) struct Raw<'a> {
    rest: &'a [u8],
}

impl<'a> Raw<'a> {
    pub(crate) fn new(section: &'a [u8]) -> Self {
        Self { rest: section }
    }
}

impl<'a> Iterator for Raw<'a> {
    type Item = RawProperty<'a>;

    fn next(&mut self) -> Option<RawProperty<'a>> {
        let (id, body) = self.rest.split_first()?;
        let text_len = |at: usize| -> Option<usize> {
            let len: [u8; 2] = body.get(at..at + 2)?.try_into().ok()?;
            Some(2 + usize::from(u16::from_be_bytes(len)))
        };
        let len = match find(u32::from(*id))?.kind {
            Kind::Byte | Kind::Flag => 1,
            Kind::U16 | Kind::U16Positive => 2,
            Kind::U32 | Kind::U32Positive => 4,
            Kind::VarintPositive => body.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1,
            Kind::Text | Kind::Bytes => text_len(0)?,
            Kind::Pair => {
                let first = text_len(0)?;
                first + text_len(first)?
            }
        };
        let (bytes, rest) = self.rest.split_at_checked(1 + len)?;
        self.rest = rest;
        Some(RawProperty { id: *id, bytes })
    }
}

/// Copies the properties that a server forwards with a message unaltered and in order (MQTT-3.3.2-4, -15, -16, -17, -18,
/// -20): everything but alias, expiry, Subscription Identifiers and Will Delay.
pub(crate) fn forward(section: &[u8], out: &mut Vec<u8>) {
    for one in Raw::new(section) {
        if matches!(
            one.id,
            id::PAYLOAD_FORMAT
                | id::CONTENT_TYPE
                | id::RESPONSE_TOPIC
                | id::CORRELATION_DATA
                | id::USER_PROPERTY
        ) {
            out.extend_from_slice(one.bytes);
        }
    }
}

/// Writes properties; the length is put before them at the end.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn byte(&mut self, id: u8, value: u8) {
        self.bytes.extend_from_slice(&[id, value]);
    }

    pub(crate) fn flag(&mut self, id: u8, value: bool) {
        self.byte(id, u8::from(value));
    }

    pub(crate) fn u16(&mut self, id: u8, value: u16) {
        self.bytes.push(id);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, id: u8, value: u32) {
        self.bytes.push(id);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn varint(&mut self, id: u8, value: u32) {
        self.bytes.push(id);
        varint::write(value, &mut self.bytes);
    }

    pub(crate) fn data(&mut self, id: u8, value: &[u8]) {
        self.bytes.push(id);
        varint::write_bytes(value, &mut self.bytes);
    }

    pub(crate) fn text(&mut self, id: u8, value: &str) {
        self.data(id, value.as_bytes());
    }

    pub(crate) fn user(&mut self, user: UserProperties<'_>) {
        for (name, value) in user.iter() {
            self.bytes.push(id::USER_PROPERTY);
            varint::write_bytes(name.as_bytes(), &mut self.bytes);
            varint::write_bytes(value.as_bytes(), &mut self.bytes);
        }
    }

    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Length and properties.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        varint::write(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), out);
        out.extend_from_slice(&self.bytes);
    }
}
