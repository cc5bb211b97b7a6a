//! Wire-only tests by chapter of the standard: the client here makes and reads bytes by itself, so that a fault of the
//! product's codec is not shared.
//!
//! Each test starts a broker of its own with `motte dev`; `SUBJECT=HOST:PORT` aims the tests at another broker that runs.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking, and make packets of their own size"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use motte_testkit::Broker;
use tempfile::TempDir;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The broker under test.
#[derive(Debug)]
pub struct Subject {
    address: SocketAddr,
    _broker: Option<(Broker, TempDir)>,
}

impl Subject {
    /// With the limits it has by itself.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With other limits: lines of `[limits]`.
    pub fn with(limits: &str) -> Self {
        if let Ok(address) = std::env::var("SUBJECT") {
            return Self { address: address.parse().expect("SUBJECT is HOST:PORT"), _broker: None };
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("dev.toml"), format!("[sys]\ninterval_s = 1\n[limits]\n{limits}\n"))
            .expect("ours");
        let broker =
            Broker::start(dir.path(), &["dev", "--bind", "127.0.0.1:0", "--json", "--config", "dev.toml"]);
        Self { address: broker.address("mqtt"), _broker: Some((broker, dir)) }
    }

    /// A connection without a word said.
    pub fn dial(&self) -> Peer {
        let stream = TcpStream::connect(self.address).expect("the broker listens");
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("no delay can be set");
        Peer { stream }
    }

    /// A client of 3.1.1 with clean session, accepted.
    pub fn v4(&self, id: &str) -> Peer {
        let mut peer = self.dial();
        peer.send(&connect4(id, 0x02, 60, &[]));
        assert_eq!(peer.read(), (0x20, vec![0, 0]), "CONNACK for {id}");
        peer
    }

    /// A client of 5.0 with Clean Start, accepted.
    pub fn v5(&self, id: &str) -> Peer {
        self.v5_with(id, 0x02, &[], &[]).0
    }

    /// A client of 5.0 with these flags, properties and payload after the Client Identifier, accepted; with Session
    /// Present and the properties of CONNACK.
    pub fn v5_with(&self, id: &str, flags: u8, properties: &[u8], rest: &[u8]) -> (Peer, bool, Vec<u8>) {
        let mut peer = self.dial();
        peer.send(&connect5(id, flags, 60, properties, rest));
        let (first, body) = peer.read();
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK for {id}: {body:02x?}");
        (peer, body[0] == 1, body[3..].to_vec())
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        // The broker may have closed already; then the answer tells.
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one packet: its first byte and its body.
    pub fn read(&mut self) -> (u8, Vec<u8>) {
        self.try_read().expect("the broker answers instead of closing")
    }

    /// Reads one packet; `None`: the broker closed.
    pub fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        let mut next = |stream: &mut TcpStream| match stream.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer: {error}"),
        };
        let first = next(&mut self.stream)?;
        let mut len = 0;
        for shift in [0, 7, 14, 21] {
            let byte = next(&mut self.stream)?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).ok()?;
        Some((first, body))
    }

    /// The broker closes; what it says before is given.
    pub fn closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| self.try_read()).collect()
    }

    /// The broker closes after DISCONNECT with this code.
    pub fn closed_with(&mut self, code: u8) {
        let said = self.closed();
        let (first, body) = said.last().expect("DISCONNECT before the end");
        assert_eq!((*first, body.first().copied()), (0xe0, Some(code)), "{said:02x?}");
    }

    /// Nothing else is on its way: PINGREQ is answered by PINGRESP and nothing before it.
    pub fn quiet(&mut self) {
        self.send(&[0xc0, 0]);
        assert_eq!(self.read(), (0xd0, vec![]), "something else arrived");
    }

    /// Subscribes in 3.1.1 and gives the return code.
    pub fn subscribe4(&mut self, filter: &str, qos: u8) -> u8 {
        self.send(&packet(0x82, &[&[0, 9][..], &text(filter), &[qos]].concat()));
        let (first, body) = self.read();
        assert_eq!((first, &body[..2]), (0x90, &[0, 9][..]));
        body[2]
    }

    /// Subscribes in 5.0 with options and properties, and gives the Reason Code.
    pub fn subscribe5(&mut self, filter: &str, options: u8, properties: &[u8]) -> u8 {
        let body = [&[0, 9][..], &section(properties), &text(filter), &[options]].concat();
        self.send(&packet(0x82, &body));
        let (first, body) = self.read();
        assert_eq!((first, &body[..3]), (0x90, &[0, 9, 0][..]));
        body[3]
    }

    /// Reads a PUBLISH.
    pub fn message(&mut self, version: u8) -> Message {
        let (first, body) = self.read();
        assert_eq!(first >> 4, 3, "PUBLISH instead of {first:02x} {body:02x?}");
        Message::parse(first, &body, version)
    }

    /// Closes without a word.
    pub fn drop_dead(self) {
        drop(self);
    }
}

/// A PUBLISH that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// First byte: QoS, DUP, RETAIN.
    pub first: u8,
    /// Topic Name.
    pub topic: String,
    /// Packet Identifier.
    pub id: Option<u16>,
    /// Properties, encoded.
    pub properties: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Message {
    fn parse(first: u8, body: &[u8], version: u8) -> Self {
        let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + len].to_vec()).expect("a topic is UTF-8");
        let mut at = 2 + len;
        let id = (first & 6 != 0).then(|| {
            at += 2;
            u16::from_be_bytes([body[at - 2], body[at - 1]])
        });
        let mut properties = Vec::new();
        if version == 5 {
            let len = usize::from(body[at]);
            assert!(len < 128, "the tests read short properties only");
            properties = body[at + 1..at + 1 + len].to_vec();
            at += 1 + len;
        }
        Self { first, topic, id, properties, payload: body[at..].to_vec() }
    }

    /// QoS.
    pub fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    /// RETAIN.
    pub fn retain(&self) -> bool {
        self.first & 1 == 1
    }

    /// DUP.
    pub fn dup(&self) -> bool {
        self.first & 8 != 0
    }
}

/// A text with its length.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// Properties with their length.
pub fn section(properties: &[u8]) -> Vec<u8> {
    [&varint(properties.len())[..], properties].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return out;
        }
    }
}

/// A packet.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first][..], &varint(body.len()), body].concat()
}

/// CONNECT of 3.1.1; `rest` follows the Client Identifier.
pub fn connect4(id: &str, flags: u8, keep_alive: u16, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[&text("MQTT")[..], &[4, flags], &keep_alive.to_be_bytes(), &text(id), rest].concat())
}

/// CONNECT of 5.0; `rest` follows the Client Identifier.
pub fn connect5(id: &str, flags: u8, keep_alive: u16, properties: &[u8], rest: &[u8]) -> Vec<u8> {
    let head = [&text("MQTT")[..], &[5, flags], &keep_alive.to_be_bytes()].concat();
    packet(0x10, &[&head[..], &section(properties), &text(id), rest].concat())
}

/// PUBLISH of 3.1.1.
pub fn publish4(flags: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let id = id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
    packet(0x30 | flags, &[&text(topic)[..], &id, payload].concat())
}

/// PUBLISH of 5.0.
pub fn publish5(flags: u8, topic: &str, id: Option<u16>, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
    packet(0x30 | flags, &[&text(topic)[..], &id, &section(properties), payload].concat())
}
