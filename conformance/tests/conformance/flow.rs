//! QoS 1 and 2, flow control, and what is sent again.

use std::time::{Duration, Instant};

use motte_conformance::{Subject, packet, publish4, publish5};

// MQTT-4.3.2-2@3.1.1 MQTT-4.3.2-4@5.0 MQTT-4.3.2-5@5.0 MQTT-2.2.1-5@5.0 MQTT-2.3.1-6@3.1.1 MQTT-3.3.4-1
#[test]
fn qos_1_is_acknowledged_with_its_identifier_and_may_repeat() {
    let subject = Subject::start();
    let mut reader = subject.v4("q1-r");
    assert_eq!(reader.subscribe4("q1", 0), 0);
    let mut writer = subject.v4("q1-w");
    for flags in [2, 10] {
        writer.send(&publish4(flags, "q1", Some(0x1234), b"x"));
        assert_eq!(writer.read(), (0x40, vec![0x12, 0x34]));
        assert_eq!(reader.message(4).payload, b"x");
    }
}

// MQTT-4.3.3-2@3.1.1 MQTT-4.3.3-8@5.0 MQTT-4.3.3-10@5.0 MQTT-4.3.3-11@5.0 MQTT-4.3.3-12@5.0
#[test]
fn qos_2_arrives_once_however_often_it_is_sent() {
    let subject = Subject::start();
    let mut reader = subject.v4("q2-r");
    assert_eq!(reader.subscribe4("q2", 0), 0);
    let mut writer = subject.v4("q2-w");
    for flags in [4, 12] {
        writer.send(&publish4(flags, "q2", Some(7), b"once"));
        assert_eq!(writer.read(), (0x50, vec![0, 7]));
    }
    for _ in 0..2 {
        writer.send(&[0x62, 2, 0, 7]);
        assert_eq!(writer.read(), (0x70, vec![0, 7]));
    }
    assert_eq!(reader.message(4).payload, b"once");
    reader.quiet();
    writer.send(&publish4(4, "q2", Some(7), b"again"));
    assert_eq!(writer.read(), (0x50, vec![0, 7]));
    assert_eq!(reader.message(4).payload, b"again");
    let mut unknown = subject.v5("q2-u");
    unknown.send(&[0x62, 2, 0, 9]);
    assert_eq!(unknown.read(), (0x70, vec![0, 9, 0x92]));
}

// MQTT-4.4.0-1 MQTT-4.6.0-1@5.0 MQTT-3.3.1-1 MQTT-4.3.3-1@3.1.1 MQTT-4.3.3-3@5.0 MQTT-4.3.3-4@5.0 MQTT-4.3.3-5@5.0 MQTT-4.3.3-6@5.0
// MQTT-2.3.1-4@3.1.1 MQTT-2.2.1-4@5.0 MQTT-4.3.2-1 MQTT-4.3.2-3@5.0 MQTT-4.3.2-2@5.0 MQTT-4.3.3-2@5.0 MQTT-4.3.3-1@5.0
#[test]
fn what_is_unacknowledged_is_sent_again_after_reconnecting_in_order() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let (mut reader, _, _) = subject.v5_with("again", 2, &keep, &[]);
    assert_eq!(reader.subscribe5("again/#", 2, &[]), 2);
    let mut writer = subject.v5("again-w");
    writer.send(&publish5(2, "again/1", Some(1), &[], b"1"));
    assert_eq!(writer.read().0, 0x40);
    for (id, topic) in [(2, "again/2"), (3, "again/3")] {
        writer.send(&publish5(4, topic, Some(id), &[], b"2"));
        assert_eq!(writer.read().0, 0x50);
        writer.send(&packet(0x62, &id.to_be_bytes()));
        assert_eq!(writer.read().0, 0x70);
    }
    let (one, two, three) = (reader.message(5), reader.message(5), reader.message(5));
    assert!(!one.dup() && !two.dup() && one.id != two.id && two.id != three.id);
    let id = two.id.unwrap_or(0);
    reader.send(&packet(0x50, &id.to_be_bytes()));
    assert_eq!(reader.read(), (0x62, id.to_be_bytes().to_vec()));
    reader.drop_dead();
    let (mut reader, present, _) = subject.v5_with("again", 0, &keep, &[]);
    assert!(present);
    let again = reader.message(5);
    assert_eq!((again.topic.as_str(), again.dup(), again.id), ("again/1", true, one.id));
    assert_eq!(reader.read(), (0x62, id.to_be_bytes().to_vec()), "PUBREL is sent again, PUBLISH is not");
    let again = reader.message(5);
    assert_eq!((again.topic.as_str(), again.dup(), again.id), ("again/3", true, three.id));
    reader.send(&packet(0x70, &id.to_be_bytes()));
    reader.quiet();
}

