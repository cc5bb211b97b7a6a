//! `motte store` and `motte vault` on a state directory that the engine filled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use motte_config::Config;
use motte_disk::Directory;
use motte_roles::{Passphrases, VaultKey, VaultSource};
use motte_server::vault::{self, DEVICE_FACT, VaultAccess};
use motte_store::{
    Batch, BlockCache, Group, Journal, JournalOptions, NewDelivery, PrincipalRecord, PublicationId,
    PublicationRecord, SessionId, SessionRecord,
};
use motte_testkit::binary;
use serde_json::Value;

/// Stands in everything that is stored.
const CANARY: &str = "canary-in-the-mine";
/// Messages of each device.
const MESSAGES: u64 = 300;

/// A state directory with two devices, each with a Session, messages that wait for it alone, and a Retained Message.
struct Site {
    dir: tempfile::TempDir,
}

fn principal(device: &str) -> PrincipalRecord {
    PrincipalRecord {
        identity: device.to_owned(),
        client_id: device.to_owned(),
        ..PrincipalRecord::default()
    }
}

fn session(device: &str) -> SessionRecord {
    SessionRecord {
        principal: principal(device),
        level: 5,
        expiry_s: 60,
        ends_at_ms: None,
        subscriptions: Vec::new(),
        flows: Vec::new(),
        queued: Vec::new(),
        inbound: Vec::new(),
        will: None,
    }
}

fn message(device: &str, number: u64) -> PublicationRecord {
    PublicationRecord {
        topic: format!("{CANARY}/{device}/{number}"),
        payload: format!("{CANARY} {number}").into_bytes().into(),
        qos: 1,
        retain: false,
        forwarded: Vec::new(),
        expires_at_ms: None,
        source: Arc::new(principal(device)),
    }
}

fn fill(journal: &mut Journal<Directory>, device: &str, group: u32) {
    let (session_id, own) = (SessionId(u64::from(group)), Group(group));
    let mut batch = Batch::new();
    batch.put_fact(&format!("{DEVICE_FACT}{device}"), &group.to_le_bytes());
    batch.put_session(own, session_id, &session(device));
    for number in 1..=MESSAGES {
        let id = PublicationId(u64::from(group) * 1000 + number);
        batch.put_publication(own, id, &(&message(device, number)).into());
        batch.enqueue(&NewDelivery {
            packet_id: 0,
            session: session_id,
            seq: number,
            publication: id,
            qos: 1,
            retain: false,
            identifiers: &[],
            shared: None,
        });
    }
    batch.put_retained(&format!("{CANARY}/{device}"), PublicationId(u64::from(group) * 1000 + 1));
    journal.append([&batch]).unwrap();
    journal.sync().unwrap();
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("kept");
        let config = Config { state_dir: Some(state.clone()), ..Config::default() };
        let access = VaultAccess::read(&config, &mut Passphrases::new(None)).unwrap().unwrap();
        let mut keys = vault::open(&state, &access).unwrap().keyring;
        keys.add_group(1).unwrap();
        keys.add_group(2).unwrap();
        let directory = Directory::open(&state).unwrap();
        vault::write(&directory, &state, &mut keys).unwrap();
        let options = JournalOptions { segment_bytes: 16 * 1024, ..JournalOptions::default() };
        let (mut journal, _) = Journal::open(directory, Some(keys), options).unwrap();
        fill(&mut journal, "press", 1);
        fill(&mut journal, "lathe", 2);
        journal.close().unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn motte(&self, arguments: &[&str]) -> (bool, String) {
        self.motte_in("kept", arguments)
    }

    /// Runs `motte` on a state directory; gives whether it went well and what it said.
    fn motte_in(&self, state: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary());
        command.current_dir(self.dir.path()).args(arguments).args(["--state", state]);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(!text.contains("panicked"), "{text}");
        (output.status.success(), text)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (good, text) = self.motte(arguments);
        assert!(good, "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn segments(&self, state: &str) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> =
            std::fs::read_dir(self.path(state)).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        names.sort();
        names
    }
}

