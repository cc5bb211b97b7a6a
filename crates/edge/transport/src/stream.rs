//! A connection as a stream of MQTT bytes: PROXY header, TLS and WebSocket handshakes first, then reading and writing.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls_pki_types::CertificateDer;

use crate::proxy_header::{HEADER_BYTES_MAX, ProxyHeader, parse_proxy_header};
use crate::socket::Socket;
use crate::tls::ServerTls;
use crate::tls_socket::TlsSocket;
use crate::websocket::{Upgrade, UpgradeAnswer, WebSocketBytes, WebSocketOptions};
use crate::wire::Wire;

/// What lies between the socket and MQTT on a listener.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// PROXY header, from these addresses only.
    pub proxies: Option<Arc<[IpNet]>>,
    /// TLS.
    pub tls: Option<ServerTls>,
    /// WebSocket.
    pub websocket: Option<Arc<WebSocketOptions>>,
}

/// How far the handshakes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The peer's next bytes are awaited.
    Waiting,
    /// MQTT may be spoken.
    Ready,
}

/// Why a connection ends before MQTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The PROXY header is missing, wrong or from somebody else.
    #[error("{0}")]
    Proxy(&'static str),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(String),
    /// Nobody signed the TLS handshake.
    #[error("{0}")]
    Unsigned(String),
    /// The WebSocket handshake failed.
    #[error("{0}")]
    WebSocket(&'static str),
    /// The peer went away.
    #[error("the peer closed the connection")]
    Gone,
}

impl Refusal {
    /// rustls reports as `Other` only what a key that signs elsewhere told it.
    pub(crate) fn from_tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::Other(cause)) => Self::Unsigned(cause.to_string()),
            Some(cause) => Self::Tls(crate::certificate_faults::words(cause)),
            None => Self::Tls(error.to_string()),
        }
    }
}

/// What TLS agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// Version, `TLSv1_3`.
    pub version: String,
    /// Suite.
    pub suite: String,
    /// Key exchange group.
    pub group: String,
    /// Certificates that the client showed, the leaf first.
    pub certificates: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
enum Layer {
    /// PROXY header awaited.
    Proxy(Socket),
    /// TLS handshake.
    Handshake(Box<TlsSocket>),
    /// WebSocket request awaited.
    Upgrade(Wire, Box<Upgrade>),
    /// Ready, straight.
    Direct(Wire),
    /// Ready, framed.
    WebSocket(Box<WebSocketBytes<Wire>>),
    /// Somebody else goes on with the handshake.
    Lent,
    /// Nothing is left.
    Gone,
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    layer: Layer,
    stages: Arc<Stages>,
    peer: Option<SocketAddr>,
}

impl Stream {
    /// A connection that was just accepted.
    pub fn new(socket: Socket, stages: Arc<Stages>) -> Self {
        let peer = socket.peer();
        let layer = Layer::Proxy(socket);
        Self { layer, stages, peer }
    }

