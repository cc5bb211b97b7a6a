//! What operators ask of the real broker: over its control socket, as who they are, and with bytes that are no request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use motte_testkit::{Broker, Signal, binary, finish, wait_until};
use serde_json::Value;

use crate::site::{CONFIG, Site};

fn motte(dir: &Path, arguments: &[&str]) -> (bool, String) {
    finish(Command::new(binary()).current_dir(dir).args(arguments))
}

/// As another user of this machine; the tests run as root.
fn motte_as_nobody(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary());
    finish(command.current_dir(dir).args(arguments))
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let (good, text) = motte(dir, arguments);
    assert!(good, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A client of MQTT 5.0 on the listener without encryption.
struct Client(TcpStream);

impl Client {
    fn connect(site: &Site, client_id: &str) -> Self {
        let mut stream = TcpStream::connect(site.address("tcp")).expect("it listens");
        stream.set_read_timeout(Some(motte_testkit::DEADLINE)).expect("a socket");
        let id = client_id.as_bytes();
        let length = u8::try_from(id.len()).expect("short");
        // Clean Start, and a Session Expiry Interval of 60 s.
        let mut packet = vec![
            0x10,
            18 + length,
            0,
            4,
            b'M',
            b'Q',
            b'T',
            b'T',
            5,
            2,
            0,
            60,
            5,
            0x11,
            0,
            0,
            0,
            60,
            0,
            length,
        ];
        packet.extend_from_slice(id);
        stream.write_all(&packet).expect("it reads");
        let mut client = Self(stream);
        let (kind, body) = client.packet();
        assert_eq!((kind, body.get(1)), (0x20, Some(&0)), "{body:?}");
        client
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a packet");
        let [kind, length] = head;
        let mut body = vec![0; usize::from(length)];
        self.0.read_exact(&mut body).expect("the rest");
        (kind, body)
    }

    fn subscribe(&mut self, filter: &str) {
        let length = u8::try_from(filter.len()).expect("short");
        let mut packet = vec![0x82, 6 + length, 0, 1, 0, 0, length];
        packet.extend_from_slice(filter.as_bytes());
        packet.push(1);
        self.0.write_all(&packet).expect("it reads");
        assert_eq!(self.packet().0, 0x90);
    }

    fn is_served(&mut self) {
        self.0.write_all(&[0xc0, 0]).expect("it reads");
        assert_eq!(self.packet(), (0xd0, Vec::new()));
    }
}

/// A site on which everybody may connect without encryption, from this machine, with any Client Identifier.
fn open_site() -> Site {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate(), "motte up did not stop cleanly");
    let policy = dir.path().join("motte-state/policy.toml");
    let mut text = std::fs::read_to_string(&policy).expect("made");
    text.push_str("\n[role.guest]\nrules = [{ allow = [\"subscribe\", \"receive\"], topics = [\"open/#\"] }]\n[anonymous]\nroles = [\"guest\"]\nclient_ids = [\"*\"]\n");
    std::fs::write(&policy, text).expect("ours");
    let config = format!("{CONFIG}[listener.auth]\nanonymous = true\n[control]\nsocket = \"control.sock\"\n");
    let broker = Broker::serve(dir.path(), &config);
    broker.event("life.admin_ready");
    Site { broker, dir }
}

