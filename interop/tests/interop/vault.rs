//! What a running broker keeps, as a thief of its disk and its backups sees it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use motte_testkit::{Broker, Signal, binary, finish};
use serde_json::Value;

use crate::site::{CONFIG, Site};

/// Stands in every topic and payload.
pub(crate) const CANARY: &str = "canary";

/// Files below a directory that have the canary in them.
pub(crate) fn telltales(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).expect("it is ours") {
        let path = entry.expect("it is ours").path();
        if path.is_dir() {
            found.extend(telltales(&path));
        } else if path.is_file()
            && std::fs::read(&path).expect("it is ours").windows(6).any(|part| part == CANARY.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

/// A verb about what is kept; it must go well.
pub(crate) fn kept(dir: &Path, arguments: &[&str]) -> String {
    let (good, text) = finish(Command::new(binary()).current_dir(dir).args(arguments));
    assert!(good, "{arguments:?}: {text}");
    text
}

/// Leaves a Session behind that waits for messages.
pub(crate) fn wait_for_messages(site: &Site, identity: &str, filter: &str) {
    let mut subscriber = site.motte("sub", identity);
    let name = format!("{identity}-s");
    subscriber.args(["-i", &name, "--session-expiry", "3600", "-q", "1", "-t", filter, "--timeout", "1"]);
    let (_, text) = finish(&mut subscriber);
    assert!(text.contains("subscribed"), "{text}");
}

pub(crate) fn publish(site: &Site, topic: &str, payload: &str, more: &[&str]) {
    let mut publisher = site.motte("pub", "device-1");
    publisher.args(["-q", "1", "-t", topic, "-m", payload]).args(more);
    let (good, text) = finish(&mut publisher);
    assert!(good, "{text}");
}

#[test]
fn a_shredded_device_is_gone_from_the_disk_of_a_broker_and_from_its_backups() {
    let site = Site::start();
    let topic = format!("devices/device-1/{CANARY}");
    publish(&site, &format!("{topic}/retained"), CANARY, &["-r"]);
    wait_for_messages(&site, "operator", &format!("{topic}/#"));
    wait_for_messages(&site, "device-1", &format!("{topic}/own"));
    for number in 0..5 {
        publish(&site, &format!("{topic}/shared"), &format!("{CANARY}-shared-{number}"), &[]);
        publish(&site, &format!("{topic}/own"), &format!("{CANARY}-own-{number}"), &[]);
    }
    let dir = site.dir.path();
    assert_eq!(telltales(&dir.join("motte-state/store")), Vec::<PathBuf>::new(), "while it runs");
    assert!(kept(dir, &["store", "check"]).ends_with("good\n"));
    kept(dir, &["store", "backup", "--to", "backups"]);
    assert_eq!(telltales(&dir.join("backups")), Vec::<PathBuf>::new());
    let shred = ["vault", "shred", "device-1", "--yes", "--copy", "backups/vault"];
    let (good, text) = finish(Command::new(binary()).current_dir(dir).args(shred));
    assert!(!good && text.contains("stop the broker first"), "{text}");

    // Everything else ends with it.
    site.broker.signal("core", Signal::KILL);
    let Site { broker, dir: kept_dir } = site;
    assert!(!broker.terminate());
    let dir = kept_dir.path();
    assert!(kept(dir, &["store", "check"]).ends_with("good\n"), "after a kill");
    kept(dir, &shred);
    assert_eq!(telltales(&dir.join("motte-state/store")), Vec::<PathBuf>::new());

    // The broker goes on with what the others have.
    let broker = Broker::serve(dir, CONFIG);
    let opened = broker.event("keep.store_opened");
    assert_eq!((opened.field("sessions"), opened.field("retained")), ("1".to_owned(), "0".to_owned()));
    assert!(broker.terminate());

    // So does whoever restores the backup that was made before.
    let backup = std::fs::read_dir(dir.join("backups")).expect("it is ours");
    let backup = backup.map(|entry| entry.expect("it is ours").path()).find(|path| path.is_dir());
    let backup = backup.expect("a backup").display().to_string();
    let restored = ["--state", "restored", "--key-file", "motte-state/store.key"];
    kept(dir, &[&["store", "restore", &backup][..], &restored].concat());
    kept(dir, &[&["store", "export", "--plaintext-to", "all.jsonl"][..], &restored].concat());
    let all = std::fs::read_to_string(dir.join("all.jsonl")).expect("it was exported");
    assert!(all.contains(&format!("{CANARY}-shared-4")), "what the operator waits for is the operator's");
    assert!(!all.contains("\"client_id\":\"device-1-s\""), "{all}");
    assert!(!all.contains(&format!("{topic}/retained")), "{all}");
}

/// A site with a control socket.
pub(crate) fn controlled() -> Site {
    let site = Site::start_with(&format!("{CONFIG}[control]\nsocket = \"control.sock\"\n"));
    site.broker.event("life.admin_ready");
    site
}

pub(crate) const CONFIGURED: [&str; 2] = ["--config", "motte.toml"];

/// A verb about what the configured broker keeps; it must go well.
pub(crate) fn asked(site: &Site, arguments: &[&str]) -> String {
    kept(site.dir.path(), &[arguments, &CONFIGURED[..]].concat())
}

#[test]
fn keys_are_exchanged_while_the_broker_runs_and_nothing_is_lost() {
    let site = controlled();
    let topic = format!("devices/device-1/{CANARY}");
    wait_for_messages(&site, "operator", &format!("{topic}/#"));
    publish(&site, &format!("{topic}/before"), CANARY, &["-r"]);
    let is_over = AtomicBool::new(false);
    let published = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut published = 0_u64;
            while !is_over.load(Ordering::Acquire) || published < 3 {
                publish(&site, &format!("{topic}/meanwhile"), &format!("{CANARY}-{published}"), &[]);
                published += 1;
            }
            published
        });
        for number in 0..3 {
            let text = asked(&site, &["vault", "rotate-dek"]);
            assert!(text.contains("exchanged") && text.contains("while the broker runs"), "{number}: {text}");
        }
        let text = asked(&site, &["vault", "rotate-kek"]);
        assert!(text.contains("by the former key no more"), "{text}");
        let text = asked(&site, &["vault", "recovery", "new"]);
        assert!(text.contains("shown only now"), "{text}");
        is_over.store(true, Ordering::Release);
        publisher.join().expect("no panic")
    });
    site.broker.event("vault.keys_rotated");
    let acts = site.broker.events("life.administered");
    assert!(acts.iter().any(|act| act.field("act") == "exchange the data keys"), "who did it is told");
    let status: Value = serde_json::from_str(&asked(&site, &["status", "--json"])).expect("JSON");
    assert_eq!(status["vault"]["work"]["failed"], false);
    let opened_by = status["vault"]["opened_by"].as_array().expect("a list");
    assert_eq!(opened_by.len(), 2, "{opened_by:?}");
    assert!(asked(&site, &["status"]).contains("vault opened by key file"));
    assert!(asked(&site, &["vault", "status"]).contains("the configured key opens it"));
    assert!(asked(&site, &["store", "check"]).ends_with("good\n"));
    assert_eq!(telltales(&site.path("store")), Vec::<PathBuf>::new());

    site.broker.signal("core", Signal::KILL);
    let Site { broker, dir } = site;
    assert!(!broker.terminate());
    let broker = Broker::serve(dir.path(), CONFIG);
    let opened = broker.event("keep.store_opened");
    // The Retained Message, and what was published after the Session was there.
    let deliveries = opened.field("deliveries").parse::<u64>().expect("a number");
    assert_eq!((opened.field("sessions"), deliveries), ("1".to_owned(), published + 1));
    assert!(broker.terminate());
}

