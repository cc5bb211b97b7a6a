//! The process is killed in the middle of the load, of recovery, of compaction and of the exchange of keys, again and again: what
//! was acknowledged is there, and nothing with QoS 2 comes twice. `MOTTE_KILL_ROUNDS` says how often; figures are in
//! `docs/durability.md`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use motte_testkit::{Broker, binary};

use crate::peer::{PATIENCE, Peer};

/// Rounds if nothing else is said, each of which ends with a kill.
const ROUNDS: u64 = 12;
/// Publications that a writer has on their way.
const WINDOW: usize = 20;

fn rounds() -> u64 {
    std::env::var("MOTTE_KILL_ROUNDS").ok().map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// Moments that differ from round to round in the same way each time.
struct Moments(u64);

impl Moments {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// Lets so much time pass at most.
    fn pass(&mut self, most: Duration) {
        let until = Instant::now() + most * u32::try_from(self.below(1_000)).unwrap() / 1_000;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

fn arguments() -> [&'static str; 8] {
    ["dev", "--state", "state", "--json", "--bind", "127.0.0.1:0", "--workers", "2"]
}

fn start(dir: &Path) -> (Broker, SocketAddr) {
    let broker = Broker::start(dir, &arguments());
    // Of a machine that does much else.
    let deadline = Instant::now() + PATIENCE;
    while broker.events("life.listening").is_empty() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let address = broker.address("mqtt");
    (broker, address)
}

/// What is done between a kill and the next start that is let be; killed in the middle, too. Says whether it came to its end.
fn meanwhile(dir: &Path, round: u64, moments: &mut Moments) -> (&'static str, bool) {
    let (what, arguments, most): (_, &[&str], _) = match round % 6 {
        1 => ("recovery", &arguments()[..], 60),
        2 => ("compaction", &["store", "compact", "--state", "state"], 200),
        3 => ("exchange of data keys", &["vault", "rotate-dek", "--state", "state"], 200),
        4 => ("exchange of the key file", &["vault", "rotate-kek", "--state", "state"], 200),
        _ => return ("nothing", true),
    };
    let mut command = Command::new(binary());
    command.current_dir(dir).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    moments.pass(Duration::from_millis(most));
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none_or(|status| status.success()), "{what}: {ended:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    (what, ended.is_some())
}

#[test]
fn what_was_acknowledged_is_there_after_every_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers = [(Peer::new("once"), 1), (Peer::new("exactly"), 2)];
    let mut readers = [Peer::new("present"), Peer::new("away")];
    let (mut number, mut moments, mut cut) = (0, Moments(7), BTreeMap::<&str, (u32, u32)>::new());
    for round in 0..rounds() {
        println!("round {round}, {number} publications");
        if round > 0 {
            let (what, is_done) = meanwhile(dir.path(), round, &mut moments);
            let (times, done) = cut.entry(what).or_default();
            (*times, *done) = (*times + 1, *done + u32::from(is_done));
        }
        let (mut broker, address) = start(dir.path());
        readers[0].connect(address);
        if round == 0 {
            for reader in &mut readers {
                reader.connect(address);
                reader.subscribe("load/#", 2);
                reader.until("SUBACK", |peer| peer.subscribed == 1);
            }
        }
        assert!(round == 0 || readers[0].present == Some(true), "the Session is there");
        // This one is away for most of the time, and takes what waits now and then.
        readers[1].stream = None;
        if round % 4 == 3 {
            readers[1].connect(address);
            assert_eq!(readers[1].present, Some(true));
        }
        for (writer, _) in &mut writers {
            writer.connect(address);
        }
        let until = writers[0].0.taken.len() + 50 + usize::try_from(round * 37 % 101).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while writers[0].0.taken.len() < until {
            assert!(Instant::now() < deadline, "the load stands still");
            for (writer, qos) in &mut writers {
                while writer.open.len() < WINDOW {
                    writer.publish(number, *qos);
                    number += 1;
                }
                writer.read();
            }
            readers.iter_mut().for_each(Peer::read);
        }
        broker.kill();
    }
    let (broker, address) = start(dir.path());
    for (writer, _) in &mut writers {
        writer.connect(address);
        writer.until("acknowledgements", |peer| peer.open.is_empty());
    }
    for reader in &mut readers {
        reader.connect(address);
        assert_eq!(reader.present, Some(true));
        for (writer, qos) in &writers {
            reader.until("messages that were acknowledged", |peer| {
                writer.taken.iter().all(|number| peer.got.contains_key(number))
            });
            let twice = writer.taken.iter().filter(|number| *qos == 2 && reader.got[number] != 1);
            assert_eq!(twice.count(), 0, "QoS 2 is exactly once");
        }
    }
    assert!(broker.terminate());
    let taken: usize = writers.iter().map(|(writer, _)| writer.taken.len()).sum();
    println!("{} kills, {taken} acknowledged publications, {} received", rounds(), 2 * taken);
    for (what, (times, done)) in cut {
        println!("  {what}: {times} times, {done} of these at its end before the kill");
    }
}

#[test]
fn a_retained_message_and_a_subscription_that_were_acknowledged_outlive_the_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (mut keeper, mut writer) = (Peer::new("keeper"), Peer::new("writer"));
    let mut value = 0;
    for round in 0..rounds().min(60) {
        let (mut broker, address) = start(dir.path());
        keeper.connect(address);
        assert_eq!(keeper.present, Some(round > 0));
        writer.connect(address);
        // Each subscription of the rounds before is there.
        for known in 0..round {
            let topic = format!("filter/{known}");
            writer.retain(&topic, 1_000 + round);
            writer.until("PUBACK", |peer| peer.open.is_empty());
            keeper.until("a message of an earlier subscription", |peer| {
                peer.others.iter().any(|(on, _)| *on == topic)
            });
            keeper.others.clear();
        }
        let mut looker = Peer::new("looker");
        looker.flags = 2;
        looker.connect(address);
        looker.subscribe("kept", 1);
        if value > 0 {
            looker.until("the Retained Message", |peer| !peer.others.is_empty());
            assert!(looker.others[0].1 >= value, "{} instead of {value}", looker.others[0].1);
        }
        keeper.subscribe(&format!("filter/{round}"), 1);
        let before = keeper.subscribed;
        for _ in 0..=round % 5 {
            writer.retain("kept", value + 1);
            writer.until("PUBACK", |peer| peer.open.is_empty());
            value += 1;
        }
        keeper.until("SUBACK", |peer| peer.subscribed > before);
        broker.kill();
    }
}