#[test]
fn status_says_what_runs() {
    let site = open_site();
    let mut client = Client::connect(&site, "guest-1");
    client.subscribe("open/a");
    let mut status = Value::Null;
    wait_until("the figures are those of now", || {
        status = json(site.dir.path(), &["status", "--config", "motte.toml", "--json"]);
        status["connections"] == 1 && status["subscriptions"] == 1
    });
    assert_eq!(status["sessions"], 1);
    let roles: Vec<&str> = status["processes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["role"].as_str())
        .collect();
    assert_eq!(roles, ["supervisor", "core", "keyd", "admin"]);
    for process in status["processes"].as_array().expect("a list") {
        assert_eq!(process["sandbox"], "full", "{process}");
        assert!(process["resident_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{process}");
    }
    let listeners = status["listeners"].as_array().expect("a list");
    let tcp = listeners.iter().find(|one| one["name"] == "tcp").expect("it is there");
    assert_eq!((&tcp["connections"], &tcp["kind"]), (&Value::from(1), &Value::from("tcp")));
    assert_eq!(tcp["addresses"][0], site.address("tcp").to_string());
    assert_eq!(
        (&status["policy"]["generation"], &status["policy"]["by"]),
        (&Value::from(1), &Value::from("the start"))
    );
    assert!(status["reload"].is_null());
    assert!(status["certificates"][0]["not_after_unix_s"].as_u64().is_some_and(|end| end > 1_700_000_000));
    let (good, text) = motte(site.dir.path(), &["status", "--socket", "control.sock"]);
    assert!(good && text.contains("connections 1, Sessions 1") && text.contains("policy 1 since"), "{text}");
    assert!(site.broker.terminate());
}

#[test]
fn a_reload_answers_how_it_went() {
    let site = open_site();
    let reload = || motte(site.dir.path(), &["reload", "--config", "motte.toml"]);
    let (good, text) = reload();
    assert!(good && text.contains("in force"), "{text}");
    let told = site.broker.event("life.administered");
    assert_eq!(
        (told.field("uid"), told.field("act"), told.field("result")),
        ("0".into(), "reload".into(), "in force".into())
    );
    let policy = std::fs::read_to_string(site.path("policy.toml")).expect("made");
    std::fs::write(site.path("policy.toml"), policy.replace("\"subscribe\"", "\"subscribbe\""))
        .expect("ours");
    let (good, text) = reload();
    assert!(!good && text.contains("what was in force stays in force"), "{text}");
    assert!(
        text.contains("policy.toml:") && text.contains("`subscribbe`") && text.contains("remedy:"),
        "{text}"
    );
    site.broker.event_where("life.administered", |event| event.field("result").contains("subscribbe"));
    let status = json(site.dir.path(), &["status", "--config", "motte.toml", "--json"]);
    assert_eq!(status["policy"]["generation"], 2);
    assert_eq!(status["policy"]["by"], "an operator (user 0)");
    assert!(status["reload"]["fault"].as_str().is_some_and(|fault| fault.contains("subscribbe")));
    std::fs::write(site.path("policy.toml"), policy).expect("ours");
    std::fs::write(site.dir.path().join("motte.toml"), "nonsense = true\n").expect("ours");
    let (good, text) = motte(site.dir.path(), &["reload", "--socket", "control.sock"]);
    assert!(!good && text.contains("motte.toml:1:1"), "{text}");
    assert!(site.broker.terminate());
}

#[test]
fn reloads_at_once_are_done_one_after_the_other() {
    let site = open_site();
    let reload = || motte(site.dir.path(), &["reload", "--config", "motte.toml"]);
    let answers = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..6).map(|_| scope.spawn(reload)).collect();
        asked.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    for (good, text) in answers {
        assert!(good && text.contains("in force"), "{text}");
    }
    let status = json(site.dir.path(), &["status", "--config", "motte.toml", "--json"]);
    assert_eq!(status["policy"]["generation"], 7);
    assert!(site.broker.terminate());
}

#[test]
fn a_stop_is_waited_for() {
    let site = open_site();
    let mut client = Client::connect(&site, "guest-1");
    let (good, text) = motte(site.dir.path(), &["stop", "--config", "motte.toml"]);
    assert!(good && text.contains("stopped"), "{text}");
    assert_eq!(client.packet(), (0xe0, vec![0x8b]));
    let (good, text) = motte(site.dir.path(), &["vault", "recovery", "new", "--config", "motte.toml"]);
    assert!(good, "it was over when it was said to be: {text}");
    assert_eq!(site.broker.event("life.stopping").field("cause"), "an operator (user 0)");
    assert_eq!(site.broker.event("life.administered").field("act"), "stop");
    for verb in [&["status"][..], &["reload"], &["stop"], &["clients", "list"]] {
        let (good, text) = motte(site.dir.path(), &[verb, &["--config", "motte.toml"]].concat());
        assert!(!good && text.contains("no broker runs there") && text.contains("remedy:"), "{text}");
    }
    let (good, text) = motte(site.dir.path(), &["status", "--state", "nowhere"]);
    assert!(!good && text.contains("there is no nowhere/control.sock"), "{text}");
}

#[test]
fn clients_are_listed_shown_and_disconnected() {
    let site = open_site();
    let dir = site.dir.path();
    let mut clients: Vec<Client> = ["a", "b", "c\u{1b}[31m"].map(|id| Client::connect(&site, id)).into();
    clients[0].subscribe("open/a");
    let page = json(dir, &["clients", "list", "--json", "--config", "motte.toml"]);
    let ids: Vec<&str> = page["clients"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["client_id"].as_str())
        .collect();
    assert_eq!((ids, &page["more"]), (vec!["a", "b", "c\u{1b}[31m"], &Value::from(false)));
    let first = &page["clients"][0];
    assert_eq!(
        (&first["connected"], &first["listener"], &first["address"]),
        (&Value::from(true), &Value::from("tcp"), &Value::from("127.0.0.1"))
    );
    assert_eq!(first["subscriptions"], 1);
    assert!(first["since_unix_ms"].as_u64().is_some_and(|since| since > 1_700_000_000_000));
    let (_, text) =
        motte(dir, &["clients", "list", "--config", "motte.toml", "--after", "a", "--limit", "1"]);
    assert!(text.starts_with("b  identity") && text.contains("there are more: --after 'b'"), "{text}");
    let (_, text) = motte(dir, &["clients", "--config", "motte.toml", "list", "--all"]);
    assert!(text.contains("c\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
    let shown = json(dir, &["clients", "show", "a", "--json", "--config", "motte.toml"]);
    assert_eq!((&shown["protocol"], &shown["filters"][0]), (&Value::from(5), &Value::from("1 open/a")));

    let (good, text) = motte(dir, &["clients", "disconnect", "a", "--config", "motte.toml"]);
    assert!(good && text.contains("disconnected a"), "{text}");
    assert_eq!(clients[0].packet(), (0xe0, vec![0x98]), "Administrative action");
    assert_eq!(site.broker.event("life.administered").field("act"), "disconnect client a");
    site.broker
        .event_where("gate.disconnected", |event| event.field("cause") == "an operator disconnected it");
    let shown = json(dir, &["clients", "show", "a", "--json", "--config", "motte.toml"]);
    assert_eq!(
        (&shown["connected"], &shown["subscriptions"]),
        (&Value::from(false), &Value::from(1)),
        "its Session stays"
    );
    let (good, text) = motte(dir, &["clients", "disconnect", "a", "--config", "motte.toml"]);
    assert!(!good && text.contains("no client `a` is connected"), "{text}");
    clients[1].is_served();
    let mut again = Client::connect(&site, "a");
    again.is_served();
    assert!(site.broker.terminate());
}

#[test]
fn a_foreign_user_is_turned_away() {
    let site = open_site();
    let socket = site.dir.path().join("control.sock");
    let mode = std::fs::metadata(&socket).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(site.dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let (good, text) = motte_as_nobody(site.dir.path(), &["status", "--socket", "control.sock"]);
    assert!(!good && text.contains("you may not ask the broker") && text.contains("control.group"), "{text}");
    // As if the mode of the socket were not there to help.
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).expect("ours");
    for verb in [&["stop"][..], &["reload"], &["clients", "disconnect", "a"]] {
        let (good, text) = motte_as_nobody(site.dir.path(), &[verb, &["--socket", "control.sock"]].concat());
        assert!(!good && text.contains("takes nothing from user 65534"), "{text}");
    }
    assert_eq!(site.broker.event("life.operator_refused").field("uid"), "65534");
    assert!(site.broker.events("life.administered").is_empty());
    assert!(motte(site.dir.path(), &["status", "--socket", "control.sock"]).0);
    assert!(site.broker.terminate());
}

#[test]
fn a_group_may_ask() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate());
    let config = |group: &str| format!("{CONFIG}[control]\nsocket = \"control.sock\"\ngroup = \"{group}\"\n");
    let broker = Broker::serve(dir.path(), &config("nogroup"));
    broker.event("life.admin_ready");
    let about = std::fs::metadata(dir.path().join("control.sock")).expect("it is there");
    assert_eq!((about.mode() & 0o777, about.gid()), (0o660, 65_534));
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let (good, text) = motte_as_nobody(dir.path(), &["status", "--socket", "control.sock"]);
    assert!(good, "{text}");
    assert!(broker.terminate());
    std::fs::write(dir.path().join("motte.toml"), config("no-such-group")).expect("ours");
    let (good, text) = motte(dir.path(), &["serve", "--config", "motte.toml"]);
    assert!(
        !good && text.contains("the group no-such-group is not in /etc/group") && text.contains("remedy"),
        "{text}"
    );
}

#[test]
fn garbage_harms_nobody() {
    let site = open_site();
    let mut client = Client::connect(&site, "guest-1");
    let admin = site.broker.role("admin");
    let socket = site.dir.path().join("control.sock");
    let greeting = [&[16 + 7, 0, 0, 0][..], b"MOTTECTL", &[1, 0, 9, 0, 0, 0], b"9.9.9-abc"].concat();
    let inputs: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[255; 64],
        &[0; 64],
        &[&greeting[..], &[255, 255, 255, 127]].concat(),
        &[&greeting[..], &[3, 0, 0, 0, 1, 200, 0]].concat(),
    ];
    for input in inputs {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        stream.set_read_timeout(Some(motte_testkit::DEADLINE)).expect("a socket");
        stream.write_all(input).expect("it reads");
        let mut answer = Vec::new();
        // It ends by the other side, with or without a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100, "a greeting, and at most a refusal: {answer:?}");
    }
    // Those that say nothing hold a seat each, for ten seconds, and the next is told so.
    let mut idle = Vec::new();
    wait_until("it is busy", || {
        idle.drain(..usize::saturating_sub(idle.len(), 32));
        idle.extend((0..16).map(|_| UnixStream::connect(&socket).expect("it listens")));
        let (good, text) = motte(site.dir.path(), &["status", "--socket", "control.sock"]);
        !good && text.contains("is asked by too many at once")
    });
    client.is_served();
    drop(idle);
    wait_until("it is not busy any more", || {
        motte(site.dir.path(), &["status", "--socket", "control.sock"]).0
    });
    assert_eq!(site.broker.role("admin"), admin, "the same process");
    assert!(site.broker.terminate());
}