/// Files below a directory that have the canary in them.
fn telltales(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(telltales(&path));
        } else if std::fs::read(&path).unwrap().windows(6).any(|part| part == b"canary") {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_is_good_is_said_to_be_good_and_measured() {
    let site = Site::new();
    assert!(site.good(&["store", "check"]).ends_with("good\n"));
    let stats = site.json(&["store", "stats"]);
    let expected = [("sessions", 2), ("deliveries", 2 * MESSAGES), ("retained", 2)];
    for (name, value) in expected {
        assert_eq!(stats[name], value, "{stats}");
    }
    assert!(
        stats["free_bytes"].as_u64() > Some(0) && stats["space_amplification"].as_f64() >= Some(1.0),
        "{stats}"
    );
    let opened = site.json(&["vault", "status"]);
    assert_eq!((&opened["configured_key_opens"], &opened["groups"]), (&Value::Bool(true), &Value::from(3)));
    assert_eq!(telltales(site.dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn damage_is_named_with_file_and_offset_and_is_no_success() {
    let site = Site::new();
    let segment = site.segments("kept").swap_remove(0);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = std::fs::read(&segment).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        std::fs::write(&segment, &changed).unwrap();
        let (good, text) = site.motte(&["store", "check", "--json"]);
        let told: Value = serde_json::from_str(&text).unwrap();
        let damage = &told["damages"][0];
        assert!(!good && told["whole"] == false && damage["file"] == name.as_str(), "{at}: {text}");
        let (from, bytes) = (damage["offset"].as_u64().unwrap(), damage["bytes"].as_u64().unwrap());
        assert!((from..from + bytes).contains(&(at as u64)), "{at}: {text}");
    }
    std::fs::write(&segment, &whole).unwrap();
    site.good(&["store", "check"]);
    std::fs::remove_file(&segment).unwrap();
    let (good, text) = site.motte(&["store", "check"]);
    assert!(!good && text.contains("missing") && text.contains(&name), "{text}");
}

#[test]
fn a_vault_that_is_damaged_missing_or_of_another_key_is_named() {
    let site = Site::new();
    let vault = site.path("kept/vault");
    let whole = std::fs::read(&vault).unwrap();
    let mut changed = whole.clone();
    changed[40] ^= 1;
    std::fs::write(&vault, &changed).unwrap();
    let (good, text) = site.motte(&["store", "check"]);
    assert!(!good && text.contains("kept/vault") && text.contains("damaged"), "{text}");
    std::fs::remove_file(&vault).unwrap();
    let (good, text) = site.motte(&["store", "stats"]);
    assert!(!good && text.contains("is missing") && text.contains("journal-"), "{text}");
    std::fs::write(&vault, &whole).unwrap();
    let key = std::fs::read(site.path("kept.key")).unwrap();
    for at in 0..key.len() - 1 {
        let mut changed = key.clone();
        changed[at] ^= 1;
        std::fs::write(site.path("kept.key"), changed).unwrap();
        let (good, text) = site.motte(&["vault", "status"]);
        let is_named =
            text.contains("was given (kept.key)") || text.contains("kept.key: 64 bytes are no key");
        assert!(!good && is_named, "byte {at}: {text}");
    }
    std::fs::write(site.path("kept.key"), key).unwrap();
    std::fs::rename(site.path("kept.key"), site.path("away")).unwrap();
    for arguments in [&["store", "check"][..], &["vault", "rotate-dek"], &["vault", "status"]] {
        let (good, text) = site.motte(arguments);
        assert!(!good && text.contains("key file") && text.contains("kept.key"), "{arguments:?}: {text}");
    }
    site.good(&["store", "check", "--key-file", "away"]);
}

#[test]
fn an_export_is_taken_back_whole_and_a_changed_one_not_at_all() {
    let site = Site::new();
    let told = site.json(&["store", "export", "--plaintext-to", "all.jsonl"]);
    // Messages, deliveries, Retained Messages, Sessions, facts.
    assert_eq!(
        (&told["records"], &told["unreadable"]),
        (&Value::from(4 * MESSAGES + 2 + 2 + 2), &Value::from(0))
    );
    let file = site.path("all.jsonl");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (good, text) = site.motte(&["store", "export", "--plaintext-to", "all.jsonl"]);
    assert!(!good && text.contains("not there"), "nothing is replaced: {text}");
    let (good, text) = site.motte(&["store", "import", "all.jsonl"]);
    assert!(!good && text.contains("keeps something already"), "{text}");

    let (good, text) = site.motte_in("other", &["store", "import", "all.jsonl"]);
    assert!(good, "{text}");
    let again = site.motte_in("other", &["store", "export", "--plaintext-to", "again.jsonl"]);
    assert!(again.0, "{again:?}");
    let lines = |name: &str| {
        let text = std::fs::read_to_string(site.path(name)).unwrap();
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.pop();
        lines
    };
    assert_eq!(lines("all.jsonl"), lines("again.jsonl"));

    let whole = std::fs::read(&file).unwrap();
    for at in [0, 30, whole.len() / 2, whole.len() - 90, whole.len() - 10, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        let (good, text) = site.motte_in("third", &["store", "import", "all.jsonl"]);
        assert!(!good && text.contains("all.jsonl"), "byte {at}: {text}");
        assert!(!site.path("third").exists(), "byte {at}");
    }
}

#[test]
fn a_backup_is_verified_and_restored_and_holds_no_keys() {
    let site = Site::new();
    let told = site.json(&["store", "backup", "--to", "backups"]);
    let place = told["place"].as_str().unwrap().to_owned();
    assert!(site.path(&place).join("manifest").exists() && !site.path(&place).join("vault").exists());
    assert_eq!(telltales(&site.path("backups")), Vec::<PathBuf>::new());
    let key = ["--key-file", "kept.key"];
    let check = [&["store", "check", "--backup", &place][..], &key].concat();
    assert!(site.good(&check).ends_with("good\n"));
    let restore = [&["store", "restore", &place][..], &key].concat();
    let (good, text) = site.motte(&restore);
    assert!(!good && text.contains("is not empty"), "{text}");
    let (good, text) = site.motte_in("restored", &restore);
    assert!(good, "{text}");
    std::fs::copy(site.path("kept.key"), site.path("restored.key")).unwrap();
    let stats = site.motte_in("restored", &["store", "stats", "--json"]);
    let stats: Value = serde_json::from_str(&stats.1).unwrap();
    assert_eq!(stats["deliveries"], 2 * MESSAGES);

    let manifest = site.path(&place).join("manifest");
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() - 1]).unwrap();
    let (good, text) = site.motte(&check);
    assert!(!good && text.contains("manifest is damaged"), "{text}");
    std::fs::write(&manifest, &whole).unwrap();
    let segment = site.segments(&place).swap_remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (good, text) = site.motte_in("damaged", &restore);
    assert!(!good && text.contains(".seg: damaged in the backup"), "{text}");
}

#[test]
fn the_key_of_the_vault_is_exchanged_and_the_old_one_opens_nothing() {
    let site = Site::new();
    std::fs::copy(site.path("kept.key"), site.path("old.key")).unwrap();
    site.good(&["vault", "rotate-kek"]);
    site.good(&["store", "check"]);
    let (good, text) = site.motte(&["store", "check", "--key-file", "old.key"]);
    assert!(!good && text.contains("is opened by key file"), "{text}");
    assert!(!site.path("kept.key.next").exists() && !site.path("kept.key.old").exists());

    // To a passphrase, and back to a file.
    std::fs::write(site.path("phrase"), "correct horse battery staple\n").unwrap();
    Command::new("chmod").arg("600").arg(site.path("phrase")).status().unwrap();
    let config = |name: &str, key: &str| {
        let text = format!(
            "state_dir = \"kept\"\n{key}\n[[listener]]\nname = \"a\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:1\"]\n"
        );
        std::fs::write(site.path(name), text).unwrap();
    };
    config("phrase.toml", "[store.key]\npassphrase_file = \"phrase\"");
    site.good(&["vault", "rotate-kek", "--new-config", "phrase.toml"]);
    let (good, text) = site.motte(&["store", "check"]);
    assert!(!good && text.contains("is opened by passphrase"), "{text}");
    let with_config = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.current_dir(site.dir.path()).args(arguments).args(["--config", "phrase.toml"]);
        motte_testkit::finish(&mut command)
    };
    for arguments in [&["store", "check"][..], &["check"]] {
        let (good, text) = with_config(arguments);
        assert!(good, "{text}");
    }
    std::fs::write(site.path("phrase"), "wrong horse battery staple\n").unwrap();
    let (good, text) = with_config(&["check"]);
    assert!(!good && text.contains("is opened by passphrase") && text.contains("opens none of it"), "{text}");
}

