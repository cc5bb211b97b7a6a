//! The bytes below WebSocket and MQTT: a socket, or TLS on one.

use std::io::{self, Read, Write};

use rustls::ServerConnection;

use crate::socket::Socket;
use crate::stream::Refusal;

#[derive(Debug)]
pub(crate) enum Wire {
    Plain(Socket),
    Tls(Box<TlsSocket>),
}

#[derive(Debug)]
pub(crate) struct TlsSocket {
    pub(crate) socket: Socket,
    pub(crate) connection: ServerConnection,
}

impl TlsSocket {
    /// Goes on with the handshake; true while the peer's bytes are awaited.
    pub(crate) fn handshake(&mut self) -> Result<bool, Refusal> {
        loop {
            while self.connection.wants_write() {
                match self.connection.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    Err(_) => return Err(Refusal::Gone),
                }
            }
            if !self.connection.is_handshaking() {
                return Ok(false);
            }
            match self.connection.read_tls(&mut self.socket) {
                Ok(0) => return Err(Refusal::Gone),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(_) => return Err(Refusal::Gone),
            }
            if let Err(error) = self.connection.process_new_packets() {
                // The alert tells the peer what was wrong.
                let _ = self.connection.write_tls(&mut self.socket);
                self.socket.shutdown();
                return Err(Refusal::Tls(error.to_string()));
            }
        }
    }
}

impl Read for TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A connection that ends without close_notify is a lost one, not an attack on MQTT: packets have lengths.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if self.connection.read_tls(&mut self.socket)? == 0 {
                // Told once more, so that the reader knows that the end has come.
                let _ = self.connection.process_new_packets();
                return match self.connection.reader().read(buffer) {
                    Ok(n) => Ok(n),
                    Err(_) => Ok(0),
                };
            }
            if let Err(error) = self.connection.process_new_packets() {
                let _ = self.connection.write_tls(&mut self.socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

impl Write for TlsSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut total = 0;
        while let Some(rest) = buffer.get(total..).filter(|rest| !rest.is_empty()) {
            let n = self.connection.writer().write(rest)?;
            total += n;
            match self.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if n == 0 {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if total == 0 && !buffer.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(total) }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Wire {
    pub(crate) fn shutdown(&mut self) {
        match self {
            Self::Plain(socket) => socket.shutdown(),
            Self::Tls(tls) => {
                tls.connection.send_close_notify();
                let _ = tls.flush();
                tls.socket.shutdown();
            }
        }
    }

    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.connection.wants_write(),
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
            Self::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
