//! SUBSCRIBE and UNSUBSCRIBE.

use motte_conformance::{Subject, packet, publish4, publish5, text};

// MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-3.8.4-4@3.1.1 MQTT-3.8.4-5 MQTT-3.8.4-6@5.0 MQTT-3.9.3-1 MQTT-3.9.3-2@3.1.1 MQTT-2.3.1-7@3.1.1
// MQTT-2.2.1-6@5.0 MQTT-3.8.3-2@3.1.1
#[test]
fn each_filter_gets_its_code_in_order() {
    let subject = Subject::start();
    let mut peer = subject.v4("codes");
    let entries = [&text("a")[..], &[1], &text("a/#/b"), &[0], &text("+/x"), &[2]].concat();
    peer.send(&packet(0x82, &[&[0, 44][..], &entries].concat()));
    assert_eq!(peer.read(), (0x90, vec![0, 44, 1, 0x80, 2]));
    let mut peer = subject.v5("codes5");
    peer.send(&packet(0x82, &[&[0, 45, 0][..], &entries].concat()));
    assert_eq!(peer.read(), (0x90, vec![0, 45, 0, 1, 0x8f, 2]));
}

// MQTT-4.7.1-2 MQTT-4.7.1-3@3.1.1 MQTT-4.7.1-1@5.0 MQTT-4.7.3-1 MQTT-4.8.2-1@5.0 MQTT-4.8.2-2@5.0
#[test]
fn malformed_filters_are_refused() {
    let subject = Subject::start();
    let mut peer = subject.v5("grammar");
    for filter in [
        "#/a",
        "a#",
        "a/b#",
        "a+",
        "+a/b",
        "a/+b",
        "$share/g",
        "$share//a",
        "$share/g/",
        "$share/g+/a",
        "$share/#/a",
    ] {
        assert_eq!(peer.subscribe5(filter, 0, &[]), 0x8f, "{filter}");
    }
    for filter in ["#", "+", "/", "//", "+/+", "a/+/b/#", "/#", "$share/g/a/#", " "] {
        assert_eq!(peer.subscribe5(filter, 0, &[]), 0, "{filter}");
    }
}

// MQTT-4.7.2-1
#[test]
fn leading_wildcards_do_not_reach_dollar_topics() {
    let subject = Subject::start();
    let mut peer = subject.v4("dollar");
    assert_eq!(peer.subscribe4("#", 0), 0);
    assert_eq!(peer.subscribe4("+/x", 0), 0);
    let mut writer = subject.v4("dollar-w");
    writer.send(&publish4(2, "$other/x", Some(1), b"hidden"));
    assert_eq!(writer.read().0, 0x40);
    peer.quiet();
    assert_eq!(peer.subscribe4("$other/#", 0), 0);
    writer.send(&publish4(0, "$other/x", None, b"seen"));
    assert_eq!(peer.message(4).payload, b"seen");
}

// MQTT-3.10.4-1 MQTT-3.10.4-2 MQTT-3.10.4-4 MQTT-3.10.4-5 MQTT-3.10.4-6 MQTT-3.11.3-1@5.0 MQTT-3.11.3-2@5.0
#[test]
fn unsubscribing_ends_delivery_and_is_answered_for_each_filter() {
    let subject = Subject::start();
    let mut peer = subject.v5("unsub");
    assert_eq!(peer.subscribe5("u/#", 0, &[]), 0);
    peer.send(&packet(0xa2, &[&[0, 3, 0][..], &text("u/#"), &text("u/+"), &text("U/#")].concat()));
    assert_eq!(peer.read(), (0xb0, vec![0, 3, 0, 0, 0x11, 0x11]));
    peer.send(&publish5(0, "u/x", None, &[], b"x"));
    peer.quiet();
    let mut peer = subject.v4("unsub4");
    peer.send(&packet(0xa2, &[&[0, 4][..], &text("nothing")].concat()));
    assert_eq!(peer.read(), (0xb0, vec![0, 4]));
}

// MQTT-3.8.3-3@5.0
#[test]
fn no_local_keeps_the_own_messages_away_and_others_come() {
    let subject = Subject::start();
    let mut peer = subject.v5("local");
    assert_eq!(peer.subscribe5("local", 4, &[]), 0);
    peer.send(&publish5(0, "local", None, &[], b"mine"));
    subject.v5("other").send(&publish5(0, "local", None, &[], b"theirs"));
    assert_eq!(peer.message(5).payload, b"theirs");
    peer.quiet();
}

// MQTT-3.8.4-3 MQTT-3.8.4-4@5.0 MQTT-3.3.1-9@5.0 MQTT-3.3.1-10@5.0 MQTT-3.3.1-11@5.0
#[test]
fn subscribing_again_replaces_and_retain_handling_decides_about_retained_messages() {
    let subject = Subject::start();
    let mut writer = subject.v5("rh-w");
    writer.send(&publish5(3, "rh", Some(1), &[], b"kept"));
    assert_eq!(writer.read().0, 0x40);
    let mut peer = subject.v5("rh");
    assert_eq!(peer.subscribe5("rh", 0x20, &[]), 0);
    peer.quiet();
    assert_eq!(peer.subscribe5("rh", 0x10, &[]), 0);
    peer.quiet();
    assert_eq!(peer.subscribe5("rh", 0x01, &[]), 1);
    let got = peer.message(5);
    assert_eq!((got.retain(), got.qos(), got.payload.as_slice()), (true, 1, &b"kept"[..]));
    peer.send(&packet(0x40, &got.id.unwrap_or(0).to_be_bytes()));
    writer.send(&publish5(0, "rh", None, &[], b"once"));
    assert_eq!(peer.message(5).payload, b"once");
    peer.quiet();
    let mut new = subject.v5("rh-new");
    assert_eq!(new.subscribe5("rh", 0x10, &[]), 0);
    assert_eq!(new.message(5).payload, b"kept");
}