// MQTT-4.9.0-1@5.0 MQTT-4.9.0-2@5.0 MQTT-4.9.0-3@5.0 MQTT-3.3.4-9@5.0 MQTT-3.3.4-10@5.0
#[test]
fn no_more_than_the_clients_receive_maximum_is_under_way() {
    let subject = Subject::start();
    let (mut reader, _, _) = subject.v5_with("window", 2, &[33, 0, 2], &[]);
    assert_eq!(reader.subscribe5("window", 1, &[]), 1);
    let mut writer = subject.v5("window-w");
    for id in 1..=4 {
        writer.send(&publish5(2, "window", Some(id), &[], &[id as u8]));
        assert_eq!(writer.read().0, 0x40);
    }
    let (one, two) = (reader.message(5), reader.message(5));
    reader.quiet();
    reader.send(&packet(0x40, &two.id.unwrap_or(0).to_be_bytes()));
    assert_eq!(reader.message(5).payload, [3]);
    reader.quiet();
    reader.send(&packet(0x40, &one.id.unwrap_or(0).to_be_bytes()));
    assert_eq!(reader.message(5).payload, [4]);
}

// MQTT-4.6.0-5 MQTT-4.6.0-6 MQTT-4.2.0-1
#[test]
fn messages_of_one_publisher_and_topic_arrive_in_order() {
    let subject = Subject::start();
    let mut reader = subject.v4("order-r");
    assert_eq!(reader.subscribe4("order", 1), 1);
    let mut writer = subject.v4("order-w");
    let all: Vec<u8> =
        (1..=200_u16).flat_map(|id| publish4(2, "order", Some(id), &id.to_be_bytes())).collect();
    writer.send(&all);
    for id in 1..=200_u16 {
        assert_eq!(writer.read(), (0x40, id.to_be_bytes().to_vec()));
        let got = reader.message(4);
        assert_eq!(got.payload, id.to_be_bytes());
        reader.send(&packet(0x40, &got.id.unwrap_or(0).to_be_bytes()));
    }
}

// MQTT-3.3.4-7@5.0 MQTT-4.3.3-9@5.0
#[test]
fn more_open_qos_2_flows_than_receive_maximum_end_the_connection() {
    let subject = Subject::with("receive_maximum = 2");
    let mut peer = subject.v5("open");
    for id in 1..=3 {
        peer.send(&publish5(4, "open", Some(id), &[], b""));
    }
    peer.closed_with(0x93);
}

// MQTT-4.3.1-1 MQTT-4.4.0-2@5.0
#[test]
fn qos_0_has_no_dup_and_a_refusal_ends_the_sending() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let (mut reader, _, _) = subject.v5_with("refuses", 2, &keep, &[]);
    assert_eq!(reader.subscribe5("f/#", 2, &[]), 2);
    let mut writer = subject.v5("f-w");
    writer.send(&publish5(0, "f/0", None, &[], b"0"));
    let message = reader.message(5);
    assert_eq!((message.qos(), message.dup()), (0, false));
    writer.send(&publish5(2, "f/1", Some(1), &[], b"1"));
    let id = reader.message(5).id.unwrap_or_default().to_be_bytes();
    reader.send(&[0x40, 3, id[0], id[1], 0x83]);
    writer.send(&publish5(4, "f/2", Some(2), &[], b"2"));
    let id = reader.message(5).id.unwrap_or_default().to_be_bytes();
    reader.send(&[0x50, 3, id[0], id[1], 0x97]);
    reader.quiet();
    reader.drop_dead();
    let (mut reader, present, _) = subject.v5_with("refuses", 0, &keep, &[]);
    assert!(present);
    reader.quiet();
}

// MQTT-4.3.3-7@5.0 MQTT-4.3.3-13@5.0
#[test]
fn a_flow_that_has_begun_goes_on_when_its_message_expires() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let (mut reader, _, _) = subject.v5_with("expires", 2, &keep, &[]);
    assert_eq!(reader.subscribe5("e", 2, &[]), 2);
    let mut writer = subject.v5("e-w");
    writer.send(&publish5(4, "e", Some(1), &[2, 0, 0, 0, 1], b"x"));
    assert_eq!(writer.read().0, 0x50);
    let id = reader.message(5).id;
    // The broker's clock is the only one that counts: another message with the same interval tells when it has passed:
    // retained, it is there for a new subscriber until then.
    writer.send(&publish5(3, "tick", Some(2), &[2, 0, 0, 0, 1], b"x"));
    assert_eq!(writer.read().0, 0x40);
    let begun = Instant::now();
    loop {
        let mut clock = subject.v5("clock");
        assert_eq!(clock.subscribe5("tick", 0, &[]), 0);
        clock.send(&[0xc0, 0]);
        if clock.read().0 == 0xd0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "a message of one second does not expire");
    }
    // The sender's flow ends as if nothing had happened, and so does the receiver's, also after reconnecting.
    writer.send(&[0x62, 2, 0, 1]);
    assert_eq!(writer.read(), (0x70, vec![0, 1]));
    reader.drop_dead();
    let (mut reader, _, _) = subject.v5_with("expires", 0, &keep, &[]);
    let again = reader.message(5);
    assert_eq!((again.id, again.dup()), (id, true));
    let id = id.unwrap_or_default().to_be_bytes();
    reader.send(&[0x50, 2, id[0], id[1]]);
    assert_eq!(reader.read(), (0x62, vec![id[0], id[1]]));
}
