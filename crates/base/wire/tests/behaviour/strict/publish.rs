//! PUBLISH and its acknowledgements (sections 3.3 to 3.7).

use motte_wire::{ControlPacket, ReasonCode};

use crate::bytes::{
    ALL, BELOW_5, V5, malformed, no_properties, packet, protocol_error, publish_with, read, refused, text,
};

#[test]
fn mqtt_3_3_1_4_qos_3_is_malformed() {
    // MQTT-3.3.1-4
    for version in ALL {
        for first in [0x36, 0x37, 0x3e, 0x3f] {
            malformed(version, &packet(first, &[&text("t"), &[0, 1], no_properties(version)]));
        }
    }
}

#[test]
fn mqtt_3_3_1_2_dup_is_zero_with_qos_0() {
    // MQTT-3.3.1-2
    for version in ALL {
        malformed(version, &packet(0x38, &[&text("t"), no_properties(version)]));
        assert!(read(version, &packet(0x3a, &[&text("t"), &[0, 1], no_properties(version)])).is_ok());
    }
}

#[test]
fn mqtt_2_2_1_3_packet_identifier_0_is_refused_everywhere() {
    // MQTT-2.2.1-3@5.0, MQTT-2.3.1-1@3.1.1
    for version in ALL {
        let filter = [&[0, 0][..], no_properties(version), &text("f")].concat();
        for bytes in [
            packet(0x32, &[&text("t"), &[0, 0], no_properties(version)]),
            packet(0x34, &[&text("t"), &[0, 0], no_properties(version)]),
            packet(0x40, &[&[0, 0]]),
            packet(0x50, &[&[0, 0]]),
            packet(0x62, &[&[0, 0]]),
            packet(0x70, &[&[0, 0]]),
            packet(0x82, &[&filter, &[0]]),
            packet(0x90, &[&[0, 0], no_properties(version), &[0]]),
            packet(0xa2, &[&filter]),
            packet(0xb0, &[&[0, 0], no_properties(version)]),
        ] {
            protocol_error(version, &bytes);
        }
    }
}

#[test]
fn mqtt_2_2_1_2_a_publish_of_qos_0_has_no_packet_identifier() {
    // MQTT-2.2.1-2@5.0, MQTT-2.3.1-5@3.1.1
    for version in ALL {
        let bytes = packet(0x30, &[&text("t"), no_properties(version), &[0, 1]]);
        let Ok(ControlPacket::Publish(publish)) = read(version, &bytes) else { panic!("{version:?}") };
        assert_eq!((publish.packet_id, publish.payload), (None, &[0, 1][..]));
    }
}

#[test]
fn mqtt_3_3_2_2_a_topic_name_has_no_wildcard() {
    // MQTT-3.3.2-2
    for version in ALL {
        for topic in ["+", "#", "a/+/b", "a/#", "a+", "#a"] {
            let bytes = packet(0x30, &[&text(topic), no_properties(version), b"p"]);
            refused(version, &bytes, ReasonCode::TOPIC_NAME_INVALID);
        }
    }
}

#[test]
fn mqtt_4_7_3_1_a_topic_name_has_at_least_one_character() {
    // MQTT-4.7.3-1
    for version in BELOW_5 {
        refused(version, &packet(0x30, &[&text(""), b"p"]), ReasonCode::TOPIC_NAME_INVALID);
    }
    protocol_error(V5, &packet(0x30, &[&text(""), &[0], b"p"]));
    let alone = packet(0x30, &[&text(""), &[3, 35, 0, 1], b"p"]);
    let Ok(ControlPacket::Publish(publish)) = read(V5, &alone) else { panic!("refused") };
    assert_eq!(publish.topic, None);
}

#[test]
fn mqtt_3_3_2_1_the_topic_name_comes_first() {
    // MQTT-3.3.2-1
    for version in ALL {
        malformed(version, &[0x30, 0]);
        malformed(version, &[0x30, 1, 0]);
        malformed(version, &[0x30, 3, 0, 2, b't']);
    }
}

#[test]
fn mqtt_3_3_2_8_topic_alias_0_is_invalid() {
    // MQTT-3.3.2-8@5.0
    let error = refused(V5, &publish_with(&[&[35, 0, 0]]), ReasonCode::TOPIC_ALIAS_INVALID);
    assert_eq!(error.statement, "MQTT-3.3.2-8");
}

#[test]
fn mqtt_3_3_2_14_a_response_topic_has_no_wildcard() {
    // MQTT-3.3.2-14@5.0
    for topic in ["", "a/+", "#"] {
        protocol_error(V5, &publish_with(&[&[8], &text(topic)]));
    }
    assert!(read(V5, &publish_with(&[&[8], &text("answers/1")])).is_ok());
}

#[test]
fn mqtt_3_3_4_6_a_client_sends_no_subscription_identifier() {
    // MQTT-3.3.4-6@5.0
    let bytes = publish_with(&[&[11, 1]]);
    protocol_error(V5, &bytes);
    let from_server = motte_wire::DecodeRules::from_server();
    let Ok(ControlPacket::Publish(publish)) = crate::bytes::read_as(V5, &bytes, &from_server) else {
        panic!("refused")
    };
    assert_eq!(publish.properties.subscription_identifiers().map(u32::from).collect::<Vec<_>>(), [1]);
}

#[test]
fn mqtt_3_4_2_1_an_acknowledgement_has_a_code_of_its_own() {
    // MQTT-3.4.2-1@5.0, MQTT-3.5.2-1@5.0, MQTT-3.6.2-1@5.0, MQTT-3.7.2-1@5.0
    let publish = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    for (first, allowed) in [(0x40, &publish[..]), (0x50, &publish), (0x62, &[0, 0x92]), (0x70, &[0, 0x92])] {
        for code in 0..=u8::MAX {
            let bytes = packet(first, &[&[0, 1, code]]);
            if allowed.contains(&code) {
                assert!(read(V5, &bytes).is_ok(), "{first:02x} {code:02x}");
            } else {
                protocol_error(V5, &bytes);
            }
        }
    }
}

#[test]
fn an_acknowledgement_below_5_is_its_packet_identifier() {
    for version in BELOW_5 {
        for first in [0x40, 0x50, 0x62, 0x70] {
            assert!(read(version, &packet(first, &[&[0, 1]])).is_ok());
            malformed(version, &packet(first, &[&[0]]));
            malformed(version, &packet(first, &[&[0, 1, 0]]));
        }
    }
}

#[test]
fn a_payload_that_is_said_to_be_text_can_be_checked() {
    for (format, payload, bad) in [(1, &b"ok"[..], false), (1, b"\xff", true), (0, b"\xff", false)] {
        let bytes = packet(0x30, &[&text("t"), &[2, 1, format], payload]);
        let Ok(ControlPacket::Publish(publish)) = read(V5, &bytes) else { panic!("refused") };
        assert_eq!(publish.payload_is_bad_text(), bad);
    }
}
