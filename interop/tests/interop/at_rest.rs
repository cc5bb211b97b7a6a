//! Every file of a state directory that a real broker filled: nothing of what is kept can be read in it, and no byte of it changes
//! unnoticed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use motte_testkit::{Broker, Signal, binary, finish, wait_until};

use crate::site::{CONFIG, Site};
use crate::vault::{CANARY, kept, publish, telltales, wait_for_messages};

/// Bytes that are changed in each file, evenly spread.
const FLIPS: usize = 16;

fn config() -> String {
    let recorded = CONFIG.replace(
        "files = [\"motte-state/policy.toml\"]",
        "files = [\"motte-state/policy.toml\"]\nrecord = true",
    );
    format!("{recorded}[control]\nsocket = \"control.sock\"\n")
}

/// The same with an issuer, whose key has the canary for its name.
fn config_with_issuer() -> String {
    let set = format!(
        r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{CANARY}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]}}"#
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut reader = BufReader::new(&tcp);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let length = set.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let _ = tcp.write_all(format!("{head}{set}").as_bytes());
        }
    });
    let issuer = format!(
        "[listener.auth]\nmethods = [\"jwt\"]\n[[auth.jwt]]\nissuer = \"test\"\naudience = [\"motte\"]\n\
         keys_url = \"http://127.0.0.1:{port}/keys\"\n"
    );
    config().replace("[control]\n", &format!("{issuer}[control]\n"))
}

/// A broker that keeps something of every kind, with the canary in all of it; and its configuration.
fn filled() -> (Site, String) {
    let config = config_with_issuer();
    let site = Site::start_with(&config);
    site.broker.event("life.admin_ready");
    wait_until("the issuer's keys are kept", || site.path("store/issuers.keys").exists());
    let topic = format!("devices/device-1/{CANARY}");
    publish(&site, &format!("{topic}/retained"), CANARY, &["-r"]);
    wait_for_messages(&site, "operator", &format!("{topic}/#"));
    wait_for_messages(&site, "device-1", &format!("{topic}/own"));
    for number in 0..5 {
        publish(&site, &format!("{topic}/own"), &format!("{CANARY}-{number}"), &[]);
    }
    // A login that fails, of somebody with that name.
    let secret = site.dir.path().join("secret");
    std::fs::write(&secret, CANARY).expect("it is ours");
    let port = site.address("tls").port().to_string();
    let mut guess = Command::new(binary());
    guess.current_dir(site.dir.path()).args(["pub", "-p", &port, "--ca", "motte-state/ca.pem"]);
    guess.args(["--user", CANARY, "--password-file", "secret", "-t", &topic, "-m", "x"]);
    let (good, text) = finish(&mut guess);
    assert!(!good && text.contains("0x86"), "{text}");
    std::fs::remove_file(secret).expect("it is ours");
    let ban = format!("identity:{CANARY}");
    kept(site.dir.path(), &["bans", "add", &ban, "--cause", CANARY, "--for", "1h", "--config", "motte.toml"]);
    wait_until("the ban is kept", || site.path("store/bans.state").exists());
    (site, config)
}

fn clear(path: &Path) {
    assert_eq!(telltales(path), Vec::<PathBuf>::new());
}

#[test]
fn what_is_kept_is_nowhere_in_the_clear_not_while_it_runs_not_after_a_kill_and_not_in_backups() {
    let (site, config) = filled();
    let store = site.path("store");
    clear(&store);
    kept(site.dir.path(), &["store", "backup", "--to", "backups", "--config", "motte.toml"]);
    clear(&site.dir.path().join("backups"));
    kept(site.dir.path(), &["vault", "rotate-dek", "--config", "motte.toml"]);
    clear(&store);
    site.broker.signal("core", Signal::KILL);
    let Site { broker, dir } = site;
    assert!(!broker.terminate());
    clear(&store);
    // What an earlier version left in the clear is sealed by the next start, and a file that was cut short is no way out.
    std::fs::write(store.join("bans.state.new"), "half a file").expect("it is ours");
    let broker = Broker::serve(dir.path(), &config);
    broker.event("life.admin_ready");
    let bans = kept(dir.path(), &["bans", "list", "--config", "motte.toml"]);
    assert!(bans.contains(CANARY), "{bans}");
    assert!(broker.terminate());
    clear(&store);
    let advice = ["acl", "advise", "--from", "motte-state/store/usage.record", "--config", "motte.toml"];
    assert!(kept(dir.path(), &advice).contains("not judged"));
}

/// Runs something on the state directory while a byte of a file is another, and puts the byte back.
fn flipped<T>(file: &Path, offset: usize, run: impl FnOnce() -> T) -> T {
    let good = std::fs::read(file).expect("it is ours");
    let mut bad = good.clone();
    *bad.get_mut(offset).expect("it is in the file") ^= 0x10;
    std::fs::write(file, bad).expect("it is ours");
    let outcome = run();
    std::fs::write(file, good).expect("it is ours");
    outcome
}

