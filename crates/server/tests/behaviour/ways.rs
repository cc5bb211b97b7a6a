//! Every way by which a message reaches a subscriber, through the whole server: it arrives while both may, and does not once the
//! writer or the reader may no longer or the topic is not registered, whether that was so from the start or came with a reload or a restart in between.

use motte_config::{AuthMethod, Config};
use motte_server::Options;

use crate::events::with_passwords;
use crate::harness::*;

/// Whose right is missing at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Without {
    Nobody,
    Writer,
    Reader,
    /// The topic is not in the topic registry, whatever rights there are.
    Topic,
}

/// How the message comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// To somebody who is connected, with this `QoS`.
    Publish(u8),
    /// Released by PUBREL after the policy changed.
    Second,
    /// Kept, and found by SUBSCRIBE.
    Retained,
    /// Of a connection that breaks.
    Will,
    /// The same a second later.
    DelayedWill,
    /// To a member of a group.
    Shared,
    /// Kept for somebody who is away.
    Queued,
    /// Kept for somebody who was connected twice.
    Takeover,
}

const WAYS: [Way; 10] = [
    Way::Publish(0),
    Way::Publish(1),
    Way::Publish(2),
    Way::Second,
    Way::Retained,
    Way::Will,
    Way::DelayedWill,
    Way::Shared,
    Way::Queued,
    Way::Takeover,
];

fn policy(without: Without) -> String {
    let writer = if without == Without::Writer { "elsewhere" } else { "w/#" };
    let reader = if without == Without::Reader { "elsewhere" } else { "w/#" };
    let registry = if without == Without::Topic { "topic_registry = [\"end/#\"]\n" } else { "" };
    format!(
        "version = 1\n{registry}[role.writer]\nrules = [{{ allow = [\"publish\", \"retain\"], topics = [\"{writer}\", \"end/#\"] }}]\n[role.reader]\nrules = [{{ allow = [\"subscribe\", \"share\"], topics = [\"{reader}\", \"end/#\"] }}]\n[identity.a]\nroles = [\"writer\"]\n[identity.b]\nroles = [\"reader\"]\n"
    )
}

struct Place {
    directory: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config("");
        with_passwords(&directory, 64, &mut config);
        config.listeners[0].methods = vec![AuthMethod::Password];
        config.policy_files = vec![directory.path().join("policy.toml")];
        config.state_dir = Some(directory.path().join("state"));
        Self { directory, config }
    }

    fn write(&self, without: Without) {
        std::fs::write(self.directory.path().join("policy.toml"), policy(without)).unwrap();
    }

    fn start(&self) -> Running {
        start_with(self.config.clone(), Options::default())
    }
}

/// A client, and whether the message has come.
struct Peer {
    client: Client,
    found: bool,
}

impl Peer {
    fn packet(&mut self) -> (u8, Vec<u8>) {
        let (first, body) = self.client.packet();
        self.found |= first >> 4 == 3 && body.starts_with(&string("w/x"));
        (first, body)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.client.send(bytes);
    }
}

/// CONNECT with 5.0 as `a` or `b`, with a Session that is kept and perhaps a Will; gives the Reason Code.
fn enter(running: &Running, name: &str, will_delay_s: Option<u32>) -> (Peer, u8) {
    let mut client = Peer { client: running.client(), found: false };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc0, 0, 60, 5, 17, 0, 0, 0, 60];
    body.extend(string(name));
    if let Some(delay_s) = will_delay_s {
        body[7] |= 0x0c;
        body.extend([5, 24]);
        body.extend(delay_s.to_be_bytes());
        body.extend(string("w/x"));
        body.extend(string("message"));
    }
    body.extend(string(name));
    body.extend(string("right"));
    client.send(&packet(0x10, &body));
    let (first, body) = client.packet();
    assert_eq!(first, 0x20);
    (client, body[1])
}

