//! The parts are brought up: first whatever has to be opened or read, then the process gives up what it no longer needs, then
//! everything that runs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use motte_access::PolicyGeneration;
use motte_broker::{Exchange, Recovered, RetainedLimits, SHARDS_MAX};
use motte_config::{Config, Durability};
use motte_event::{Event, life};
use motte_roles::{CertificateStatus, KeyClient, Place};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalHandle, Signals};

use crate::admission::Admission;
use crate::assemble::{self, Assembled, OpenFile};
use crate::clock::Clock;
use crate::control::Control;
use crate::door::{self, Doors};
use crate::exposing::{page, scrape_of, serve_scrape};
use crate::handshakes::Handshakes;
use crate::kept_file::KeptFiles;
use crate::keyring::Keyring;
use crate::learning;
use crate::log::{self, Log, LogThread};
use crate::logins::Logins;
use crate::logins_kept::LoginsKept;
use crate::metrics::Reports;
use crate::ocsp;
use crate::questions::Questions;
use crate::revocation;
use crate::rules::Rules;
use crate::scrape::BoundScrape;
use crate::sealing::{Sealed, SelfConfinement};
use crate::server::{Command, Handle, LogSink, Options, StartError};
use crate::sockets::Sockets;
use crate::starting::{Made, Makings, furnish, spawn};
use crate::state::StateDirectory;
use crate::store::{OpenedStore, Store};
use crate::supervise::Supervisor;
use crate::token_keys::{Fetching, TokenKeys};
use crate::usage::UsageFile;
use crate::vault;
use crate::worker::Worker;

/// Open files beside those of connections: listeners, event queues, the log, the state directory.
const OPEN_FILES_BESIDE: u64 = 256;

/// What is opened and read while the process may still open and read.
struct Gathered {
    fixed_policy: bool,
    keyring: Keyring,
    open: OpenFile,
    rules: Arc<Rules>,
    certificates: Vec<CertificateStatus>,
    doors: Doors,
    scrape: Option<BoundScrape>,
    state: Option<StateDirectory>,
    store: Option<OpenedStore>,
    files: Option<KeptFiles>,
    usage: Option<UsageFile>,
    signals: Option<Signals>,
    /// What is to be told once there is a log.
    events: Vec<Event>,
}

impl Gathered {
    fn gather(
        config: &Config,
        options: &mut Options,
        workers: usize,
        keys: &TokenKeys,
    ) -> Result<Self, StartError> {
        let fixed_policy = options.policy.is_some();
        let policy = options.policy.take().map(Arc::new).ok_or(PolicyGeneration(1));
        #[cfg(motte_hole)]
        crate::hole::note(options.keys.as_ref(), options.outward.as_ref());
        let mut keyring = Keyring::new(options.keys.take(), options.ask_passphrase.take());
        let mut open = options.open.take().unwrap_or_else(assemble::from_disk);
        let Assembled { rules, mut events, keys, certificates } =
            assemble::begin(config, workers, policy, &mut keyring, &mut open, keys)?;
        keyring.in_force(keys);
        events.insert(0, life::started(env!("CARGO_PKG_VERSION"), workers as u64));
        events.extend(raise_open_files(config));
        let mut doors = open_doors(config, &rules, workers, options.sockets.take())?;
        let scrape = scrape_of(config, &mut doors)?;
        // Locked before anything in it is read.
        let state = config.state_dir.as_deref().map(StateDirectory::open).transpose()?;
        let (store, files) = open_store(config, state.as_ref(), &mut keyring, &mut events)?;
        if let Some(files) = &files {
            learning::begin(files, &rules, &mut events)?;
        }
        let usage = UsageFile::open(config, files.as_ref(), &mut events);
        // Catching them takes a pair of sockets, which the confined process cannot make.
        let signals = catch_signals(options.signals)?;
        let rules = Arc::new(rules);
        Ok(Self {
            fixed_policy,
            keyring,
            open,
            rules,
            certificates,
            doors,
            scrape,
            state,
            store,
            files,
            usage,
            signals,
            events,
        })
    }
}

