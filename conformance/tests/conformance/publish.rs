//! PUBLISH: what goes in comes out.

use motte_conformance::{Subject, publish4, publish5, text};

// MQTT-3.3.2-1 MQTT-3.3.2-3 MQTT-3.3.5-1@3.1.1 MQTT-4.5.0-1 MQTT-3.3.1-3 MQTT-3.8.4-6@3.1.1 MQTT-3.8.4-8@5.0 MQTT-4.7.3-4
#[test]
fn a_message_reaches_every_matching_subscription_with_the_lower_qos() {
    let subject = Subject::start();
    let mut low = subject.v4("low");
    let mut high = subject.v4("high");
    assert_eq!(low.subscribe4("A/+/c", 0), 0);
    assert_eq!(high.subscribe4("A/#", 2), 2);
    let mut publisher = subject.v4("pub");
    publisher.send(&publish4(2, "A/b/c", Some(5), b"one"));
    assert_eq!(publisher.read(), (0x40, vec![0, 5]));
    let got = low.message(4);
    assert_eq!(
        (got.qos(), got.topic.as_str(), got.payload.as_slice(), got.dup()),
        (0, "A/b/c", &b"one"[..], false)
    );
    assert_eq!(high.message(4).qos(), 1);
}

// MQTT-3.3.4-2@5.0 MQTT-3.3.4-3@5.0 MQTT-3.3.4-4@5.0
#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_identifiers() {
    let subject = Subject::start();
    let mut peer = subject.v5("overlap");
    assert_eq!(peer.subscribe5("o/#", 0, &[11, 7]), 0);
    assert_eq!(peer.subscribe5("o/+", 1, &[11, 8]), 1);
    peer.send(&publish5(2, "o/x", Some(1), &[], b"p"));
    let mut messages = Vec::new();
    let mut acknowledged = false;
    while messages.is_empty() || !acknowledged {
        match peer.read() {
            (0x40, _) => acknowledged = true,
            (first, body) => messages.push((first, body)),
        }
    }
    let (first, body) = &messages[0];
    assert_eq!(first >> 1 & 3, 1);
    let tail = &body[body.len() - 1 - 4 - 1..];
    assert!(tail.contains(&7) && tail.contains(&8) && tail.ends_with(b"p"), "{body:?}");
    peer.send(&[0x40, 2, body[5], body[6]]);
    peer.quiet();
}

// MQTT-3.3.2-4@5.0 MQTT-3.3.2-15@5.0 MQTT-3.3.2-16@5.0 MQTT-3.3.2-17@5.0 MQTT-3.3.2-18@5.0 MQTT-3.3.2-20@5.0
#[test]
fn properties_are_forwarded_unaltered_and_in_order() {
    let subject = Subject::start();
    let mut reader = subject.v5("props-r");
    assert_eq!(reader.subscribe5("props", 0, &[]), 0);
    let user = |n: &str, v: &str| [&[38][..], &text(n), &text(v)].concat();
    let properties = [
        &[1, 1][..],
        &user("b", "1"),
        &[3][..],
        &text("t/p"),
        &user("a", "2"),
        &[8][..],
        &text("answer"),
        &[9][..],
        &text("corr"),
        &user("b", "3"),
    ]
    .concat();
    subject.v5("props-w").send(&publish5(0, "props", None, &properties, b"x"));
    assert_eq!(reader.message(5).properties, properties);
}

// MQTT-3.3.2-5@5.0 MQTT-3.3.2-6@5.0
#[test]
fn expiry_counts_down_and_ends_a_message() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let (mut reader, _, _) = subject.v5_with("expiry", 2, &keep, &[]);
    assert_eq!(reader.subscribe5("e/#", 1, &[]), 1);
    reader.send(&[0xe0, 0]);
    reader.closed();
    let mut writer = subject.v5("expiry-w");
    for (topic, seconds, id) in [("e/short", 1, 1), ("e/long", 100, 2)] {
        writer.send(&publish5(2, topic, Some(id), &[2, 0, 0, 0, seconds], b"x"));
        assert_eq!(writer.read().0, 0x40);
    }
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 2_100 {
        writer.quiet();
    }
    let (mut reader, present, _) = subject.v5_with("expiry", 0, &keep, &[]);
    assert!(present);
    let got = reader.message(5);
    assert_eq!(got.topic, "e/long");
    assert_eq!(got.properties[..4], [2, 0, 0, 0]);
    assert!((90..=98).contains(&got.properties[4]), "{} seconds are left", got.properties[4]);
    reader.send(&[0x40, 2, 0, got.id.unwrap_or(0) as u8]);
    reader.quiet();
}

