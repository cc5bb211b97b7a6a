//! Listening sockets at work: each with its rules, one set for each worker.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use motte_config::{Config, Endpoint};
use motte_event::life;
use motte_roles::Place;
use motte_transport::{Listener, Listening, Socket};

use crate::log::Log;
use crate::rules::{ListenerRules, Rules};
use crate::server::Bound;
use crate::sockets::Sockets;

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
    metrics: Option<Listening>,
}

impl Doors {
    /// Gives each socket the rules of its listener and to its worker.
    pub(crate) fn new(config: &Config, rules: &Rules, workers: usize, sockets: Sockets) -> Self {
        let addresses = sockets.addresses().to_vec();
        let mut doors = Self {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
            addresses,
            sockets: Vec::new(),
            metrics: None,
        };
        for (place, listening) in sockets.all {
            match place {
                Place::Metrics => doors.metrics = Some(listening),
                Place::Listener { listener, endpoint, worker, inherited } => {
                    let written = config.listeners.get(usize::from(listener));
                    let endpoint = written.and_then(|written| written.bind.get(usize::from(endpoint)));
                    if let (Some(Endpoint::Unix(path)), false) = (endpoint, inherited) {
                        doors.sockets.push(path.clone());
                    }
                    let rules = rules.listeners.get(usize::from(listener));
                    let own = doors.by_worker.get_mut(usize::from(worker));
                    if let (Some(rules), Some(own)) = (rules, own) {
                        own.push(Door::new(rules, listening.into()));
                    }
                }
            }
        }
        doors
    }

    /// Where the doors are.
    pub(crate) fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// Unix sockets that were bound for this broker, to be removed at the end.
    pub(crate) fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// The socket of the metrics, if there is one.
    pub(crate) fn take_metrics(&mut self) -> Option<Listening> {
        self.metrics.take()
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
