//! Messages through one worker and through several.

use crate::harness::*;

fn workers(count: u16) -> Running {
    let mut config = anonymous();
    config.workers = count;
    start(config)
}

#[test]
fn a_message_reaches_its_subscriber() {
    let running = workers(1);
    let (mut one, mut two) = (running.client(), running.client());
    assert_eq!(one.connect("one", true), (false, 0));
    assert_eq!(two.connect("two", true), (false, 0));
    assert_eq!(one.subscribe("a/+", 0), 0);
    two.publish("a/b", b"hello", false);
    assert_eq!(one.message(), ("a/b".to_owned(), b"hello".to_vec()));
    running.stop();
}

#[test]
fn clients_meet_wherever_their_sessions_live() {
    let running = workers(4);
    let mut readers: Vec<Client> = (0..16).map(|_| running.client()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        assert_eq!(reader.connect(&format!("reader-{number}"), true), (false, 0));
        assert_eq!(reader.subscribe("all/#", 1), 1);
    }
    for number in 0..16 {
        let mut writer = running.client();
        writer.connect(&format!("writer-{number}"), true);
        writer.publish_1(&format!("all/{number}"), b"x");
    }
    for reader in &mut readers {
        let mut topics: Vec<String> = (0..16).map(|_| reader.message().0).collect();
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), 16);
    }
    running.stop();
}

#[test]
fn packets_sent_behind_connect_move_with_the_connection() {
    let running = workers(4);
    for number in 0..16 {
        let mut client = running.client();
        let mut bytes = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
        bytes.extend(string(&format!("eager-{number}")));
        let mut bytes = packet(0x10, &bytes);
        bytes.extend([0xc0, 0, 0xc0, 0]);
        client.send(&bytes);
        assert_eq!(client.packet(), (0x20, vec![0, 0]));
        assert_eq!(client.packet(), (0xd0, vec![]));
        assert_eq!(client.packet(), (0xd0, vec![]));
    }
    running.stop();
}

#[test]
fn a_packet_larger_than_any_buffer_arrives_whole_in_small_pieces() {
    let running = workers(1);
    let (mut one, mut two) = (running.client(), running.client());
    one.connect("one", true);
    two.connect("two", true);
    one.subscribe("large", 0);
    let payload: Vec<u8> = (0..900_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut body = string("large");
    body.extend_from_slice(&payload);
    let mut bytes = packet(0x30, &body);
    bytes.extend([0xc0, 0]);
    for piece in bytes.chunks(70_001) {
        two.send(piece);
    }
    assert_eq!(two.packet(), (0xd0, vec![]));
    assert_eq!(one.message(), ("large".to_owned(), payload));
    running.stop();
}

#[test]
fn a_slow_reader_gets_everything_of_qos_1_in_order() {
    let running = workers(1);
    let (mut slow, mut writer) = (running.client(), running.client());
    slow.connect("slow", true);
    slow.subscribe("much", 1);
    writer.connect("writer", true);
    let payload = vec![7; 60_000];
    for number in 0..400_u16 {
        let mut body = number.to_be_bytes().to_vec();
        body.extend_from_slice(&payload);
        writer.publish_1("much", &body);
    }
    for number in 0..400_u16 {
        let (first, body) = slow.packet();
        assert_eq!(first & 0xf6, 0x32);
        assert_eq!(body[8..10], number.to_be_bytes(), "message {number}");
        slow.send(&[0x40, 2, body[6], body[7]]);
    }
    running.stop();
}

#[test]
fn system_topics_are_retained() {
    let running = workers(2);
    let mut client = running.client();
    client.connect("looker", true);
    client.subscribe("$SYS/broker/version", 0);
    let (topic, version) = client.message();
    assert_eq!(topic, "$SYS/broker/version");
    assert!(version.starts_with(b"motte "));
    running.stop();
}
