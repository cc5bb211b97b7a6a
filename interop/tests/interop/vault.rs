//! What a running broker keeps, as a thief of its disk and its backups sees it.

use std::path::{Path, PathBuf};
use std::process::Command;

use motte_testkit::{Broker, Signal, binary, finish};

use crate::site::{CONFIG, Site};

/// Stands in every topic and payload.
const CANARY: &str = "canary";

/// Files below a directory that have the canary in them.
fn telltales(path: &Path) -> Vec<PathBuf> {
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
fn kept(dir: &Path, arguments: &[&str]) -> String {
    let (good, text) = finish(Command::new(binary()).current_dir(dir).args(arguments));
    assert!(good, "{arguments:?}: {text}");
    text
}

/// Leaves a Session behind that waits for messages.
fn wait_for_messages(site: &Site, identity: &str, filter: &str) {
    let mut subscriber = site.motte("sub", identity);
    let name = format!("{identity}-s");
    subscriber.args(["-i", &name, "--session-expiry", "3600", "-q", "1", "-t", filter, "--timeout", "1"]);
    let (_, text) = finish(&mut subscriber);
    assert!(text.contains("subscribed"), "{text}");
}

fn publish(site: &Site, topic: &str, payload: &str, more: &[&str]) {
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