#[test]
fn another_version_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("ours");
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it comes");
        stream
            .write_all(&[&[19, 0, 0, 0][..], b"MOTTECTL", &[9, 0, 5, 0, 0, 0], b"9.9\x1b!"].concat())
            .expect("it reads");
    });
    let (good, text) = motte(dir.path(), &["status", "--socket", "control.sock"]);
    assert!(!good && text.contains("is motte 9.9\\u{1b}!, which speaks version 9"), "{text}");
    broker.join().expect("it ends");
}

#[test]
fn an_admin_process_that_ends_is_started_again_and_clients_do_not_notice() {
    let site = open_site();
    let mut client = Client::connect(&site, "guest-1");
    for _ in 0..3 {
        let before = site.broker.role("admin");
        site.broker.signal("admin", Signal::KILL);
        client.is_served();
        wait_until("the next one runs", || site.broker.role("admin") != before);
        let (good, text) = motte(site.dir.path(), &["status", "--socket", "control.sock"]);
        assert!(good, "{text}");
    }
    let ended = site.broker.event("life.admin_ended");
    assert!(ended.field("cause").contains("signal 9"), "{}", ended.field("cause"));
    let status = json(site.dir.path(), &["status", "--socket", "control.sock", "--json"]);
    assert_eq!(status["processes"][3]["restarts"], 3);
    client.is_served();
    let (good, text) = motte(site.dir.path(), &["stop", "--socket", "control.sock"]);
    assert!(good, "{text}");
}

#[test]
fn a_socket_that_cannot_be_made_stops_the_start_only_where_it_was_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(Broker::up(dir.path()).terminate());
    // A file that is no socket is in its place.
    std::fs::write(dir.path().join("motte-state/store/control.sock"), "mine").expect("ours");
    let broker = Broker::serve(dir.path(), CONFIG);
    let about = broker.event("life.control_unavailable");
    assert!(about.field("socket").ends_with("store/control.sock"), "{}", about.field("socket"));
    assert!(broker.terminate());
    let named = "[control]\nsocket = \"motte-state/store/control.sock\"\n";
    std::fs::write(dir.path().join("motte.toml"), format!("{CONFIG}{named}")).expect("ours");
    let (good, text) = motte(dir.path(), &["serve", "--config", "motte.toml"]);
    assert!(!good && text.contains("control socket: cannot listen on unix:"), "{text}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("motte-state/store/control.sock")).expect("kept"),
        "mine"
    );
    let broker = Broker::serve(dir.path(), &format!("{CONFIG}[control]\nenabled = false\n"));
    let (good, text) = motte(dir.path(), &["status", "--config", "motte.toml"]);
    assert!(!good && text.contains("has no control socket"), "{text}");
    assert!(broker.terminate());
}