#[test]
fn each_changed_byte_of_each_kind_of_file_is_named_by_the_check_and_by_a_start() {
    let (site, config) = filled();
    let Site { broker, dir } = site;
    assert!(broker.terminate());
    let dir = dir.path();
    let store = dir.join("motte-state/store");
    let check = || finish(Command::new(binary()).current_dir(dir).args(["store", "check"]));
    let (good, text) = check();
    assert!(good && text.ends_with("good\n"), "{text}");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&store)
        .expect("it is ours")
        .map(|entry| entry.expect("it is ours").path())
        .collect();
    files.sort();
    let mut kinds = Vec::new();
    for file in &files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        // Zeros behind the end of a segment are room that was not used: they mean nothing.
        let bytes = std::fs::read(file).expect("it is ours");
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Nothing is in these: see docs/vault.md.
        if length == 0 || name == "journal.reserve" || name.starts_with("sandbox-") {
            continue;
        }
        for flip in 0..FLIPS.min(length) {
            let offset = length * flip / FLIPS.min(length);
            let (good, text) = flipped(file, offset, check);
            assert!(!text.contains("panicked"), "{name}, byte {offset}: {text}");
            let is_told = text.contains(&name) && (!good || text.contains("ends torn"));
            assert!(is_told, "{name}, byte {offset}: {text}");
        }
        let kind = if name.starts_with("journal-") { "journal".to_owned() } else { name.clone() };
        if !kinds.contains(&kind) {
            // A start damages nothing further: it is tried on a copy.
            let told = flipped(file, length / 2, || start_of_copy(dir, &config));
            assert!(told.contains(&name) && !told.contains("panicked"), "{name}: {told}");
            kinds.push(kind);
        }
    }
    kinds.sort();
    let wanted = [
        "attempts.state",
        "bans.state",
        "credentials.learned",
        "issuers.keys",
        "journal",
        "usage.record",
        "vault",
    ];
    assert_eq!(kinds, wanted);
}

/// What a broker says that is started on a copy of the state directory.
fn start_of_copy(dir: &Path, config: &str) -> String {
    let copied = Command::new("cp").current_dir(dir).args(["-a", "motte-state/store", "copy"]).status();
    assert!(copied.expect("cp is there").success());
    let config =
        config.replace("motte-state/store\"", "copy\"\n[store]\nkey.file = \"motte-state/store.key\"");
    std::fs::write(dir.join("copy.toml"), config).expect("it is ours");
    let mut command = Command::new(binary());
    command.current_dir(dir).args(["serve", "--config", "copy.toml"]).stdout(Stdio::null());
    let log = dir.join("copy.log");
    command.stderr(std::fs::File::create(&log).expect("it is ours"));
    let mut child = command.spawn().expect("it starts");
    let said = || std::fs::read_to_string(&log).expect("it is ours");
    wait_until("it serves or ends", || {
        said().contains("life.admin_ready") || child.try_wait().expect("it is ours").is_some()
    });
    if child.try_wait().expect("it is ours").is_none() {
        // All of its processes have ended when it has.
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
        child.wait().expect("it is ours");
    }
    std::fs::remove_dir_all(dir.join("copy")).expect("it is ours");
    said()
}

/// Starts `motte` on a terminal of its own, waits for words, stops it, and gives what the terminal showed.
fn on_a_terminal(dir: &Path, arguments: &str, ready: &str, stop: &[&str]) -> String {
    let shown = dir.join("terminal");
    let mut script = Command::new("script");
    script.current_dir(dir).args(["-qec", &format!("{} {arguments}", binary().display()), "/dev/null"]);
    script.stdin(Stdio::null()).stdout(std::fs::File::create(&shown).expect("it is ours"));
    let mut child = script.spawn().expect("script is there");
    let read = || String::from_utf8_lossy(&std::fs::read(&shown).expect("it is ours")).into_owned();
    wait_until("it runs", || read().contains(ready));
    wait_until("it takes orders", || finish(Command::new(binary()).current_dir(dir).args(stop)).0);
    child.wait().expect("it is ours");
    read()
}

/// The recovery key on a terminal; `None` if none is offered.
fn recovery_key(shown: &str) -> Option<String> {
    let (_, rest) = shown.split_once("shown only now:")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[test]
fn a_recovery_key_is_offered_at_the_first_start_and_never_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    let up = || on_a_terminal(dir, "up --port 0", "stop with Ctrl-C", &["stop"]);
    let recovery = recovery_key(&up()).expect("it is offered");
    assert_eq!(recovery_key(&up()), None);
    std::fs::write(dir.join("recovery"), &recovery).expect("it is ours");
    let opened = kept(dir, &["vault", "status", "--recovery-file", "recovery"]);
    assert!(opened.contains("the configured key opens it"), "{opened}");
    let state = dir.join("motte-state/store");
    let digits = recovery.as_bytes();
    for file in std::fs::read_dir(state).expect("it is ours") {
        let bytes = std::fs::read(file.expect("it is ours").path()).expect("it is ours");
        assert!(!bytes.windows(digits.len()).any(|part| part == digits));
    }

    let config =
        config().replace("format = \"json\"", "level = \"info\"").replace("motte-state/store", "fresh");
    std::fs::write(dir.join("motte.toml"), config).expect("it is ours");
    let serve = || {
        let stop = ["stop", "--config", "motte.toml"];
        on_a_terminal(dir, "serve --config motte.toml", "life.admin_ready", &stop)
    };
    assert!(recovery_key(&serve()).is_some_and(|key| key != recovery));
    assert_eq!(recovery_key(&serve()), None);
}
