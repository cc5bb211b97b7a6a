//! New rules for a running process.

use motte_server::Options;

use crate::harness::*;

const OPEN: &str = "version = 1\n[role.all]\nrules = [{ allow = [\"publish\", \"subscribe\"], topics = [\"#\"] }]\n[anonymous]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

#[test]
fn a_reload_with_a_fault_is_refused_whole_and_one_without_takes_effect() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, OPEN).unwrap();
    let mut config = anonymous();
    config.policy_files = vec![policy.clone()];
    let running = start_with(config, Options::default());
    let mut client = running.client();
    assert_eq!(client.connect("client", true), (false, 0));
    assert_eq!(client.subscribe("a", 0), 0);

    std::fs::write(&policy, "version = 1\nnonsense = true\n").unwrap();
    let error = running.server.handle().reload().unwrap_err().to_string();
    assert!(error.contains("policy.toml:2:1"), "{error}");
    running.lines.expect("life.reload_refused");
    client.publish("a", b"still", false);
    assert_eq!(client.message().1, b"still");

    std::fs::write(&policy, "version = 1\n[anonymous]\nclient_ids = [\"guest-*\"]\n").unwrap();
    running.server.handle().reload().unwrap();
    running.lines.expect("life.reloaded");
    assert!(client.is_closed(), "its Client Identifier is not permitted any more");
    assert_eq!(running.client().connect("client", true), (false, 2));
    let mut guest = running.client();
    assert_eq!(guest.connect("guest-1", true), (false, 0));
    assert_eq!(guest.subscribe("a", 0), 0x80, "no rule grants anything");
    running.stop();
}

#[test]
fn a_reload_that_would_move_a_listener_is_refused() {
    let options = Options {
        read_config: Some(Box::new(|| {
            let mut config = anonymous();
            config.listeners[0].name = "other".to_owned();
            Ok(config)
        })),
        ..Options::default()
    };
    let running = start_with(anonymous(), options);
    let error = running.server.handle().reload().unwrap_err().to_string();
    assert!(error.contains("needs a restart"), "{error}");
    running.stop();
}

#[test]
fn a_listener_may_have_a_policy_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (general, own) = (directory.path().join("general.toml"), directory.path().join("own.toml"));
    std::fs::write(&general, OPEN).unwrap();
    std::fs::write(&own, OPEN.replace("\"#\"", "\"narrow/#\"")).unwrap();
    let mut config = anonymous();
    config.policy_files = vec![general];
    let mut second = config.listeners[0].clone();
    second.name = "second".to_owned();
    second.policy_files = Some(vec![own.clone()]);
    config.listeners.push(second);
    let running = start_with(config, Options::default());
    let may = |listener: &str, id: &str, filter: &str| {
        let mut client = Client::to(running.address(listener));
        assert_eq!(client.connect(id, true), (false, 0));
        client.subscribe(filter, 0) == 0
    };
    assert!(may("main", "one", "wide/x") && may("main", "two", "narrow/x"));
    assert!(!may("second", "three", "wide/x") && may("second", "four", "narrow/x"));
    std::fs::write(&own, "version = 1\n[anonymous]\nclient_ids = [\"*\"]\n").unwrap();
    running.server.handle().reload().unwrap();
    assert!(may("main", "five", "wide/x") && !may("second", "six", "narrow/x"));
    running.stop();
}

#[test]
fn other_bounds_on_connections_are_in_force_with_the_reload_that_brings_them() {
    let bounded = |most| {
        let mut config = anonymous();
        config.limits.connections_max = most;
        config
    };
    let options = Options { read_config: Some(Box::new(move || Ok(bounded(1)))), ..Options::default() };
    let running = start_with(bounded(10), options);
    let mut client = running.client();
    assert_eq!(client.connect("one", true), (false, 0));
    running.server.handle().reload().unwrap();
    assert!(running.client().is_closed(), "one more than there may be now");
    running.lines.expect("gate.connections_full");
    running.stop();
}
