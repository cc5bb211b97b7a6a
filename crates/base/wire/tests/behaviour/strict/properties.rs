//! Properties of 5.0 (section 2.2.2).

use motte_wire::{DecodeRules, Kind, PROPERTIES};

use crate::bytes::{
    V5, connect_with, malformed, packet, protocol_error, publish_with, read, read_as, section, text,
};

/// A property with a value that its kind can have.
fn sample(id: u8, kind: Kind) -> Vec<u8> {
    let value = match kind {
        Kind::Byte | Kind::Flag => vec![1],
        Kind::U16 | Kind::U16Positive => vec![0, 1],
        Kind::U32 | Kind::U32Positive => vec![0, 0, 0, 1],
        Kind::VarintPositive => vec![1],
        Kind::Text | Kind::Bytes => text("v"),
        Kind::Pair => [text("n"), text("v")].concat(),
    };
    [vec![id], value].concat()
}

/// A place for properties: its name, a packet with these in it, and the properties that may stand there (5.0, 2.2.2.2).
type Place = (&'static str, fn(&[&[u8]]) -> Vec<u8>, &'static [u8]);

const ACK: &[u8] = &[31, 38];
const PLACES: &[Place] = &[
    ("CONNECT", connect_with, &[17, 21, 22, 23, 25, 33, 34, 38, 39]),
    (
        "CONNACK",
        |properties| packet(0x20, &[&[0, 0], &section(properties)]),
        &[17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42],
    ),
    ("PUBLISH", publish_with, &[1, 2, 3, 8, 9, 11, 35, 38]),
    (
        "Will",
        |properties| crate::bytes::connect(V5, 6, &[&section(properties), &text("t"), &text("gone")]),
        &[1, 2, 3, 8, 9, 24, 38],
    ),
    ("PUBACK", |properties| packet(0x40, &[&[0, 1, 0], &section(properties)]), ACK),
    ("PUBREC", |properties| packet(0x50, &[&[0, 1, 0], &section(properties)]), ACK),
    ("PUBREL", |properties| packet(0x62, &[&[0, 1, 0], &section(properties)]), ACK),
    ("PUBCOMP", |properties| packet(0x70, &[&[0, 1, 0], &section(properties)]), ACK),
    ("SUBSCRIBE", |properties| packet(0x82, &[&[0, 1], &section(properties), &text("f"), &[0]]), &[11, 38]),
    ("SUBACK", |properties| packet(0x90, &[&[0, 1], &section(properties), &[0]]), ACK),
    ("UNSUBSCRIBE", |properties| packet(0xa2, &[&[0, 1], &section(properties), &text("f")]), &[38]),
    ("UNSUBACK", |properties| packet(0xb0, &[&[0, 1], &section(properties), &[0]]), ACK),
    ("DISCONNECT", |properties| packet(0xe0, &[&[0], &section(properties)]), &[17, 28, 31, 38]),
    ("AUTH", |properties| packet(0xf0, &[&[0x18], &section(properties)]), &[21, 22, 31, 38]),
];

/// As whoever may send the property there.
fn rules(place: &str, id: u8) -> DecodeRules {
    if (place, id) == ("PUBLISH", 11) { DecodeRules::from_server() } else { DecodeRules::from_client() }
}

/// What has to stand beside a property.
fn beside(id: u8) -> Vec<u8> {
    if id == 22 { sample(21, Kind::Text) } else { Vec::new() }
}

#[test]
fn the_table_has_every_property_of_the_standard_once() {
    let ids: Vec<u8> = PROPERTIES.iter().map(|property| property.id).collect();
    let expected =
        [1, 2, 3, 8, 9, 11].into_iter().chain(17..=19).chain(21..=26).chain([28, 31]).chain(33..=42);
    assert_eq!(ids, expected.collect::<Vec<u8>>());
}

#[test]
fn each_property_stands_in_its_packets_and_in_no_other() {
    for (place, build, allowed) in PLACES {
        for property in PROPERTIES {
            let bytes = build(&[&sample(property.id, property.kind), &beside(property.id)]);
            if allowed.contains(&property.id) {
                let read = read_as(V5, &bytes, &rules(place, property.id));
                assert!(read.is_ok(), "{} in {place}: {read:?}", property.name);
            } else {
                malformed(V5, &bytes);
            }
        }
    }
}

