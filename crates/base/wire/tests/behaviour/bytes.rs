//! Packets by hand: bytes that owe nothing to the encoder under test.

use motte_wire::{ControlPacket, DecodeRules, MalformedPacket, ProtocolVersion, ReasonCode, decode, frame};

pub(crate) use motte_wire::ProtocolVersion::{V5, V31, V311};

pub(crate) const ALL: [ProtocolVersion; 3] = [V31, V311, V5];
pub(crate) const BELOW_5: [ProtocolVersion; 2] = [V31, V311];

/// A packet from its first byte and its body in parts.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Bytes with their length in front, as strings and Binary Data are sent.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut sent = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    sent.extend(bytes);
    sent
}

/// A property section of fewer than 128 bytes.
pub(crate) fn section(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    assert!(body.len() < 128);
    let mut sent = vec![u8::try_from(body.len()).unwrap()];
    sent.extend(body);
    sent
}

/// An empty property section where the version has one.
pub(crate) fn no_properties(version: ProtocolVersion) -> &'static [u8] {
    if version == V5 { &[0] } else { &[] }
}

pub(crate) fn read_as<'a>(
    version: ProtocolVersion,
    bytes: &'a [u8],
    rules: &DecodeRules,
) -> Result<ControlPacket<'a>, MalformedPacket> {
    let frame = frame(bytes, u32::MAX).unwrap().unwrap();
    assert_eq!(frame.len, bytes.len());
    decode(frame, version, rules)
}

/// Reads what a client sent.
pub(crate) fn read(version: ProtocolVersion, bytes: &[u8]) -> Result<ControlPacket<'_>, MalformedPacket> {
    read_as(version, bytes, &DecodeRules::from_client())
}

/// Refused with a Reason Code; gives what was said.
pub(crate) fn refused(version: ProtocolVersion, bytes: &[u8], reason: ReasonCode) -> MalformedPacket {
    let error = read(version, bytes).expect_err("taken, though it must be refused");
    assert_eq!(error.reason, reason, "{error}");
    error
}

/// Refused as a Malformed Packet.
pub(crate) fn malformed(version: ProtocolVersion, bytes: &[u8]) -> MalformedPacket {
    refused(version, bytes, ReasonCode::MALFORMED_PACKET)
}

/// Refused as a Protocol Error.
pub(crate) fn protocol_error(version: ProtocolVersion, bytes: &[u8]) -> MalformedPacket {
    refused(version, bytes, ReasonCode::PROTOCOL_ERROR)
}

/// A CONNECT up to its flags and Keep Alive.
pub(crate) fn connect_head(version: ProtocolVersion, flags: u8) -> Vec<u8> {
    let name = if version == V31 { "MQIsdp" } else { "MQTT" };
    [&text(name)[..], &[version.level(), flags, 0, 60], no_properties(version)].concat()
}

/// A CONNECT with these flags, and behind the client identifier these bytes.
pub(crate) fn connect(version: ProtocolVersion, flags: u8, more: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[&connect_head(version, flags), &text("c"), &more.concat()])
}

/// A CONNECT of 5.0 with these properties.
pub(crate) fn connect_with(properties: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[&text("MQTT"), &[5, 2, 0, 60], &section(properties), &text("c")])
}

/// A PUBLISH of 5.0 with QoS 0 and these properties.
pub(crate) fn publish_with(properties: &[&[u8]]) -> Vec<u8> {
    packet(0x30, &[&text("t"), &section(properties), b"payload"])
}
