//! Attempts that Landlock must refuse. The kernel tells nobody which domain a process is in, so we try.
//!
//! All of them run between Landlock and seccomp, so that a refusal is Landlock's and nobody else's. The first one needs
//! no more than `openat` and is made again at each read-back.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::Path;

use rustix::process::{getppid, test_kill_process};

use crate::confinement::{Confinement, TcpConnect};
use crate::in_force::{Probe, ProbeOutcome};

/// What must be made before the domain is entered, so that it lies outside.
pub(crate) struct Outside {
    /// A listener in the abstract namespace, with its name.
    abstract_socket: Option<(UnixListener, UnixAddr)>,
    /// Whether the parent could be signalled.
    could_signal: bool,
}

impl Outside {
    /// Makes what the attempts need.
    pub(crate) fn new() -> Self {
        let name = format!("motte-confine-{}", std::process::id());
        let abstract_socket = UnixAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address).map(|listener| (listener, address)))
            .ok();
        Self { abstract_socket, could_signal: signal_parent().is_some_and(|answer| answer.is_ok()) }
    }

    /// Makes every attempt.
    pub(crate) fn try_all(&self, confinement: &Confinement) -> Vec<Probe> {
        vec![
            read_root(confinement),
            Probe { attempt: "bind another TCP port".to_owned(), outcome: bind(&confinement.tcp_bind) },
            Probe { attempt: "connect out".to_owned(), outcome: connect(&confinement.tcp_connect) },
            Probe { attempt: "signal the parent".to_owned(), outcome: self.signal() },
            Probe { attempt: "abstract Unix socket".to_owned(), outcome: self.reach_abstract() },
        ]
    }

    fn signal(&self) -> ProbeOutcome {
        match signal_parent() {
            None => ProbeOutcome::NotTried("the parent is outside the namespace".to_owned()),
            Some(_) if !self.could_signal => {
                ProbeOutcome::NotTried("the parent belongs to somebody else".to_owned())
            }
            Some(answer) => judged(answer),
        }
    }

    fn reach_abstract(&self) -> ProbeOutcome {
        match &self.abstract_socket {
            None => ProbeOutcome::NotTried("no abstract Unix sockets here".to_owned()),
            Some((_, address)) => judged(UnixStream::connect_addr(address).map(drop)),
        }
    }
}

/// Lists the root directory, unless the confinement lets it.
pub(crate) fn read_root(confinement: &Confinement) -> Probe {
    let root = Path::new("/");
    let paths = [&confinement.read, &confinement.read_write, &confinement.execute];
    let outcome = if paths.into_iter().flatten().any(|path| path == root) {
        ProbeOutcome::NotTried("everything may be read".to_owned())
    } else {
        judged(File::open(root).map(drop))
    };
    Probe { attempt: "list /".to_owned(), outcome }
}

fn bind(permitted: &[u16]) -> ProbeOutcome {
    if permitted.contains(&0) {
        return ProbeOutcome::NotTried("any free port may be bound".to_owned());
    }
    judged(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop))
}

fn connect(permitted: &TcpConnect) -> ProbeOutcome {
    let is_permitted = |port: &u16| match permitted {
        TcpConnect::None => false,
        TcpConnect::Ports(ports) => ports.contains(port),
        TcpConnect::Any => true,
    };
    let Some(port) = (1..=u16::MAX).find(|port| !is_permitted(port)) else {
        return ProbeOutcome::NotTried("every port may be reached".to_owned());
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    judged(TcpStream::connect(address).map(drop))
}

fn signal_parent() -> Option<io::Result<()>> {
    getppid().map(|parent| test_kill_process(parent).map_err(io::Error::from))
}

fn judged(answer: io::Result<()>) -> ProbeOutcome {
    match answer {
        Ok(()) => ProbeOutcome::Permitted("it succeeded".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ProbeOutcome::Refused,
        // As a service manager does it (`RestrictAddressFamilies=`): refused before Landlock was asked.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            ProbeOutcome::NotTried("no such socket can be made at all".to_owned())
        }
        Err(error) => ProbeOutcome::Permitted(error.to_string()),
    }
}