    /// The client's address; after [`Progress::Ready`] the one of the PROXY header, if there was one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// What is awaited, for people.
    pub fn stage(&self) -> &'static str {
        match &self.layer {
            Layer::Proxy(_) if self.stages.proxies.is_some() => "the PROXY header",
            Layer::Proxy(_) | Layer::Handshake(_) | Layer::Lent => "the TLS handshake",
            Layer::Upgrade(..) => "the WebSocket handshake",
            Layer::Direct(_) | Layer::WebSocket(_) | Layer::Gone => "CONNECT",
        }
    }

    /// Whether the next step may be one of the TLS handshake, which costs cryptography.
    pub fn is_costly(&self) -> bool {
        match &self.layer {
            Layer::Proxy(_) => self.stages.tls.is_some(),
            Layer::Handshake(_) => true,
            _ => false,
        }
    }

    /// Gives the stream away for a step of its handshake; what stays answers as a stream that waits.
    #[must_use]
    pub fn lend(&mut self) -> Self {
        let layer = std::mem::replace(&mut self.layer, Layer::Lent);
        Self { layer, stages: Arc::clone(&self.stages), peer: self.peer }
    }

    /// Goes on with the handshakes as far as bytes are there.
    ///
    /// # Errors
    /// [`Refusal`]; the connection is over.
    pub fn advance(&mut self) -> Result<Progress, Refusal> {
        loop {
            let layer = std::mem::replace(&mut self.layer, Layer::Gone);
            let (layer, waiting) = self.step(layer)?;
            self.layer = layer;
            if matches!(self.layer, Layer::Direct(_) | Layer::WebSocket(_)) {
                return Ok(Progress::Ready);
            }
            if waiting {
                return Ok(Progress::Waiting);
            }
        }
    }

    fn step(&mut self, layer: Layer) -> Result<(Layer, bool), Refusal> {
        match layer {
            Layer::Proxy(mut socket) => {
                if let Some(proxies) = &self.stages.proxies {
                    match take_proxy_header(&mut socket, proxies, self.peer)? {
                        HeaderTaken::From(peer) => self.peer = peer,
                        HeaderTaken::NotYet => return Ok((Layer::Proxy(socket), true)),
                    }
                }
                self.after_proxy(socket).map(|layer| (layer, false))
            }
            Layer::Handshake(mut tls) => {
                let waiting = tls.handshake()?;
                if waiting {
                    return Ok((Layer::Handshake(tls), true));
                }
                Ok((self.after_tls(Wire::Tls(tls)), false))
            }
            Layer::Upgrade(wire, request) => self.upgrade(wire, request),
            Layer::Lent => Ok((Layer::Lent, true)),
            Layer::Gone => Err(Refusal::Gone),
            ready @ (Layer::Direct(_) | Layer::WebSocket(_)) => Ok((ready, false)),
        }
    }

    fn after_proxy(&self, socket: Socket) -> Result<Layer, Refusal> {
        let Some(tls) = &self.stages.tls else { return Ok(self.after_tls(Wire::Plain(socket))) };
        let tls = TlsSocket::new(socket, &tls.config).map_err(|error| Refusal::Tls(error.to_string()))?;
        Ok(Layer::Handshake(Box::new(tls)))
    }

    fn after_tls(&self, wire: Wire) -> Layer {
        if self.stages.websocket.is_some() {
            Layer::Upgrade(wire, Box::default())
        } else {
            Layer::Direct(wire)
        }
    }

    fn upgrade(&self, mut wire: Wire, mut request: Box<Upgrade>) -> Result<(Layer, bool), Refusal> {
        let Some(options) = &self.stages.websocket else { return Ok((Layer::Direct(wire), false)) };
        let mut buffer = [0; 2_048];
        let n = match wire.read(&mut buffer) {
            Ok(0) => return Err(Refusal::Gone),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok((Layer::Upgrade(wire, request), true));
            }
            Err(_) => return Err(Refusal::Gone),
        };
        match request.take(buffer.get(..n).unwrap_or_default(), options) {
            UpgradeAnswer::Partial => Ok((Layer::Upgrade(wire, request), false)),
            UpgradeAnswer::Accept { response, rest } => {
                // A response of 150 bytes fits any socket's buffer; a peer that leaves no room for it is not served.
                wire.write_all(&response).map_err(|_| Refusal::Gone)?;
                Ok((Layer::WebSocket(Box::new(WebSocketBytes::server(wire, rest))), false))
            }
            UpgradeAnswer::Refuse { response, cause } => {
                let _ = wire.write_all(&response);
                wire.shutdown();
                Err(Refusal::WebSocket(cause))
            }
        }
    }

    fn tls(&self) -> Option<&TlsSocket> {
        let wire = match &self.layer {
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire,
            Layer::WebSocket(framed) => framed.stream(),
            Layer::Proxy(_) | Layer::Handshake(_) | Layer::Lent | Layer::Gone => return None,
        };
        match wire {
            Wire::Tls(tls) => Some(tls),
            Wire::Plain(_) => None,
        }
    }

    /// What binds a login to this connection, `tls-exporter` of RFC 9266; `None` without TLS 1.3 up to here.
    pub fn channel_binding(&self) -> Option<[u8; 32]> {
        self.tls()?.binding()
    }

    /// What TLS agreed on, once ready; `None` without TLS.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        let connection = self.tls()?.facts();
        let name = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
        Some(TlsFacts {
            version: name(connection.protocol_version().map(|v| format!("{v:?}"))),
            suite: name(connection.negotiated_cipher_suite().map(|s| format!("{:?}", s.suite()))),
            group: name(connection.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name()))),
            certificates: connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|c| c.clone().into_owned())
                .collect(),
        })
    }

    /// The peer is authenticated and may send more at once than a stranger.
    pub fn trust(&mut self) {
        if let Layer::WebSocket(framed) = &mut self.layer {
            framed.trust();
        }
    }

    /// Bytes that the last [`Stream::read`] took from the socket where TLS took more than it gave.
    pub fn taken(&self) -> usize {
        match &self.layer {
            Layer::Direct(Wire::Tls(tls)) => tls.taken(),
            _ => 0,
        }
    }

    /// Whether the last `WouldBlock` of [`Stream::read`], or the last step of a handshake, came to its own bound and not to the
    /// end of what is there.
    pub fn has_more(&self) -> bool {
        match &self.layer {
            Layer::WebSocket(framed) => framed.has_more() || framed.stream().has_more(),
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire.has_more(),
            Layer::Handshake(tls) => tls.has_more(),
            Layer::Proxy(_) | Layer::Lent | Layer::Gone => false,
        }
    }

    /// Whether the last [`Stream::read`], which gave `count` bytes for a buffer of `room`, left nothing in the socket.
    pub fn is_dry(&self, count: usize, room: usize) -> bool {
        match &self.layer {
            Layer::Direct(Wire::Plain(_)) => count < room,
            Layer::Direct(Wire::Tls(tls)) => tls.is_dry(),
            _ => false,
        }
    }

    /// Whether these are the stages that it went through.
    pub fn went_through(&self, stages: &Arc<Stages>) -> bool {
        Arc::ptr_eq(&self.stages, stages)
    }

    /// Reads MQTT bytes; 0 is the end, `WouldBlock` that nothing more is there now.
    ///
    /// # Errors
    /// As a socket's, and `InvalidData` where the peer breaks TLS or WebSocket.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Direct(Wire::Plain(socket)) => socket.read(buffer),
            Layer::Direct(wire) => wire.read(buffer),
            Layer::WebSocket(framed) => framed.read(buffer),
            Layer::Proxy(_) | Layer::Handshake(_) | Layer::Upgrade(..) | Layer::Lent => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Layer::Gone => Ok(0),
        }
    }

    /// Writes from slices; gives how many bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock` when the peer takes nothing now.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Direct(wire) => wire.write_vectored(slices),
            Layer::WebSocket(framed) => write_each(framed.as_mut(), slices),
            Layer::Proxy(_) | Layer::Handshake(_) | Layer::Upgrade(..) | Layer::Lent => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Layer::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Hands on what TLS and WebSocket still hold; true when nothing is left.
    ///
    /// # Errors
    /// As a socket's, but not `WouldBlock`.
    pub fn flush(&mut self) -> io::Result<bool> {
        let flushed = match &mut self.layer {
            Layer::Direct(Wire::Plain(_)) | Layer::Proxy(_) | Layer::Lent | Layer::Gone => return Ok(true),
            Layer::Handshake(tls) => tls.flush(),
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire.flush(),
            Layer::WebSocket(framed) => framed.flush().and_then(|()| framed.stream_mut().flush()),
        };
        match flushed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether TLS or WebSocket hold bytes that the socket has not taken.
    pub fn wants_write(&self) -> bool {
        match &self.layer {
            Layer::Handshake(tls) => tls.wants_write(),
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire.wants_write(),
            Layer::WebSocket(framed) => !framed.is_flushed() || framed.stream().wants_write(),
            Layer::Proxy(_) | Layer::Lent | Layer::Gone => false,
        }
    }

    /// Says goodbye below MQTT: WebSocket close, TLS `close_notify`, end of the TCP stream.
    pub fn shutdown(&mut self) {
        match &mut self.layer {
            Layer::WebSocket(framed) => {
                framed.close();
                framed.stream_mut().shutdown();
            }
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire.shutdown(),
            Layer::Handshake(tls) => {
                let _ = tls.flush();
                tls.socket().shutdown();
            }
            Layer::Proxy(socket) => socket.shutdown(),
            Layer::Lent | Layer::Gone => {}
        }
    }

    fn socket(&mut self) -> io::Result<&mut Socket> {
        let wire = match &mut self.layer {
            Layer::Proxy(socket) => return Ok(socket),
            Layer::Handshake(tls) => return Ok(tls.socket()),
            Layer::Direct(wire) | Layer::Upgrade(wire, _) => wire,
            Layer::WebSocket(framed) => framed.stream_mut(),
            Layer::Lent | Layer::Gone => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(wire.socket())
    }
}

fn write_each(to: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut total = 0;
    for slice in slices.iter().filter(|slice| !slice.is_empty()) {
        match to.write(slice) {
            Ok(n) => {
                total += n;
                if n < slice.len() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// What came of looking for a PROXY header.
enum HeaderTaken {
    /// It is not there whole.
    NotYet,
    /// The client's address; the proxy's own where it speaks for itself.
    From(Option<SocketAddr>),
}

/// Takes the PROXY header, from named proxies only.
fn take_proxy_header(
    socket: &mut Socket,
    proxies: &[IpNet],
    peer: Option<SocketAddr>,
) -> Result<HeaderTaken, Refusal> {
    let named = peer.is_some_and(|peer| proxies.iter().any(|net| net.contains(&peer.ip())));
    if !named {
        return Err(Refusal::Proxy("the connection does not come from a named proxy"));
    }
    let mut buffer = [0; HEADER_BYTES_MAX];
    let n = match socket.peek(&mut buffer) {
        Ok(0) => return Err(Refusal::Gone),
        Ok(n) => n,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(HeaderTaken::NotYet),
        Err(_) => return Err(Refusal::Gone),
    };
    match parse_proxy_header(buffer.get(..n).unwrap_or_default()) {
        ProxyHeader::Partial => Ok(HeaderTaken::NotYet),
        ProxyHeader::Wrong => Err(Refusal::Proxy("the connection does not begin with a PROXY header")),
        ProxyHeader::Whole { len, source } => {
            let mut left = len;
            while left > 0 {
                let part = buffer.get_mut(..left).unwrap_or_default();
                match socket.read(part) {
                    Ok(0) | Err(_) => return Err(Refusal::Gone),
                    Ok(n) => left -= n,
                }
            }
            Ok(HeaderTaken::From(source.or(peer)))
        }
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket()?.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket()?.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket()?.deregister(registry)
    }
}
