//! TLS on a socket, without a buffer of its own: what is decrypted and encrypted passes through buffers of the thread, and a
//! connection keeps only what one side has not taken yet. An idle one keeps nothing.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, ServerConfig};

use crate::channel_binding::{self, BINDING_BYTES};
use crate::socket::Socket;
use crate::stream::Refusal;
use crate::tls_records::{Encrypted, RECORD_BYTES, RECORD_OVERHEAD, Send, Step, encrypt};

/// Bytes read from the socket at once, at least and at most; the reader's room decides between.
const READ_BYTES: (usize, usize) = (8 * 1024, 64 * 1024);
/// What may be kept of a handshake message that has not arrived whole: a chain of certificates has a few KiB. Each stranger can
/// hold as much.
const PARTIAL_BYTES: usize = 32 * 1024;
/// What may be kept of a record once the handshake is over, with its head and all that it may add (RFC 8446, 5.2).
const PARTIAL_RECORD_BYTES: usize = RECORD_BYTES + 1024;
/// Reads of one step of a handshake; then others have their turn.
const STEP_READS: usize = 16;

/// What a thread needs to decrypt and to encrypt, for all its connections.
struct Scratch {
    /// From the socket.
    input: Vec<u8>,
    /// Plaintext of a record that is gathered from small slices.
    record: Vec<u8>,
    output: Encrypted,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; PARTIAL_BYTES + READ_BYTES.1],
        record: Vec::with_capacity(RECORD_BYTES),
        output: Encrypted::default(),
    });
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a TLS message that is longer than a client has reason for")
}

/// Bytes that wait, taken from the front.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    taken: usize,
}

impl Waiting {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn advance(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// TLS on a socket.
pub(crate) struct TlsSocket {
    socket: Socket,
    connection: UnbufferedServerConnection,
    /// Received, and part of a record or message that is not whole.
    received: Vec<u8>,
    /// Decrypted and not read.
    plain: Waiting,
    /// Encrypted and not written.
    unsent: Waiting,
    /// The peer said that nothing more comes, or went away.
    closed: bool,
    /// The last read left nothing in the socket.
    dry: bool,
    /// The last read ended by its own bound, and more may be there.
    more: bool,
    /// Bytes that the last read took from the socket.
    taken: usize,
    /// What is to be told once the plaintext before it is read.
    failed: Option<io::Error>,
    /// What binds to this connection.
    binding: Option<[u8; BINDING_BYTES]>,
}

impl std::fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl TlsSocket {
    /// TLS as it is configured, before the handshake.
    pub(crate) fn new(socket: Socket, config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            socket,
            connection: UnbufferedServerConnection::new(Arc::clone(config))?,
            received: Vec::new(),
            plain: Waiting::default(),
            unsent: Waiting::default(),
            closed: false,
            dry: false,
            more: false,
            taken: 0,
            failed: None,
            binding: None,
        })
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// What TLS knows about the connection.
    pub(crate) fn facts(&self) -> &CommonState {
        &self.connection
    }

    /// What binds to this connection (RFC 9266); `None` before TLS 1.3.
    pub(crate) fn binding(&self) -> Option<[u8; BINDING_BYTES]> {
        self.binding
    }

    /// Whether encrypted bytes wait for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether nothing more is there, as far as the last read could see.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry && self.plain.is_empty()
    }

