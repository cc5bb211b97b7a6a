//! Packets: what is taken can be written, is then taken again as the same, and is not larger than it was.

use std::num::NonZeroU32;

use motte_wire::{
    ControlPacket, DecodeRules, Frame, MalformedPacket, PINGREQ, PINGRESP, ProtocolVersion, PublishHead,
    Subscribe, SubscribeEntry, TextRules, Unsubscribe, decode, frame,
};

use super::fail;

/// Runs one packet, as from a client, from a server, and past a listener that is strict with text. Its Remaining Length is
/// not looked at: the body is whatever follows it.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(version: ProtocolVersion, data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let length_bytes =
        rest.iter().take(4).position(|byte| byte & 0x80 == 0).map_or(rest.len().min(4), |at| at + 1);
    let body = rest.get(length_bytes..).unwrap_or_default();
    let one = Frame { first: *first, body, len: data.len() };
    let strict = TextRules { control_characters: false, non_characters: false };
    let client = check(version, one, &DecodeRules::from_client());
    check(version, one, &DecodeRules::from_server());
    let strict = check(version, one, &DecodeRules { text: strict, ..DecodeRules::from_client() });
    assert!(client || !strict, "strict rules take what the standard's refuse");
}

fn check(version: ProtocolVersion, one: Frame<'_>, rules: &DecodeRules) -> bool {
    let packet = match decode(one, version, rules) {
        Ok(packet) => packet,
        Err(error) => {
            check_error(&error, one.first);
            return false;
        }
    };
    let mut written = Vec::new();
    write(&packet, version, &mut written);
    let Ok(Some(cut)) = frame(&written, u32::MAX) else { fail("an encoder wrote no whole packet") };
    assert_eq!(cut.len, written.len(), "an encoder wrote bytes behind its packet");
    assert!(cut.body.len() <= one.body.len(), "a packet grew when it was written again");
    let again = decode(cut, version, rules)
        .unwrap_or_else(|error| fail(format!("what was written is refused: {error}")));
    compare(&packet, &again, version);
    let mut rewritten = Vec::new();
    write(&again, version, &mut rewritten);
    assert_eq!(written, rewritten, "a packet that changes each time it is written");
    true
}

fn check_error(error: &MalformedPacket, first: u8) {
    assert!(error.reason.is_failure() && error.reason.is_defined(), "{error}: with {:02x}", error.reason.0);
    assert!(
        !error.packet.is_empty() && !error.field.is_empty() && !error.what.is_empty(),
        "an error without words"
    );
    assert!(error.connect_answer().is_none() || first >> 4 == 1, "only CONNECT is answered by CONNACK");
}

/// Writes a packet from what was read of it.
fn write(packet: &ControlPacket<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    match packet {
        ControlPacket::Connect(connect) => connect.encode(out),
        ControlPacket::ConnAck(ack) => ack.encode(version, out),
        ControlPacket::Publish(publish) => {
            let mut forwarded = Vec::new();
            publish.properties.write_forwarded(&mut forwarded);
            let identifiers: Vec<NonZeroU32> = publish.properties.subscription_identifiers().collect();
            let head = PublishHead {
                version,
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                topic: publish.topic.map_or("", |topic| topic.as_str()),
                packet_id: publish.packet_id,
                alias: publish.properties.topic_alias,
                message_expiry_s: publish.properties.message_expiry_s,
                subscription_identifiers: &identifiers,
                forwarded: &forwarded,
                payload_len: publish.payload.len(),
            };
            head.encode(out);
            out.extend_from_slice(publish.payload);
            assert_eq!(out.len(), head.wire_len(), "a PUBLISH of another length than was said");
        }
        ControlPacket::PubAck(ack) => ack.encode_puback(version, out),
        ControlPacket::PubRec(ack) => ack.encode_pubrec(version, out),
        ControlPacket::PubRel(ack) => ack.encode_pubrel(version, out),
        ControlPacket::PubComp(ack) => ack.encode_pubcomp(version, out),
        ControlPacket::Subscribe(subscribe) => {
            let entries: Vec<SubscribeEntry<'_>> = subscribe.filters().collect();
            let identifier = subscribe.subscription_identifier;
            Subscribe::encode_new(version, subscribe.packet_id, identifier, &entries, out);
        }
        ControlPacket::SubAck(ack) => ack.encode(version, out),
        ControlPacket::Unsubscribe(unsubscribe) => {
            let filters: Vec<&str> = unsubscribe.filters().collect();
            Unsubscribe::encode_new(version, unsubscribe.packet_id, &filters, out);
        }
        ControlPacket::UnsubAck(ack) => ack.encode(version, out),
        ControlPacket::PingReq => out.extend_from_slice(&PINGREQ),
        ControlPacket::PingResp => out.extend_from_slice(&PINGRESP),
        ControlPacket::Disconnect(disconnect) => disconnect.encode(version, out),
        ControlPacket::Auth(auth) => auth.encode(version, out),
    }
}

