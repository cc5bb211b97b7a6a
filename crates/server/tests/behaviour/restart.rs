//! The end of a process, and the beginning of the next.

use motte_server::{Server, StartError};
use motte_store::{
    DeliveryRecord, FlowRecord, PrincipalRecord, PublicationRecord, SessionRecord, Snapshot,
    SubscriptionRecord,
};

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
    running.lines.expect("keep.store_opened");
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
    std::fs::create_dir(directory.path().join("state")).unwrap();
    let mut bytes = Snapshot::default().encode();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(directory.path().join("state/sessions.snapshot"), bytes).unwrap();
    match Server::start(config, motte_server::Options::default()) {
        Err(StartError::State(error)) => {
            let text = error.to_string();
            assert!(text.contains("sessions.snapshot") && text.contains("move it away"), "{text}");
        }
        other => panic!("started in spite of it: {other:?}"),
    }
}

#[test]
fn a_snapshot_of_an_earlier_version_is_taken_into_the_journal_once() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut config = anonymous();
    config.state_dir = Some(state.clone());
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("sessions.snapshot"), left_behind().encode()).unwrap();
    let running = start(config.clone());
    running.lines.expect("keep.snapshot_loaded");
    assert!(!state.join("sessions.snapshot").exists());
    running.stop();
    let running = start(config);
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (true, 0));
    assert_eq!(keeper.message(), ("news/sent".to_owned(), b"0".to_vec()));
    assert_eq!(keeper.message(), ("news/one".to_owned(), b"1".to_vec()));
    let mut looker = running.client();
    looker.connect("looker", true);
    looker.subscribe("kept", 0);
    assert_eq!(looker.message(), ("kept".to_owned(), b"2".to_vec()));
    let mut writer = running.client();
    writer.connect("writer", true);
    writer.publish_1("news/two", b"3");
    assert_eq!(keeper.message(), ("news/two".to_owned(), b"3".to_vec()));
    running.stop();
}

/// One Session with a message on its way and one that waits, and a Retained Message.
fn left_behind() -> Snapshot {
    let client = |id: &str| PrincipalRecord {
        identity: "anonymous".into(),
        client_id: id.into(),
        methods: 1,
        listener: "main".into(),
        ..PrincipalRecord::default()
    };
    let message = |topic: &str, payload: &[u8], retain| PublicationRecord {
        topic: topic.into(),
        payload: payload.into(),
        qos: 1,
        retain,
        forwarded: vec![],
        expires_at_ms: None,
        source: std::sync::Arc::new(client("writer")),
    };
    let delivery = |publication| DeliveryRecord {
        publication,
        qos: 1,
        retain: false,
        identifiers: vec![],
        shared: None,
    };
    let session = SessionRecord {
        principal: client("keeper"),
        level: 4,
        expiry_s: 600,
        ends_at_ms: None,
        subscriptions: vec![SubscriptionRecord {
            share: None,
            filter: "news/#".into(),
            qos: 1,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        }],
        flows: vec![FlowRecord { packet_id: 9, delivery: Some(delivery(0)) }],
        queued: vec![delivery(1)],
        inbound: vec![],
        will: None,
    };
    Snapshot {
        taken_at_ms: 0,
        publications: vec![
            message("news/sent", b"0", false),
            message("news/one", b"1", false),
            message("kept", b"2", true),
        ],
        sessions: vec![session],
        retained: vec![2],
    }
}

#[test]
fn what_waits_is_decided_again_when_it_is_read_back() {
    let rules = |topics: &str| {
        format!(
            "version = 1\n[role.all]\nwildcards = \"allow\"\nrules = [{{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }}, {{ deny = [\"receive\"], topics = [{topics}] }}, {{ allow = [\"subscribe\"], topics = [\"#\"], narrow = true }}]\n[anonymous]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n"
        )
    };
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    config.policy_files = vec![policy.clone()];
    std::fs::write(&policy, rules("\"never\"")).unwrap();
    let running = start_with(config.clone(), motte_server::Options::default());
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    assert_eq!(keeper.subscribe("news/#", 1), 1);
    keeper.send(&[0xe0, 0]);
    let mut writer = running.client();
    writer.connect("writer", true);
    // More than what is kept in memory, so that both ways are gone.
    for number in 0..100 {
        let topic = if number % 2 == 0 { "news/open" } else { "news/secret" };
        writer.publish_1(topic, format!("{number}").as_bytes());
    }
    running.stop();
    std::fs::write(&policy, rules("\"news/secret\"")).unwrap();
    let running = start_with(config, motte_server::Options::default());
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (true, 0));
    for number in (0..100).step_by(2) {
        assert_eq!(keeper.message(), ("news/open".to_owned(), format!("{number}").into_bytes()));
    }
    let mut writer = running.client();
    writer.connect("writer", true);
    writer.publish_1("news/open", b"last");
    assert_eq!(keeper.message(), ("news/open".to_owned(), b"last".to_vec()), "and nothing in between");
    running.stop();
}

#[test]
fn nothing_is_kept_where_durability_is_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.state_dir = Some(directory.path().join("state"));
    for listener in &mut config.listeners {
        listener.limits.durability = motte_config::Durability::Memory;
    }
    let running = start(config.clone());
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    keeper.publish("kept", b"retained", true);
    keeper.send(&[0xc0, 0]);
    assert_eq!(keeper.packet(), (0xd0, vec![]));
    running.stop();
    let running = start(config);
    let mut keeper = running.client();
    assert_eq!(keeper.connect("keeper", false), (false, 0));
    running.stop();
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