#[test]
fn each_property_stands_once_but_for_pairs_and_identifiers_in_publish() {
    for (place, build, allowed) in PLACES {
        for property in PROPERTIES.iter().filter(|property| allowed.contains(&property.id)) {
            let one = sample(property.id, property.kind);
            let bytes = build(&[&one, &one, &beside(property.id)]);
            let repeats = property.kind == Kind::Pair || (*place, property.id) == ("PUBLISH", 11);
            let read = read_as(V5, &bytes, &rules(place, property.id));
            assert_eq!(read.is_ok(), repeats, "{} in {place}", property.name);
        }
    }
}

#[test]
fn a_property_cut_short_is_malformed() {
    for (place, build, allowed) in PLACES {
        for property in PROPERTIES.iter().filter(|property| allowed.contains(&property.id)) {
            let whole = sample(property.id, property.kind);
            for cut in 1..whole.len() {
                let bytes = build(&[&whole[..cut]]);
                let read = read_as(V5, &bytes, &rules(place, property.id));
                assert!(read.is_err(), "{} in {place} cut at {cut}", property.name);
            }
        }
    }
}

#[test]
fn a_property_that_does_not_exist_is_malformed() {
    let known: Vec<u8> = PROPERTIES.iter().map(|property| property.id).collect();
    for id in (0..=127).filter(|id| !known.contains(id)) {
        for (_, build, _) in PLACES {
            malformed(V5, &build(&[&[id, 0, 1]]));
        }
    }
    malformed(V5, &publish_with(&[&[0x81, 0x01, 1]]));
}

#[test]
fn v5_mqtt_2_2_2_1_no_properties_are_said_by_a_zero() {
    // MQTT-2.2.2-1@5.0
    malformed(V5, &packet(0x30, &[&text("t")]));
    malformed(V5, &packet(0x20, &[&[0, 0]]));
    malformed(V5, &packet(0x10, &[&text("MQTT"), &[5, 2, 0, 60]]));
}

#[test]
fn mqtt_1_5_5_1_a_property_length_and_identifier_are_as_short_as_can_be() {
    // MQTT-1.5.5-1@5.0
    for length in [&[0x80, 0][..], &[0x82, 0], &[0x80, 0x80, 0], &[0x80, 0x80, 0x80, 0x80, 1]] {
        malformed(V5, &packet(0x30, &[&text("t"), length, &[1, 1]]));
    }
    malformed(V5, &publish_with(&[&[0x81, 0, 1]]));
    malformed(V5, &packet(0x82, &[&[0, 1], &section(&[&[11, 0x81, 0]]), &text("f"), &[0]]));
}

#[test]
fn a_property_length_beyond_the_packet_is_malformed() {
    malformed(V5, &packet(0x30, &[&text("t"), &[5, 1, 1]]));
    malformed(V5, &packet(0x30, &[&text("t"), &[0xff, 0xff, 0xff, 0x7f]]));
}

#[test]
fn a_property_does_not_reach_into_what_follows() {
    // The content type claims more bytes than the section has left, though the packet has them.
    malformed(V5, &packet(0x30, &[&text("t"), &section(&[&[3, 0, 4, b'a']]), b"bcd"]));
}

#[test]
fn values_that_must_not_be_zero() {
    for property in [&[33, 0, 0][..], &[39, 0, 0, 0, 0]] {
        protocol_error(V5, &connect_with(&[property]));
        protocol_error(V5, &packet(0x20, &[&[0, 0], &section(&[property])]));
    }
    assert!(read(V5, &connect_with(&[&[34, 0, 0], &[17, 0, 0, 0, 0]])).is_ok());
}

#[test]
fn flags_are_0_or_1() {
    for (place, build, allowed) in PLACES {
        let flags = PROPERTIES.iter().filter(|property| property.kind == Kind::Flag);
        for property in flags.filter(|property| allowed.contains(&property.id)) {
            for (value, good) in [(0, true), (1, true), (2, false), (0xff, false)] {
                let bytes = build(&[&[property.id, value]]);
                let read = read(V5, &bytes);
                assert_eq!(read.is_ok(), good, "{} {value} in {place}", property.name);
            }
        }
    }
}