impl Supervisor {
    /// Brings everything up. Threads start last, so that a failure leaves nothing running, and all of them are confined.
    pub(crate) fn prepare(
        config: Config,
        mut options: Options,
        handle: Handle,
        commands: Receiver<Command>,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let count = workers(&config);
        let token_keys = TokenKeys::new(options.outward.clone());
        let mut found = Gathered::gather(&config, &mut options, count, &token_keys)?;
        let mut sealed = seal(&config, options.sealed, options.confine)?;
        found.events.extend(sealed.events());
        let exchange = Exchange::new(retained_limits(&config), config.limits.memory_bytes_max);
        let (reports, admission) = (Reports::new(count), Admission::new(found.rules.bounds));
        let (addresses, sockets) = (found.doors.addresses().to_vec(), found.doors.sockets().to_vec());
        let (log, log_thread) = open_log(&config, options.log_sink)?;
        let logins = Logins::new(&config.attempts, clock, found.files.clone(), log.clone())?;
        let makings = Makings {
            clock,
            rules: &found.rules,
            exchange: &exchange,
            admission: &admission,
            reports: &reports,
            log: &log,
            questions: &questions(&config)?,
            logins: &logins,
            handshakes: &handshakes(&config, count, found.keyring.client())?,
            usage: found.usage.as_ref(),
        };
        let mut made = makings.workers(found.doors, found.store.as_mut())?;
        let inboxes = Arc::clone(&made.inboxes);
        let control = Control::new(&makings, &inboxes, &addresses, found.certificates);
        let store = start_store(found.store, &made, found.files.as_ref())?;
        let store = furnish(store, &mut made, &config, &found.rules, clock, &exchange);
        control.keep_in(store.as_ref());
        options.before.into_iter().chain(found.events).for_each(|event| log.event(event));
        let scrape = serve_scrape(found.scrape, page(reports.clone(), exchange.clone(), clock))?;
        let logins = LoginsKept::start(logins, &inboxes).map_err(StartError::system("a thread"))?;
        let fetching = fetch_keys(&token_keys, &config, found.files.as_ref(), (&handle, &log))?;
        let outward = (options.outward, handle.clone());
        let (revocation, rules) = revocation::begin(outward, &config, found.rules, (&inboxes, &log))?;
        ocsp::begin(&rules, &inboxes, &log);
        let workers = run_all(made.workers, &handle)?;
        let signals = found.signals.map(|signals| watch_signals(signals, handle)).transpose()?;
        door::announce(&addresses, &log);
        Ok(Self {
            config,
            read_config: options.read_config,
            fixed_policy: found.fixed_policy,
            keyring: found.keyring,
            revocation,
            token_keys,
            _fetching: fetching,
            open: found.open,
            rules,
            commands,
            inboxes,
            ended_s: clock.now().unix_ms / 1_000,
            workers,
            exchange,
            admission,
            logins,
            clock,
            log,
            log_thread,
            scrape,
            usage: found.usage,
            store,
            _state: found.state,
            signals,
            sealed,
            control,
            addresses,
            sockets,
        })
    }
}

/// Opens the vault of the state directory, or makes it; `None` if there is no state directory. A wrong key is told before
/// anything is served.
fn open_vault(config: &Config, keyring: &mut Keyring) -> Result<Option<vault::Opened>, StartError> {
    let (Some(state), Some(access)) = (config.state_dir.as_deref(), keyring.vault(config)?) else {
        return Ok(None);
    };
    Ok(Some(vault::open(state, &access)?))
}

/// The threads for questions that take long.
fn questions(config: &Config) -> Result<Questions, StartError> {
    Questions::of(config).map_err(StartError::system("a thread"))
}

/// Runs each worker in a thread of its own.
fn run_all(workers: Vec<Worker>, handle: &Handle) -> Result<Vec<JoinHandle<()>>, StartError> {
    let threads: io::Result<Vec<_>> =
        workers.into_iter().map(|worker| spawn(worker, handle.clone())).collect();
    threads.map_err(StartError::system("a thread"))
}

/// Opens the vault and the journal of the state directory, if anything is to be kept there.
fn open_store(
    config: &Config,
    state: Option<&StateDirectory>,
    keyring: &mut Keyring,
    events: &mut Vec<Event>,
) -> Result<(Option<OpenedStore>, Option<KeptFiles>), StartError> {
    let (Some(opened), Some(state)) = (open_vault(config, keyring)?, state) else { return Ok((None, None)) };
    events.extend(opened.made);
    let seal = opened.keyring.file_seal();
    let path = state.path().join(vault::VAULT);
    let seal = seal.map_err(|cause| vault::VaultFault::Vault { path, cause })?;
    let files = KeptFiles::new(state.path(), seal);
    if config.durability() == Durability::Memory {
        return Ok((None, Some(files)));
    }
    let mut store = OpenedStore::open(config, state, opened.keyring)?;
    events.append(&mut store.events);
    files.known(store.files());
    Ok((Some(store), Some(files)))
}