/// What was read is read again, as far as the encoders promise it.
fn compare(before: &ControlPacket<'_>, after: &ControlPacket<'_>, version: ProtocolVersion) {
    let is_5 = version == ProtocolVersion::V5;
    match (before, after) {
        (ControlPacket::Connect(a), ControlPacket::Connect(b)) => {
            assert_eq!(a.properties, b.properties);
            assert_eq!((a.version, a.clean_start, a.bridge), (b.version, b.clean_start, b.bridge));
            assert_eq!((a.keep_alive_s, a.client_id), (b.keep_alive_s, b.client_id));
            assert_eq!((a.user_name, a.password), (b.user_name, b.password));
            assert_eq!(a.will.is_some(), b.will.is_some());
            if let (Some(a), Some(b)) = (&a.will, &b.will) {
                assert_eq!((a.topic, a.payload, a.qos, a.retain), (b.topic, b.payload, b.qos, b.retain));
                assert_eq!((a.delay_s, a.message_expiry_s), (b.delay_s, b.message_expiry_s));
                assert_eq!(a.payload_format, b.payload_format);
            }
        }
        (ControlPacket::Publish(a), ControlPacket::Publish(b)) => {
            assert_eq!((a.dup, a.qos, a.retain, a.topic), (b.dup, b.qos, b.retain, b.topic));
            assert_eq!((a.packet_id, a.payload), (b.packet_id, b.payload));
            assert_eq!(a.properties.user(), b.properties.user());
            assert_eq!(a.properties.content_type, b.properties.content_type);
            assert_eq!(a.properties.response_topic, b.properties.response_topic);
            assert_eq!(a.properties.correlation_data, b.properties.correlation_data);
            assert_eq!(a.payload_is_bad_text(), b.payload_is_bad_text());
        }
        (ControlPacket::Subscribe(a), ControlPacket::Subscribe(b)) => {
            assert_eq!(a.packet_id, b.packet_id);
            assert_eq!(a.subscription_identifier, b.subscription_identifier);
            assert!(a.filters().eq(b.filters()) && a.filters().next().is_some(), "other filters");
        }
        (ControlPacket::Unsubscribe(a), ControlPacket::Unsubscribe(b)) => {
            assert_eq!(a.packet_id, b.packet_id);
            assert!(a.filters().eq(b.filters()) && a.filters().next().is_some(), "other filters");
        }
        // Below 5.0 many codes become one, and a refused CONNECT has no Session.
        (ControlPacket::ConnAck(a), ControlPacket::ConnAck(b)) if is_5 => {
            assert_eq!((a.reason, a.properties), (b.reason, b.properties));
        }
        (ControlPacket::ConnAck(_), ControlPacket::ConnAck(_)) => {}
        (ControlPacket::SubAck(_), ControlPacket::SubAck(_)) if !is_5 => {}
        (before, after) => assert_eq!(before, after),
    }
}