fn subscribe(client: &mut Peer, filter: &str) -> u8 {
    let mut body = vec![0, 1, 0];
    body.extend(string(filter));
    body.push(2);
    client.send(&packet(0x82, &body));
    loop {
        let (first, body) = client.packet();
        if first == 0x90 {
            return body[3];
        }
    }
}

/// PUBLISH, acknowledged as far as a `QoS` 2 goes without PUBREL.
fn publish(client: &mut Peer, topic: &str, qos: u8, retain: bool) {
    let mut body = string(topic);
    if qos > 0 {
        body.extend([0, 7]);
    }
    body.push(0);
    body.extend(b"message");
    client.send(&packet(0x30 | qos << 1 | u8::from(retain), &body));
    if qos > 0 {
        let (first, _) = client.packet();
        assert_eq!(first, if qos == 1 { 0x40 } else { 0x50 });
    }
}

fn release(client: &mut Peer) {
    client.send(&[0x62, 2, 0, 7]);
    let (first, _) = client.packet();
    assert_eq!(first, 0x70);
}

/// Whether the message comes before one that is sent behind it, which everybody may.
fn arrives(running: &Running, reader: &mut Peer) -> bool {
    assert!(subscribe(reader, "end/#") < 0x80);
    let mut last = Peer { client: running.client(), found: false };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0xc2, 0, 60, 0];
    for text in ["a-last", "a", "right"] {
        body.extend(string(text));
    }
    last.send(&packet(0x10, &body));
    assert_eq!(last.packet().1[1], 0);
    publish(&mut last, "end/x", 1, false);
    // PUBREL of a message that came with `QoS` 2 may be in between; it is not answered here.
    while !reader.packet().1.starts_with(&string("end/x")) {}
    reader.found
}

/// What happens before the policy changes. The writer is connected afterwards, the reader is as the way wants it.
struct Begun {
    writer: Peer,
    reader: Option<Peer>,
}

fn begin(running: &Running, way: Way) -> Begun {
    let will = match way {
        Way::Will => Some(0),
        Way::DelayedWill => Some(1),
        _ => None,
    };
    let (mut writer, code) = enter(running, "a", will);
    assert_eq!(code, 0, "{way:?}");
    let (mut reader, code) = enter(running, "b", None);
    assert_eq!(code, 0);
    match way {
        Way::Shared => assert_eq!(subscribe(&mut reader, "$share/g/w/#"), 2),
        Way::Retained => publish(&mut writer, "w/x", 1, true),
        _ => assert_eq!(subscribe(&mut reader, "w/#"), 2),
    }
    match way {
        Way::Second => publish(&mut writer, "w/x", 2, false),
        Way::Queued | Way::Takeover => {
            reader.send(&[0xe0, 0]);
            assert!(reader.client.is_closed());
            publish(&mut writer, "w/x", 1, false);
            return Begun { writer, reader: None };
        }
        _ => {}
    }
    Begun { writer, reader: Some(reader) }
}

/// What happens afterwards; gives the reader.
fn finish(running: &Running, way: Way, begun: Begun) -> Peer {
    let Begun { mut writer, reader } = begun;
    let comes = || enter(running, "b", None).0;
    match way {
        Way::Publish(qos) => {
            publish(&mut writer, "w/x", qos, false);
            if qos == 2 {
                release(&mut writer);
            }
        }
        Way::Second => release(&mut writer),
        Way::Shared => publish(&mut writer, "w/x", 1, false),
        Way::Will | Way::DelayedWill => {
            drop(writer);
            if way == Way::DelayedWill {
                running.lines.expect("client_id=a cause=");
                // Its Will is a second behind; the message after it has to be later still.
                let since = std::time::Instant::now();
                wait_for(|| since.elapsed().as_millis() > 1_500, || "time stands still".to_owned());
            }
        }
        Way::Retained => {
            let mut reader = reader.unwrap();
            let _ = subscribe(&mut reader, "w/#");
            return reader;
        }
        Way::Queued => return comes(),
        Way::Takeover => {
            let first = comes();
            let second = comes();
            drop(first);
            return second;
        }
    }
    reader.unwrap()
}

