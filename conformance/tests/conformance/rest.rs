//! Statements that need a few packets each.

use motte_conformance::{Subject, connect4, connect5, packet, publish4, publish5, text};

// MQTT-3.1.3-1 MQTT-3.1.3-2 MQTT-4.1.0-2@3.1.1
#[test]
fn the_fields_of_connect_stand_in_their_order_and_the_identifier_names_the_session() {
    let subject = Subject::start();
    let mut watcher = subject.v4("watcher");
    assert_eq!(watcher.subscribe4("will/+", 0), 0);
    // Clean session 0, a Will with QoS 0, user name and password.
    let rest = [text("will/a"), text("gone"), text("user"), text("password")].concat();
    let mut mortal = subject.dial();
    mortal.send(&connect4("mortal", 0xc4, 60, &rest));
    assert_eq!(mortal.read(), (0x20, vec![0, 0]));
    assert_eq!(mortal.subscribe4("kept", 1), 1);
    mortal.quiet();
    mortal.drop_dead();
    let will = watcher.message(4);
    assert_eq!((will.topic.as_str(), &will.payload[..]), ("will/a", &b"gone"[..]));
    for (id, present) in [("other", 0), ("mortal", 1)] {
        let mut peer = subject.dial();
        peer.send(&connect4(id, 0, 60, &[]));
        assert_eq!(peer.read(), (0x20, vec![present, 0]), "{id}");
    }
}

// MQTT-3.1.3-11@3.1.1 MQTT-3.1.3-12@5.0 MQTT-3.8.3-1@3.1.1 MQTT-3.3.2-13@5.0 MQTT-3.3.2-19@5.0
#[test]
fn what_must_be_utf_8_is_refused_when_it_is_not() {
    let subject = Subject::start();
    let bad = [0, 2, 0xc3, 0x28];
    let mut peer = subject.dial();
    peer.send(&connect4("user", 0x82, 60, &bad));
    assert_eq!(peer.closed(), [], "a user name of 3.1.1");
    let mut peer = subject.dial();
    peer.send(&connect5("user", 0x82, 60, &[], &bad));
    let said = peer.closed();
    assert!(said.iter().all(|(first, body)| (*first, body[1]) == (0x20, 0x81)), "{said:02x?}");
    let mut peer = subject.v4("filter");
    peer.send(&packet(0x82, &[&[0, 1][..], &bad, &[0]].concat()));
    assert_eq!(peer.closed(), [], "a filter");
    for property in [8, 3] {
        let mut peer = subject.v5("property");
        peer.send(&publish5(0, "a", None, &[&[property][..], &bad].concat(), b"x"));
        peer.closed_with(0x81);
    }
}

// MQTT-3.3.5-2@3.1.1
#[test]
fn a_publish_that_is_not_permitted_is_acknowledged_all_the_same() {
    let subject = Subject::start();
    let mut watcher = subject.v4("watcher");
    assert_eq!(watcher.subscribe4("$SYS/mine", 0), 0);
    let mut peer = subject.v4("peer");
    peer.send(&publish4(2, "$SYS/mine", Some(9), b"forged"));
    assert_eq!(peer.read(), (0x40, vec![0, 9]));
    watcher.quiet();
}

// MQTT-3.10.4-3
#[test]
fn what_is_under_way_is_completed_after_unsubscribing() {
    let subject = Subject::start();
    let keep = [17, 0, 0, 0, 60];
    let (mut reader, _, _) = subject.v5_with("reader", 2, &keep, &[]);
    assert_eq!(reader.subscribe5("u", 1, &[]), 1);
    let mut writer = subject.v5("writer");
    writer.send(&publish5(2, "u", Some(1), &[], b"x"));
    let id = reader.message(5).id;
    reader.send(&packet(0xa2, &[&[0, 4, 0][..], &text("u")].concat()));
    assert_eq!(reader.read().0, 0xb0);
    reader.drop_dead();
    let (mut reader, present, _) = subject.v5_with("reader", 0, &keep, &[]);
    assert!(present);
    let again = reader.message(5);
    assert_eq!((again.id, again.dup()), (id, true));
}

// MQTT-3.9.3-2@5.0
#[test]
fn each_filter_is_answered_by_a_code_of_the_table() {
    let subject = Subject::with("shared_available = false\nmaximum_qos = 1");
    let mut peer = subject.v5("codes");
    let filters = [("a", 0), ("b", 2), ("a/#/b", 0), ("$share/g/a", 0)];
    let body: Vec<u8> =
        filters.iter().flat_map(|(filter, qos)| [text(filter), vec![*qos]].concat()).collect();
    peer.send(&packet(0x82, &[&[0, 1, 0][..], &body].concat()));
    assert_eq!(peer.read(), (0x90, vec![0, 1, 0, 0, 1, 0x8f, 0x9e]));
}

// MQTT-4.8.2-6@5.0
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let subject = Subject::start();
    let (mut one, mut two) = (subject.v5("one"), subject.v5("two"));
    for member in [&mut one, &mut two] {
        assert_eq!(member.subscribe5("$share/g/s", 1, &[]), 1);
    }
    let mut writer = subject.v5("writer");
    for _ in 0..2 {
        writer.send(&publish5(2, "s", Some(1), &[], b"x"));
        assert_eq!(writer.read().0, 0x40);
    }
    for member in [&mut one, &mut two] {
        let id = member.message(5).id.unwrap_or_default().to_be_bytes();
        member.send(&[0x40, 3, id[0], id[1], 0x83]);
    }
    one.quiet();
    two.quiet();
}
