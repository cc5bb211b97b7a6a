//! What a client with a login, or a fleet that comes back, must not be able to do to others.

use motte_identity::PasswordFile;
use motte_seal::{HashParameters, PasswordHash};
use motte_server::Options;

use crate::harness::*;

/// CONNECT of 5.0 without Clean Start, with these properties; gives Session Present.
fn resume_5(client: &mut Client, client_id: &str, properties: &[u8]) -> bool {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 60];
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend(string(client_id));
    client.send(&packet(0x10, &body));
    let (first, body) = client.packet();
    assert_eq!((first, body[1]), (0x20, 0), "{body:?}");
    body[0] == 1
}

fn ping(client: &mut Client) {
    client.send(&[0xc0, 0]);
    assert_eq!(client.packet(), (0xd0, vec![]), "nothing else was to come");
}

#[test]
fn a_session_that_comes_by_another_listener_has_the_rights_of_that_one() {
    let directory = tempfile::tempdir().unwrap();
    let (general, own) = (directory.path().join("general.toml"), directory.path().join("own.toml"));
    let open = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }]\n[anonymous]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";
    std::fs::write(&general, open).unwrap();
    std::fs::write(&own, open.replace("\"#\"", "\"plain/#\"")).unwrap();
    let mut config = anonymous();
    config.policy_files = vec![general];
    let mut second = config.listeners[0].clone();
    second.name = "second".to_owned();
    second.policy_files = Some(vec![own]);
    config.listeners.push(second);
    let running = start_with(config, Options::default());

    let mut reader = running.client();
    assert_eq!(reader.connect("reader", false), (false, 0));
    assert_eq!((reader.subscribe("secret/x", 1), reader.subscribe("plain/x", 1)), (1, 1));
    let mut writer = running.client();
    writer.connect("writer", true);
    writer.publish_1("secret/x", b"1");
    assert_eq!(reader.message().1, b"1");
    drop(reader);
    writer.publish_1("secret/x", b"waits");

    // What was sent and not acknowledged, what waits, and what is published now: all are decided again.
    let mut reader = Client::to(running.address("second"));
    assert_eq!(reader.connect("reader", false), (true, 0));
    writer.publish_1("secret/x", b"2");
    writer.publish_1("plain/x", b"3");
    assert_eq!(reader.message(), ("plain/x".to_owned(), b"3".to_vec()));
    ping(&mut reader);
    running.stop();
}

#[test]
fn what_is_sent_again_keeps_to_the_receive_maximum_of_the_new_connection() {
    let running = start(anonymous());
    let keep = [0x11, 0, 0, 0, 100];
    let mut reader = running.client();
    assert!(!resume_5(&mut reader, "reader", &keep));
    reader.send(&packet(0x82, &[0, 1, 0, 0, 1, b'a', 1]));
    assert_eq!(reader.packet().0, 0x90);
    let mut writer = running.client();
    writer.connect("writer", true);
    for number in 0..5_u8 {
        writer.publish_1("a", &[number]);
        assert_eq!(reader.packet().0, 0x32);
    }
    drop(reader);

    let mut reader = running.client();
    assert!(resume_5(&mut reader, "reader", &[&keep[..], &[0x21, 0, 2]].concat()));
    let mut identifiers = std::collections::VecDeque::new();
    for number in 0..2_u8 {
        let (first, body) = reader.packet();
        assert_eq!((first, body[body.len() - 1]), (0x3a, number), "DUP, in the first order");
        identifiers.push_back([body[3], body[4]]);
    }
    ping(&mut reader);
    writer.publish_1("a", &[5]);
    for number in 2..6_u8 {
        let id = identifiers.pop_front().unwrap();
        reader.send(&[0x40, 2, id[0], id[1]]);
        let (first, body) = reader.packet();
        assert_eq!((first, body[body.len() - 1]), (if number < 5 { 0x3a } else { 0x32 }, number));
        identifiers.push_back([body[3], body[4]]);
    }
    running.stop();
}

