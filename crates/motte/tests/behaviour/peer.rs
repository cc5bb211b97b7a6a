//! A client of 3.1.1 for brokers that are killed: it has its own half of the Session State and knows what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Within this time something must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A client of 3.1.1 whose Session outlives it and the broker, with its own half of the Session State.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Of CONNECT: 2 is clean session.
    pub(crate) flags: u8,
    pub(crate) stream: Option<TcpStream>,
    unread: Vec<u8>,
    /// Publications by Packet Identifier: number, QoS, PUBREC received.
    pub(crate) open: BTreeMap<u16, (u64, u8, bool)>,
    next_id: u16,
    /// Publications that the broker took responsibility for.
    pub(crate) taken: BTreeSet<u64>,
    /// QoS 2 publications received and not released.
    received: BTreeSet<u16>,
    /// How often each number came as a new message.
    pub(crate) got: BTreeMap<u64, u32>,
    /// CONNACK, and whether there was a Session.
    pub(crate) present: Option<bool>,
    pub(crate) subscribed: u32,
    /// Payloads of what came on other topics.
    pub(crate) others: Vec<(String, u64)>,
}

impl Peer {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            flags: 0,
            stream: None,
            unread: Vec::new(),
            open: BTreeMap::new(),
            next_id: 0,
            taken: BTreeSet::new(),
            received: BTreeSet::new(),
            got: BTreeMap::new(),
            present: None,
            subscribed: 0,
            others: Vec::new(),
        }
    }

    pub(crate) fn connect(&mut self, address: SocketAddr) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        self.stream = Some(stream);
        self.unread.clear();
        self.present = None;
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, self.flags, 0, 0];
        body.extend(text(self.name));
        self.send(0x10, &body);
        self.until("CONNACK", |peer| peer.present.is_some());
        for (id, (number, qos, is_recorded)) in self.open.clone() {
            if is_recorded {
                self.send(0x62, &id.to_be_bytes());
            } else {
                self.send_publication(id, number, qos, 8);
            }
        }
    }

    fn send(&mut self, first: u8, body: &[u8]) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        // A broker that was killed takes nothing more, which shows when nothing comes.
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(&bytes);
        }
    }

    fn send_publication(&mut self, id: u16, number: u64, qos: u8, dup: u8) {
        let mut body = text("load/x");
        body.extend(id.to_be_bytes());
        body.extend(number.to_string().as_bytes());
        self.send(0x30 | dup | qos << 1, &body);
    }

    pub(crate) fn publish(&mut self, number: u64, qos: u8) {
        loop {
            self.next_id = self.next_id % u16::MAX + 1;
            if !self.open.contains_key(&self.next_id) {
                break;
            }
        }
        self.open.insert(self.next_id, (number, qos, false));
        self.send_publication(self.next_id, number, qos, 0);
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 1];
        body.extend(text(filter));
        body.push(qos);
        self.send(0x82, &body);
    }

    pub(crate) fn retain(&mut self, topic: &str, number: u64) {
        let mut body = text(topic);
        // Far from the identifiers of the load.
        body.extend(60_000_u16.to_be_bytes());
        body.extend(number.to_string().as_bytes());
        self.open.insert(60_000, (number, 1, false));
        self.send(0x33, &body);
    }

    /// Takes what has come.
    pub(crate) fn read(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(count) => self.unread.extend(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => {}
        }
        while self.unread.len() >= 2 && self.unread.len() >= 2 + usize::from(self.unread[1]) {
            let length = 2 + usize::from(self.unread[1]);
            assert!(self.unread[1] < 128, "every packet of this test is short");
            let packet: Vec<u8> = self.unread.drain(..length).collect();
            self.take(packet[0], &packet[2..]);
        }
    }

    fn take(&mut self, first: u8, body: &[u8]) {
        let id = |body: &[u8]| u16::from_be_bytes([body[0], body[1]]);
        match first & 0xf0 {
            0x20 => {
                assert_eq!(body[1], 0, "{} was refused", self.name);
                self.present = Some(body[0] == 1);
            }
            0x40 => {
                let (number, ..) = self.open.remove(&id(body)).unwrap();
                self.taken.insert(number);
            }
            0x50 => {
                if let Some(flow) = self.open.get_mut(&id(body)) {
                    flow.2 = true;
                    self.taken.insert(flow.0);
                }
                self.send(0x62, &body[..2]);
            }
            0x70 => {
                self.open.remove(&id(body));
            }
            0x60 => {
                self.received.remove(&id(body));
                self.send(0x70, &body[..2]);
            }
            0x90 => self.subscribed += 1,
            0x30 => self.message(first, body),
            other => panic!("{other:#x} from the broker"),
        }
    }

    fn message(&mut self, first: u8, body: &[u8]) {
        let (length, rest) = body.split_at(2);
        let (topic, rest) = rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
        let topic = String::from_utf8(topic.to_vec()).unwrap();
        let qos = first >> 1 & 3;
        let (id, payload) = if qos > 0 { rest.split_at(2) } else { (&[0_u8, 0][..], rest) };
        let number = std::str::from_utf8(payload).unwrap().parse().unwrap();
        let packet_id = u16::from_be_bytes([id[0], id[1]]);
        let is_new = qos < 2 || self.received.insert(packet_id);
        if is_new && topic.starts_with("load/") {
            *self.got.entry(number).or_default() += 1;
        } else if is_new {
            self.others.push((topic, number));
        }
        match qos {
            1 => self.send(0x40, id),
            2 => self.send(0x50, id),
            _ => {}
        }
    }

    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "{}: no {what}", self.name);
            self.read();
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
