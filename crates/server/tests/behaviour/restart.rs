//! The end of a process, and the beginning of the next.

use motte_server::{Server, StartError};

use crate::harness::*;

#[test]
fn everybody_is_told_goodbye_at_a_clean_stop() {
    let running = start(anonymous());
    let mut client = running.client();
    assert_eq!(client.connect_5("client"), 0);
    running.stop();
    let (first, body) = client.packet();
    assert_eq!((first, body[0]), (0xe0, 0x8b));
    assert!(client.is_closed());
}

#[test]
fn sessions_and_retained_messages_live_through_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = |workers| {
        let mut config = anonymous();
        config.state_dir = Some(directory.path().join("state"));
        config.workers = workers;
        config
    };
    let running = start(config(2));
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    assert_eq!(keeper.subscribe("news/#", 1), 1);
    keeper.send(&[0xe0, 0]);
    assert!(keeper.is_closed());
    let mut writer = running.client();
    writer.connect("writer", true);
    writer.publish_1("news/one", b"first");
    writer.publish_1("news/two", b"second");
    writer.publish("kept", b"retained", true);
    writer.send(&[0xc0, 0]);
    assert_eq!(writer.packet(), (0xd0, vec![]));
    running.stop();

    let running = start(config(3));
    running.lines.expect("keep.snapshot_loaded");
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (true, 0));
    assert_eq!(keeper.message(), ("news/one".to_owned(), b"first".to_vec()));
    assert_eq!(keeper.message(), ("news/two".to_owned(), b"second".to_vec()));
    let mut looker = running.client();
    looker.connect("looker", true);
    looker.subscribe("kept", 0);
    assert_eq!(looker.message(), ("kept".to_owned(), b"retained".to_vec()));
    running.stop();
}

#[test]
fn a_damaged_snapshot_keeps_the_server_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    start(config.clone()).stop();
    let file = directory.path().join("state/sessions.snapshot");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    match Server::start(config, motte_server::Options::default()) {
        Err(StartError::State(error)) => {
            let text = error.to_string();
            assert!(text.contains("sessions.snapshot") && text.contains("move it away"), "{text}");
        }
        other => panic!("started in spite of it: {other:?}"),
    }
}

#[test]
fn two_processes_do_not_share_a_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    let running = start(config.clone());
    let error = Server::start(config, motte_server::Options::default()).unwrap_err();
    assert!(error.to_string().contains("in use by another motte"), "{error}");
    running.stop();
}
