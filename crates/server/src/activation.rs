//! Listening sockets that a service manager opened before the broker started: systemd's socket activation.
//!
//! `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` say whose they are, how many and how they are called. A socket belongs to
//! the listener of its name. What nobody asks for is a fault: a way in that was opened and that nobody answers on would
//! look like a broker that hangs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use motte_config::Endpoint;
use motte_transport::{Bound, Listening};

/// Variables of the environment that are about one process alone and that none it starts must see.
pub const ACTIVATION: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
/// Most sockets that can be handed over.
const SOCKETS_MAX: u32 = 256;

/// Their descriptors belong to whoever takes them first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A socket that was handed over.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// `FileDescriptorName=` of the socket unit.
    name: String,
    listening: Listening,
    address: String,
}

/// All sockets that were handed over to this process. Once taken there are none.
///
/// # Errors
/// Everything that is wrong with them, with the remedy.
pub(crate) fn take() -> Result<Vec<Inherited>, Vec<String>> {
    let is_for_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !is_for_us || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let count = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u32>().ok());
    if count.is_none_or(|count| count > SOCKETS_MAX) {
        return Err(vec![format!(
            "LISTEN_FDS is no number up to {SOCKETS_MAX}\n  remedy: leave it to the service manager, which sets it with LISTEN_PID"
        )]);
    }
    // The third descriptor is the first of them: nothing else was opened under their numbers, for they were there before us.
    let descriptors = sd_listen_fds::get().map_err(|error| vec![error.to_string()])?;
    let (mut sockets, mut faults) = (Vec::new(), Vec::new());
    for (number, (name, descriptor)) in (3..).zip(descriptors) {
        let (name, descriptor) = (name.unwrap_or_default(), descriptor.into_std());
        if rustix::io::fcntl_getfd(&descriptor).is_err() {
            // It is nobody's, so there is nothing to close, and closing it is what would end the process.
            std::mem::forget(descriptor);
            faults.push(format!(
                "descriptor {number} is not open, though LISTEN_FDS counts it\n  remedy: keep it open across the start"
            ));
            continue;
        }
        match Listening::inherited(descriptor) {
            Ok(listening) => {
                let address = address_of(&listening);
                sockets.push(Inherited { name, listening, address });
            }
            Err(fault) => faults.push(format!(
                "descriptor {number}, handed over as `{name}`, {fault}\n  remedy: hand over what listens on TCP or on a Unix socket: ListenStream= of a socket unit, with Accept=no"
            )),
        }
    }
    if faults.is_empty() { Ok(sockets) } else { Err(faults) }
}

/// Who asks for sockets.
pub(crate) struct Asker<'c> {
    /// The listener's name.
    pub(crate) name: &'c str,
    /// Its endpoints, by number.
    pub(crate) bind: &'c [Endpoint],
    /// How many workers it has.
    pub(crate) workers: u16,
}

/// Gives a listener its sockets, with the numbers of endpoint and worker. `None` when it has none and binds for itself.
///
/// An endpoint with one socket shares it among all workers: whoever is free takes the connection, and those who come too
/// late find nothing, which costs a wake-up. Waking one alone (`EPOLLEXCLUSIVE`) would mostly wake the same one, whose
/// connections would then be many and the others' few. An endpoint with several (`ReusePort=yes`) spreads them.
pub(crate) fn assign(
    given: &mut Vec<Inherited>,
    asker: &Asker<'_>,
    faults: &mut Vec<String>,
) -> Option<Vec<(u16, u16, Listening)>> {
    let Asker { name, bind, workers } = asker;
    let own: Vec<Inherited> = given.extract_if(.., |socket| socket.name == *name).collect();
    if own.is_empty() {
        return None;
    }
    let mut assigned = Vec::new();
    let mut unwanted: Vec<&Inherited> = own.iter().collect();
    for (at, endpoint) in (0_u16..).zip(*bind) {
        let here: Vec<&Inherited> = unwanted.extract_if(.., |socket| socket.is_at(endpoint)).collect();
        if here.is_empty() {
            faults.push(format!(
                "listener {name}: no socket for {endpoint} was handed over, but others were\n  remedy: add ListenStream= for it to the socket unit, or take it out of the listener's `bind`"
            ));
        }
        if here.len() > usize::from(*workers) {
            faults.push(format!(
                "listener {name}: {} sockets for {endpoint} were handed over to {workers} workers\n  remedy: hand over one, or with ReusePort=yes one for each worker",
                here.len()
            ));
        }
        let sharing = if matches!(endpoint, Endpoint::Unix(_)) { 1 } else { *workers };
        for (worker, socket) in (0..sharing).zip(here.iter().cycle()) {
            match socket.listening.try_clone() {
                Ok(listening) => assigned.push((at, worker, listening)),
                Err(error) => faults.push(format!("listener {name}: {endpoint}: {error}")),
            }
        }
    }
    faults.extend(unwanted.iter().map(|socket| {
        format!(
            "listener {name}: the socket that was handed over listens on {}, which is not in its `bind`\n  remedy: write bind = [\"{}\"], or correct ListenStream= of the socket unit",
            socket.address, socket.address
        )
    }));
    Some(assigned)
}

/// The control socket, told by where it listens: it may come in one unit with a listener's, and so by its name.
pub(crate) fn control(given: &mut Vec<Inherited>, path: &Path) -> Option<Listening> {
    let wanted = Endpoint::Unix(path.to_owned());
    given.extract_if(.., |socket| socket.is_at(&wanted)).map(|socket| socket.listening).next()
}

/// What nobody asked for.
pub(crate) fn left_over(given: &[Inherited], names: &[&str]) -> Vec<String> {
    let of_one = |socket: &Inherited| {
        format!(
            "the socket {}, handed over as `{}`, belongs to no listener\n  remedy: write FileDescriptorName= with the name of one into the socket unit: {}",
            socket.address,
            socket.name,
            names.join(", ")
        )
    };
    given.iter().map(of_one).collect()
}

impl Inherited {
    fn is_at(&self, endpoint: &Endpoint) -> bool {
        match (endpoint, self.listening.bound()) {
            (Endpoint::Tcp(wanted), Ok(Bound::Tcp(bound))) => is_within(*wanted, bound),
            (Endpoint::Unix(wanted), Ok(Bound::Unix(bound))) => is_same(wanted, &bound),
            (Endpoint::Tcp(_) | Endpoint::Unix(_), _) => false,
        }
    }
}

/// Port 0 stands for any.
fn is_within(wanted: SocketAddr, bound: SocketAddr) -> bool {
    wanted.ip() == bound.ip() && (wanted.port() == 0 || wanted.port() == bound.port())
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn address_of(listening: &Listening) -> String {
    match listening.bound() {
        Ok(Bound::Tcp(address)) => address.to_string(),
        Ok(Bound::Unix(path)) => format!("unix:{}", path.display()),
        Err(error) => error.to_string(),
    }
}
