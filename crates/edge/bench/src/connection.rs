//! One connection: its part in the load, and the bytes that wait on both sides.

use std::io::{self, Read, Write};

use motte_wire::{
    Connect, ControlPacket, DecodeRules, Disconnect, Frame, PINGREQ, ProtocolVersion, ReasonCode, decode,
    frame,
};

use crate::arrivals::Arrivals;
use crate::link::Link;
use crate::schedule::SECOND_NS;

/// Keep Alive that is asked for, in seconds.
pub(crate) const KEEP_ALIVE_S: u16 = 60;

/// What a connection is for.
#[derive(Debug)]
pub(crate) enum Role {
    /// It publishes; its place among the publishers of the thread.
    Publisher(usize),
    /// It subscribes; its number, and what came.
    Subscriber(u64, Arrivals),
    /// It only stays.
    Bystander,
    /// It goes as soon as it was let in.
    Visitor,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TCP does not stand yet.
    Dialing,
    /// CONNECT is on its way.
    Greeting,
    /// So many SUBACKs are awaited.
    Subscribing(usize),
    /// It does its part.
    Live,
    /// We said goodbye; the broker is to close.
    Ending,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) link: Link,
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    /// When it was due, in nanoseconds since the start.
    pub(crate) due_ns: u64,
    /// Bytes to send.
    pub(crate) out: Vec<u8>,
    written: usize,
    unread: Vec<u8>,
    sent_ns: u64,
    keep_alive_ns: u64,
}

/// Who a connection says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credential<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
}

impl Connection {
    /// A connection that says CONNECT as soon as it stands.
    pub(crate) fn new(link: Link, role: Role, due_ns: u64, credential: Credential<'_>) -> Self {
        let mut connect = Connect::new(credential.version, credential.client_id);
        connect.keep_alive_s = KEEP_ALIVE_S;
        connect.user_name = credential.user_name;
        connect.password = credential.password;
        let mut out = Vec::new();
        connect.encode(&mut out);
        Self {
            link,
            role,
            stage: Stage::Dialing,
            due_ns,
            out,
            written: 0,
            unread: Vec::new(),
            sent_ns: due_ns,
            keep_alive_ns: u64::from(KEEP_ALIVE_S) * SECOND_NS,
        }
    }

    /// The Keep Alive that the broker wants instead, in seconds; 0 is none.
    pub(crate) fn set_keep_alive(&mut self, seconds: u16) {
        self.keep_alive_ns = u64::from(seconds) * SECOND_NS;
    }

    /// Asks for a sign of life when nothing was sent for half of the Keep Alive. Whether it did.
    pub(crate) fn ping(&mut self, now_ns: u64) -> bool {
        let due = self.keep_alive_ns > 0 && now_ns.saturating_sub(self.sent_ns) >= self.keep_alive_ns / 2;
        let due = due && self.stage == Stage::Live && self.out.is_empty();
        if due {
            self.out.extend_from_slice(&PINGREQ);
        }
        due
    }

    /// Writes what waits; true when all is written.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn flush(&mut self, now_ns: u64) -> io::Result<bool> {
        if self.stage == Stage::Dialing {
            return Ok(false);
        }
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.link.write(rest) {
                Ok(n) => {
                    self.written += n;
                    self.sent_ns = now_ns;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        match self.link.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            done => Ok(done.is_ok()),
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Reads once; `None`: nothing is there. `Some(0)`: the broker closed.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.link.read(buffer) {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What was left over of the last reading, to be put before the next.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Keeps what is not a whole packet yet.
    pub(crate) fn keep_unread(&mut self, bytes: Vec<u8>) {
        self.unread = bytes;
    }

    /// Says goodbye, as far as it can be said at once.
    pub(crate) fn goodbye(&mut self, version: ProtocolVersion, now_ns: u64) {
        Disconnect::new(ReasonCode::NORMAL_DISCONNECTION).encode(version, &mut self.out);
        // Whether it arrives or not, the connection ends.
        let _ = self.flush(now_ns);
        self.link.goodbye();
        self.stage = Stage::Ending;
    }
}

/// The first packet in `bytes` and its length, if it is there whole.
///
/// # Errors
/// The bytes are no MQTT; what is wrong with them.
pub(crate) fn packet(
    bytes: &[u8],
    version: ProtocolVersion,
) -> Result<Option<(usize, ControlPacket<'_>)>, String> {
    let Some(Frame { first, body, len }) = frame(bytes, u32::MAX).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let packet = decode(Frame { first, body, len }, version, &DecodeRules::from_server())
        .map_err(|error| error.to_string())?;
    Ok(Some((len, packet)))
}
