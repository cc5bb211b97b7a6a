//! Packets that must not be taken.

use motte_conformance::{Subject, connect4, connect5, packet, publish5, text};

// MQTT-1.5.3-1@3.1.1 MQTT-1.5.3-2@3.1.1 MQTT-1.5.4-1@5.0 MQTT-1.5.4-2@5.0 MQTT-3.1.3-4 MQTT-3.1.3-11@5.0 MQTT-3.1.3-10@3.1.1
// MQTT-4.7.3-2
#[test]
fn text_that_is_not_utf_8_or_holds_nul_is_refused() {
    let subject = Subject::start();
    for bad in [&[0xc3, 0x28][..], &[0xed, 0xa0, 0x80], &[0xc0, 0x80], &[0xff], b"a\0b"] {
        let id = [&[0, bad.len() as u8][..], bad].concat();
        let mut peer = subject.dial();
        peer.send(&packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, 60], &id].concat()));
        assert!(peer.closed().is_empty(), "{bad:?}");
        let mut peer = subject.v5("utf8");
        peer.send(&packet(0x30, &[&id[..], &[0], b"x"].concat()));
        peer.closed_with(0x81);
    }
    // U+FEFF is a character (MQTT-1.5.3-3@3.1.1 MQTT-1.5.4-3@5.0) and is kept.
    let mut peer = subject.v5("bom");
    assert_eq!(peer.subscribe5("\u{feff}a", 0, &[]), 0);
    peer.send(&publish5(0, "\u{feff}a", None, &[], b"x"));
    assert_eq!(peer.message(5).topic, "\u{feff}a");
}

// MQTT-1.5.5-1@5.0 MQTT-2.1.3-1@5.0 MQTT-2.2.2-1@3.1.1 MQTT-3.8.1-1 MQTT-3.10.1-1 MQTT-3.6.1-1 MQTT-3.8.3-5@5.0
// MQTT-3.8.3-4@3.1.1 MQTT-3.8.3-1@5.0 MQTT-3.10.3-1
#[test]
fn malformed_packets_are_answered_as_such() {
    let subject = Subject::start();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a fifth length byte", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("reserved bits of SUBSCRIBE", packet(0x80, b"\0\x01\0\0\x01a\0")),
        ("reserved bits of UNSUBSCRIBE", packet(0xa0, b"\0\x01\0\0\x01a")),
        ("reserved bits of PUBREL", vec![0x60, 2, 0, 1]),
        ("reserved bits of PINGREQ", vec![0xc1, 0]),
        ("reserved options", packet(0x82, b"\0\x01\0\0\x01a\x40")),
        ("a filter that is not UTF-8", packet(0x82, b"\0\x01\0\0\x01\xff\0")),
        ("a length that is cut", packet(0x30, b"\0\x09a")),
        ("a property length that is too long", packet(0x30, b"\0\x01a\x7f")),
        ("a property length in two bytes that needs one", packet(0x30, b"\0\x01a\x80\0x")),
        ("a property of another packet", publish5(0, "a", None, &[33, 0, 1], b"")),
        ("packet type 0", vec![0x00, 0]),
        ("bytes after PUBACK", packet(0x40, b"\0\x01\0\0x")),
    ];
    for (what, bytes) in cases {
        let mut peer = subject.v5("malformed");
        peer.send(&bytes);
        let said = peer.closed();
        assert_eq!(
            said.last().map(|(first, body)| (*first, body[0])),
            Some((0xe0, 0x81)),
            "{what}: {said:?}"
        );
    }
}

// MQTT-3.8.3-2@5.0 MQTT-3.10.3-2 MQTT-3.8.3-3@3.1.1 MQTT-2.2.1-2@5.0 MQTT-3.4.2-1@5.0 MQTT-3.6.2-1@5.0 MQTT-3.14.2-1@5.0
// MQTT-3.15.2-1@5.0
#[test]
fn protocol_errors_are_answered_as_such() {
    let subject = Subject::start();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("SUBSCRIBE without a filter", packet(0x82, b"\0\x01\0")),
        ("UNSUBSCRIBE without a filter", packet(0xa2, b"\0\x01\0")),
        ("SUBSCRIBE with identifier 0", packet(0x82, b"\0\0\0\0\x01a\0")),
        ("PUBLISH with identifier 0", publish5(2, "a", Some(0), &[], b"")),
        ("a property twice", publish5(0, "a", None, &[1, 0, 1, 0], b"")),
        ("Payload Format Indicator 2", publish5(0, "a", None, &[1, 2], b"")),
        ("Subscription Identifier 0", packet(0x82, b"\0\x01\x02\x0b\0\0\x01a\0")),
        ("a Reason Code that PUBACK does not have", packet(0x40, b"\0\x01\x01")),
        ("a Reason Code that clients do not send", packet(0xe0, b"\x8e")),
        ("options with QoS 3", packet(0x82, b"\0\x01\0\0\x01a\x03")),
        ("Retain Handling 3", packet(0x82, b"\0\x01\0\0\x01a\x30")),
        ("a packet that servers send", packet(0x90, b"\0\x01\0\0")),
    ];
    for (what, bytes) in cases {
        let mut peer = subject.v5("protocol");
        peer.send(&bytes);
        let said = peer.closed();
        assert_eq!(
            said.last().map(|(first, body)| (*first, body[0])),
            Some((0xe0, 0x82)),
            "{what}: {said:?}"
        );
    }
}

// MQTT-3.1.4-1@5.0 MQTT-3.1.4-2@5.0
#[test]
fn connect_of_5_0_is_answered_with_its_reason_code() {
    let subject = Subject::start();
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("Receive Maximum 0", connect5("x", 2, 60, &[33, 0, 0], &[]), 0x82),
        ("Maximum Packet Size 0", connect5("x", 2, 60, &[39, 0, 0, 0, 0], &[]), 0x82),
        ("a property twice", connect5("x", 2, 60, &[17, 0, 0, 0, 1, 17, 0, 0, 0, 1], &[]), 0x82),
        ("Authentication Data alone", connect5("x", 2, 60, &[22, 0, 1, 7], &[]), 0x82),
        ("the reserved flag", connect5("x", 3, 60, &[], &[]), 0x81),
        ("bytes after the end", connect5("x", 2, 60, &[], b"more"), 0x81),
        ("an unknown property", connect5("x", 2, 60, &[99], &[]), 0x81),
    ];
    for (what, bytes, code) in cases {
        let mut peer = subject.dial();
        peer.send(&bytes);
        let said = peer.closed();
        assert_eq!(
            said.first().map(|(first, body)| (*first, body[1])),
            Some((0x20, code)),
            "{what}: {said:?}"
        );
    }
}

// MQTT-2.2.2-2@3.1.1 MQTT-4.8.0-2@3.1.1 MQTT-3.2.2-6@3.1.1
#[test]
fn strangers_are_bounded_before_they_are_known() {
    let subject = Subject::with("packet_bytes_max = 4096");
    let mut peer = subject.dial();
    // A CONNECT that says it will be huge is not waited for.
    peer.send(&[0x10, 0xff, 0xff, 0x7f]);
    assert!(peer.closed().is_empty());
    let mut peer = subject.v5("large");
    peer.send(&publish5(0, "a", None, &[], &[0; 5_000]));
    peer.closed_with(0x95);
    // What was malformed did not hurt the others.
    let mut peer = subject.dial();
    peer.send(&connect4("fine", 2, 60, &[]));
    assert_eq!(peer.read(), (0x20, vec![0, 0]));
}
