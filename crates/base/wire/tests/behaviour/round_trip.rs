//! What is encoded is cut from the stream whole and decoded to what it was.

use motte_wire::{
    Ack, Auth, ConnAck, Connect, ControlPacket, DecodeRules, Disconnect, ProtocolVersion, QoS, ReasonCode,
    SubAck, Subscribe, SubscribeEntry, SubscribeOptions, UnsubAck, Unsubscribe, frame,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::arbitrary::{
    connack, connect, data, identifier, options, packet_id, publish, publish_reason, users, version, words,
};
use crate::bytes::{V5, V31, V311, read, read_as};

fn back(version: ProtocolVersion, bytes: &[u8]) -> ControlPacket<'_> {
    // Nothing less than the whole packet is a frame, and what follows it is not part of it.
    for cut in 0..bytes.len() {
        assert!(frame(&bytes[..cut], u32::MAX).unwrap().is_none());
    }
    let followed = [bytes, &[0xc0, 0]].concat();
    assert_eq!(frame(&followed, u32::MAX).unwrap().unwrap().len, bytes.len());
    read_as(version, bytes, &DecodeRules::from_server()).unwrap()
}

fn forwarded_by_will(connect: &Connect<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(will) = &connect.will {
        will.write_forwarded(&mut out);
    }
    out
}

/// Without the Will's section, in which what is forwarded stands among the rest.
fn plain<'a>(connect: &Connect<'a>) -> Connect<'a> {
    let mut connect = connect.clone();
    connect.will = connect.will.map(|will| will.with_forwarded(&[]));
    connect
}

proptest! {
    #[test]
    fn connect_comes_back(owned in connect()) {
        let connect = owned.borrow();
        let mut bytes = Vec::new();
        connect.encode(&mut bytes);
        let Ok(ControlPacket::Connect(read)) = read(V311, &bytes) else { panic!("refused") };
        prop_assert_eq!(forwarded_by_will(&read), forwarded_by_will(&connect));
        prop_assert_eq!(plain(&read), plain(&connect));
    }

    #[test]
    fn connack_comes_back(owned in connack()) {
        let ack = owned.borrow();
        let mut bytes = Vec::new();
        ack.encode(V5, &mut bytes);
        prop_assert_eq!(back(V5, &bytes), ControlPacket::ConnAck(Box::new(ack)));
    }

    #[test]
    fn connack_below_5_keeps_session_present_and_the_nearest_code(present in any::<bool>(), failure in 0x80_u8..0xa3) {
        for (version, shown) in [(V31, false), (V311, present)] {
            let mut bytes = Vec::new();
            ConnAck::accepted(present).encode(version, &mut bytes);
            prop_assert_eq!(back(version, &bytes), ControlPacket::ConnAck(Box::new(ConnAck::accepted(shown))));
            bytes.clear();
            ConnAck { session_present: present, ..ConnAck::refusal(ReasonCode(failure)) }.encode(version, &mut bytes);
            let ControlPacket::ConnAck(read) = back(version, &bytes) else { panic!("another packet") };
            prop_assert!(read.reason.is_failure() && !read.session_present);
        }
    }

    #[test]
    fn publish_comes_back(owned in publish()) {
        let bytes = owned.encode();
        prop_assert_eq!(owned.head().wire_len(), bytes.len());
        let ControlPacket::Publish(read) = back(owned.version, &bytes) else { panic!("another packet") };
        prop_assert_eq!((read.dup, read.qos, read.retain), (owned.dup, owned.qos, owned.retain));
        prop_assert_eq!(read.topic.map_or("", |topic| topic.as_str()), &owned.topic);
        prop_assert_eq!(read.packet_id, owned.packet_id);
        prop_assert_eq!(read.payload, &owned.payload[..]);
        let is_5 = owned.version == V5;
        prop_assert_eq!(read.properties.topic_alias, owned.alias.filter(|_| is_5));
        prop_assert_eq!(read.properties.message_expiry_s, owned.message_expiry_s.filter(|_| is_5));
        prop_assert_eq!(read.properties.payload_format, owned.forwarded.1.filter(|_| is_5));
        let mut forwarded = Vec::new();
        read.properties.write_forwarded(&mut forwarded);
        let identifiers: Vec<_> = read.properties.subscription_identifiers().collect();
        if is_5 {
            prop_assert_eq!((forwarded, identifiers), (owned.forwarded.0, owned.identifiers));
        } else {
            prop_assert!(forwarded.is_empty() && identifiers.is_empty());
        }
    }

    #[test]
    fn the_place_of_the_packet_identifier_is_told(owned in publish(), before in data(), other in packet_id()) {
        let mut bytes = before.clone();
        let place = owned.head().encode(&mut bytes);
        prop_assert_eq!(place.is_some(), owned.qos != QoS::AtMostOnce);
        if let Some(place) = place {
            bytes[before.len() + place..][..2].copy_from_slice(&other.value().to_be_bytes());
            bytes.extend(&owned.payload);
            let ControlPacket::Publish(read) = back(owned.version, &bytes[before.len()..]) else { panic!("another") };
            prop_assert_eq!(read.packet_id, Some(other));
        }
    }

    #[test]
    fn acknowledgements_come_back(
        id in packet_id(), reason in publish_reason(), release in prop_oneof![Just(0_u8), Just(0x92)],
        text in option::of(words()), users in users(), version in version(),
    ) {
        let mut ack = Ack::new(id, reason);
        if version == V5 {
            (ack.reason_string, ack.user) = (text.as_deref(), users.borrow());
        } else {
            ack.reason = ReasonCode::SUCCESS;
        }
        let mut bytes = Vec::new();
        ack.encode_puback(version, &mut bytes);
        prop_assert_eq!(back(version, &bytes), ControlPacket::PubAck(ack));
        bytes.clear();
        ack.encode_pubrec(version, &mut bytes);
        prop_assert_eq!(back(version, &bytes), ControlPacket::PubRec(ack));
        if version == V5 {
            ack.reason = ReasonCode(release);
        }
        bytes.clear();
        ack.encode_pubrel(version, &mut bytes);
        prop_assert_eq!(back(version, &bytes), ControlPacket::PubRel(ack));
        bytes.clear();
        ack.encode_pubcomp(version, &mut bytes);
        prop_assert_eq!(back(version, &bytes), ControlPacket::PubComp(ack));
    }
}