/// What a message that was taken means for those who may receive it, once its writer may not write any more: what waits goes
/// on, for it was permitted when it came; what would be published only now is not.
fn is_expected(way: Way, without: Without) -> bool {
    match without {
        Without::Nobody => true,
        // It was delivered when it came.
        Without::Reader => way == Way::Second,
        Without::Writer | Without::Topic => matches!(way, Way::Queued | Way::Takeover | Way::Second),
    }
}

#[test]
fn each_way_is_decided_by_the_policy_that_a_reload_brought() {
    for without in [Without::Nobody, Without::Writer, Without::Reader, Without::Topic] {
        for way in WAYS {
            let place = Place::new();
            place.write(Without::Nobody);
            let running = place.start();
            let begun = begin(&running, way);
            place.write(without);
            running.server.handle().reload().unwrap();
            let mut reader = finish(&running, way, begun);
            assert_eq!(arrives(&running, &mut reader), is_expected(way, without), "{way:?} {without:?}");
            running.stop();
        }
    }
}

#[test]
fn each_way_is_decided_by_the_policy_that_is_there_from_the_start() {
    for without in [Without::Writer, Without::Reader, Without::Topic] {
        for way in [Way::Publish(0), Way::Publish(1), Way::Publish(2), Way::Shared, Way::Retained] {
            let place = Place::new();
            place.write(without);
            let running = place.start();
            let (mut writer, _) = enter(&running, "a", None);
            let (mut reader, _) = enter(&running, "b", None);
            let filter = if way == Way::Shared { "$share/g/w/#" } else { "w/#" };
            let is_taken = subscribe(&mut reader, filter) < 0x80;
            assert_eq!(is_taken, without != Without::Reader, "{way:?}");
            match way {
                Way::Publish(qos) => {
                    publish(&mut writer, "w/x", qos, false);
                }
                Way::Retained => {
                    publish(&mut writer, "w/x", 1, true);
                    let _ = subscribe(&mut reader, filter);
                }
                _ => publish(&mut writer, "w/x", 1, false),
            }
            if way == Way::Publish(2) && without == Without::Reader {
                release(&mut writer);
            }
            assert!(!arrives(&running, &mut reader), "{way:?} {without:?}");
            if without == Without::Topic {
                running.lines.expect("`w/x` is no topic of the topic registry");
            }
            running.stop();
        }
        // A Will that may not be is refused at CONNECT.
        let place = Place::new();
        place.write(without);
        let running = place.start();
        assert_eq!(enter(&running, "a", Some(0)).1 == 0, without == Without::Reader);
        if without == Without::Topic {
            running.lines.expect("rule.will_denied");
            running.lines.expect("`w/x` is no topic of the topic registry; will on `w/x` is denied");
        }
        running.stop();
    }
}

/// What is kept over a restart, by a policy that changed while nobody ran.
#[test]
fn each_way_is_decided_by_the_policy_that_a_restart_brought() {
    for without in [Without::Nobody, Without::Writer, Without::Reader, Without::Topic] {
        for way in [Way::Queued, Way::Retained, Way::Shared, Way::Takeover] {
            let place = Place::new();
            place.write(Without::Nobody);
            let running = place.start();
            drop(begin(&running, way));
            running.stop();
            place.write(without);
            let running = place.start();
            let (mut reader, _) = enter(&running, "b", None);
            match way {
                Way::Retained => drop(subscribe(&mut reader, "w/#")),
                Way::Shared => publish(&mut enter(&running, "a", None).0, "w/x", 1, false),
                Way::Takeover => reader = enter(&running, "b", None).0,
                _ => {}
            }
            // What comes from a record is asked for its writer's right again.
            let expected = without == Without::Nobody;
            assert_eq!(arrives(&running, &mut reader), expected, "{way:?} {without:?}");
            running.stop();
        }
    }
}
