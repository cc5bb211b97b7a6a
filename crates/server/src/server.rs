//! The running process: started, asked where it listens, waited for.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use motte_access::{CompiledPolicy, PolicyGeneration};
use motte_config::Config;
use motte_event::Event;
use motte_identity::bans::{Ban, BanError, BanSubject};
use motte_roles::{AskPassphrase, KeyClient, OutwardClient, Place, StepUp};

use crate::assemble::{self, AssembleError, OpenFile};
use crate::control::Control;
use crate::keyring::Keyring;
use crate::log::Sink;
use crate::logins::{AboutBans, Logins};
use crate::reloading::ReloadError;
use crate::sealing::{Sealed, SelfConfinement};
use crate::state::StateError;
use crate::supervise::Supervisor;
use crate::vault::VaultFault;

/// Why the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// It was asked to stop and stopped cleanly: everybody was told, Sessions were kept.
    Stopped,
    /// It was asked twice and stopped at once: nothing was kept.
    Forced,
}

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something the configuration names cannot be used.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Listeners could not be bound; every one is named.
    #[error("{}", lines(.0))]
    Bind(Vec<String>),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The vault of the state directory cannot be opened or made.
    #[error(transparent)]
    Vault(#[from] VaultFault),
    /// The journal of the state directory cannot be used.
    #[error(transparent)]
    Store(#[from] crate::store::StoreFault),
    /// The process could not confine itself as required.
    #[error("{0}")]
    Confine(String),
    /// The system refuses threads, descriptors or randomness.
    #[error("the system refuses {what}: {cause}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        cause: io::Error,
    },
}

impl StartError {
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}

fn lines(all: &[String]) -> String {
    all.join("\n")
}

/// Why the process ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker ended.
    #[error(
        "worker {shard} ended: {cause}; this is a defect of motte, please report it with the lines above"
    )]
    Worker {
        /// Its shard.
        shard: u16,
        /// Why.
        cause: String,
    },
    /// The supervisor ended.
    #[error("the supervisor ended; this is a defect of motte, please report it with the lines above")]
    Supervisor,
    /// The journal could not be ended.
    #[error("the journal could not be ended; what was acknowledged is kept all the same: {0}")]
    Store(String),
}

/// Reads the configuration anew for a reload; the text of an error is logged.
pub type ReadConfig = Box<dyn FnMut() -> Result<Config, String> + Send>;

/// Where lines of the log go.
pub type LogSink = Sink;

/// How the process runs, apart from its configuration.
#[derive(Default)]
pub struct Options {
    /// SIGTERM and SIGINT stop cleanly, a second one at once; SIGHUP reloads.
    pub signals: bool,
    /// How a reload gets its configuration; without it a reload reads the files of the same configuration again.
    pub read_config: Option<ReadConfig>,
    /// A policy in place of the policy file, for `motte dev`.
    pub policy: Option<CompiledPolicy>,
    /// How a person is asked for the passphrase of a key, where the configuration says so.
    pub ask_passphrase: Option<AskPassphrase>,
    /// That the process may confine itself; without it nothing is given up.
    pub confine: Option<SelfConfinement>,
    /// What a process that has confined itself already has left.
    pub sealed: Option<Sealed>,
    /// The process that keeps the keys; without one, keys are read and used here.
    pub keys: Option<KeyClient>,
    /// The process that connects out; without one, nothing is fetched and nobody is asked.
    pub outward: Option<OutwardClient>,
    /// How files that the configuration names are opened; without it, by their paths.
    pub open: Option<OpenFile>,
    /// Listening sockets that another process bound; without them, they are bound here.
    pub sockets: Option<Vec<(Place, OwnedFd)>>,
    /// Where events are written; stderr unless given.
    pub log_sink: Option<LogSink>,
    /// What happened before the start and belongs into the log, such as credentials that were made.
    pub before: Vec<Event>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("signals", &self.signals).finish_non_exhaustive()
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// An IP address with the port in use.
    Socket(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl std::fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// A listener that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The listener's name; `metrics` for the metrics.
    pub listener: String,
    /// What is spoken there: `tcp`, `tls`, `ws`, `wss`, `unix`, or `http` for the metrics.
    pub kind: String,
    /// Where it listens.
    pub address: BoundAddress,
}

/// What the supervisor is asked.
pub(crate) enum Command {
    /// SIGTERM, SIGINT, or a call; says which.
    Stop(String),
    /// SIGHUP, or somebody who wants to know how it went.
    Reload {
        /// Who that is.
        who: String,
        /// As whom, where a code is asked for.
        step_up: Option<StepUp>,
        /// Who wants to know.
        asker: Option<SyncSender<Result<(), ReloadError>>>,
    },
    /// Something happened outside that belongs into the log.
    Tell(Event),
    /// Revocation lists came that the rules do not know.
    Lists,
    /// Keys of issuers are gone.
    Keys,
    /// Something about bans.
    Bans(AboutBans),
    /// A worker ended by itself.
    WorkerEnded { shard: u16, cause: String },
}

/// A way to ask a running server for something; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: SyncSender<Command>,
}

impl Handle {
    pub(crate) fn new(commands: SyncSender<Command>) -> Self {
        Self { commands }
    }

    /// Asks for a clean stop; asked twice, the process stops at once.
    pub fn stop(&self) {
        // A supervisor that is gone has stopped already.
        self.stop_because("a call");
    }

