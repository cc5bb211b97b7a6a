//! Shared Subscriptions.

use std::collections::BTreeSet;

use motte_conformance::{Subject, packet, publish5};

// MQTT-4.8.2-3@5.0 MQTT-3.8.3-4@5.0
#[test]
fn each_message_goes_to_one_member_in_turn_and_none_is_retained_for_it() {
    let subject = Subject::start();
    let mut writer = subject.v5("w");
    writer.send(&publish5(3, "s/kept", Some(9), &[], b"k"));
    assert_eq!(writer.read().0, 0x40);
    let mut members: Vec<_> = (0..3).map(|n| subject.v5(&format!("member{n}"))).collect();
    for member in &mut members {
        assert_eq!(member.subscribe5("$share/g/s/#", 1, &[]), 1);
        member.quiet();
    }
    for id in 1..=9 {
        writer.send(&publish5(2, "s/x", Some(id), &[], &[id as u8]));
        assert_eq!(writer.read().0, 0x40);
    }
    let mut all = BTreeSet::new();
    for member in &mut members {
        for _ in 0..3 {
            let got = member.message(5);
            assert!(all.insert(got.payload[0]), "{got:?} came twice");
            member.send(&packet(0x40, &got.id.unwrap_or(0).to_be_bytes()));
        }
        member.quiet();
    }
    assert_eq!(all.len(), 9);
    let mut local = subject.v5("local");
    local.send(&packet(0x82, b"\0\x01\0\0\x0a$share/g/a\x04"));
    local.closed_with(0x82);
}

// MQTT-4.8.2-4@5.0 MQTT-4.8.2-5@5.0
#[test]
fn what_a_member_has_not_taken_moves_to_another_when_its_session_ends() {
    let subject = Subject::start();
    let mut first = subject.v5_with("first", 2, &[33, 0, 1], &[]).0;
    assert_eq!(first.subscribe5("$share/g/m", 1, &[]), 1);
    let mut writer = subject.v5("w");
    for id in 1..=4 {
        writer.send(&publish5(2, "m", Some(id), &[], &[id as u8]));
        assert_eq!(writer.read().0, 0x40);
    }
    assert_eq!(first.message(5).payload, [1]);
    let mut second = subject.v5("second");
    assert_eq!(second.subscribe5("$share/g/m", 1, &[]), 1);
    first.drop_dead();
    let mut got = BTreeSet::new();
    while got.len() < 4 {
        let message = second.message(5);
        got.insert(message.payload[0]);
        second.send(&packet(0x40, &message.id.unwrap_or(0).to_be_bytes()));
    }
}
