//! TLS between buffers: what rustls is shown, what it gives, and what it has to say. No socket is touched here.

use std::io::{self, IoSlice};

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

/// The plaintext of one record at most (RFC 8446, 5.1).
pub(crate) const RECORD_BYTES: usize = 16 * 1024;
/// Plaintext that one write takes at most.
const WRITE_BYTES: usize = 64 * 1024;
/// Room for the head, the tag and what else a record adds.
pub(crate) const RECORD_OVERHEAD: usize = 256;

/// Encrypted bytes on their way to the socket.
#[derive(Default)]
pub(crate) struct Encrypted {
    bytes: Vec<u8>,
    pub(crate) used: usize,
}

impl Encrypted {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Room for so many bytes more.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.used.saturating_add(bytes);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.used..).unwrap_or_default()
    }

    fn encrypt(&mut self, to: &mut WriteTraffic<'_, ServerConnectionData>, plain: &[u8]) -> io::Result<()> {
        let mut bytes = plain.len() + RECORD_OVERHEAD;
        loop {
            match to.encrypt(plain, self.room(bytes)) {
                Ok(written) => {
                    self.used += written;
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(more)) if more.required_size > bytes => {
                    bytes = more.required_size;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

/// What TLS is asked to do with what was received.
pub(crate) struct Step<'s> {
    /// Takes plaintext.
    pub(crate) plain: &'s mut dyn FnMut(&[u8]),
    /// Takes what TLS has to say, then what `send` encrypts.
    pub(crate) output: &'s mut Encrypted,
    /// Called once when application data may be encrypted.
    pub(crate) send: Option<Send<'s>>,
    /// The peer said that nothing more comes.
    pub(crate) closed: bool,
}

pub(crate) type Send<'s> =
    &'s mut dyn FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut Encrypted) -> io::Result<()>;

impl Step<'_> {
    /// Goes on until TLS needs more bytes. How many of `received` it is done with, and how it went.
    ///
    /// `received` has to be all that TLS was shown before and is not done with: it counts from its front.
    pub(crate) fn take(
        &mut self,
        connection: &mut UnbufferedServerConnection,
        received: &mut [u8],
    ) -> (usize, io::Result<()>) {
        let mut done = 0;
        loop {
            let rest = received.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = connection.process_tls_records(rest);
            let mut discard = discard;
            let outcome = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        None => break None,
                        Some(Ok(record)) => {
                            discard += record.discard;
                            (self.plain)(record.payload);
                        }
                        Some(Err(error)) => break Some(Err(invalid(error))),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => self.encode(&mut data).err().map(Err),
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.closed = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => Some(match self.send.take() {
                    Some(send) => send(&mut traffic, self.output),
                    None => Ok(()),
                }),
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Some(match self.send {
                    Some(_) => Err(io::ErrorKind::BrokenPipe.into()),
                    None => Ok(()),
                }),
                // Early data is never offered.
                Ok(_) => Some(Err(io::ErrorKind::InvalidData.into())),
                Err(error) => Some(Err(invalid(error))),
            };
            done += discard;
            let Some(outcome) = outcome else { continue };
            if outcome.is_err() {
                // The alert tells the peer what was wrong.
                let rest = received.get_mut(done..).unwrap_or_default();
                if let Ok(ConnectionState::EncodeTlsData(mut data)) =
                    connection.process_tls_records(rest).state
                {
                    let _ = self.encode(&mut data);
                }
            }
            return (done, outcome);
        }
    }

    fn encode(
        &mut self,
        data: &mut rustls::unbuffered::EncodeTlsData<'_, ServerConnectionData>,
    ) -> io::Result<()> {
        let mut bytes = RECORD_BYTES + RECORD_OVERHEAD;
        loop {
            match data.encode(self.output.room(bytes)) {
                Ok(written) => {
                    self.output.used += written;
                    return Ok(());
                }
                Err(EncodeError::InsufficientSize(more)) if more.required_size > bytes => {
                    bytes = more.required_size;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Encrypts records from slices; small ones are gathered. Gives how many bytes were taken.
pub(crate) fn encrypt(
    slices: &[IoSlice<'_>],
    record: &mut Vec<u8>,
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    output: &mut Encrypted,
) -> io::Result<usize> {
    let mut total = 0;
    record.clear();
    for slice in slices {
        let mut rest: &[u8] = slice;
        while !rest.is_empty() && total < WRITE_BYTES {
            let count = rest.len().min(RECORD_BYTES - record.len());
            let (now, later) = rest.split_at(count);
            rest = later;
            total += count;
            if count == RECORD_BYTES {
                output.encrypt(traffic, now)?;
                continue;
            }
            record.extend_from_slice(now);
            if record.len() == RECORD_BYTES {
                output.encrypt(traffic, record)?;
                record.clear();
            }
        }
    }
    if !record.is_empty() {
        output.encrypt(traffic, record)?;
    }
    Ok(total)
}
