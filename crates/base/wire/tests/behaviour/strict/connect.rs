//! CONNECT (section 3.1).

use motte_wire::{ControlPacket, ReasonCode};

use crate::bytes::{
    ALL, BELOW_5, V5, V31, V311, connect, connect_head, malformed, no_properties, packet, protocol_error,
    read, refused, text,
};

const WILL: u8 = 0x04;

/// Will Topic and payload, with the properties before them that 5.0 has.
fn will(version: motte_wire::ProtocolVersion, topic: &str) -> Vec<u8> {
    [no_properties(version), &text(topic), &text("gone")].concat()
}

#[test]
fn mqtt_3_1_2_1_another_protocol_name_gets_no_connack() {
    // MQTT-3.1.2-1
    for name in ["", "mqtt", "MQTT5", "MQIsdP", "HTTP", "MQTT\u{0}"] {
        for level in [3, 4, 5] {
            let bytes = packet(0x10, &[&text(name), &[level, 2, 0, 60, 0], &text("c")]);
            let error = refused(V311, &bytes, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
            assert_eq!(error.connect_answer(), None, "{name:?} {level}");
        }
    }
}

#[test]
fn mqtt_3_1_2_2_another_level_is_answered_with_0x01_below_5_and_0x84_above() {
    // MQTT-3.1.2-2
    let reason = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    for (name, level, answer) in [
        ("MQTT", 0, V311),
        ("MQTT", 3, V311),
        ("MQTT", 6, V5),
        ("MQTT", 127, V5),
        ("MQIsdp", 4, V311),
        ("MQIsdp", 5, V311),
        ("MQIsdp", 6, V5),
    ] {
        let bytes = packet(0x10, &[&text(name), &[level, 2, 0, 60, 0], &text("c")]);
        let error = refused(V311, &bytes, reason);
        assert_eq!(error.connect_answer(), Some((answer, reason)), "{name} {level}");
    }
}

#[test]
fn each_version_is_known_by_its_name_and_level() {
    for version in ALL {
        let bytes = connect(version, 2, &[]);
        // Whatever version the connection was thought to have, CONNECT brings its own.
        for thought in ALL {
            let Ok(ControlPacket::Connect(connect)) = read(thought, &bytes) else { panic!("{version:?}") };
            assert_eq!((connect.version, connect.client_id, connect.keep_alive_s), (version, "c", 60));
            assert!(connect.clean_start && !connect.bridge);
        }
    }
}

#[test]
fn a_bridge_says_so_in_the_top_bit_of_the_level() {
    let bytes = packet(0x10, &[&text("MQTT"), &[0x84, 2, 0, 60], &text("c")]);
    let Ok(ControlPacket::Connect(connect)) = read(V311, &bytes) else { panic!("refused") };
    assert!(connect.bridge && connect.version == V311);
}

#[test]
fn a_malformed_connect_is_answered_in_5_and_not_below() {
    for version in ALL {
        let answer = malformed(version, &connect(version, 3, &[])).connect_answer();
        let expected = (version == V5).then_some((V5, ReasonCode::MALFORMED_PACKET));
        assert_eq!(answer, expected, "{version:?}");
    }
}

#[test]
fn mqtt_3_1_2_3_the_reserved_connect_flag_must_be_zero() {
    // MQTT-3.1.2-3
    for version in ALL {
        assert_eq!(malformed(version, &connect(version, 3, &[])).statement, "MQTT-3.1.2-3");
    }
}

#[test]
fn v5_mqtt_3_1_2_11_will_qos_without_a_will_is_malformed() {
    // MQTT-3.1.2-11@5.0, MQTT-3.1.2-13@3.1.1
    for version in ALL {
        for qos in 1..=3 {
            malformed(version, &connect(version, 2 | qos << 3, &[]));
        }
    }
}

#[test]
fn v5_mqtt_3_1_2_12_will_qos_3_is_malformed() {
    // MQTT-3.1.2-12@5.0, MQTT-3.1.2-14@3.1.1
    for version in ALL {
        let bytes = connect(version, 2 | WILL | 0x18, &[&will(version, "t")]);
        assert_eq!(malformed(version, &bytes).what, "Will QoS 3");
    }
}

#[test]
fn v5_mqtt_3_1_2_13_will_retain_without_a_will_is_malformed() {
    // MQTT-3.1.2-13@5.0, MQTT-3.1.2-15@3.1.1
    for version in ALL {
        malformed(version, &connect(version, 2 | 0x20, &[]));
    }
}

#[test]
fn mqtt_3_1_2_9_a_will_has_its_topic_and_its_payload() {
    // MQTT-3.1.2-9@5.0, MQTT-3.1.2-9@3.1.1
    for version in ALL {
        let bytes = connect(version, 2 | WILL | 0x28, &[&will(version, "t")]);
        let Ok(ControlPacket::Connect(connected)) = read(version, &bytes) else { panic!("{version:?}") };
        let read_will = connected.will.unwrap();
        assert_eq!((read_will.topic.as_str(), read_will.payload), ("t", &b"gone"[..]));
        assert!(read_will.retain && read_will.qos == motte_wire::QoS::AtLeastOnce);
        malformed(version, &connect(version, 2 | WILL, &[]));
        malformed(version, &connect(version, 2 | WILL, &[no_properties(version), &text("t")]));
    }
}

#[test]
fn a_will_topic_is_a_topic_name() {
    for version in ALL {
        for topic in ["", "a/+", "#", "a#"] {
            let bytes = connect(version, 2 | WILL, &[&will(version, topic)]);
            refused(version, &bytes, ReasonCode::TOPIC_NAME_INVALID);
        }
    }
}

#[test]
fn v311_mqtt_3_1_2_22_a_password_needs_a_user_name_below_5() {
    // MQTT-3.1.2-22@3.1.1
    for version in BELOW_5 {
        malformed(version, &connect(version, 2 | 0x40, &[&text("secret")]));
    }
    let bytes = connect(V5, 2 | 0x40, &[&text("secret")]);
    let Ok(ControlPacket::Connect(connected)) = read(V5, &bytes) else { panic!("refused") };
    assert_eq!((connected.user_name, connected.password), (None, Some(&b"secret"[..])));
}

#[test]
fn v5_mqtt_3_1_2_16_and_18_what_a_flag_does_not_announce_must_not_follow() {
    // MQTT-3.1.2-16@5.0, MQTT-3.1.2-18@5.0, MQTT-3.1.2-18@3.1.1, MQTT-3.1.2-20@3.1.1
    for version in ALL {
        malformed(version, &connect(version, 2, &[&text("user")]));
        malformed(version, &connect(version, 2 | 0x80, &[&text("user"), &text("secret")]));
    }
}

#[test]
fn v5_mqtt_3_1_2_17_and_19_what_a_flag_announces_must_follow() {
    // MQTT-3.1.2-17@5.0, MQTT-3.1.2-19@5.0, MQTT-3.1.2-19@3.1.1, MQTT-3.1.2-21@3.1.1
    for version in [V311, V5] {
        malformed(version, &connect(version, 2 | 0x80, &[]));
        malformed(version, &connect(version, 2 | 0xc0, &[&text("user")]));
    }
}

#[test]
fn in_3_1_the_remaining_length_counts_for_more_than_the_flags() {
    for (more, user_name) in [(&[][..], None), (&[&text("user")[..]], Some("user"))] {
        let bytes = connect(V31, 2 | 0xc0, more);
        let Ok(ControlPacket::Connect(connected)) = read(V31, &bytes) else { panic!("refused") };
        assert_eq!((connected.user_name, connected.password), (user_name, None));
    }
    // Half of one is still wrong.
    malformed(V31, &connect(V31, 2 | 0x80, &[&[0, 4, b'u']]));
}

#[test]
fn mqtt_3_1_3_3_the_client_identifier_is_there_even_if_empty() {
    // MQTT-3.1.3-3
    for version in ALL {
        malformed(version, &packet(0x10, &[&connect_head(version, 2)]));
        assert!(read(version, &packet(0x10, &[&connect_head(version, 2), &[0, 0]])).is_ok());
    }
}

#[test]
fn authentication_data_needs_a_method() {
    let data = [&[22][..], &text("step")].concat();
    let error = protocol_error(V5, &crate::bytes::connect_with(&[&data]));
    assert_eq!(error.connect_answer(), Some((V5, ReasonCode::PROTOCOL_ERROR)));
    let method = [&[21][..], &text("SCRAM")].concat();
    assert!(read(V5, &crate::bytes::connect_with(&[&data, &method])).is_ok());
}
