//! Sessions: kept, resumed, discarded, expired.

use motte_conformance::{Subject, connect4, packet, publish4, publish5};

// MQTT-3.1.2-4@3.1.1 MQTT-3.1.2-5@3.1.1 MQTT-3.1.2-6@3.1.1 MQTT-3.2.2-1@3.1.1 MQTT-3.2.2-2@3.1.1 MQTT-3.2.2-3@3.1.1
// MQTT-4.1.0-1@3.1.1 MQTT-3.1.4-3@3.1.1
#[test]
fn a_session_of_3_1_1_is_kept_without_clean_session_and_discarded_with_it() {
    let subject = Subject::start();
    let open = |flags: u8| {
        let mut peer = subject.dial();
        peer.send(&connect4("kept", flags, 60, &[]));
        let (_, body) = peer.read();
        (peer, body)
    };
    let (mut peer, answer) = open(0);
    assert_eq!(answer, [0, 0]);
    assert_eq!(peer.subscribe4("kept/#", 1), 1);
    peer.drop_dead();
    let mut writer = subject.v4("kept-w");
    writer.send(&publish4(2, "kept/x", Some(1), b"waiting"));
    assert_eq!(writer.read().0, 0x40);
    let (mut peer, answer) = open(0);
    assert_eq!(answer, [1, 0]);
    assert_eq!(peer.message(4).payload, b"waiting");
    peer.drop_dead();
    assert_eq!(open(2).1, [0, 0]);
    assert_eq!(open(0).1, [0, 0]);
}

// MQTT-3.1.2-4@5.0 MQTT-3.1.2-5@5.0 MQTT-3.1.2-6@5.0 MQTT-3.1.2-23@5.0 MQTT-3.2.2-2@5.0 MQTT-3.2.2-3@5.0 MQTT-4.1.0-1@5.0
// MQTT-4.1.0-2@5.0
#[test]
fn a_session_of_5_0_lives_as_long_as_its_expiry_says() {
    let subject = Subject::start();
    let (mut peer, present, _) = subject.v5_with("life", 0, &[17, 0, 0, 0, 60], &[]);
    assert!(!present);
    assert_eq!(peer.subscribe5("life", 0, &[]), 0);
    peer.drop_dead();
    let (mut peer, present, _) = subject.v5_with("life", 0, &[17, 0, 0, 0, 60], &[]);
    assert!(present);
    // DISCONNECT shortens it to nothing.
    peer.send(&packet(0xe0, &[0, 5, 17, 0, 0, 0, 0]));
    peer.closed();
    assert!(!subject.v5_with("life", 0, &[], &[]).1);
    let (peer, _, _) = subject.v5_with("second", 2, &[17, 0, 0, 0, 1], &[]);
    peer.drop_dead();
    let mut other = subject.v5("watch");
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 1_600 {
        other.quiet();
    }
    assert!(!subject.v5_with("second", 0, &[], &[]).1);
}

// MQTT-3.1.2-7@3.1.1
#[test]
fn retained_messages_are_no_part_of_a_session() {
    let subject = Subject::start();
    let mut writer = subject.v4("retainer");
    writer.send(&publish4(3, "stays", Some(1), b"x"));
    assert_eq!(writer.read().0, 0x40);
    writer.send(&[0xe0, 0]);
    writer.closed();
    subject.v4("retainer");
    let mut reader = subject.v4("reader");
    assert_eq!(reader.subscribe4("stays", 0), 0);
    assert!(reader.message(4).retain());
}

// MQTT-3.1.4-5@3.1.1 MQTT-3.1.4-6@5.0 MQTT-6.0.0-2
#[test]
fn packets_may_come_together_or_byte_by_byte() {
    let subject = Subject::start();
    let mut peer = subject.dial();
    let mut all = connect4("bytes", 2, 60, &[]);
    all.extend(packet(0x82, b"\0\x01\0\x05bytes\0"));
    all.extend(publish4(0, "bytes", None, b"hello"));
    for byte in all {
        peer.send(&[byte]);
    }
    assert_eq!(peer.read(), (0x20, vec![0, 0]));
    assert_eq!(peer.read(), (0x90, vec![0, 1, 0]));
    assert_eq!(peer.message(4).payload, b"hello");
    // Behind a refused CONNECT nothing is taken.
    let mut peer = subject.dial();
    let mut all = connect4("", 0, 60, &[]);
    all.extend(publish4(1, "never", None, b"x"));
    peer.send(&all);
    assert_eq!(peer.closed(), [(0x20, vec![0, 2])]);
    let mut reader = subject.v5("reader");
    assert_eq!(reader.subscribe5("never", 0, &[]), 0);
    reader.quiet();
    reader.send(&publish5(0, "never", None, &[], b"now"));
    assert_eq!(reader.message(5).payload, b"now");
}
