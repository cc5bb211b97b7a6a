//! What was stored is decided by the policy that is in force after a restart, and permissive roles are told at the start.

use motte_roles::Passphrases;
use motte_server::Options;
use motte_server::kept_file::{USAGE, open_sealed};
use motte_server::vault::{self, VaultAccess};

use crate::harness::*;

const OPEN: &str = "version = 1\n[role.all]\nwildcards = \"allow\"\nrules = [{ allow = [\"publish\", \"retain\", \"subscribe\"], topics = [\"#\"] }]\n[anonymous]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

#[test]
fn a_policy_that_changed_over_a_restart_holds_for_what_was_stored() {
    let subscribe_only = OPEN.replace("[\"publish\", \"retain\", \"subscribe\"]", "[\"subscribe\"]");
    let receives_b = "{ allow = [\"publish\", \"retain\"], topics = [\"#\"] }, { allow = [\"subscribe\"]";
    let no_a = OPEN
        .replace("{ allow = [\"publish\", \"retain\", \"subscribe\"]", receives_b)
        .replace(", topics = [\"#\"] }]", ", topics = [\"b\"] }]");
    for (policy, queued, retained) in [(OPEN, 1, 1), (&subscribe_only, 0, 0), (&no_a, 0, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let mut config = anonymous();
        config.policy_files = vec![directory.path().join("policy.toml")];
        config.state_dir = Some(directory.path().join("state"));
        std::fs::write(&config.policy_files[0], OPEN).unwrap();
        let running = start_with(config.clone(), Options::default());
        let mut keeper = running.client();
        keeper.connect("keeper", false);
        assert_eq!(keeper.subscribe("a", 1), 1);
        keeper.send(&[0xe0, 0]);
        assert!(keeper.is_closed());
        let mut writer = running.client();
        writer.connect("writer", true);
        writer.publish_1("a", b"queued");
        writer.publish("r", b"retained", true);
        writer.publish_1("end", b"");
        running.stop();

        std::fs::write(&config.policy_files[0], policy).unwrap();
        let running = start_with(config, Options::default());
        let mut keeper = running.client();
        assert_eq!(keeper.connect("keeper", false), (true, 0));
        let mut found = (0, 0);
        // PINGRESP comes after everything that the Session had.
        keeper.send(&[0xc0, 0]);
        loop {
            let (first, _) = keeper.packet();
            match first >> 4 {
                3 => found.0 += 1,
                13 => break,
                _ => {}
            }
        }
        let mut late = running.client();
        late.connect("late", true);
        let body = [&[0, 9][..], &string("r"), &[0]].concat();
        late.send(&packet(0x82, &body));
        late.send(&[0xc0, 0]);
        loop {
            let (first, _) = late.packet();
            match first >> 4 {
                3 => found.1 += 1,
                13 => break,
                _ => {}
            }
        }
        assert_eq!(found, (queued, retained), "{policy}");
        running.stop();
    }
}

#[test]
fn a_permissive_role_is_told_at_the_start_and_when_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let policy = "version = 1\n[role.tried]\npermissive_until = \"2099-12-31\"\n[[certificate]]\ncn = \"x\"\nroles = [\"tried\"]\n";
    std::fs::write(&file, policy).unwrap();
    let mut config = anonymous();
    config.policy_files = vec![file.clone()];
    let events = motte_server::check(&config, None).unwrap();
    let lines: Vec<String> = events.iter().map(motte_event::Event::to_line).collect();
    assert!(
        lines.iter().any(|line| line.contains("rule.role_permissive role=tried until=2099-12-31")),
        "{lines:?}"
    );
    let running = start_with(config, Options::default());
    running.lines.expect("rule.role_permissive");
    running.stop();
}

/// A broker that records, with a policy under which the client `a` may publish and subscribe below `a`.
fn recording() -> (tempfile::TempDir, motte_config::Config) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = anonymous();
    config.policy_files = vec![directory.path().join("policy.toml")];
    config.state_dir = Some(directory.path().join("state"));
    config.record_usage = true;
    std::fs::write(&config.policy_files[0], OPEN).unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    (directory, config)
}

/// What opens the files of a broker's state directory.
pub fn keys(config: &motte_config::Config) -> motte_seal::keyring::Keyring {
    let access = VaultAccess::there(config, &mut Passphrases::new(None)).unwrap().unwrap();
    vault::open(config.state_dir.as_deref().unwrap(), &access).unwrap().keyring
}

#[test]
fn what_rules_are_used_for_is_recorded_over_restarts() {
    let (directory, config) = recording();
    for count in [3, 6] {
        let running = start_with(config.clone(), Options::default());
        let mut client = running.client();
        client.connect("a", true);
        assert_eq!(client.subscribe("cmd/a/#", 0), 0);
        for _ in 0..3 {
            client.publish_1("state/a/t", b"");
        }
        running.stop();
        let sealed = std::fs::read(directory.path().join("state/usage.record")).unwrap();
        let (_, text) = open_sealed(&keys(&config), USAGE, &sealed).unwrap();
        let text = String::from_utf8(text).unwrap();
        let record = motte_access::usage::UsageRecord::decode(&text).unwrap();
        let used: Vec<(String, u64)> =
            record.entries().map(|(key, usage)| (key.shape.clone(), usage.count)).collect();
        assert_eq!(
            used,
            [("state/{client_id}/t".to_owned(), count), ("cmd/{client_id}/#".to_owned(), count / 3)]
        );
        // CVE-2017-9868: what is kept is for the broker's user alone.
        for entry in std::fs::read_dir(directory.path().join("state")).unwrap() {
            let mode =
                std::os::unix::fs::PermissionsExt::mode(&entry.unwrap().metadata().unwrap().permissions());
            assert_eq!(mode & 0o077, 0, "{mode:o}");
        }
        assert_eq!((record.lost, record.entries().any(|(key, _)| key.quarantined)), (0, false));
    }
}

#[test]
fn a_record_that_cannot_be_read_or_written_is_told() {
    let (directory, config) = recording();
    let record = directory.path().join("state/usage.record");
    std::fs::write(&record, "motte-usage 1 3 00000000\nabc").unwrap();
    std::fs::create_dir(directory.path().join("state/usage.record.new")).unwrap();
    let running = start_with(config, Options::default());
    let lines = running.lines.clone();
    lines.expect("rule.record_unreadable");
    assert!(directory.path().join("state/usage.record.damaged").exists());
    running.stop();
    lines.expect("rule.record_not_written");
}
