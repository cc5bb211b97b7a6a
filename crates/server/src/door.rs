//! Listening sockets: bound before anything runs, one set for each worker.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use motte_config::Endpoint;
use motte_event::life;
use motte_transport::{BindError, Bound as TransportBound, Listener, Socket};

use crate::log::Log;
use crate::rules::{ListenerRules, Rules};
use crate::server::{Bound, BoundAddress};

/// How long a door stays shut after the system refused a connection, in milliseconds.
const SHUT_MS: u64 = 100;

/// One listening socket of a worker.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) rules: Arc<ListenerRules>,
    listener: Listener,
    /// Connections may be waiting.
    pub(crate) ready: bool,
    shut_until_ms: Option<u64>,
}

impl Door {
    fn new(rules: &Arc<ListenerRules>, listener: Listener) -> Self {
        Self { rules: Arc::clone(rules), listener, ready: false, shut_until_ms: None }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.listener.register(registry, token, Interest::READABLE)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // The socket is closed next, which ends the registration in any case.
        let _ = self.listener.deregister(registry);
    }

    /// When it opens again, in monotonic milliseconds.
    pub(crate) fn wakes_ms(&self) -> Option<u64> {
        self.shut_until_ms
    }

    /// Whether connections may be waiting that can be let in at once.
    pub(crate) fn is_open_and_ready(&self) -> bool {
        self.ready && self.shut_until_ms.is_none()
    }

    /// The next connection that waits. When the system refuses one, the door stays shut for a moment: descriptors do not
    /// come back by asking for them in a loop.
    pub(crate) fn next(&mut self, now_ms: u64) -> io::Result<Option<Socket>> {
        if self.shut_until_ms.is_some_and(|until| until > now_ms) {
            return Ok(None);
        }
        if self.shut_until_ms.take().is_none() && !self.ready {
            return Ok(None);
        }
        self.ready = true;
        match self.listener.accept() {
            Ok(Some(socket)) => Ok(Some(socket)),
            Ok(None) => {
                self.ready = false;
                Ok(None)
            }
            Err(error) => {
                self.shut_until_ms = Some(now_ms.saturating_add(SHUT_MS));
                Err(error)
            }
        }
    }
}

/// All doors by worker, and where they are.
#[derive(Debug)]
pub(crate) struct Doors {
    by_worker: Vec<Vec<Door>>,
    addresses: Vec<Bound>,
    sockets: Vec<PathBuf>,
}

impl Doors {
    /// Binds every endpoint of every listener; TCP ports once for each worker, Unix sockets for the first.
    ///
    /// # Errors
    /// Everything that could not be bound, with its remedy.
    pub(crate) fn bind(rules: &Rules, workers: usize) -> Result<Self, Vec<String>> {
        let by_worker = (0..workers).map(|_| Vec::new()).collect();
        let mut doors = Self { by_worker, addresses: Vec::new(), sockets: Vec::new() };
        let mut faults = Vec::new();
        for listener in &rules.listeners {
            for endpoint in &listener.written.bind {
                if let Err(error) = doors.bind_one(listener, endpoint) {
                    faults.push(format!("listener {}: {error}", listener.name));
                }
            }
        }
        if faults.is_empty() { Ok(doors) } else { Err(faults) }
    }

    fn bind_one(&mut self, rules: &Arc<ListenerRules>, endpoint: &Endpoint) -> Result<(), BindError> {
        let address = match endpoint {
            Endpoint::Unix(path) => {
                let listener = Listener::unix(path)?;
                if let Some(first) = self.by_worker.first_mut() {
                    first.push(Door::new(rules, listener));
                }
                self.sockets.push(path.clone());
                BoundAddress::Path(path.clone())
            }
            Endpoint::Tcp(address) => {
                let shared = self.by_worker.len() > 1;
                if shared && address.port() != 0 {
                    // A port shared among our workers could be shared with somebody else's; so it must be free first.
                    drop(Listener::tcp(*address, false)?);
                }
                let mut bound = *address;
                for doors in &mut self.by_worker {
                    let listener = Listener::tcp(bound, shared)?;
                    if let Ok(TransportBound::Tcp(address)) = listener.bound() {
                        bound = address;
                    }
                    doors.push(Door::new(rules, listener));
                }
                BoundAddress::Socket(bound)
            }
        };
        let kind = rules.written.kind.name().to_owned();
        self.addresses.push(Bound { listener: rules.name.to_string(), kind, address });
        Ok(())
    }

    /// Where the doors are.
    pub(crate) fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// Unix sockets, to be removed at the end.
    pub(crate) fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// The doors of each worker.
    pub(crate) fn into_workers(self) -> Vec<Vec<Door>> {
        self.by_worker
    }
}

/// Says where everything listens.
pub(crate) fn announce(addresses: &[Bound], log: &Log) {
    for bound in addresses {
        log.event(life::listening(&bound.listener, &bound.address.to_string(), &bound.kind));
    }
}
