//! The bytes below WebSocket and MQTT: a socket, or TLS on one.

use std::io::{self, IoSlice, Read, Write};

use crate::socket::Socket;
use crate::tls_socket::TlsSocket;

#[derive(Debug)]
pub(crate) enum Wire {
    Plain(Socket),
    Tls(Box<TlsSocket>),
}

impl Wire {
    pub(crate) fn shutdown(&mut self) {
        match self {
            Self::Plain(socket) => socket.shutdown(),
            Self::Tls(tls) => tls.shutdown(),
        }
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.wants_write(),
        }
    }

    /// Whether the last read of TLS ended by its own bound.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.has_more())
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Tls(tls) => tls.write(&[IoSlice::new(buffer)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(slices),
            Self::Tls(tls) => tls.write(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