/// Fetches the keys of tokens from now on, beginning with those that were kept, and says which are missing.
fn fetch_keys(
    keys: &TokenKeys,
    config: &Config,
    files: Option<&KeptFiles>,
    (handle, log): (&Handle, &Log),
) -> Result<Fetching, StartError> {
    if let Some(files) = files {
        keys.keep_in(files, config).into_iter().for_each(|event| log.event(event));
    }
    let fetching = keys.start(handle.clone()).map_err(StartError::system("a thread"))?;
    keys.plan(config);
    keys.missing().into_iter().for_each(|event| log.event(event));
    Ok(fetching)
}

/// Starts the thread that commits; gives what is in the journal for the workers. What is beside it is noted there from now on.
fn start_store(
    store: Option<OpenedStore>,
    made: &Made,
    files: Option<&KeptFiles>,
) -> Result<Option<(Recovered, Arc<Store>)>, StartError> {
    let Some(mut store) = store else { return Ok(None) };
    let recovered = std::mem::take(&mut store.recovered);
    let store = store.start(Arc::clone(&made.inboxes)).map_err(StartError::system("a thread"))?;
    let store = Arc::new(store);
    if let Some(files) = files {
        files.note_in(&store);
    }
    Ok(Some((recovered, store)))
}

/// How many workers: as configured, or one for each core.
pub(crate) fn workers(config: &Config) -> usize {
    let wanted = usize::from(config.workers);
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = if wanted == 0 { cores() } else { wanted };
    workers.clamp(1, usize::from(SHARDS_MAX))
}

/// The threads that take handshakes: as many as configured, or one for two workers.
fn handshakes(config: &Config, workers: usize, keys: Option<&KeyClient>) -> Result<Handshakes, StartError> {
    let threads = match usize::from(config.handshake_threads) {
        0 => workers.div_ceil(2),
        wanted => wanted,
    };
    Handshakes::start(threads, keys).map_err(StartError::system("a thread"))
}

pub(crate) fn retained_limits(config: &Config) -> RetainedLimits {
    let bounds = config.limits.retained();
    RetainedLimits { messages_max: bounds.messages_max, bytes_max: bounds.bytes_max }
}

/// Raises the limit on open files as far as the system permits, and says so when that is too little.
fn raise_open_files(config: &Config) -> Option<Event> {
    let wanted = u64::from(config.limits.connections_max).saturating_add(OPEN_FILES_BESIDE);
    let limit = getrlimit(Resource::Nofile);
    let permitted = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    if limit.current.is_some_and(|current| current < permitted) {
        // Refused: then the limit stays as it is, and is told below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(permitted), maximum: limit.maximum });
    }
    let current = getrlimit(Resource::Nofile).current?;
    (current < wanted).then(|| life::open_files_low(current, wanted))
}

/// Listening sockets, bound here unless they were handed over.
fn open_doors(
    config: &Config,
    rules: &Rules,
    workers: usize,
    handed_over: Option<Vec<(Place, OwnedFd)>>,
) -> Result<Doors, StartError> {
    let sockets = match handed_over {
        Some(descriptors) => Sockets::handed_over(config, descriptors)?,
        None => Sockets::bind(config)?,
    };
    Ok(Doors::new(config, rules, workers, sockets))
}

/// Starts the log, on stderr unless it is to be elsewhere.
fn open_log(config: &Config, sink: Option<LogSink>) -> Result<(Log, LogThread), StartError> {
    let sink = sink.unwrap_or_else(|| Box::new(io::stderr()));
    log::start(config.log_format, config.log_level, sink).map_err(StartError::system("a thread"))
}

/// Confines the process, unless it has done so already.
fn seal(
    config: &Config,
    sealed: Option<Sealed>,
    asked: Option<SelfConfinement>,
) -> Result<Sealed, StartError> {
    match (sealed, asked) {
        (Some(sealed), _) => Ok(sealed),
        (None, Some(asked)) => Sealed::seal(config, &asked),
        (None, None) => Ok(Sealed::default()),
    }
}

fn catch_signals(wanted: bool) -> Result<Option<Signals>, StartError> {
    let signals = wanted.then(|| Signals::new([SIGTERM, SIGINT, SIGHUP])).transpose();
    signals.map_err(StartError::system("signals"))
}

fn watch_signals(mut signals: Signals, handle: Handle) -> Result<SignalHandle, StartError> {
    let closing = signals.handle();
    let watch = move || {
        for signal in &mut signals {
            match signal {
                SIGHUP => handle.reload_soon(),
                SIGINT => handle.stop_because("SIGINT"),
                _ => handle.stop_because("SIGTERM"),
            }
        }
    };
    let thread = std::thread::Builder::new().name("motte-signals".into());
    thread.spawn(watch).map_err(StartError::system("a thread"))?;
    Ok(closing)
}