    /// As [`Handle::stop`], with the cause for the log.
    pub fn stop_because(&self, cause: impl Into<String>) {
        let _ = self.commands.send(Command::Stop(cause.into()));
    }

    /// As [`Handle::reload`], without waiting for it.
    pub fn reload_soon(&self) {
        let _ = self.commands.send(Command::Reload { who: "SIGHUP".to_owned(), step_up: None, asker: None });
    }

    /// Writes an event of the surroundings to the log.
    pub fn tell(&self, event: Event) {
        // A supervisor that is gone writes nothing more.
        let _ = self.commands.send(Command::Tell(event));
    }

    /// New revocation lists are held.
    pub(crate) fn lists_came(&self) {
        let _ = self.commands.send(Command::Lists);
    }

    /// Keys of issuers are not there any more.
    pub(crate) fn keys_went(&self) {
        let _ = self.commands.send(Command::Keys);
    }

    pub(crate) fn worker_ended(&self, shard: u16, cause: String) {
        let _ = self.commands.send(Command::WorkerEnded { shard, cause });
    }

    /// Bans somebody for `for_ms` milliseconds, at most 30 days; `by` says who does it. Live connections are closed.
    ///
    /// # Errors
    /// Why not.
    pub fn ban(&self, subject: BanSubject, cause: &str, by: &str, for_ms: u64) -> Result<(), BanError> {
        let (cause, by) = (cause.to_owned(), by.to_owned());
        // A server that stops takes no bans and needs none.
        self.about_bans(move |logins| logins.ban(subject, &cause, Some(&by), for_ms)).unwrap_or(Ok(()))
    }

    /// Lifts a ban, and the hold of an address after failed logins; false when there was neither.
    pub fn unban(&self, subject: BanSubject, by: &str) -> bool {
        let by = by.to_owned();
        self.about_bans(move |logins| logins.unban(&subject, &by)).unwrap_or_default()
    }

    /// The bans in force, those that end first in front.
    pub fn bans(&self) -> Vec<Ban> {
        self.about_bans(Logins::bans).unwrap_or_default()
    }

    fn about_bans<T: Send + 'static>(&self, ask: impl FnOnce(&Logins) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = sync_channel(1);
        let ask = move |logins: &Logins| drop(sender.try_send(ask(logins)));
        self.commands.send(Command::Bans(Box::new(ask))).ok()?;
        receiver.recv().ok()
    }

    /// Reads configuration and files anew and puts them in force, whole or not at all.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one stays in force.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.reload_by("a call", None)
    }

    /// As [`Handle::reload`], with who wants it, and the account and code of a second factor where one is asked for.
    ///
    /// # Errors
    /// As [`Handle::reload`].
    pub fn reload_by(&self, who: impl Into<String>, step_up: Option<StepUp>) -> Result<(), ReloadError> {
        let (sender, receiver) = sync_channel(1);
        let command = Command::Reload { who: who.into(), step_up, asker: Some(sender) };
        self.commands.send(command).map_err(|_| ReloadError::Stopped)?;
        receiver.recv().unwrap_or(Err(ReloadError::Stopped))
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Bound>,
    handle: Handle,
    control: Control,
    supervisor: JoinHandle<Result<ExitReason, RunError>>,
}

impl Server {
    /// Reads what the configuration names, binds the listeners, restores Sessions and starts to serve.
    ///
    /// # Errors
    /// Everything that keeps it from serving as configured, with the place and the remedy. Nothing is left running.
    pub fn start(config: Config, options: Options) -> Result<Self, StartError> {
        let (sender, receiver) = sync_channel(64);
        let handle = Handle::new(sender);
        let supervisor = Supervisor::prepare(config, options, handle.clone(), receiver)?;
        let (addresses, control) = (supervisor.addresses().to_vec(), supervisor.control());
        let supervisor = std::thread::Builder::new()
            .name("motte-supervisor".into())
            .spawn(move || supervisor.run())
            .map_err(|cause| StartError::System { what: "a thread", cause })?;
        Ok(Self { addresses, handle, control, supervisor })
    }

    /// Where it listens, with the ports the system chose.
    pub fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// A way to stop or reload it from another thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// A way to ask it what operators ask.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When it ended without being asked to, or could not keep what it had to keep.
    pub fn wait(self) -> Result<ExitReason, RunError> {
        let Self { supervisor, handle, .. } = self;
        drop(handle);
        supervisor.join().unwrap_or(Err(RunError::Supervisor))
    }
}

/// Reads and checks everything a configuration names, without binding or starting anything. Gives what a start would tell of it.
///
/// # Errors
/// All faults, each with file, place and remedy.
pub fn check(config: &Config, ask_passphrase: Option<AskPassphrase>) -> Result<Vec<Event>, AssembleError> {
    let mut keyring = Keyring::new(None, ask_passphrase);
    let keys = crate::token_keys::TokenKeys::new(None);
    assemble::begin(config, 1, Err(PolicyGeneration(1)), &mut keyring, &mut assemble::from_disk(), &keys)
        .map(|assembled| assembled.events)
}

/// Starts a server and waits until it ends.
///
/// # Errors
/// As [`Server::start`] and [`Server::wait`].
pub fn run(config: Config, options: Options) -> Result<ExitReason, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Server::start(config, options)?.wait()?)
}

/// The commands that are there by now.
pub(crate) fn drain(receiver: &Receiver<Command>) -> VecDeque<Command> {
    receiver.try_iter().collect()
}
