//! Words and properties that nobody asked for, or that would make a packet too large.

use motte_conformance::{Subject, packet, publish5, text};

/// A client of 5.0 that takes packets of at most this many bytes.
fn small(subject: &Subject, id: &str, bytes: u8, more: &[u8]) -> motte_conformance::Peer {
    subject.v5_with(id, 2, &[&[0x27, 0, 0, 0, bytes][..], more].concat(), &[]).0
}

// MQTT-3.4.2-2@5.0 MQTT-3.4.2-3@5.0 MQTT-3.5.2-2@5.0 MQTT-3.5.2-3@5.0 MQTT-3.6.2-2@5.0 MQTT-3.6.2-3@5.0 MQTT-3.7.2-2@5.0
// MQTT-3.7.2-3@5.0 MQTT-3.9.2-1@5.0 MQTT-3.9.2-2@5.0 MQTT-3.11.2-1@5.0 MQTT-3.11.2-2@5.0 MQTT-3.2.2-19@5.0
// MQTT-3.2.2-20@5.0
#[test]
fn no_acknowledgement_is_larger_than_the_client_takes() {
    let subject = Subject::start();
    let most = 60;
    let mut peer = small(&subject, "small", most, &[]);
    let fits = |(first, body): (u8, Vec<u8>), expected: u8| {
        assert_eq!(first, expected, "{body:02x?}");
        assert!(body.len() + 2 <= usize::from(most), "{} bytes", body.len());
    };
    peer.send(&publish5(2, "nobody", Some(1), &[], b"x"));
    fits(peer.read(), 0x40);
    peer.send(&publish5(4, "nobody", Some(2), &[], b"x"));
    fits(peer.read(), 0x50);
    peer.send(&[0x62, 2, 0, 2]);
    fits(peer.read(), 0x70);
    peer.send(&[0x62, 2, 0, 99]);
    fits(peer.read(), 0x70);
    // A PUBREC of a flow that is not known is answered by PUBREL with a reason.
    peer.send(&[0x50, 2, 0, 77]);
    fits(peer.read(), 0x62);
    peer.send(&packet(0x82, &[&[0, 3, 0][..], &text("a/#/b"), &[0]].concat()));
    fits(peer.read(), 0x90);
    peer.send(&packet(0xa2, &[&[0, 4, 0][..], &text("never")].concat()));
    fits(peer.read(), 0xb0);
}

// MQTT-3.14.2-3@5.0 MQTT-3.14.2-4@5.0 MQTT-3.14.4-1@5.0
#[test]
fn a_goodbye_tells_why_as_far_as_the_client_takes_it_and_is_the_last_word() {
    let subject = Subject::start();
    let end = |mut peer: motte_conformance::Peer| {
        peer.send(&packet(0x30, b"\0\x09a"));
        peer.send(&[0xc0, 0]);
        let said = peer.closed();
        assert_eq!(said.len(), 1, "nothing follows DISCONNECT: {said:02x?}");
        let (first, body) = said.into_iter().next().unwrap_or_default();
        assert_eq!((first, body[0]), (0xe0, 0x81));
        body
    };
    let body = end(subject.v5("talks"));
    assert_eq!(body[2], 0x1f, "a Reason String");
    assert!(String::from_utf8_lossy(&body[5..]).contains("PUBLISH"), "{body:02x?}");
    assert_eq!(end(small(&subject, "small", 60, &[])).len(), 1, "no room for words");
    assert_eq!(end(small(&subject, "no-problem", 255, &[0x17, 0])).len(), 1, "none were wanted");
}

// MQTT-3.1.2-28@5.0 MQTT-3.1.2-29@5.0 MQTT-3.2.0-2@5.0
#[test]
fn nothing_is_said_that_was_not_asked_for() {
    let subject = Subject::start();
    let (mut peer, _, connack) = subject.v5_with("terse", 2, &[0x19, 0, 0x17, 0], &[]);
    assert!(!connack.contains(&0x1a), "Response Information: {connack:02x?}");
    peer.send(&publish5(2, "nobody", Some(1), &[], b"x"));
    let (first, body) = peer.read();
    assert_eq!(first, 0x40);
    assert!(body.len() <= 3, "a reason and nothing more: {body:02x?}");
    assert_eq!(peer.subscribe5("a", 0, &[]), 0);
    peer.quiet();
}

// MQTT-3.14.0-1@5.0
#[test]
fn no_disconnect_comes_before_connack() {
    let subject = Subject::start();
    for bytes in [vec![0xc0, 0], packet(0x10, &[&text("MQTT")[..], &[5, 2, 0, 60, 0xff]].concat())] {
        let mut peer = subject.dial();
        peer.send(&bytes);
        let said = peer.closed();
        assert!(said.iter().all(|(first, _)| *first == 0x20), "{said:02x?}");
    }
}

// MQTT-4.7.3-3 MQTT-3.1.3-8@5.0
#[test]
fn names_as_long_as_their_length_can_say_are_taken_or_refused_by_the_limit() {
    let subject = Subject::with("topic_bytes_max = 65535\ntopic_levels_max = 65535");
    let longest = "t".repeat(65_535);
    let mut peer = subject.v5("long");
    assert_eq!(peer.subscribe5(&longest, 0, &[]), 0);
    peer.send(&publish5(0, &longest, None, &[], b"x"));
    assert_eq!(peer.message(5).topic.len(), 65_535);
}
