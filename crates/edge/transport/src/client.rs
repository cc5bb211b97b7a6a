//! The other end: a blocking connection for tools and tests.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;

use crate::websocket::WebSocketBytes;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTarget {
    /// A host and port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Path of a WebSocket; `None`: plain MQTT.
        websocket: Option<String>,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// TLS of a client. There is no way to skip the check of the server.
#[derive(Debug)]
pub struct ClientTls {
    /// Authorities that the server's certificate may come from.
    pub roots: Vec<CertificateDer<'static>>,
    /// Certificate chain and key to show.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The server's name, where it differs from the host.
    pub server_name: Option<String>,
}

/// Why no connection stands.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host has no address, or nobody answers.
    #[error("cannot connect to {target}: {cause}\n  remedy: {remedy}")]
    Connect {
        /// Host and port.
        target: String,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// TLS failed.
    #[error("TLS with {target} failed: {cause}\n  remedy: {remedy}")]
    Tls {
        /// Host and port.
        target: String,
        /// What was wrong.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The WebSocket was refused.
    #[error("the WebSocket with {target} was refused: {cause}")]
    WebSocket {
        /// Host and port.
        target: String,
        /// What was wrong.
        cause: String,
    },
}

impl ClientTls {
    /// The name that the certificate of a server on `host` must have.
    ///
    /// # Errors
    /// It can be no name of a server.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
        ServerName::try_from(name).map_err(|error| error.to_string())
    }

    /// As rustls takes it, for TLS 1.3 and 1.2.
    ///
    /// # Errors
    /// A root or the own certificate is of no use.
    pub fn config(self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        for root in self.roots {
            roots.add(root).map_err(|error| error.to_string())?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match self.identity {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())
            }
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

impl ClientError {
    /// No TCP connection with `target`, with the remedy that fits the cause.
    pub fn connecting(target: &str, cause: io::Error) -> Self {
        let remedy = match cause.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nobody listens there: check the port, and that the broker runs"
            }
            io::ErrorKind::TimedOut => "nobody answers: check the address and the firewall between",
            _ => "check the host's name",
        };
        Self::Connect { target: target.to_owned(), cause, remedy }
    }

    /// TLS with `target` failed, with the remedy that fits the cause.
    pub fn tls(target: &str, cause: String) -> Self {
        let remedy = if cause.contains("UnknownIssuer") {
            "the server's certificate comes from another authority: give its certificate with --ca"
        } else if cause.contains("NotValidForName") {
            "the server's certificate does not name this host: use a name that it has, or --tls-name"
        } else if cause.contains("Expired") {
            "the server's certificate has expired: renew it on the server"
        } else if cause.contains("InvalidContentType") || cause.contains("corrupt message") {
            "the server does not speak TLS on this port"
        } else if cause.contains("CertificateRequired") || cause.contains("HandshakeFailure") {
            "the server wants a client certificate: give one with --cert and --key, or --as NAME"
        } else {
            "check the port, and the certificates on both sides"
        };
        Self::Tls { target: target.to_owned(), cause, remedy }
    }
}

/// A blocking connection.
#[derive(Debug)]
pub enum ClientStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// WebSocket over one of the others.
    WebSocket(Box<WebSocketBytes<ClientStream>>),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl ClientStream {
    /// Connects, with all handshakes below MQTT.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(target: &ClientTarget, tls: Option<ClientTls>) -> Result<Self, ClientError> {
        let (host, port, websocket) = match target {
            ClientTarget::Unix(path) => {
                return UnixStream::connect(path).map(Self::Unix).map_err(|cause| ClientError::Connect {
                    target: format!("unix:{}", path.display()),
                    cause,
                    remedy: "check the path, and that the broker runs",
                });
            }
            ClientTarget::Tcp { host, port, websocket } => (host, *port, websocket),
        };
        let name = format!("{host}:{port}");
        let tcp = open(host, port).map_err(|cause| ClientError::connecting(&name, cause))?;
        // Small packets must not wait for each other.
        let _ = tcp.set_nodelay(true);
        let stream = match tls {
            Some(tls) => Self::Tls(Box::new(handshake(tcp, host, &name, tls)?)),
            None => Self::Tcp(tcp),
        };
        match websocket {
            Some(path) => upgrade(stream, &name, path),
            None => Ok(stream),
        }
    }

    /// Sets how long reading waits; afterwards `WouldBlock` or `TimedOut` is the error.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tls(stream) => stream.sock.set_read_timeout(timeout),
            Self::WebSocket(framed) => framed.stream().set_read_timeout(timeout),
        }
    }

    /// What TLS agreed on: version, suite and group.
    pub fn tls_summary(&self) -> Option<String> {
        match self {
            Self::Tls(stream) => {
                let connection = &stream.conn;
                Some(format!(
                    "{:?} {:?} {:?}",
                    connection.protocol_version()?,
                    connection.negotiated_cipher_suite()?.suite(),
                    connection.negotiated_key_exchange_group()?.name()
                ))
            }
            Self::WebSocket(framed) => framed.stream().tls_summary(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn handshake(
    tcp: TcpStream,
    host: &str,
    target: &str,
    tls: ClientTls,
) -> Result<StreamOwned<ClientConnection, TcpStream>, ClientError> {
    let fault = |cause: String| ClientError::tls(target, cause);
    let name = tls.name(host).map_err(fault)?;
    let config = tls.config().map_err(fault)?;
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| fault(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, tcp);
    let _ = stream.sock.set_read_timeout(Some(CONNECT_TIMEOUT));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| fault(error.to_string()))?;
    }
    let _ = stream.sock.set_read_timeout(None);
    Ok(stream)
}

fn upgrade(stream: ClientStream, target: &str, path: &str) -> Result<ClientStream, ClientError> {
    let fault = |cause: String| ClientError::WebSocket { target: target.to_owned(), cause };
    // An IPv6 address stands in brackets in a URI.
    let authority = match target.rsplit_once(':') {
        Some((host, port)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        _ => target.to_owned(),
    };
    let mut request =
        format!("ws://{authority}{path}").into_client_request().map_err(|error| fault(error.to_string()))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let (socket, _) = tungstenite::client(request, stream).map_err(|error| fault(error.to_string()))?;
    let framed = WebSocketBytes::client(socket.into_inner());
    Ok(ClientStream::WebSocket(Box::new(framed)))
}

impl Read for ClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                done => done,
            },
            Self::WebSocket(framed) => framed.read(buffer),
        }
    }
}

impl Write for ClientStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
            Self::WebSocket(framed) => framed.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::WebSocket(framed) => framed.flush(),
        }
    }
}
