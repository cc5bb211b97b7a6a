//! SUBSCRIBE, UNSUBSCRIBE and their answers (sections 3.8 to 3.11).

use motte_wire::{ControlPacket, ProtocolVersion, QoS, RetainHandling};

use crate::bytes::{ALL, BELOW_5, V5, malformed, no_properties, packet, protocol_error, read, section, text};

fn subscribe(version: ProtocolVersion, filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1], no_properties(version), &text(filter), &[options]])
}

fn subscribe_with(properties: &[&[u8]]) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &section(properties), &text("f"), &[0]])
}

#[test]
fn v5_mqtt_3_8_3_2_a_subscribe_has_a_filter() {
    // MQTT-3.8.3-2@5.0, MQTT-3.8.3-3@3.1.1
    for version in ALL {
        protocol_error(version, &packet(0x82, &[&[0, 1], no_properties(version)]));
    }
}

#[test]
fn mqtt_3_10_3_2_an_unsubscribe_has_a_filter() {
    // MQTT-3.10.3-2
    for version in ALL {
        protocol_error(version, &packet(0xa2, &[&[0, 1], no_properties(version)]));
    }
}

#[test]
fn v5_mqtt_3_8_3_5_reserved_option_bits_are_malformed() {
    // MQTT-3.8.3-5@5.0, MQTT-3.8.3-4@3.1.1
    for options in [0x40, 0x80, 0xc0, 0x41] {
        assert_eq!(malformed(V5, &subscribe(V5, "f", options)).field, "Subscription Options");
    }
    for version in BELOW_5 {
        for bit in 2..8 {
            malformed(version, &subscribe(version, "f", 1 << bit));
        }
    }
}

#[test]
fn a_subscription_of_qos_3_is_a_protocol_error() {
    // MQTT-3.8.3-4@3.1.1
    for version in ALL {
        protocol_error(version, &subscribe(version, "f", 3));
    }
}

#[test]
fn retain_handling_3_is_a_protocol_error() {
    protocol_error(V5, &subscribe(V5, "f", 0x30));
}

#[test]
fn options_are_read_bit_by_bit() {
    let bytes = subscribe(V5, "f", 0x2e);
    let Ok(ControlPacket::Subscribe(subscribe)) = read(V5, &bytes) else { panic!("refused") };
    let options = subscribe.filters().next().unwrap().options;
    assert_eq!((options.qos, options.retain_handling), (QoS::ExactlyOnce, RetainHandling::Never));
    assert!(options.no_local && options.retain_as_published);
}

#[test]
fn v5_mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    // MQTT-3.8.3-4@5.0
    protocol_error(V5, &subscribe(V5, "$share/g/f", 0x04));
    assert!(read(V5, &subscribe(V5, "$share/g/f", 0)).is_ok());
    assert!(read(V5, &subscribe(V5, "share/g/f", 0x04)).is_ok());
}

#[test]
fn every_filter_of_a_list_is_checked() {
    for version in ALL {
        let list = |last: u8| {
            let body = [&text("a")[..], &[0], &text("b"), &[last]].concat();
            packet(0x82, &[&[0, 1], no_properties(version), &body])
        };
        assert!(read(version, &list(2)).is_ok());
        protocol_error(version, &list(3));
        malformed(version, &packet(0x82, &[&[0, 1], no_properties(version), &text("a"), &[0], &text("b")]));
        let short = packet(0xa2, &[&[0, 1], no_properties(version), &text("a"), &[0, 3, b'b']]);
        malformed(version, &short);
    }
}

#[test]
fn subscription_identifier_0_is_a_protocol_error() {
    protocol_error(V5, &subscribe_with(&[&[11, 0]]));
}

#[test]
fn a_subscription_identifier_stands_once() {
    protocol_error(V5, &subscribe_with(&[&[11, 1], &[11, 2]]));
    let bytes = subscribe_with(&[&[11, 0xff, 0xff, 0xff, 0x7f]]);
    let Ok(ControlPacket::Subscribe(subscribe)) = read(V5, &bytes) else { panic!("refused") };
    assert_eq!(subscribe.subscription_identifier.map(u32::from), Some(268_435_455));
}

#[test]
fn a_suback_gives_its_codes_in_order() {
    for version in ALL {
        let bytes = packet(0x90, &[&[0, 7], no_properties(version), &[2, 0, 0x80]]);
        let Ok(ControlPacket::SubAck(ack)) = read(version, &bytes) else { panic!("refused") };
        assert_eq!(ack.codes().map(|code| code.0).collect::<Vec<_>>(), [2, 0, 0x80]);
    }
}
