//! One packet of each kind, with as much in it as the version has.

use std::num::{NonZeroU16, NonZeroU32};

use motte_wire::{
    Ack, Auth, ConnAck, Connect, Disconnect, PINGREQ, PacketId, ProtocolVersion, PublishHead, QoS,
    ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeEntry, SubscribeOptions, TopicRef, UnsubAck,
    Unsubscribe, Will, id,
};

use super::Input;

/// The packets of a version.
pub(super) fn of(version: ProtocolVersion) -> Vec<Input> {
    let first = PacketId::MIN;
    let ack = |reason| Ack { reason_string: Some("said why"), ..Ack::new(first, reason) };
    let no_subscribers = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    let codes = [ReasonCode::SUCCESS, ReasonCode::GRANTED_QOS_2, ReasonCode::NOT_AUTHORIZED];
    let mut all = vec![
        ("connect", written(|out| Connect::new(version, "press-7").encode(out))),
        ("connect_with_all", connect_with_all(version)),
        ("connack", written(|out| connack().encode(version, out))),
        ("connack_refusal", written(|out| ConnAck::refusal(ReasonCode::NOT_AUTHORIZED).encode(version, out))),
        ("publish_qos_0", publish(version, QoS::AtMostOnce, &[])),
        ("publish_qos_2_with_all", publish(version, QoS::ExactlyOnce, &forwarded())),
        ("puback", written(|out| Ack::new(first, ReasonCode::SUCCESS).encode_puback(version, out))),
        ("pubrec", written(|out| ack(no_subscribers).encode_pubrec(version, out))),
        ("pubrel", written(|out| ack(ReasonCode::SUCCESS).encode_pubrel(version, out))),
        ("pubcomp", written(|out| ack(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND).encode_pubcomp(version, out))),
        ("subscribe", subscribe(version)),
        ("suback", written(|out| SubAck::new(first, &codes).encode(version, out))),
        ("unsubscribe", written(|out| Unsubscribe::encode_new(version, first, &["a/#", "b"], out))),
        ("unsuback", written(|out| UnsubAck::new(first, &codes).encode(version, out))),
        ("pingreq", PINGREQ.to_vec()),
        ("disconnect", written(|out| Disconnect::new(ReasonCode::SUCCESS).encode(version, out))),
    ];
    if version == ProtocolVersion::V5 {
        let mut bye = Disconnect::new(ReasonCode::DISCONNECT_WITH_WILL);
        (bye.session_expiry_s, bye.reason_string) = (Some(60), Some("moving"));
        all.push(("disconnect_with_all", written(|out| bye.encode(version, out))));
        let step = Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, Some("SCRAM-SHA-256"), Some(b"n,,n=u,r=1"));
        all.push(("auth", written(|out| step.encode(version, out))));
    }
    all
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// A property of text or bytes.
fn property(id: u8, parts: &[&str]) -> Vec<u8> {
    let mut bytes = vec![id];
    for part in parts {
        bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

fn forwarded() -> Vec<u8> {
    [
        vec![id::PAYLOAD_FORMAT, 1],
        property(id::CONTENT_TYPE, &["text/plain"]),
        property(id::RESPONSE_TOPIC, &["answers/7"]),
        property(id::CORRELATION_DATA, &["7"]),
        property(id::USER_PROPERTY, &["line", "\u{e9}\u{20ac}\u{1d11e}"]),
        property(id::USER_PROPERTY, &["line", ""]),
    ]
    .concat()
}

fn connect_with_all(version: ProtocolVersion) -> Vec<u8> {
    let properties = forwarded();
    let mut connect = Connect::new(version, "press-7");
    connect.user_name = Some("press");
    connect.password = Some(b"secret");
    connect.will = TopicRef::parse("gone/press-7").ok().map(|topic| {
        let mut will = Will::new(topic, b"1", QoS::AtLeastOnce, true);
        (will.delay_s, will.message_expiry_s) = (5, Some(60));
        will.with_forwarded(&properties)
    });
    let more = &mut connect.properties;
    more.session_expiry_s = Some(3600);
    more.receive_maximum = NonZeroU16::new(20);
    more.maximum_packet_size = NonZeroU32::new(100_000);
    more.topic_alias_maximum = 10;
    (more.request_response_information, more.request_problem_information) = (true, false);
    more.authentication_method = Some("SCRAM-SHA-256");
    more.authentication_data = Some(b"n,,n=u,r=1");
    written(|out| connect.encode(out))
}

fn connack() -> ConnAck<'static> {
    let mut ack = ConnAck::accepted(true);
    let more = &mut ack.properties;
    (more.session_expiry_s, more.server_keep_alive_s) = (Some(60), Some(30));
    (more.receive_maximum, more.maximum_packet_size) = (NonZeroU16::new(20), NonZeroU32::new(100_000));
    more.maximum_qos = Some(QoS::AtLeastOnce);
    (more.retain_available, more.shared_available) = (false, false);
    more.assigned_client_id = Some("motte-1");
    more.reason_string = Some("said why");
    more.authentication_method = Some("SCRAM-SHA-256");
    more.authentication_data = Some(b"v=1");
    ack
}

fn publish(version: ProtocolVersion, qos: QoS, forwarded: &[u8]) -> Vec<u8> {
    let payload = b"21.5";
    let rich = !forwarded.is_empty();
    let identifiers: Vec<NonZeroU32> = [1, 300].into_iter().filter_map(NonZeroU32::new).collect();
    let head = PublishHead {
        version,
        dup: rich,
        qos,
        retain: rich,
        topic: "plant/press/7",
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::MIN),
        alias: NonZeroU16::new(3).filter(|_| rich),
        message_expiry_s: rich.then_some(60),
        subscription_identifiers: if rich { &identifiers } else { &[] },
        forwarded,
        payload_len: payload.len(),
    };
    written(|out| {
        head.encode(out);
        out.extend_from_slice(payload);
    })
}

fn subscribe(version: ProtocolVersion) -> Vec<u8> {
    let rich = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::IfNew,
    };
    let entries = [
        SubscribeEntry { filter: "plant/+/state", options: rich },
        SubscribeEntry { filter: "$share/g/a/#", options: SubscribeOptions::qos(QoS::AtLeastOnce) },
    ];
    written(|out| Subscribe::encode_new(version, PacketId::MIN, NonZeroU32::new(300), &entries, out))
}
