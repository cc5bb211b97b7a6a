//! Whatever the bytes are, there is an answer; and what is left out of a packet is missed.

use motte_wire::{ControlPacket, DecodeRules, ProtocolVersion, TextRules, decode, frame};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::any_packet;
use crate::bytes::{ALL, packet};

/// Reads all that can be read from a packet, with every set of rules.
fn read_all(bytes: &[u8]) {
    let strict = TextRules { control_characters: false, non_characters: false };
    for rules in [
        DecodeRules::from_client(),
        DecodeRules::from_server(),
        DecodeRules { text: strict, ..DecodeRules::from_client() },
    ] {
        let mut rest = bytes;
        while let Ok(Some(one)) = frame(rest, 1 << 20) {
            for version in ALL {
                match decode(one, version, &rules) {
                    Ok(packet) => walk(&packet, version),
                    Err(error) => {
                        assert!(error.reason.is_failure() && error.reason.is_defined(), "{error}");
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
            rest = &rest[one.len..];
        }
    }
}

/// Follows every iterator to its end.
fn walk(packet: &ControlPacket<'_>, version: ProtocolVersion) {
    let mut out = Vec::new();
    match packet {
        ControlPacket::Connect(connect) => {
            assert!(connect.properties.user.iter().count() <= 1 << 20);
            connect.encode(&mut out);
        }
        ControlPacket::Publish(publish) => {
            publish.properties.write_forwarded(&mut out);
            assert!(publish.properties.user().iter().count() <= out.len());
            assert!(publish.properties.subscription_identifiers().count() <= 1 << 20);
        }
        ControlPacket::Subscribe(subscribe) => assert!(subscribe.filters().count() > 0),
        ControlPacket::Unsubscribe(unsubscribe) => assert!(unsubscribe.filters().count() > 0),
        ControlPacket::SubAck(ack) => ack.encode(version, &mut out),
        ControlPacket::UnsubAck(ack) => ack.encode(version, &mut out),
        ControlPacket::ConnAck(ack) => ack.encode(version, &mut out),
        ControlPacket::Disconnect(disconnect) => disconnect.encode(version, &mut out),
        ControlPacket::Auth(auth) => auth.encode(version, &mut out),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn on_any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn on_any_body_of_any_packet(first in any::<u8>(), body in vec(any::<u8>(), 0..200)) {
        read_all(&packet(first, &[&body]));
    }

    #[test]
    fn on_a_packet_with_changed_bytes(
        (_, mut bytes) in any_packet(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        for (place, value) in changes {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&bytes);
    }

    #[test]
    fn on_a_packet_with_bytes_put_in_or_taken_out(
        (_, bytes) in any_packet(), place in any::<prop::sample::Index>(), more in vec(any::<u8>(), 0..6),
        fewer in 0_usize..6,
    ) {
        let body = &bytes[frame(&bytes, u32::MAX).unwrap().map_or(0, |one| bytes.len() - one.body.len())..];
        let at = if body.is_empty() { 0 } else { place.index(body.len()) };
        let rest = body.get(at + fewer..).unwrap_or_default();
        read_all(&packet(bytes[0], &[&body[..at], &more, rest]));
    }

    #[test]
    fn on_a_packet_cut_anywhere((version, bytes) in any_packet()) {
        let body_at = frame(&bytes, u32::MAX).unwrap().map_or(0, |one| bytes.len() - one.body.len());
        let rules = DecodeRules::from_server();
        for cut in body_at..bytes.len() {
            // On the wire a cut packet is no packet yet.
            prop_assert!(frame(&bytes[..cut], u32::MAX).unwrap().is_none());
            let short = packet(bytes[0], &[&bytes[body_at..cut]]);
            read_all(&short);
            let read = decode(frame(&short, u32::MAX).unwrap().unwrap(), version, &rules);
            // Of these some shorter form is right: a payload, a list, a Reason Code left out, all that 3.1 lets be left out.
            if !matches!(bytes[0] >> 4, 3..=11 | 14 | 15) && version != ProtocolVersion::V31 {
                prop_assert!(read.is_err(), "{read:?}");
            }
        }
    }
}
