//! What every thread needs to know: the plan, the target, and what follows from both.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use motte_seal::SecretString;
use motte_transport::{ClientError, ClientTls};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::Resumption;

use crate::fault::Fault;
use crate::link::LinkTls;
use crate::options::{Plan, own};
use crate::schedule::Schedule;
use crate::shape::Topology;
use crate::stamp::STAMP_BYTES;

/// Where to connect, and as whom.
#[derive(Debug)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS; `None`: plain TCP.
    pub tls: Option<ClientTls>,
    /// User Name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// What Client Identifiers begin with; the run and a number follow.
    pub client_id: String,
    /// Whether the user said that the target is theirs to burden, though it is not this machine.
    pub is_own: bool,
}

/// What every thread needs to know.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plan: Plan,
    pub(crate) address: SocketAddr,
    /// Host and port as they were given.
    pub(crate) target: String,
    pub(crate) tls: Option<LinkTls>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) client_id: String,
    pub(crate) topology: Topology,
    /// When messages are due; `None`: a closed loop.
    pub(crate) schedule: Option<Schedule>,
    /// What stands behind the stamp in each payload.
    pub(crate) filler: Vec<u8>,
    fans: Vec<u64>,
}

/// Files beside the connections: standard streams, polls, timers, wakers and room for `/proc`.
const FILES_SPARE: u64 = 64;
/// How long an address may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

impl Job {
    /// Finds the target and makes what all connections share.
    ///
    /// # Errors
    /// The target is not there or not ours, or the system permits too few files.
    pub(crate) fn new(plan: Plan, target: Target) -> Result<Self, Fault> {
        let name = format!("{}:{}", target.host, target.port);
        let address = find(&target, &name)?;
        permit_files(plan.sockets() + u64::from(plan.options.threads) * 4 + FILES_SPARE)?;
        let tls = target.tls.map(|tls| link_tls(tls, &target.host, &name)).transpose()?;
        let run = run_name();
        let options = &plan.options;
        let root = format!("{}/{run}", options.prefix);
        let topology =
            Topology::new(options.shape, plan.publishers, plan.subscribers, options.topics.into(), root);
        Ok(Self {
            address,
            target: name,
            tls,
            user_name: target.user_name,
            password: target.password,
            client_id: format!("{}-{run}", target.client_id),
            schedule: options.rate.map(|rate| Schedule::new(rate.into(), plan.publishers)),
            filler: vec![b'x'; usize::try_from(options.size).unwrap_or(0).saturating_sub(STAMP_BYTES)],
            fans: topology.fans(),
            topology,
            plan,
        })
    }

    /// How many subscribers get what a publisher sends.
    pub(crate) fn fan(&self, publisher: u64) -> u64 {
        usize::try_from(publisher).ok().and_then(|index| self.fans.get(index)).copied().unwrap_or(0)
    }

    /// The number of threads.
    pub(crate) fn threads(&self) -> u64 {
        self.plan.options.threads.into()
    }
}

/// The first address of the host that answers, if the host is ours.
fn find(target: &Target, name: &str) -> Result<SocketAddr, Fault> {
    let fault = |cause| Fault::from(ClientError::connecting(name, cause));
    let addresses: Vec<SocketAddr> =
        (target.host.as_str(), target.port).to_socket_addrs().map_err(fault)?.collect();
    own(&addresses, target.is_own)
        .map_err(|address| Fault::ForeignTarget { host: target.host.clone(), address })?;
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(fault(last))
}

fn link_tls(tls: ClientTls, host: &str, name: &str) -> Result<LinkTls, Fault> {
    let fault = |cause| Fault::from(ClientError::tls(name, cause));
    let server = tls.name(host).map_err(fault)?;
    let mut config = tls.config().map_err(fault)?;
    // Every handshake is a whole one, so that they can be compared.
    config.resumption = Resumption::disabled();
    Ok(LinkTls { config: config.into(), name: server })
}

/// Raises the limit on open files as far as the system permits it.
fn permit_files(needed: u64) -> Result<(), Fault> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let permitted = limit.maximum.unwrap_or(u64::MAX);
    if permitted < needed {
        return Err(Fault::Files { needed, permitted });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })
        .map_err(|_| Fault::Files { needed, permitted: limit.current.unwrap_or(0) })
}

/// A name that tells the topics and clients of this run from those of others.
fn run_name() -> String {
    let mut bytes = [0_u8; 3];
    // Without randomness the number of the process tells runs of this machine apart.
    if getrandom::fill(&mut bytes).is_err() {
        let [a, b, c, _] = std::process::id().to_le_bytes();
        bytes = [a, b, c];
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_than_the_system_permits_are_refused_with_the_number() {
        if let Some(limit) = getrlimit(Resource::Nofile).maximum {
            let text = permit_files(limit + 1).unwrap_err().to_string();
            assert!(text.contains("ulimit -n"), "{text}");
        }
        assert!(permit_files(1).is_ok());
    }
}