proptest! {
    #[test]
    fn subscribe_comes_back(
        version in version(), id in packet_id(), identifier in option::of(identifier()),
        list in vec((words(), options()), 1..5),
    ) {
        let entries: Vec<_> = list
            .iter()
            .map(|(filter, options)| {
                // No Local does not go with a share, and below 5.0 there is only the QoS.
                let options = if version != V5 || filter.starts_with("$share/") {
                    SubscribeOptions::qos(options.qos)
                } else {
                    *options
                };
                SubscribeEntry { filter, options }
            })
            .collect();
        let mut bytes = Vec::new();
        Subscribe::encode_new(version, id, identifier, &entries, &mut bytes);
        let ControlPacket::Subscribe(read) = back(version, &bytes) else { panic!("another packet") };
        prop_assert_eq!(read.packet_id, id);
        prop_assert_eq!(read.subscription_identifier, identifier.filter(|_| version == V5));
        prop_assert_eq!(read.filters().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn unsubscribe_comes_back(version in version(), id in packet_id(), list in vec(words(), 1..5)) {
        let filters: Vec<_> = list.iter().map(String::as_str).collect();
        let mut bytes = Vec::new();
        Unsubscribe::encode_new(version, id, &filters, &mut bytes);
        let ControlPacket::Unsubscribe(read) = back(version, &bytes) else { panic!("another packet") };
        prop_assert_eq!(read.packet_id, id);
        prop_assert_eq!(read.filters().collect::<Vec<_>>(), filters);
    }

    #[test]
    fn suback_comes_back(
        version in version(), id in packet_id(), raw in vec(any::<u8>(), 1..5), text in option::of(words()),
    ) {
        let codes: Vec<_> = raw.iter().copied().map(ReasonCode).collect();
        let mut ack = SubAck::new(id, &codes);
        ack.reason_string = text.as_deref();
        let mut bytes = Vec::new();
        ack.encode(version, &mut bytes);
        let read = back(version, &bytes);
        if version == V5 {
            prop_assert_eq!(read, ControlPacket::SubAck(ack));
        } else {
            // MQTT-3.9.3-2@3.1.1: every failure is one and the same below 5.0.
            let ControlPacket::SubAck(read) = read else { panic!("another packet") };
            let expected = raw.iter().map(|code| ReasonCode(if *code >= 0x80 { 0x80 } else { *code }));
            prop_assert!(read.codes().eq(expected) && read.reason_string.is_none());
        }
    }

    #[test]
    fn unsuback_comes_back(version in version(), id in packet_id(), raw in vec(any::<u8>(), 1..5)) {
        let codes: Vec<_> = raw.into_iter().map(ReasonCode).collect();
        let mut bytes = Vec::new();
        UnsubAck::new(id, &codes).encode(version, &mut bytes);
        let expected: &[ReasonCode] = if version == V5 { &codes } else { &[] };
        prop_assert_eq!(back(version, &bytes), ControlPacket::UnsubAck(UnsubAck::new(id, expected)));
    }

    #[test]
    fn disconnect_comes_back(
        version in version(), code in any::<u8>(), expiry in any::<Option<u32>>(), from_server in any::<bool>(),
        texts in (option::of(words()), option::of(words())), users in users(),
    ) {
        let mut sent = Disconnect::new(ReasonCode::SUCCESS);
        if version == V5 {
            // A client has an expiry and few codes, a server every code.
            sent.reason = if from_server { ReasonCode(code) } else { ReasonCode::DISCONNECT_WITH_WILL };
            sent.session_expiry_s = expiry.filter(|_| !from_server);
            (sent.reason_string, sent.server_reference) = (texts.0.as_deref(), texts.1.as_deref());
            sent.user = users.borrow();
        }
        let mut bytes = Vec::new();
        sent.encode(version, &mut bytes);
        let rules = if from_server { DecodeRules::from_server() } else { DecodeRules::from_client() };
        prop_assert_eq!(read_as(version, &bytes, &rules), Ok(ControlPacket::Disconnect(sent)));
    }

    #[test]
    fn auth_comes_back(
        code in prop_oneof![Just(0_u8), Just(0x18), Just(0x19)], step in option::of((words(), option::of(data()))),
        text in option::of(words()), users in users(),
    ) {
        let method = step.as_ref().map(|step| step.0.as_str());
        let data = step.as_ref().and_then(|step| step.1.as_deref());
        let mut sent = Auth::new(ReasonCode(code), method, data);
        (sent.reason_string, sent.user) = (text.as_deref(), users.borrow());
        let mut bytes = Vec::new();
        sent.encode(V5, &mut bytes);
        prop_assert_eq!(back(V5, &bytes), ControlPacket::Auth(sent));
    }
}

#[test]
fn a_packet_identifier_goes_round_the_circle() {
    for (index, value) in [(0, 1), (1, 2), (65_534, 65_535), (65_535, 1)] {
        assert_eq!(motte_wire::PacketId::from_index(index).value(), value);
    }
    assert_eq!(motte_wire::PacketId::new(0), None);
}

#[test]
fn a_payload_format_is_sent_even_if_nothing_is_forwarded() {
    let topic = motte_wire::TopicRef::parse("t").unwrap();
    let mut will = motte_wire::Will::new(topic, b"gone", QoS::AtMostOnce, false);
    will.payload_format = Some(motte_wire::PayloadFormat::Utf8);
    let mut connect = Connect::new(V5, "c");
    connect.will = Some(will);
    let mut bytes = Vec::new();
    connect.encode(&mut bytes);
    let Ok(ControlPacket::Connect(read)) = read(V5, &bytes) else { panic!("refused") };
    assert_eq!(read.will.unwrap().payload_format, Some(motte_wire::PayloadFormat::Utf8));
}