#[test]
fn whoever_has_a_session_gets_in_when_memory_is_short() {
    let running = start(limited(anonymous(), |limits| limits.memory_bytes_max = 1_048_576));
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    assert_eq!(keeper.subscribe("a", 1), 1);
    keeper.send(&[0xe0, 0]);
    assert!(keeper.is_closed());
    let mut writer = running.client();
    writer.connect("writer", true);
    for _ in 0..40 {
        writer.publish_1("a", &vec![7; 60_000]);
    }
    running.lines.expect("keep.memory_high");
    assert_eq!(running.client().connect("stranger", true), (false, 3));
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (true, 0));
    assert_eq!(keeper.message().1.len(), 60_000);
    running.stop();
}

#[test]
fn an_identity_has_a_bounded_number_of_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    let mut passwords = PasswordFile::default();
    let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    passwords.set("a", PasswordHash::create(b"right", cheap).unwrap());
    std::fs::write(&file, passwords.to_string()).unwrap();
    let mut config = limited(config(""), |limits| limits.sessions_per_identity_max = 1);
    config.password_file = Some(file);
    let running = start(config);
    let login = Some(("a", "right"));
    let mut first = running.client();
    assert_eq!(first.connect_as("a-1", false, login), (false, 0));
    assert_eq!(running.client().connect_as("a-2", false, login).1, 3);
    running.lines.expect("sessions_per_identity_max");
    assert_eq!(running.client().connect_as("a-1", true, login), (false, 0), "its own comes back and ends");
    running.lines.expect("gate.session_taken_over");
    running.stop();
}

#[test]
fn one_subscribe_makes_no_more_work_than_a_session_may_have_subscriptions() {
    let running = start(limited(anonymous(), |limits| limits.subscriptions_per_session_max = 10));
    let mut client = running.client();
    client.connect("client", true);
    client.publish("a", b"kept", true);
    let mut body = vec![0, 1];
    for _ in 0..50 {
        body.extend([0, 1, b'a', 0]);
    }
    client.send(&packet(0x82, &body));
    let (_, codes) = client.packet();
    assert_eq!(codes[2..], [&[0; 10][..], &[0x80; 40]].concat());
    for _ in 0..10 {
        assert_eq!(client.message().1, b"kept");
    }
    ping(&mut client);
    running.stop();
}

#[test]
fn a_client_that_leaves_its_answers_unread_is_not_read_either() {
    let running = start(limited(anonymous(), |limits| limits.write_buffer_bytes_max = 4_096));
    let mut client = running.client();
    client.connect("client", true);
    client.stream.set_nonblocking(true).unwrap();
    // Pings until the kernel takes no more: without a bound it would take them for ever.
    let pings = [0xc0, 0].repeat(32_768);
    let mut sent = 0_usize;
    let mut stuck = 0;
    while stuck < 1_000 && sent < 256 << 20 {
        match std::io::Write::write(&mut client.stream, &pings) {
            Ok(count) => (sent, stuck) = (sent + count, 0),
            Err(_) => {
                stuck += 1;
                std::thread::yield_now();
            }
        }
    }
    assert!(sent < 256 << 20, "{sent} bytes of pings were taken");
    let mut other = running.client();
    assert_eq!(other.connect("other", true), (false, 0), "others are served meanwhile");
    running.server.handle().stop();
    running.server.wait().unwrap();
}

#[test]
fn a_publisher_is_told_when_nobody_had_room_for_its_message() {
    let mut config = limited(anonymous(), |limits| limits.queued_messages_max = 1);
    config.workers = 1;
    let running = start(config);
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    assert_eq!(keeper.subscribe("a", 1), 1);
    keeper.send(&[0xe0, 0]);
    assert!(keeper.is_closed());
    let mut writer = running.client();
    assert_eq!(writer.connect_5("writer"), 0);
    let mut publish = |id: u8| {
        let mut body = string("a");
        body.extend([0, id, 0, b'x']);
        writer.send(&packet(0x32, &body));
        let (first, body) = writer.packet();
        assert_eq!(first, 0x40);
        body.get(2).copied().unwrap_or(0)
    };
    assert_eq!((publish(1), publish(2)), (0, 0x97));
    let mut reader = running.client();
    reader.connect("reader", true);
    assert_eq!(reader.subscribe("a", 0), 0);
    assert_eq!(publish(3), 0, "somebody got it");
    running.stop();
}
