//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};

use crate::socket::Socket;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Why an endpoint could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {cause}\n  remedy: {remedy}")]
pub struct BindError {
    /// The address or path.
    pub endpoint: String,
    /// What the system said.
    pub cause: io::Error,
    /// What to do.
    pub remedy: &'static str,
}

/// Where a listener really listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// An address, with the port that the system chose if none was named.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A listening socket that nobody watches yet; it can be given to another process.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Listening {
    /// Listens on an address. With `shared`, several sockets may listen there and the system spreads connections.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn tcp(address: SocketAddr, shared: bool) -> Result<Self, BindError> {
        let fault =
            |cause: io::Error| BindError { endpoint: address.to_string(), remedy: remedy(&cause), cause };
        let open = || -> io::Result<std::net::TcpListener> {
            let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            if shared {
                socket.set_reuse_port(true)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::from(address))?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        };
        open().map(Self::Tcp).map_err(fault)
    }

    /// Listens on a Unix socket that only this user reaches. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        let fault = |cause: io::Error| BindError {
            endpoint: format!("unix:{}", path.display()),
            remedy: remedy(&cause),
            cause,
        };
        let stale = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
            && std::os::unix::net::UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if stale {
            std::fs::remove_file(path).map_err(fault)?;
        }
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(fault)?;
        listener.set_nonblocking(true).map_err(fault)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
        Ok(Self::Unix(listener))
    }

    /// A socket that somebody else opened and that listens already, from here on closed to programs that are started.
    ///
    /// # Errors
    /// What it is instead, for people.
    pub fn inherited(descriptor: OwnedFd) -> Result<Self, String> {
        let socket = SockRef::from(&descriptor);
        let unread = |error: io::Error| format!("is no socket ({error})");
        let (domain, kind) = (socket.domain().map_err(unread)?, socket.r#type().map_err(unread)?);
        if kind != Type::STREAM {
            return Err("is no stream socket".to_owned());
        }
        if !socket.is_listener().map_err(unread)? {
            return Err("does not listen: it is a connection, or was never made to listen".to_owned());
        }
        if ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
            return Err("is neither TCP nor a Unix socket".to_owned());
        }
        if domain != Domain::UNIX && socket.protocol().map_err(unread)? != Some(Protocol::TCP) {
            return Err("does not speak TCP".to_owned());
        }
        let prepare = || socket.set_nonblocking(true).and_then(|()| socket.set_cloexec(true));
        prepare().map_err(unread)?;
        if domain == Domain::UNIX {
            return Ok(Self::Unix(descriptor.into()));
        }
        let listener = std::net::TcpListener::from(descriptor);
        let address = listener.local_addr().map_err(unread)?;
        let both = address.is_ipv6() && address.ip().is_unspecified();
        if both && !SockRef::from(&listener).only_v6().map_err(unread)? {
            return Err(
                "takes IPv4 as well as IPv6: write BindIPv6Only=ipv6-only in the socket unit".to_owned()
            );
        }
        Ok(Self::Tcp(listener))
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When none is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn bound(&self) -> io::Result<Bound> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Bound::Tcp),
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(Path::to_path_buf);
                Ok(Bound::Unix(path.unwrap_or_default()))
            }
        }
    }

    /// The descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl From<Listening> for Listener {
    fn from(listening: Listening) -> Self {
        match listening {
            Listening::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)),
            Listening::Unix(listener) => Self::Unix(UnixListener::from_std(listener)),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Accepts a connection; `None` when none waits.
    ///
    /// # Errors
    /// What the system says, such as that no file descriptor is left.
    pub fn accept(&self) -> io::Result<Option<Socket>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        };
        match accepted {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The peer is gone before we came to it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) =>
            {
                self.accept()
            }
            Err(error) => Err(error),
        }
    }
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it (`ss -ltnp` names it) or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port above 1023 or a directory that this user may write to, or have the service manager open it (systemd: a socket unit)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: `ip address` lists those it has"
        }
        io::ErrorKind::NotFound => "the directory of the socket does not exist: create it",
        _ => "check the address in the listener's `bind`",
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(registry, token, interests),
            Self::Unix(listener) => listener.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.reregister(registry, token, interests),
            Self::Unix(listener) => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.deregister(registry),
            Self::Unix(listener) => listener.deregister(registry),
        }
    }
}
