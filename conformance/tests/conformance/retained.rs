//! Retained Messages.

use motte_conformance::{Subject, publish4, publish5};

// MQTT-3.3.1-5 MQTT-3.3.1-6@3.1.1 MQTT-3.3.1-7@3.1.1 MQTT-3.3.1-8@3.1.1 MQTT-3.3.1-9@3.1.1 MQTT-3.3.1-10@3.1.1
// MQTT-3.3.1-11@3.1.1 MQTT-3.3.1-12@3.1.1 MQTT-3.3.1-6@5.0 MQTT-3.3.1-7@5.0 MQTT-3.3.1-8@5.0
#[test]
fn the_last_retained_message_is_kept_until_an_empty_one_comes() {
    let subject = Subject::start();
    let mut live = subject.v4("live");
    assert_eq!(live.subscribe4("r/#", 0), 0);
    let mut writer = subject.v4("writer");
    writer.send(&publish4(1, "r/a", None, b"1"));
    writer.send(&publish4(1, "r/a", None, b"2"));
    writer.send(&publish4(0, "r/a", None, b"3"));
    for payload in [b"1", b"2", b"3"] {
        let got = live.message(4);
        assert_eq!((got.payload.as_slice(), got.retain()), (&payload[..], false));
    }
    let mut late = subject.v4("late");
    assert_eq!(late.subscribe4("r/+", 0), 0);
    let got = late.message(4);
    assert_eq!((got.payload.as_slice(), got.retain()), (&b"2"[..], true));
    late.quiet();
    // Without RETAIN an empty message removes nothing; with it, it does, and is delivered.
    writer.send(&publish4(0, "r/a", None, b""));
    assert_eq!(live.message(4).payload, b"");
    let mut still = subject.v4("still");
    assert_eq!(still.subscribe4("r/a", 0), 0);
    assert_eq!(still.message(4).payload, b"2");
    writer.send(&publish4(1, "r/a", None, b""));
    assert_eq!(live.message(4).payload, b"");
    let mut gone = subject.v4("gone");
    assert_eq!(gone.subscribe4("r/#", 0), 0);
    gone.quiet();
}

// MQTT-3.3.1-12@5.0 MQTT-3.3.1-13@5.0
#[test]
fn retain_as_published_keeps_the_flag() {
    let subject = Subject::start();
    let mut as_published = subject.v5("rap");
    let mut plain = subject.v5("plain");
    assert_eq!(as_published.subscribe5("rap", 8, &[]), 0);
    assert_eq!(plain.subscribe5("rap", 0, &[]), 0);
    subject.v5("rap-w").send(&publish5(1, "rap", None, &[], b"x"));
    assert!(as_published.message(5).retain());
    assert!(!plain.message(5).retain());
}

#[test]
fn system_topics_are_there_and_nobody_else_writes_them() {
    let subject = Subject::start();
    let mut peer = subject.v5("sys");
    assert_eq!(peer.subscribe5("$SYS/#", 0, &[]), 0);
    assert!(peer.message(5).topic.starts_with("$SYS/"));
    let mut writer = subject.v5("sys-w");
    writer.send(&publish5(2, "$SYS/broker/fake", Some(1), &[], b"x"));
    assert_eq!(writer.read(), (0x40, vec![0, 1, 0x87]));
}
