//! Strings (section 1.5.4).

use motte_wire::{ControlPacket, DecodeRules, TextRules};

use crate::bytes::{
    ALL, V5, connect, connect_head, malformed, no_properties, packet, publish_with, read, read_as, text,
};

/// A text in every place that holds one and stands in every version.
fn everywhere(bad: &[u8]) -> Vec<(motte_wire::ProtocolVersion, Vec<u8>)> {
    let mut all = Vec::new();
    for version in ALL {
        let none = no_properties(version);
        let filter = [&[0, 1][..], none, &text(bad)].concat();
        all.extend(
            [
                packet(0x30, &[&text(bad), none, b"payload"]),
                packet(0x10, &[&connect_head(version, 2), &text(bad)]),
                connect(version, 2 | 0x80, &[&text(bad)]),
                connect(version, 2 | 4, &[none, &text(bad), &text("gone")]),
                packet(0x82, &[&filter, &[0]]),
                packet(0xa2, &[&filter]),
            ]
            .map(|bytes| (version, bytes)),
        );
    }
    let pair = [&[38][..], &text(bad), &text("value")].concat();
    let other = [&[38][..], &text("name"), &text(bad)].concat();
    for property in [&pair, &other, &[&[3][..], &text(bad)].concat()] {
        all.push((V5, publish_with(&[property])));
    }
    all
}

#[test]
fn mqtt_1_5_4_1_text_is_well_formed_utf_8() {
    // MQTT-1.5.4-1@5.0, MQTT-1.5.3-1@3.1.1, MQTT-1.5.7-1@5.0
    for (what, bad) in [
        ("a surrogate", &b"\xed\xa0\x80"[..]),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong U+0000", b"\xc0\x80"),
        ("an overlong euro", b"\xf0\x82\x82\xac"),
        ("a lone continuation", b"a\x80"),
        ("a character cut short", b"\xe2\x82"),
        ("a code point above U+10FFFF", b"\xf4\x90\x80\x80"),
        ("a byte that UTF-8 does not have", b"\xff"),
    ] {
        for (version, bytes) in everywhere(bad) {
            assert_eq!(malformed(version, &bytes).statement, "MQTT-1.5.4-1", "{what}");
        }
    }
}

#[test]
fn mqtt_1_5_4_2_text_has_no_u_0000() {
    // MQTT-1.5.4-2@5.0, MQTT-1.5.3-2@3.1.1, MQTT-4.7.3-2
    for bad in ["\0", "a\0", "a\0b"] {
        for (version, bytes) in everywhere(bad.as_bytes()) {
            assert_eq!(malformed(version, &bytes).statement, "MQTT-1.5.4-2");
        }
    }
}

#[test]
fn mqtt_1_5_4_3_u_feff_is_a_character_and_stays() {
    // MQTT-1.5.4-3@5.0, MQTT-1.5.3-3@3.1.1
    for version in ALL {
        let bytes = packet(0x30, &[&text("\u{feff}t\u{feff}"), no_properties(version)]);
        let Ok(ControlPacket::Publish(publish)) = read(version, &bytes) else { panic!("refused") };
        assert_eq!(publish.topic.unwrap().as_str(), "\u{feff}t\u{feff}");
    }
}

fn taken(c: char, text_rules: TextRules) -> bool {
    let rules = DecodeRules { text: text_rules, ..DecodeRules::from_client() };
    let results: Vec<bool> = everywhere(format!("a{c}").as_bytes())
        .iter()
        .map(|(version, bytes)| read_as(*version, bytes, &rules).is_ok())
        .collect();
    let first = results[0];
    assert!(results.iter().all(|one| *one == first), "{c:?} is treated differently in different places");
    first
}

#[test]
fn control_characters_are_taken_or_refused_as_the_listener_says() {
    let strict = TextRules { control_characters: false, ..TextRules::default() };
    for c in ['\u{1}', '\n', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}'] {
        assert!(taken(c, TextRules::default()), "{c:?}");
        assert!(!taken(c, strict), "{c:?}");
    }
    for c in [' ', '~', '\u{a0}', '\u{ffff}'] {
        assert!(taken(c, strict), "{c:?}");
    }
}

#[test]
fn non_characters_are_taken_or_refused_as_the_listener_says() {
    let strict = TextRules { non_characters: false, ..TextRules::default() };
    for c in ['\u{fdd0}', '\u{fdef}', '\u{fffe}', '\u{ffff}', '\u{1fffe}', '\u{10ffff}'] {
        assert!(taken(c, TextRules::default()), "{c:?}");
        assert!(!taken(c, strict), "{c:?}");
    }
    for c in ['\u{fdcf}', '\u{fdf0}', '\u{fffd}', '\u{1fffd}', '\n'] {
        assert!(taken(c, strict), "{c:?}");
    }
}

#[test]
fn binary_data_is_not_text() {
    for version in ALL {
        let flags = 2 | 4 | 0xc0;
        let will = [no_properties(version), &text("t"), &text(b"\xff\0")].concat();
        assert!(read(version, &connect(version, flags, &[&will, &text("u"), &text(b"\0\xff")])).is_ok());
    }
    assert!(read(V5, &publish_with(&[&[9], &text(b"\xff\0")])).is_ok());
}
