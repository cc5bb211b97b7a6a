//! CONNECT and CONNACK.

use motte_conformance::{Subject, connect4, connect5, packet, publish4, text};

// MQTT-3.1.0-1 MQTT-3.1.0-2 MQTT-4.8.0-1@3.1.1
#[test]
fn connect_comes_first_and_once() {
    let subject = Subject::start();
    let mut peer = subject.dial();
    peer.send(&publish4(0, "a", None, b"x"));
    assert!(peer.closed().is_empty());
    let mut peer = subject.v4("twice");
    peer.send(&connect4("twice", 2, 60, &[]));
    assert!(peer.closed().is_empty());
    let mut peer = subject.v5("twice5");
    peer.send(&connect5("twice5", 2, 60, &[], &[]));
    peer.closed_with(0x82);
}

// MQTT-3.1.2-1 MQTT-3.1.2-2 MQTT-4.13.1-1@5.0
#[test]
fn unknown_names_and_levels_are_answered_and_closed() {
    let subject = Subject::start();
    let with =
        |name: &str, level: u8| packet(0x10, &[&text(name)[..], &[level, 2, 0, 60], &text("x")].concat());
    let mut peer = subject.dial();
    peer.send(&with("HTTP", 4));
    assert!(peer.closed().is_empty());
    let mut peer = subject.dial();
    peer.send(&with("MQTT", 2));
    assert_eq!(peer.closed(), [(0x20, vec![0, 1])]);
    let mut peer = subject.dial();
    peer.send(&with("MQTT", 9));
    assert_eq!(peer.closed(), [(0x20, vec![0, 0x84, 0])]);
}

// MQTT-3.1.2-3 MQTT-3.1.4-1 MQTT-2.2.2-2@3.1.1
#[test]
fn the_reserved_flag_must_be_zero() {
    let subject = Subject::start();
    let mut peer = subject.dial();
    peer.send(&connect4("reserved", 0x03, 60, &[]));
    assert!(peer.closed().is_empty());
}

// MQTT-3.1.2-11@5.0 MQTT-3.1.2-12@5.0 MQTT-3.1.2-13@5.0 MQTT-3.1.2-13@3.1.1 MQTT-3.1.2-14@3.1.1 MQTT-3.1.2-15@3.1.1
// MQTT-3.1.2-22@3.1.1 MQTT-3.1.2-11@3.1.1
#[test]
fn flags_that_contradict_each_other_are_malformed() {
    let subject = Subject::start();
    for flags in [0x0a, 0x12, 0x22, 0x1e, 0x42] {
        let mut peer = subject.dial();
        peer.send(&connect4("flags", flags, 60, &text("x")));
        assert!(peer.closed().is_empty(), "{flags:02x}");
    }
}

// MQTT-3.1.3-5 MQTT-3.1.3-6 MQTT-3.1.3-7@5.0 MQTT-3.1.3-8@3.1.1 MQTT-3.1.3-9@3.1.1 MQTT-3.2.2-16@5.0 MQTT-3.2.2-5@3.1.1
// MQTT-3.2.2-4@3.1.1
#[test]
fn an_empty_identifier_is_assigned_or_refused() {
    let subject = Subject::start();
    subject.v4("");
    subject.v4("abcdefghijABCDEFGHIJ012");
    let mut peer = subject.dial();
    peer.send(&connect4("", 0, 60, &[]));
    assert_eq!(peer.closed(), [(0x20, vec![0, 2])]);
    let (_, _, one) = subject.v5_with("", 2, &[], &[]);
    let (_, _, other) = subject.v5_with("", 2, &[], &[]);
    let assigned = |properties: &[u8]| {
        let at = properties.iter().position(|byte| *byte == 18).expect("Assigned Client Identifier");
        properties[at..].to_vec()
    };
    assert_ne!(assigned(&one), assigned(&other));
}

// MQTT-3.1.4-2@3.1.1 MQTT-3.1.4-3@5.0 MQTT-3.1.4-4@5.0 MQTT-3.1.4-5@5.0 MQTT-3.1.4-4@3.1.1 MQTT-3.2.0-1
#[test]
fn a_second_client_with_the_identifier_takes_over() {
    let subject = Subject::start();
    let mut first = subject.v5("same");
    let mut second = subject.v5("same");
    first.closed_with(0x8e);
    second.quiet();
    let mut old = subject.v4("same4");
    subject.v4("same4").quiet();
    assert!(old.closed().is_empty());
}

