//! CONNACK, DISCONNECT and AUTH (sections 3.2, 3.14 and 3.15).

use motte_wire::{ControlPacket, DecodeRules, ReasonCode};

use crate::bytes::{
    ALL, BELOW_5, V5, malformed, no_properties, packet, protocol_error, read, read_as, section, text,
};

#[test]
fn v5_mqtt_3_2_2_1_reserved_connack_bits_are_malformed() {
    // MQTT-3.2.2-1@5.0
    for version in ALL {
        for bit in 1..8 {
            malformed(version, &packet(0x20, &[&[1 << bit, 0], no_properties(version)]));
        }
    }
}

#[test]
fn a_return_code_below_5_reads_as_the_reason_it_means() {
    for version in BELOW_5 {
        for (code, reason) in [(0, 0x00), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (6, 0x80)] {
            let bytes = [0x20, 2, 0, code];
            let Ok(ControlPacket::ConnAck(ack)) = read(version, &bytes) else { panic!("refused") };
            assert_eq!(ack.reason, ReasonCode(reason));
        }
    }
}

#[test]
fn mqtt_3_14_2_1_a_client_disconnects_with_codes_of_its_own() {
    // MQTT-3.14.2-1@5.0
    let allowed = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for code in 0..=u8::MAX {
        for bytes in [vec![0xe0, 1, code], vec![0xe0, 2, code, 0]] {
            if allowed.contains(&code) {
                assert!(read(V5, &bytes).is_ok(), "{code:02x}");
            } else {
                protocol_error(V5, &bytes);
            }
        }
    }
}

#[test]
fn mqtt_3_14_2_2_a_server_gives_no_session_expiry_when_it_disconnects() {
    // MQTT-3.14.2-2@5.0
    let bytes = packet(0xe0, &[&[0], &section(&[&[17, 0, 0, 0, 9]])]);
    let error = read_as(V5, &bytes, &DecodeRules::from_server()).unwrap_err();
    assert_eq!((error.reason, error.statement), (ReasonCode::PROTOCOL_ERROR, "MQTT-3.14.2-2"));
    let Ok(ControlPacket::Disconnect(disconnect)) = read(V5, &bytes) else { panic!("refused") };
    assert_eq!(disconnect.session_expiry_s, Some(9));
}

#[test]
fn a_disconnect_below_5_is_empty() {
    for version in BELOW_5 {
        assert!(read(version, &[0xe0, 0]).is_ok());
        malformed(version, &[0xe0, 1, 0]);
        malformed(version, &[0xe0, 2, 0, 0]);
    }
}

#[test]
fn mqtt_3_15_2_1_auth_has_three_codes() {
    // MQTT-3.15.2-1@5.0
    for code in 0..=u8::MAX {
        let bytes = [0xf0, 2, code, 0];
        if matches!(code, 0x00 | 0x18 | 0x19) {
            assert!(read(V5, &bytes).is_ok(), "{code:02x}");
        } else {
            protocol_error(V5, &bytes);
        }
    }
    // A code stands with its properties, or neither does.
    malformed(V5, &[0xf0, 1, 0x18]);
    assert!(read(V5, &[0xf0, 0]).is_ok());
}

#[test]
fn authentication_data_needs_its_method_in_auth_and_connack() {
    let data = [&[22][..], &text("step")].concat();
    let method = [&[21][..], &text("SCRAM")].concat();
    let auth = |properties: &[&[u8]]| packet(0xf0, &[&[0x18], &section(properties)]);
    let connack = |properties: &[&[u8]]| packet(0x20, &[&[0, 0], &section(properties)]);
    for bytes in [auth(&[&data]), connack(&[&data])] {
        protocol_error(V5, &bytes);
    }
    for bytes in [auth(&[&data, &method]), connack(&[&method, &data])] {
        assert!(read(V5, &bytes).is_ok());
    }
}