#[test]
fn an_exchange_that_was_cut_short_leaves_a_vault_that_opens_and_is_done_again() {
    for is_in_place in [false, true] {
        let site = Site::new();
        let (state, next) = (site.path("kept"), site.path("kept.key.next"));
        let config = Config { state_dir: Some(state.clone()), ..Config::default() };
        let access = VaultAccess::there(&config, &mut Passphrases::new(None)).unwrap().unwrap();
        let mut keys = vault::open(&state, &access).unwrap().keyring;
        motte_roles::make_key_file(&next).unwrap();
        let new = VaultKey::read(&VaultSource::file(next.clone()), None).unwrap();
        keys.put_slot(new.wrap(keys.master()).unwrap().swap_remove(0)).unwrap();
        vault::write(&Directory::open(&state).unwrap(), &state, &mut keys).unwrap();
        if is_in_place {
            std::fs::rename(&next, site.path("kept.key")).unwrap();
        }
        site.good(&["store", "check"]);
        assert_eq!(site.json(&["vault", "status"])["opened_by"].as_array().unwrap().len(), 2);
        site.good(&["vault", "rotate-kek"]);
        site.good(&["store", "check"]);
        assert_eq!(site.json(&["vault", "status"])["opened_by"].as_array().unwrap().len(), 1);
        assert!(!next.exists());
    }
}

