//! Wills.

use motte_conformance::{Subject, connect4, packet, text};

fn will5(delay: u8, topic: &str) -> Vec<u8> {
    let properties = if delay > 0 { vec![5, 24, 0, 0, 0, delay] } else { vec![0] };
    [&properties[..], &text(topic), &text("gone")].concat()
}

// MQTT-3.1.2-8 MQTT-3.1.2-9@3.1.1 MQTT-3.1.2-16@3.1.1 MQTT-3.1.2-17@3.1.1 MQTT-3.1.2-7@5.0 MQTT-3.1.2-9@5.0
// MQTT-3.1.2-14@5.0 MQTT-3.1.2-15@5.0
#[test]
fn a_will_is_published_when_the_connection_is_lost() {
    let subject = Subject::start();
    let mut watcher = subject.v4("watcher");
    assert_eq!(watcher.subscribe4("will/#", 1), 1);
    for (id, flags) in [("plain", 0x0e), ("kept", 0x2e)] {
        let mut peer = subject.dial();
        let topic = format!("will/{id}");
        peer.send(&connect4(id, flags, 60, &[text(&topic), text("gone")].concat()));
        assert_eq!(peer.read(), (0x20, vec![0, 0]));
        peer.drop_dead();
        let got = watcher.message(4);
        assert_eq!(
            (got.topic.as_str(), got.qos(), got.payload.as_slice()),
            (topic.as_str(), 1, &b"gone"[..])
        );
        watcher.send(&packet(0x40, &got.id.unwrap_or(0).to_be_bytes()));
    }
    let mut late = subject.v4("late");
    assert_eq!(late.subscribe4("will/#", 0), 0);
    let got = late.message(4);
    assert_eq!((got.topic.as_str(), got.retain()), ("will/kept", true));
    late.quiet();
}

// MQTT-3.1.2-10 MQTT-3.14.4-3 MQTT-3.1.2-12@3.1.1
#[test]
fn disconnect_discards_the_will_unless_it_says_otherwise() {
    let subject = Subject::start();
    let mut watcher = subject.v5("watcher");
    assert_eq!(watcher.subscribe5("will/#", 0, &[]), 0);
    let (mut silent, _, _) = subject.v5_with("silent", 0x06, &[], &will5(0, "will/silent"));
    silent.send(&[0xe0, 0]);
    silent.closed();
    let (mut loud, _, _) = subject.v5_with("loud", 0x06, &[], &will5(0, "will/loud"));
    loud.send(&[0xe0, 1, 4]);
    loud.closed();
    assert_eq!(watcher.message(5).topic, "will/loud");
    watcher.quiet();
}

// MQTT-3.1.3-9@5.0
#[test]
fn a_delayed_will_is_cancelled_by_coming_back_and_sent_otherwise() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let mut watcher = subject.v5("watcher");
    assert_eq!(watcher.subscribe5("will/#", 0, &[]), 0);
    let (peer, _, _) = subject.v5_with("back", 0x06, &keep, &will5(2, "will/back"));
    let (gone, _, _) = subject.v5_with("gone", 0x06, &keep, &will5(1, "will/gone"));
    let start = std::time::Instant::now();
    peer.drop_dead();
    gone.drop_dead();
    watcher.quiet();
    subject.v5_with("back", 0, &keep, &[]);
    assert_eq!(watcher.message(5).topic, "will/gone");
    assert!(start.elapsed().as_millis() >= 900, "after {:?}", start.elapsed());
    while start.elapsed().as_millis() < 2_600 {
        watcher.quiet();
    }
}

// MQTT-3.1.2-8@5.0 MQTT-3.1.3-10@5.0
#[test]
fn a_will_goes_out_with_its_properties_when_its_session_ends_first() {
    let subject = Subject::start();
    let mut watcher = subject.v5("watcher");
    assert_eq!(watcher.subscribe5("will/#", 0, &[]), 0);
    let user = |n: &str| [&[38][..], &text(n), &text("v")].concat();
    let properties = [&[24, 0, 0, 0, 90][..], &user("b"), &user("a")].concat();
    let rest = [&motte_conformance::section(&properties)[..], &text("will/p"), &text("x")].concat();
    // No Session Expiry Interval: the Session ends with the connection, so the delay does not count.
    let (peer, _, _) = subject.v5_with("p", 0x06, &[], &rest);
    peer.drop_dead();
    assert_eq!(watcher.message(5).properties, [user("b"), user("a")].concat());
}