    /// Whether the last read or step ended by its own bound, and not because nothing was there.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Bytes that the last read took from the socket, whatever it gave.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Goes on with the handshake; true while the peer's bytes are awaited.
    pub(crate) fn handshake(&mut self) -> Result<bool, Refusal> {
        self.more = false;
        for _ in 0..STEP_READS {
            match self.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(_) => return Err(Refusal::Gone),
            }
            if !self.connection.is_handshaking() {
                return Ok(false);
            }
            if self.closed {
                return Err(Refusal::Gone);
            }
            match self.receive(&mut []) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.socket.shutdown();
                    return Err(Refusal::from_tls(&error));
                }
                Err(_) => return Err(Refusal::Gone),
            }
        }
        self.more = true;
        Ok(true)
    }

    /// Reads from the socket once. Plaintext goes into `into` as far as there is room, how much of it is told.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.more, self.taken) = (false, 0);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let held = self.received.len();
            let want = into.len().clamp(READ_BYTES.0, READ_BYTES.1);
            let Some((front, room)) = scratch.input.split_at_mut_checked(held) else {
                return Err(too_long());
            };
            front.copy_from_slice(&self.received);
            let room = room.get_mut(..want).ok_or(io::ErrorKind::InvalidData)?;
            let count = self.socket.read(room)?;
            if count == 0 {
                self.closed = true;
                return Ok(0);
            }
            (self.dry, self.taken) = (count < want, count);
            let mut given = 0;
            let plain = &mut self.plain;
            let mut take = |bytes: &[u8]| {
                let room = into.get_mut(given..).unwrap_or_default();
                let here = if plain.is_empty() { bytes.len().min(room.len()) } else { 0 };
                let (now, later) = bytes.split_at(here);
                if let Some(room) = room.get_mut(..here) {
                    room.copy_from_slice(now);
                    given += here;
                }
                plain.push(later);
            };
            let output = &mut scratch.output;
            output.used = 0;
            let mut step = Step { plain: &mut take, output, send: None, closed: false };
            let filled = scratch.input.get_mut(..held + count).unwrap_or_default();
            let is_handshaking = self.connection.is_handshaking();
            let (done, outcome) = step.take(&mut self.connection, filled);
            self.closed |= step.closed;
            if is_handshaking {
                self.binding = channel_binding::take().or(self.binding);
            }
            let left = filled.get(done..).unwrap_or_default();
            if left.is_empty() {
                self.received = Vec::new();
            } else {
                self.received.clear();
                self.received.extend_from_slice(left);
            }
            let sent = put_out(&mut self.socket, &mut self.unsent, output.as_slice());
            let bound = if self.connection.is_handshaking() { PARTIAL_BYTES } else { PARTIAL_RECORD_BYTES };
            let partial = if self.received.len() > bound { Err(too_long()) } else { Ok(()) };
            match outcome.and(sent).and(partial) {
                // What came before the fault is good and is read first.
                Err(error) if given > 0 || !self.plain.is_empty() => self.failed = Some(error),
                done => done?,
            }
            Ok(given)
        })
    }

    /// Encrypts from slices and writes; gives how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` while the socket has not taken what was encrypted before.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { record, output, .. } = scratch;
            let mut total = 0;
            self.step(output, &mut |traffic, output| {
                total = encrypt(slices, record, traffic, output)?;
                Ok(())
            })?;
            put_out(&mut self.socket, &mut self.unsent, output.as_slice())?;
            Ok(total)
        })
    }

    /// Lets `send` encrypt something.
    fn step(&mut self, output: &mut Encrypted, send: Send<'_>) -> io::Result<()> {
        output.used = 0;
        let plain = &mut self.plain;
        let mut step =
            Step { plain: &mut |bytes| plain.push(bytes), output, send: Some(send), closed: false };
        let (done, outcome) = step.take(&mut self.connection, &mut self.received);
        self.closed |= step.closed;
        self.received.drain(..done.min(self.received.len()));
        outcome
    }

    /// Writes what was encrypted before.
    ///
    /// # Errors
    /// `WouldBlock` when the socket does not take all.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(self.unsent.as_slice()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.unsent.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says `close_notify` and closes our end. The peer may be gone; then there is nobody to tell.
    pub(crate) fn shutdown(&mut self) {
        SCRATCH.with_borrow_mut(|scratch| {
            let output = &mut scratch.output;
            let said = self.step(output, &mut |traffic, output| {
                let room = output.room(RECORD_OVERHEAD);
                let written = traffic.queue_close_notify(room).map_err(io::Error::other)?;
                output.used += written;
                Ok(())
            });
            if said.is_ok() {
                let _ = put_out(&mut self.socket, &mut self.unsent, output.as_slice());
            }
        });
        let _ = self.flush();
        self.socket.shutdown();
    }
}

impl Read for TlsSocket {
    /// Reads plaintext; 0 is the end. One that comes without `close_notify` is a lost connection and no attack on MQTT, whose
    /// packets have lengths. Where nothing but TLS's own messages came it is `WouldBlock` as well, and [`TlsSocket::has_more`]:
    /// there may be no end to them.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.plain.is_empty() {
            let waiting = self.plain.as_slice();
            let count = waiting.len().min(buffer.len());
            let (now, _) = waiting.split_at(count);
            buffer.get_mut(..count).unwrap_or_default().copy_from_slice(now);
            self.plain.advance(count);
            (self.more, self.taken) = (false, 0);
            return Ok(count);
        }
        if self.closed && self.failed.is_none() {
            return Ok(0);
        }
        let count = self.receive(buffer)?;
        if count > 0 || self.closed {
            return Ok(count);
        }
        self.more = true;
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Writes encrypted bytes after those that wait; what the socket does not take waits.
fn put_out(socket: &mut Socket, unsent: &mut Waiting, mut bytes: &[u8]) -> io::Result<()> {
    while unsent.is_empty() && !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    unsent.push(bytes);
    Ok(())
}