#[test]
fn a_device_is_shredded_while_the_broker_runs_and_may_come_back() {
    let site = controlled();
    let topic = format!("devices/device-1/{CANARY}");
    publish(&site, &format!("{topic}/retained"), CANARY, &["-r"]);
    wait_for_messages(&site, "operator", &format!("{topic}/#"));
    wait_for_messages(&site, "device-1", &format!("{topic}/own"));
    for number in 0..5 {
        publish(&site, &format!("{topic}/own"), &format!("{CANARY}-own-{number}"), &[]);
    }
    asked(&site, &["store", "backup", "--to", "backups"]);
    let shred = ["vault", "shred", "device-1", "--copy", "backups/vault"];
    let (good, text) =
        finish(Command::new(binary()).current_dir(site.dir.path()).args(shred).args(CONFIGURED));
    assert!(!good && text.contains("--yes"), "{text}");
    let text = asked(&site, &[&shred[..], &["--yes"]].concat());
    assert!(text.contains("with 1 Sessions and 1 Retained Messages"), "{text}");
    site.broker.event_where("vault.shredded", |event| event.field("device") == "device-1");
    let nobody = ["vault", "shred", "nobody", "--yes"];
    let (good, text) =
        finish(Command::new(binary()).current_dir(site.dir.path()).args(nobody).args(CONFIGURED));
    assert!(!good && text.contains("nothing is kept of `nobody`"), "{text}");
    site.broker.event("vault.work_failed");

    // It comes back as a stranger to what was.
    wait_for_messages(&site, "device-1", &format!("{topic}/own"));
    publish(&site, &format!("{topic}/own"), &format!("{CANARY}-later"), &[]);
    assert_eq!(telltales(&site.path("store")), Vec::<PathBuf>::new());
    site.broker.signal("core", Signal::KILL);
    let Site { broker, dir } = site;
    assert!(!broker.terminate());
    let broker = Broker::serve(dir.path(), CONFIG);
    let opened = broker.event("keep.store_opened");
    assert_eq!((opened.field("sessions"), opened.field("retained")), ("2".to_owned(), "0".to_owned()));
    assert!(broker.events("keep.store_damaged").is_empty());
    assert!(broker.terminate());

    let dir = dir.path();
    let backup = std::fs::read_dir(dir.join("backups")).expect("it is ours");
    let backup = backup.map(|entry| entry.expect("it is ours").path()).find(|path| path.is_dir());
    let backup = backup.expect("a backup").display().to_string();
    let restored = ["--state", "restored", "--key-file", "motte-state/store.key"];
    kept(dir, &[&["store", "restore", &backup][..], &restored].concat());
    kept(dir, &[&["store", "export", "--plaintext-to", "all.jsonl"][..], &restored].concat());
    let all = std::fs::read_to_string(dir.join("all.jsonl")).expect("it was exported");
    assert!(!all.contains("\"client_id\":\"device-1-s\""), "{all}");
    assert!(!all.contains(&format!("{topic}/retained")), "{all}");
}

