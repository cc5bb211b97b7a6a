//! Listening sockets before anybody serves them: bound here, or handed over by the process that bound them.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use motte_config::{Config, Endpoint};
use motte_roles::Place;
use motte_transport::{BindError, Bound as TransportBound, Listening};

use crate::activation::{self, Asker, Inherited};
use crate::scrape::BoundScrape;
use crate::server::{Bound, BoundAddress, StartError};

/// The name of the metrics where listeners have theirs.
const METRICS: &str = "metrics";

/// Every socket that a configuration asks for.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) all: Vec<(Place, Listening)>,
    addresses: Vec<Bound>,
    control: Option<Listening>,
}

impl Sockets {
    /// Binds every endpoint of every listener, and the metrics: TCP ports once for each worker, Unix sockets once. What a
    /// service manager has opened for a listener takes the place of that.
    ///
    /// # Errors
    /// Everything that could not be bound or was handed over in vain, with its remedy.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let workers = u16::try_from(crate::preparing::workers(config)).unwrap_or(1);
        let mut all = Vec::new();
        let mut faults = Vec::new();
        let mut given = activation::take().map_err(StartError::Bind)?;
        let control = config.control_socket().and_then(|path| activation::control(&mut given, &path));
        for (number, listener) in (0_u16..).zip(&config.listeners) {
            let asker = Asker { name: &listener.name, bind: &listener.bind, workers };
            if let Some(inherited) = activation::assign(&mut given, &asker, &mut faults) {
                all.extend(inherited.into_iter().map(|(endpoint, worker, listening)| {
                    (Place::Listener { listener: number, endpoint, worker, inherited: true }, listening)
                }));
                continue;
            }
            for (at, endpoint) in (0_u16..).zip(&listener.bind) {
                if let Err(error) = bind_one(endpoint, (number, at), workers, &mut all) {
                    faults.push(format!("listener {}: {error}", listener.name));
                }
            }
        }
        if let Some(endpoint) = &config.metrics {
            match metrics(endpoint, &mut given, &mut faults) {
                Ok(listening) => all.extend(listening.map(|listening| (Place::Metrics, listening))),
                Err(fault) => faults.push(fault),
            }
        }
        let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
        faults.extend(activation::left_over(&given, &names));
        if faults.is_empty() {
            Ok(Self { control, ..Self::new(config, all) })
        } else {
            Err(StartError::Bind(faults))
        }
    }

    /// The control socket, if a service manager has opened it.
    pub(crate) fn take_control(&mut self) -> Option<Listening> {
        self.control.take()
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
        let endpoints: usize = config.listeners.iter().map(|listener| listener.bind.len()).sum();
        let wanted = endpoints + usize::from(config.metrics.is_some());
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
        Self { all, addresses, control: None }
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

/// The socket of the metrics: one that was handed over with this name, which no listener has, or a new one.
fn metrics(
    endpoint: &Endpoint,
    given: &mut Vec<Inherited>,
    faults: &mut Vec<String>,
) -> Result<Option<Listening>, String> {
    let asker = Asker { name: METRICS, bind: std::slice::from_ref(endpoint), workers: 1 };
    match (activation::assign(given, &asker, faults), endpoint) {
        (None, _) => BoundScrape::bind(endpoint).map(Some),
        (Some(_), Endpoint::Unix(path)) => Err(format!(
            "metrics take no Unix socket that was handed over, such as {}\n  remedy: hand over a TCP socket, or let the broker make the socket in its state directory",
            path.display()
        )),
        (Some(handed_over), Endpoint::Tcp(_)) => {
            Ok(handed_over.into_iter().map(|(.., socket)| socket).next())
        }
    }
}

fn bind_one(
    wanted: &Endpoint,
    (listener, endpoint): (u16, u16),
    workers: u16,
    all: &mut Vec<(Place, Listening)>,
) -> Result<(), BindError> {
    let mut push = |worker, listening| {
        all.push((Place::Listener { listener, endpoint, worker, inherited: false }, listening));
    };
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
        Place::Listener { listener, endpoint, worker: 0, .. } => {
            let listener = config.listeners.get(usize::from(listener))?;
            let address = address(listener.bind.get(usize::from(endpoint))?);
            Some(Bound { listener: listener.name.clone(), kind: listener.kind.name().to_owned(), address })
        }
        Place::Listener { .. } => None,
        Place::Metrics => Some(Bound {
            listener: METRICS.to_owned(),
            kind: "http".to_owned(),
            address: address(config.metrics.as_ref()?),
        }),
    }
}
