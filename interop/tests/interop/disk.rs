//! A disk that is full, fails, cannot be written to or is slow, under the real broker: durable work stops with 0x97 and goes on by
//! itself, everything else goes on all the time, and what was acknowledged is there after a kill.
//!
//! The full disk is a small tmpfs in a mount namespace of its own; the other faults are put under the broker's kernel calls by
//! strace.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use motte_testkit::{Broker, DEADLINE, binary, wait_until};

/// MQTT 5.0: Quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;
/// Within this time a refusal is over, or something else must have happened.
const PATIENCE: Duration = Duration::from_secs(180);

/// A client of MQTT 5.0.
struct Client {
    stream: TcpStream,
    next_id: u16,
}

impl Client {
    /// Connects; with a Session that outlives the connection if `expiry_s` is more than 0. Gives whether there was one.
    fn connect(address: SocketAddr, client_id: &str, expiry_s: u32) -> Option<(Self, bool)> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, u8::from(expiry_s == 0) * 2, 0, 0, 5, 0x11];
        body.extend(expiry_s.to_be_bytes());
        body.extend(text(client_id));
        let mut client = Self { stream, next_id: 0 };
        client.send(0x10, &body)?;
        let (kind, body) = client.packet()?;
        (kind == 0x20 && body.get(1) == Some(&0)).then(|| (client, body.first() == Some(&1)))
    }

    fn send(&mut self, first: u8, body: &[u8]) -> Option<()> {
        let mut bytes = vec![first, u8::try_from(body.len()).expect("short")];
        bytes.extend(body);
        self.stream.write_all(&bytes).ok()
    }

    /// The next packet; `None` when the connection is closed.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    fn subscribe(&mut self, filter: &str) {
        let body = [&[0, 1, 0][..], &text(filter), &[1]].concat();
        self.send(0x82, &body).expect("it reads");
        let (kind, body) = self.packet().expect("an answer");
        assert_eq!((kind, body.last()), (0x90, Some(&1)));
    }

    fn send_publication(&mut self, topic: &str, payload: &str) {
        self.next_id += 1;
        let body = [&text(topic)[..], &self.next_id.to_be_bytes(), &[0], payload.as_bytes()].concat();
        // Who is closed on hears of it by what does not come.
        let _ = self.send(0x32, &body);
    }

    /// Publishes with QoS 1: the Reason Code of PUBACK or DISCONNECT, or `None` when the connection was closed without one.
    fn publish(&mut self, topic: &str, payload: &str) -> Option<u8> {
        self.send_publication(topic, payload);
        loop {
            let (kind, body) = self.packet()?;
            match kind {
                0x40 => return Some(body.get(2).copied().unwrap_or(0)),
                0xe0 => return body.first().copied(),
                _ => {}
            }
        }
    }

    /// The payload of the next message, which is acknowledged; `None` if none comes within a moment.
    fn message(&mut self) -> Option<String> {
        let (kind, body) = self.packet()?;
        assert_eq!(kind & 0xf0, 0x30, "{body:?}");
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (_, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let rest = if kind & 6 > 0 {
            let (id, rest) = rest.split_at_checked(2)?;
            self.send(0x40, id)?;
            rest
        } else {
            rest
        };
        // No properties.
        String::from_utf8(rest.get(1..)?.to_vec()).ok()
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A broker for development with its state at a place, started by a command that becomes it.
fn start(dir: &Path, state: &Path, before: &[&str]) -> (Broker, SocketAddr) {
    let mut words = before.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.push(binary().display().to_string());
    let state = state.display().to_string();
    words.extend(
        ["dev", "--state", &state, "--json", "--bind", "127.0.0.1:0", "--workers", "2"].map(str::to_owned),
    );
    let (program, arguments) = words.split_first().expect("there is one");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let broker = Broker::of(dir, command);
    let until = Instant::now() + PATIENCE;
    while broker.events("life.listening").is_empty() && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let address = broker.address("mqtt");
    (broker, address)
}

/// Somebody who is away, for whom messages below `kept/` are kept; and two who talk about `now/`, for whom nothing is.
struct People {
    address: SocketAddr,
    here: Client,
    publisher: Client,
    /// What was acknowledged of `kept/`.
    acknowledged: Vec<String>,
    number: u32,
}

impl People {
    fn meet(address: SocketAddr) -> Self {
        let (mut away, _) = Client::connect(address, "away", 3_600).expect("it lets in");
        away.subscribe("kept/#");
        away.send(0xe0, &[]).expect("it reads");
        let (mut here, _) = Client::connect(address, "here", 0).expect("it lets in");
        here.subscribe("now/#");
        let (publisher, _) = Client::connect(address, "publisher", 0).expect("it lets in");
        Self { address, here, publisher, acknowledged: Vec::new(), number: 0 }
    }

    /// Publishes something that has to be kept; whoever was disconnected comes back.
    fn keep(&mut self) -> Option<u8> {
        self.number += 1;
        let payload = format!("{}-{}", self.number, "x".repeat(80));
        let answer = self.publisher.publish("kept/x", &payload);
        match answer {
            // 0x10: nobody is connected who hears it.
            Some(0 | 0x10) => self.acknowledged.push(payload),
            Some(QUOTA_EXCEEDED) | None => {
                let again = Client::connect(self.address, "publisher", 0);
                self.publisher = again.expect("who needs nothing kept is let in").0;
            }
            Some(other) => assert_eq!(other, QUOTA_EXCEEDED),
        }
        answer
    }

    /// What need not be kept goes on.
    fn talk(&mut self) {
        self.number += 1;
        let payload = self.number.to_string();
        assert_eq!(self.publisher.publish("now/x", &payload), Some(0));
        assert_eq!(self.here.message(), Some(payload));
    }

    /// Publishes until one is refused, and then until one is taken again; talks in between.
    fn ride_out(&mut self, broker: &Broker, mend: impl FnOnce()) {
        let until = Instant::now() + PATIENCE;
        while self.keep().is_some_and(|answer| answer != QUOTA_EXCEEDED) {
            assert!(Instant::now() < until, "nothing is refused");
        }
        self.talk();
        mend();
        let until = Instant::now() + PATIENCE;
        while self.keep().is_none_or(|answer| answer == QUOTA_EXCEEDED) {
            self.talk();
            let told = ["keep.store_refuses", "keep.store_in_doubt", "keep.store_recovered"];
            let told = told.map(|name| broker.events(name));
            assert!(Instant::now() < until, "it does not go on: {told:#?}");
        }
        self.talk();
        assert!(self.keep().is_some_and(|answer| answer != QUOTA_EXCEEDED));
    }

    /// What was acknowledged waits for the one who was away, in order.
    fn arrives_at(&self, address: SocketAddr) {
        let (mut away, is_present) = Client::connect(address, "away", 3_600).expect("it lets in");
        assert!(is_present);
        let mut wanted = self.acknowledged.iter();
        let mut next = wanted.next();
        while let Some(payload) = next {
            // What was in doubt may be there as well.
            let came = away.message().expect("what was acknowledged");
            if came == *payload {
                next = wanted.next();
            }
        }
    }
}

/// A mount namespace with a small file system at a place; gone when it is dropped.
struct SmallDisk {
    holder: Child,
    place: PathBuf,
}

impl SmallDisk {
    fn new(place: &Path) -> Self {
        std::fs::create_dir(place).expect("it is ours");
        let mount = "mount -t tmpfs -o size=12m,mode=700 tmpfs \"$0\" && echo ready && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", mount]).arg(place).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare is there");
        let mut line = String::new();
        let told = holder.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        assert!(
            told.is_some_and(|told| told.is_ok()) && line.trim() == "ready",
            "a mount namespace: run as root"
        );
        Self { holder, place: place.to_owned() }
    }

    fn enter(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.holder.id())
    }

    /// A file that takes all the room there is, as seen from here.
    fn filler(&self) -> PathBuf {
        let place = self.place.strip_prefix("/").expect("it is absolute");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(place).join("filler")
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("there is room");
        for size in [65_536, 4_096, 1] {
            let chunk = vec![7; size];
            loop {
                match file.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::StorageFull),
                }
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_is_refused_and_taken_up_again_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = SmallDisk::new(&dir.path().join("small"));
    let (state, enter) = (disk.place.join("state"), disk.enter());
    let (mut broker, address) = start(dir.path(), &state, &["nsenter", &enter]);
    let mut people = People::meet(address);
    (0..5).for_each(|_| assert!(people.keep().is_some_and(|answer| answer != QUOTA_EXCEEDED)));
    disk.fill();
    people.ride_out(&broker, || {
        broker.event("keep.store_refuses");
        std::fs::remove_file(disk.filler()).expect("it is ours");
    });
    broker.event("keep.store_recovered");
    broker.kill();
    let (broker, address) = start(dir.path(), &state, &["nsenter", &enter]);
    people.arrives_at(address);
    assert!(broker.terminate());
}

