//! Listening sockets before anybody serves them: bound here, or handed over by the process that bound them.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use motte_config::{Config, Endpoint, Listener};
use motte_roles::Place;
use motte_transport::{BindError, Bound as TransportBound, Listening};

use crate::scrape::BoundScrape;
use crate::server::{Bound, BoundAddress, StartError};

/// Every socket that a configuration asks for.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) all: Vec<(Place, Listening)>,
    addresses: Vec<Bound>,
}

impl Sockets {
    /// Binds every endpoint of every listener, and the metrics: TCP ports once for each worker, Unix sockets once.
    ///
    /// # Errors
    /// Everything that could not be bound, with its remedy.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let workers = u16::try_from(crate::supervise::workers(config)).unwrap_or(1);
        let mut all = Vec::new();
        let mut faults = Vec::new();
        for (listener, endpoint, at) in endpoints(config) {
            if let Err(error) = bind_one(endpoint, at, workers, &mut all) {
                faults.push(format!("listener {}: {error}", listener.name));
            }
        }
        if let Some(endpoint) = &config.metrics {
            match BoundScrape::bind(endpoint) {
                Ok(listening) => all.push((Place::Metrics, listening)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self::new(config, all)) } else { Err(StartError::Bind(faults)) }
    }

    /// Sockets that another process bound for this configuration.
    ///
    /// # Errors
    /// When one is missing or is none of this configuration.
    pub fn handed_over(config: &Config, descriptors: Vec<(Place, OwnedFd)>) -> Result<Self, StartError> {
        let mut all = Vec::new();
        for (place, descriptor) in descriptors {
            let endpoint = match place {
                Place::Metrics => config.metrics.as_ref(),
                Place::Listener { listener, endpoint, .. } => config
                    .listeners
                    .get(usize::from(listener))
                    .and_then(|listener| listener.bind.get(usize::from(endpoint))),
            };
            all.push((
                place,
                match endpoint {
                    Some(Endpoint::Tcp(_)) => Listening::Tcp(TcpListener::from(descriptor)),
                    Some(Endpoint::Unix(_)) => Listening::Unix(UnixListener::from(descriptor)),
                    None => {
                        return Err(StartError::Bind(vec![format!(
                            "{place:?} is no socket of this configuration"
                        )]));
                    }
                },
            ));
        }
        let sockets = Self::new(config, all);
        let wanted = endpoints(config).count() + usize::from(config.metrics.is_some());
        if sockets.addresses.len() == wanted {
            Ok(sockets)
        } else {
            Err(StartError::Bind(vec![format!(
                "{} of {wanted} listening sockets were handed over",
                sockets.addresses.len()
            )]))
        }
    }

    fn new(config: &Config, all: Vec<(Place, Listening)>) -> Self {
        let addresses =
            all.iter().filter_map(|(place, listening)| address(config, *place, listening)).collect();
        Self { all, addresses }
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// Every socket, to be handed over.
    pub fn descriptors(&self) -> impl Iterator<Item = (Place, BorrowedFd<'_>)> {
        self.all.iter().map(|(place, listening)| (*place, listening.descriptor()))
    }
}

/// Every endpoint with its listener and its place for the first worker.
fn endpoints(config: &Config) -> impl Iterator<Item = (&Listener, &Endpoint, (u16, u16))> {
    let listeners = (0_u16..).zip(&config.listeners);
    listeners.flat_map(|(number, listener)| {
        (0_u16..).zip(&listener.bind).map(move |(at, endpoint)| (listener, endpoint, (number, at)))
    })
}

fn bind_one(
    wanted: &Endpoint,
    (listener, endpoint): (u16, u16),
    workers: u16,
    all: &mut Vec<(Place, Listening)>,
) -> Result<(), BindError> {
    let mut push = |worker, listening| all.push((Place::Listener { listener, endpoint, worker }, listening));
    match wanted {
        Endpoint::Unix(path) => push(0, Listening::unix(path)?),
        Endpoint::Tcp(address) => {
            let shared = workers > 1;
            if shared && address.port() != 0 {
                // A port shared among our workers could be shared with somebody else's; so it must be free first.
                drop(Listening::tcp(*address, false)?);
            }
            let mut bound = *address;
            for worker in 0..workers {
                let listening = Listening::tcp(bound, shared)?;
                if let Ok(TransportBound::Tcp(address)) = listening.bound() {
                    bound = address;
                }
                push(worker, listening);
            }
        }
    }
    Ok(())
}

/// Where a socket listens, told once for those that share a port.
fn address(config: &Config, place: Place, listening: &Listening) -> Option<Bound> {
    let address = |endpoint: &Endpoint| match (endpoint, listening.bound()) {
        (Endpoint::Unix(path), _) => BoundAddress::Path(path.clone()),
        (Endpoint::Tcp(_), Ok(TransportBound::Tcp(address))) => BoundAddress::Socket(address),
        (Endpoint::Tcp(address), _) => BoundAddress::Socket(*address),
    };
    match place {
        Place::Listener { listener, endpoint, worker: 0 } => {
            let listener = config.listeners.get(usize::from(listener))?;
            let address = address(listener.bind.get(usize::from(endpoint))?);
            Some(Bound { listener: listener.name.clone(), kind: listener.kind.name().to_owned(), address })
        }
        Place::Listener { .. } => None,
        Place::Metrics => Some(Bound {
            listener: "metrics".to_owned(),
            kind: "http".to_owned(),
            address: address(config.metrics.as_ref()?),
        }),
    }
}