#[test]
fn a_kill_in_the_middle_of_an_exchange_of_keys_loses_nothing() {
    let Site { mut broker, mut dir } = controlled();
    let topic = format!("devices/device-1/{CANARY}");
    let config = std::fs::read_to_string(dir.path().join("motte.toml")).expect("it is ours");
    for (round, pause_ms) in [0, 20, 60, 150, 400].into_iter().enumerate() {
        let site = Site { broker, dir };
        if round == 0 {
            wait_for_messages(&site, "operator", &format!("{topic}/#"));
        }
        publish(&site, &format!("{topic}/{round}"), CANARY, &[]);
        let mut rotate = Command::new(binary());
        rotate.current_dir(site.dir.path()).args(["vault", "rotate-dek"]).args(CONFIGURED);
        rotate.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut rotating = rotate.spawn().expect("it starts");
        std::thread::park_timeout(std::time::Duration::from_millis(pause_ms));
        site.broker.signal("core", Signal::KILL);
        // Done, or told that the broker is gone.
        rotating.wait().expect("it is ours");
        let Site { broker: killed, dir: kept_dir } = site;
        assert!(!killed.terminate());
        assert!(kept(kept_dir.path(), &["store", "check"]).ends_with("good\n"), "round {round}");
        dir = kept_dir;
        broker = Broker::serve(dir.path(), &config);
        let opened = broker.event("keep.store_opened");
        let wanted = ("1".to_owned(), (round + 1).to_string());
        assert_eq!((opened.field("sessions"), opened.field("deliveries")), wanted);
        broker.event("life.admin_ready");
    }
    assert!(broker.terminate());
}