// MQTT-3.1.2-24@3.1.1 MQTT-3.1.2-22@5.0
#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let subject = Subject::start();
    let mut peer = subject.dial();
    peer.send(&connect4("silent", 2, 1, &[]));
    assert_eq!(peer.read(), (0x20, vec![0, 0]));
    let mut peer5 = subject.dial();
    peer5.send(&connect5("silent5", 2, 1, &[], &[]));
    assert_eq!(peer5.read().0, 0x20);
    let start = std::time::Instant::now();
    assert!(peer.closed().is_empty());
    peer5.closed_with(0x8d);
    assert!(start.elapsed().as_millis() >= 1_400, "closed after {:?}", start.elapsed());
}

// MQTT-3.2.2-22@5.0 MQTT-3.2.2-9@5.0 MQTT-3.2.2-10@5.0 MQTT-3.2.2-12@5.0 MQTT-3.2.2-13@5.0 MQTT-3.2.2-7@5.0
// MQTT-3.2.2-6@5.0 MQTT-3.8.4-7@5.0 MQTT-3.2.2-8@5.0
#[test]
fn limits_are_announced_and_kept() {
    let subject = Subject::with(
        "maximum_qos = 1\nretain_available = false\nkeep_alive_s_max = 30\nwildcard_available = false\nshared_available = false\nsubscription_identifiers_available = false",
    );
    let (mut peer, _, properties) = subject.v5_with("limited", 2, &[], &[]);
    for announced in [&[36, 1][..], &[37, 0], &[19, 0, 30], &[40, 0], &[41, 0], &[42, 0]] {
        assert!(
            properties.windows(announced.len()).any(|part| part == announced),
            "{announced:?} in {properties:?}"
        );
    }
    assert_eq!(peer.subscribe5("a", 2, &[]), 1);
    assert_eq!(peer.subscribe5("a/#", 0, &[]), 0xa2);
    assert_eq!(peer.subscribe5("$share/g/a", 0, &[]), 0x9e);
    let will = |flags: u8| connect5("will", flags, 60, &[], &[&[0][..], &text("t"), &text("p")].concat());
    for (flags, code) in [(0x16, 0x9b), (0x26, 0x9a)] {
        let mut peer = subject.dial();
        peer.send(&will(flags));
        assert_eq!(peer.closed(), [(0x20, vec![0, code, 0])]);
    }
}

// MQTT-4.12.0-1@5.0 MQTT-4.12.0-6@5.0 MQTT-3.15.1-1@5.0
#[test]
fn an_unknown_authentication_method_is_refused_and_none_means_no_auth() {
    let subject = Subject::start();
    let mut peer = subject.dial();
    peer.send(&connect5("auth", 2, 60, &[&[21][..], &text("NOBODY-KNOWS")].concat(), &[]));
    let said = peer.closed();
    assert!(said.is_empty() || said[0].1[1] == 0x8c, "{said:?}");
    let mut peer = subject.v5("noauth");
    peer.send(&packet(
        0xf0,
        &[&[0x18][..], &motte_conformance::section(&[&[21][..], &text("X")].concat())].concat(),
    ));
    peer.closed_with(0x82);
}

// MQTT-3.12.4-1
#[test]
fn pings_are_answered() {
    let subject = Subject::start();
    subject.v4("ping").quiet();
    subject.v5("ping5").quiet();
}

// MQTT-3.14.4-3 MQTT-3.14.1-1 MQTT-3.14.4-2@5.0 MQTT-4.13.2-1@5.0
#[test]
fn disconnect_ends_the_connection_and_must_be_well_formed() {
    let subject = Subject::start();
    let mut peer = subject.v5("bye");
    peer.send(&[0xe0, 0]);
    assert!(peer.closed().is_empty());
    let mut peer = subject.v5("bye2");
    peer.send(&[0xe1, 0]);
    peer.closed_with(0x81);
    let mut peer = subject.v5("bye3");
    // From zero the Session Expiry Interval cannot grow.
    peer.send(&packet(0xe0, &[0, 5, 17, 0, 0, 0, 9]));
    peer.closed_with(0x82);
}