// MQTT-3.3.2-7@5.0 MQTT-3.3.2-8@5.0 MQTT-3.3.2-10@5.0 MQTT-3.3.2-11@5.0 MQTT-3.1.2-26@5.0 MQTT-3.1.2-27@5.0
#[test]
fn aliases_stand_for_topics_in_both_directions() {
    let subject = Subject::start();
    let (mut reader, _, _) = subject.v5_with("alias-r", 2, &[34, 0, 1], &[]);
    let mut plain = subject.v5("alias-p");
    assert_eq!(reader.subscribe5("alias/#", 0, &[]), 0);
    assert_eq!(plain.subscribe5("alias/#", 0, &[]), 0);
    let mut writer = subject.v5("alias-w");
    writer.send(&publish5(0, "alias/a", None, &[35, 0, 3], b"1"));
    writer.send(&publish5(0, "", None, &[35, 0, 3], b"2"));
    writer.send(&publish5(0, "alias/b", None, &[], b"3"));
    assert_eq!(plain.message(5).topic, "alias/a");
    let second = plain.message(5);
    assert_eq!(
        (second.topic.as_str(), second.payload.as_slice(), second.properties.len()),
        ("alias/a", &b"2"[..], 0)
    );
    let first = reader.message(5);
    assert_eq!((first.topic.as_str(), first.properties), ("alias/a", vec![35, 0, 1]));
    let again = reader.message(5);
    assert_eq!((again.topic.as_str(), again.properties), ("", vec![35, 0, 1]));
    assert_eq!(reader.message(5).topic, "alias/b");
    for (alias, code) in [([35, 0, 0], 0x94), ([35, 0xff, 0xff], 0x94), ([35, 0, 9], 0x82)] {
        let mut bad = subject.v5("alias-bad");
        bad.send(&publish5(0, "", None, &alias, b"x"));
        bad.closed_with(code);
    }
}

// MQTT-3.1.2-24@5.0 MQTT-3.1.2-25@5.0
#[test]
fn a_message_larger_than_the_client_takes_is_left_out() {
    let subject = Subject::start();
    let (mut reader, _, _) = subject.v5_with("small", 2, &[39, 0, 0, 0, 40], &[]);
    assert_eq!(reader.subscribe5("size", 1, &[]), 1);
    let mut writer = subject.v5("large");
    for (id, size) in [(1, 100), (2, 3)] {
        writer.send(&publish5(2, "size", Some(id), &[], &vec![b'x'; size]));
        assert_eq!(writer.read().0, 0x40);
    }
    assert_eq!(reader.message(5).payload, b"xxx");
}

// MQTT-3.3.4-6@5.0 MQTT-3.3.2-2 MQTT-3.3.1-4 MQTT-3.3.1-2 MQTT-3.3.2-14@5.0 MQTT-4.7.0-1@5.0 MQTT-4.7.1-1@3.1.1
#[test]
fn what_no_client_may_publish_is_refused() {
    let subject = Subject::start();
    let cases: [(Vec<u8>, u8); 7] = [
        (publish5(0, "a/#", None, &[], b""), 0x90),
        (publish5(0, "a/+", None, &[], b""), 0x90),
        (publish5(0, "", None, &[], b""), 0x82),
        (publish5(6, "a", Some(1), &[], b""), 0x81),
        (publish5(8, "a", None, &[], b""), 0x81),
        (publish5(0, "a", None, &[11, 1], b""), 0x82),
        (publish5(0, "a", None, &[&[8][..], &text("r/#")].concat(), b""), 0x82),
    ];
    for (bytes, code) in cases {
        let mut peer = subject.v5("bad-publish");
        peer.send(&bytes);
        peer.closed_with(code);
    }
}