/// A broker under faults that strace injects; then one without, with what was acknowledged.
fn under(inject: &str, call: &str, told: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state");
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{inject}"));
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let (mut broker, address) = start(dir.path(), &state, &strace);
    let mut people = People::meet(address);
    people.ride_out(&broker, || {
        broker.event(told);
    });
    broker.kill();
    let (broker, address) = start(dir.path(), &state, &[]);
    people.arrives_at(address);
    assert!(broker.events("keep.store_damaged").is_empty());
    assert!(broker.terminate());
}

#[test]
fn a_disk_whose_syncs_fail_loses_nothing_that_was_acknowledged() {
    under("error=EIO:when=25..30", "fdatasync", "keep.store_in_doubt");
}

#[test]
fn a_disk_that_is_suddenly_read_only_is_refused_and_taken_up_again() {
    under("error=EROFS:when=30..34", "pwrite64", "keep.store_refuses");
}

#[test]
fn a_slow_disk_holds_up_nobody_who_does_not_wait_for_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let inject = "inject=fdatasync:delay_enter=2000000";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject];
    let (mut broker, address) = start(dir.path(), &dir.path().join("state"), &strace);
    let mut people = People::meet(address);
    let (mut patient, _) = Client::connect(address, "patient", 0).expect("it lets in");
    patient.send_publication("kept/x", "patient");
    patient.stream.set_nonblocking(true).expect("a socket");
    let begun = Instant::now();
    (0..10).for_each(|_| people.talk());
    let talked = begun.elapsed();
    let mut byte = [0];
    let peeked = patient.stream.peek(&mut byte).map_err(|error| error.kind());
    assert!(
        peeked == Err(ErrorKind::WouldBlock) || talked > Duration::from_secs(2),
        "PUBACK came before the disk had it: {peeked:?} after {talked:?}"
    );
    wait_until("the disk has it", || patient.stream.peek(&mut byte).is_ok());
    assert!(begun.elapsed() > talked && DEADLINE > talked, "ten messages took {talked:?}");
    broker.kill();
}