#[test]
fn the_data_keys_are_exchanged_and_everything_is_there() {
    let site = Site::new();
    let before = site.json(&["store", "backup", "--to", "backups"]);
    let told = site.json(&["vault", "rotate-dek"]);
    assert_eq!(told["exchanged"], 3);
    assert_eq!(site.json(&["store", "stats"])["deliveries"], 2 * MESSAGES);
    assert_eq!(site.json(&["vault", "status"])["keys"], 3);
    // The backup is opened by its own copy of the vault, and by the new one no more.
    let place = before["place"].as_str().unwrap();
    let check = ["store", "check", "--backup", place, "--key-file", "kept.key"];
    site.good(&check);
    let (good, text) = site.motte(&[&check[..], &["--vault", "kept/vault"]].concat());
    assert!(!good && text.contains("not in the vault given"), "{text}");
    let kept = site.json(&["vault", "rotate-dek", "--keep-old"]);
    assert_eq!(
        (&kept["exchanged"], site.json(&["vault", "status"])["keys"].as_u64()),
        (&Value::from(3), Some(6))
    );
    site.good(&["store", "check"]);
}

#[test]
fn a_shredded_device_is_gone_from_the_state_and_from_backups() {
    let site = Site::new();
    let backup = site.json(&["store", "backup", "--to", "backups"]);
    let place = backup["place"].as_str().unwrap();
    let old_vault = std::fs::read(site.path("kept/vault")).unwrap();
    let (good, text) = site.motte(&["vault", "shred", "nobody", "--yes"]);
    assert!(!good && text.contains("nothing is kept of `nobody`"), "{text}");
    let (good, text) = site.motte(&["vault", "shred", "press"]);
    assert!(!good && text.contains("--yes"), "{text}");
    let told = site.json(&["vault", "shred", "press", "--yes", "--copy", "backups/vault"]);
    assert_eq!((&told["sessions"], &told["keys"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(site.json(&["store", "stats"])["deliveries"], MESSAGES);
    site.good(&["store", "check"]);

    // The backup was made before; its vault knows the key no more.
    let restore = ["store", "restore", place, "--key-file", "kept.key"];
    let (good, text) = site.motte_in("restored", &restore);
    assert!(good, "{text}");
    std::fs::copy(site.path("kept.key"), site.path("restored.key")).unwrap();
    let (good, text) = site.motte_in("restored", &["store", "export", "--plaintext-to", "all.jsonl"]);
    assert!(good, "{text}");
    let text = std::fs::read_to_string(site.path("all.jsonl")).unwrap();
    assert!(text.contains(&format!("{CANARY}/lathe/7")) && !text.contains(&format!("{CANARY}/press/")));

    // What holds of a stray copy of the vault: it opens until its key is gone.
    std::fs::write(site.path("stray"), old_vault).unwrap();
    let check = ["store", "check", "--backup", place, "--vault", "stray", "--key-file"];
    site.good(&[&check[..], &["kept.key"]].concat());
    site.good(&["vault", "rotate-kek"]);
    let (good, text) = site.motte(&[&check[..], &["kept.key"]].concat());
    assert!(!good && text.contains("stray is opened by key file"), "{text}");
}

#[test]
fn a_recovery_key_brings_back_what_a_lost_key_file_would_take_along() {
    let site = Site::new();
    let text = site.json(&["vault", "recovery", "new"]);
    let recovery = text["recovery_key"].as_str().unwrap().to_owned();
    std::fs::remove_file(site.path("kept.key")).unwrap();
    assert!(!site.motte(&["store", "check"]).0);
    std::fs::write(site.path("paper"), &recovery).unwrap();
    site.good(&["store", "check", "--recovery-file", "paper"]);
    site.good(&["vault", "recover", "--recovery-file", "paper"]);
    site.good(&["store", "check"]);
    site.good(&["vault", "recovery", "remove"]);
    let (good, text) = site.motte(&["store", "check", "--recovery-file", "paper"]);
    assert!(!good && text.contains("is opened by key file"), "{text}");
    std::fs::write(site.path("paper"), "not a key").unwrap();
    let (good, text) = site.motte(&["vault", "recover", "--recovery-file", "paper"]);
    assert!(!good && text.contains("no recovery key"), "{text}");
}

#[test]
fn compacting_gives_space_back_and_loses_nothing() {
    let site = Site::new();
    let config = Config { state_dir: Some(site.path("kept")), ..Config::default() };
    let access = VaultAccess::read(&config, &mut Passphrases::new(None)).unwrap().unwrap();
    let keys = vault::open(&site.path("kept"), &access).unwrap().keyring;
    let directory = Directory::open(&site.path("kept")).unwrap();
    let (mut journal, _) = Journal::open(directory, Some(keys), JournalOptions::default()).unwrap();
    let mut batch = Batch::new();
    (1..MESSAGES).for_each(|seq| batch.remove_delivery(SessionId(1), seq));
    journal.append([&batch]).unwrap();
    journal.sync().unwrap();
    journal.close().unwrap();
    let before = site.json(&["store", "stats"])["bytes"].as_u64().unwrap();
    let freed = site.json(&["store", "compact"])["freed_bytes"].as_u64().unwrap();
    let after = site.json(&["store", "stats"]);
    assert!(freed > 0 && after["bytes"].as_u64().unwrap() < before, "{freed} of {before}: {after}");
    assert_eq!(after["deliveries"], MESSAGES + 1);
    let keys = vault::open(&site.path("kept"), &access).unwrap().keyring;
    let (journal, _) = Journal::look(Directory::look(&site.path("kept")).unwrap(), Some(keys)).unwrap();
    let last = journal.read(PublicationId(1000 + MESSAGES), &mut BlockCache::new()).unwrap().unwrap();
    assert_eq!(last.topic, format!("{CANARY}/press/{MESSAGES}"));
}

#[test]
fn what_a_running_broker_keeps_is_looked_at_and_not_changed() {
    let site = Site::new();
    let _lock = motte_server::StateDirectory::open(&site.path("kept")).unwrap();
    for arguments in [&["store", "check"][..], &["store", "stats"], &["vault", "status"]] {
        site.good(arguments);
    }
    site.good(&["store", "backup", "--to", "backups"]);
    for arguments in [
        &["store", "compact"][..],
        &["vault", "rotate-kek"],
        &["vault", "rotate-dek"],
        &["vault", "shred", "press", "--yes"],
        &["vault", "recovery", "new"],
    ] {
        let (good, text) = site.motte(arguments);
        assert!(!good && text.contains("stop the broker first"), "{arguments:?}: {text}");
    }
}
