//! One connection of the generator: TCP, or TLS on it, never blocking.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

/// TLS as every connection of a run uses it.
#[derive(Debug, Clone)]
pub(crate) struct LinkTls {
    /// Roots and own certificate.
    pub(crate) config: Arc<ClientConfig>,
    /// The name that the server's certificate must have.
    pub(crate) name: ServerName<'static>,
}

/// Connections from one source address of the loopback network; it has about 28,000 ports for one target.
const PER_SOURCE: u64 = 20_000;

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Begins to connect; `number` of all connections chooses the source address where one is not enough.
    ///
    /// # Errors
    /// The system refuses a socket.
    pub(crate) fn open(
        registry: &Registry,
        token: Token,
        target: SocketAddr,
        number: u64,
        tls: Option<&LinkTls>,
    ) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
        if let Some(source) = source(target, number) {
            socket.bind(&source.into())?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let mut socket = TcpStream::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = match tls {
            Some(tls) => Some(Box::new(
                ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()).map_err(invalid)?,
            )),
            None => None,
        };
        Ok(Self { socket, tls })
    }

    /// Whether TCP stands; to be asked when the socket became writable.
    ///
    /// # Errors
    /// Why it does not come to stand.
    pub(crate) fn stands(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether TLS is still being agreed on.
    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Writes out what TLS has to say.
    ///
    /// # Errors
    /// `WouldBlock` while the socket is full, or the connection is lost.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
        Ok(())
    }

    /// Tells the peer that no more follows.
    pub(crate) fn goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The peer may be gone already.
            let _ = self.flush();
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without close_notify is a lost connection: packets have lengths of their own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            let good = tls.process_new_packets();
            // The handshake answers what it reads; an alert tells the peer what was wrong.
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if good.is_ok() => return Err(error),
                    Err(_) => break,
                }
            }
            good.map_err(invalid)?;
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(buffer) };
        let taken = tls.writer().write(buffer)?;
        match self.flush() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => {}
            Err(error) => return Err(error),
        }
        if taken == 0 && !buffer.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn source(target: SocketAddr, number: u64) -> Option<SocketAddr> {
    let extra = u8::try_from(number / PER_SOURCE).unwrap_or(u8::MAX);
    (extra > 0 && target.is_ipv4() && target.ip().is_loopback())
        .then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 0, extra.saturating_add(1)), 0)))
}
