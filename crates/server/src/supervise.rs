//! The supervisor: brings the parts up in order, passes commands on, and takes everything down in order.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use motte_access::PolicyGeneration;
use motte_broker::{Exchange, Recovered, RetainedLimits, SHARDS_MAX};
use motte_config::{Config, Durability};
use motte_event::{Event, life};
use motte_roles::{KeyClient, OutwardClient, Place};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalHandle, Signals};

use crate::admission::Admission;
use crate::assemble::{self, AssembleError, Assembled, OpenFile};
use crate::clock::Clock;
use crate::control::{Control, SAMPLE_EVERY};
use crate::door::{self, Doors};
use crate::exposing::{page, scrape_of, serve_scrape};
use crate::handshakes::Handshakes;
use crate::inbox::{Inbox, Letter};
use crate::keyring::Keyring;
use crate::log::{self, Log, LogThread};
use crate::logins::Logins;
use crate::logins_kept::LoginsKept;
use crate::metrics::Reports;
use crate::questions::Questions;
use crate::reloading::{self, ReloadError};
use crate::revocation::{self, Revocation};
use crate::rules::Rules;
use crate::scrape::Scrape;
use crate::sealing::{Sealed, SelfConfinement};
use crate::server::{
    Bound, Command, ExitReason, Handle, LogSink, Options, ReadConfig, RunError, StartError, drain,
};
use crate::shutdown::{FINISH_MS, SETTLE_ROUNDS, Step, What};
use crate::sockets::Sockets;
use crate::starting::{Made, Makings, furnish, spawn};
use crate::state::StateDirectory;
use crate::store::{OpenedStore, Store};
use crate::usage::UsageFile;
use crate::vault;
use crate::worker::Worker;

/// Open files beside those of connections: listeners, event queues, the log, the state directory.
const OPEN_FILES_BESIDE: u64 = 256;
/// Time for a step of the clean stop beyond what the step itself allows.
const STEP_MS: u64 = 10_000;

/// Everything above the workers.
pub(crate) struct Supervisor {
    config: Config,
    read_config: Option<ReadConfig>,
    fixed_policy: bool,
    keyring: Keyring,
    revocation: Revocation,
    outward: Option<OutwardClient>,
    open: OpenFile,
    rules: Arc<Rules>,
    commands: Receiver<Command>,
    inboxes: Arc<[Inbox]>,
    workers: Vec<JoinHandle<()>>,
    exchange: Exchange,
    admission: Admission,
    logins: LoginsKept,
    clock: Clock,
    log: Log,
    log_thread: LogThread,
    scrape: Option<Scrape>,
    usage: Option<UsageFile>,
    store: Option<Arc<Store>>,
    /// Locked as long as the process runs.
    _state: Option<StateDirectory>,
    signals: Option<SignalHandle>,
    sealed: Sealed,
    control: Control,
    addresses: Vec<Bound>,
    sockets: Vec<PathBuf>,
}

impl Supervisor {
    /// Brings everything up. Threads start last, so that a failure leaves nothing running, and all of them are confined.
    pub(crate) fn prepare(
        config: Config,
        options: Options,
        handle: Handle,
        commands: Receiver<Command>,
    ) -> Result<Self, StartError> {
        let clock = Clock::start();
        let workers = workers(&config);
        let fixed_policy = options.policy.is_some();
        let policy = options.policy.map(Arc::new).ok_or(PolicyGeneration(1));
        let mut keyring = Keyring::new(options.keys, options.ask_passphrase);
        let mut open = options.open.unwrap_or_else(assemble::from_disk);
        let Assembled { rules, mut events, keys, certificates } =
            assemble::assemble(&config, workers, policy, &mut keyring, &mut open, options.outward.as_ref())?;
        keyring.in_force(keys);
        let rules = Arc::new(rules);
        events.insert(0, life::started(env!("CARGO_PKG_VERSION"), workers as u64));
        events.extend(raise_open_files(&config));

        let mut doors = open_doors(&config, &rules, workers, options.sockets)?;
        let scrape = scrape_of(&config, &mut doors)?;
        let (addresses, sockets) = (doors.addresses().to_vec(), doors.sockets().to_vec());
        let state = config.state_dir.as_deref().map(StateDirectory::open).transpose()?;
        let mut store = open_store(&config, state.as_ref(), &mut keyring, &mut events)?;
        let usage = UsageFile::open(&config, &mut events);

        let exchange = Exchange::new(retained_limits(&config), config.limits.memory_bytes_max);
        let (reports, admission) = (Reports::new(workers), Admission::new(rules.bounds));

        // Catching them takes a pair of sockets, which the confined process cannot make.
        let signals = catch_signals(options.signals)?;
        let mut sealed = seal(&config, options.sealed, options.confine)?;
        events.extend(sealed.events());
        let (log, log_thread) = open_log(&config, options.log_sink)?;
        let logins = Logins::new(&config.attempts, clock, state.as_ref(), log.clone())?;
        let makings = Makings {
            clock,
            rules: &rules,
            exchange: &exchange,
            admission: &admission,
            reports: &reports,
            log: &log,
            questions: &questions(&config)?,
            logins: &logins,
            handshakes: &handshakes(&config, workers, keyring.client())?,
            usage: usage.as_ref(),
            store: store.as_mut(),
        };
        let mut made = makings.workers(doors)?;
        let store = store.map(|store| start_store(store, &made)).transpose()?;
        let kept = store.as_ref().map(|(_, store)| Arc::clone(store));
        furnish(&mut made, store, &config, &rules, clock, &exchange);
        options.before.into_iter().chain(events).for_each(|event| log.event(event));
        let scrape = serve_scrape(scrape, page(reports.clone(), exchange.clone(), clock))?;
        let inboxes = made.inboxes;
        let control = Control::new(&makings, &inboxes, &addresses, certificates);
        let logins = LoginsKept::start(logins, &inboxes).map_err(StartError::system("a thread"))?;
        let outward = (options.outward.clone(), handle.clone());
        let (revocation, rules) = revocation::begin(outward, &config, rules, (&inboxes, &log))?;
        let workers = run_all(made.workers, &handle)?;
        let signals = signals.map(|signals| watch_signals(signals, handle)).transpose()?;
        door::announce(&addresses, &log);
        Ok(Self {
            config,
            read_config: options.read_config,
            fixed_policy,
            keyring,
            revocation,
            outward: options.outward,
            open,
            rules,
            commands,
            inboxes,
            workers,
            exchange,
            admission,
            logins,
            clock,
            log,
            log_thread,
            scrape,
            usage,
            store: kept,
            _state: state,
            signals,
            sealed,
            control,
            addresses,
            sockets,
        })
    }

    /// Where everything listens.
    pub(crate) fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// What answers operators.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until asked to stop.
    pub(crate) fn run(mut self) -> Result<ExitReason, RunError> {
        let ended = loop {
            match self.next_command() {
                Ok(Command::Reload(who, asker)) => {
                    let outcome = self.reload(&who);
                    self.control.reloaded(&who, outcome.as_ref().err().map(ToString::to_string));
                    self.log.event(match &outcome {
                        Ok(()) => life::reloaded(&reloading::what_was_read(&self.config)),
                        Err(error) => life::reload_refused(&error.to_string()),
                    });
                    if let Some(asker) = asker {
                        // Whoever asked may have stopped waiting.
                        let _ = asker.try_send(outcome);
                    }
                }
                Ok(Command::Tell(event)) => self.log.event(event),
                Ok(Command::Lists) => self.renew(),
                Ok(Command::Bans(ask)) => ask(self.logins.logins()),
                Ok(Command::WorkerEnded { shard, cause }) => break Err(RunError::Worker { shard, cause }),
                Ok(Command::Stop(cause)) => break self.stop(&cause),
                // All handles are gone: nobody can ask any more, so this is the end as well.
                Err(RecvError) => break self.stop("nobody is left to ask"),
            }
        };
        self.take_down(ended)
    }

    /// Waits for a command; meanwhile figures are noted, and the record of usage is written, from time to time.
    fn next_command(&mut self) -> Result<Command, RecvError> {
        loop {
            let usage = self.usage.as_ref().map_or(SAMPLE_EVERY, UsageFile::wait);
            match self.commands.recv_timeout(usage.min(SAMPLE_EVERY)) {
                Ok(command) => return Ok(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.control.sample();
                    let due = self.usage.as_mut().filter(|usage| usage.wait().is_zero());
                    if let Some(event) = due.and_then(UsageFile::write) {
                        self.log.event(event);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
            }
        }
    }

    fn reload(&mut self, who: &str) -> Result<(), ReloadError> {
        let config = match &mut self.read_config {
            Some(read) => read().map_err(ReloadError::Config)?,
            None => self.config.clone(),
        };
        reloading::unchangeable(&self.config, &config)?;
        self.sealed.reaches(&config)?;
        let generation = self.rules.policy.generation().0;
        let policy = if self.fixed_policy {
            Ok(Arc::clone(&self.rules.policy))
        } else {
            Err(PolicyGeneration(generation + 1))
        };
        let Assembled { rules, events, keys, certificates } = assemble::assemble(
            &config,
            self.inboxes.len(),
            policy,
            &mut self.keyring,
            &mut self.open,
            self.outward.as_ref(),
        )?;
        self.revocation.plan(&config, &rules);
        let rules = match revocation::renewed(&rules, &self.revocation) {
            Ok(renewed) => renewed.unwrap_or(rules),
            Err(error) => return Err(AssembleError(vec![error.to_string()]).into()),
        };
        self.admission.set_bounds(self.rules.bounds);
        self.logins.logins().set_limits(&config.attempts);
        self.exchange.memory().set_max(config.limits.memory_bytes_max);
        self.exchange.retained_mut().set_limits(retained_limits(&config));
        self.config = config;
        self.sealed.look_again();
        self.rules = revocation::put_in_force(Arc::new(rules), &self.inboxes);
        self.keyring.in_force(keys);
        self.control.in_force(&self.rules, certificates, who);
        for event in events.into_iter().chain(self.revocation.missing()) {
            self.log.event(event);
        }
        Ok(())
    }

    /// Puts revocation lists in force that came since.
    fn renew(&mut self) {
        match revocation::renewed(&self.rules, &self.revocation) {
            Ok(Some(renewed)) => self.rules = revocation::put_in_force(Arc::new(renewed), &self.inboxes),
            Ok(None) => {}
            Err(error) => {
                self.log.event(life::revocation_list_unfetched("all addresses", &error.to_string()));
            }
        }
    }

    /// The clean stop, unless it is asked for a second time meanwhile.
    fn stop(&mut self, cause: &str) -> Result<ExitReason, RunError> {
        self.log.event(life::stopping(cause));
        let mut steps = vec![What::Goodbye];
        steps.extend(std::iter::repeat_n(What::Settle, SETTLE_ROUNDS));
        steps.extend([What::Finish, What::Leave]);
        for what in steps {
            if !self.step(&what)? {
                return Ok(ExitReason::Forced);
            }
        }
        let told = self.usage.as_mut().and_then(UsageFile::write);
        if let Some(event) = told {
            self.log.event(event);
        }
        Ok(ExitReason::Stopped)
    }

    /// Lets all workers take a step; false when the stop is to be at once.
    fn step(&self, what: &What) -> Result<bool, RunError> {
        let (done, acknowledged) = sync_channel(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            inbox.put(Letter::Stop(Step { what: what.clone(), done: done.clone() }));
        }
        let deadline = Instant::now() + Duration::from_millis(FINISH_MS + STEP_MS);
        let mut missing = self.inboxes.len();
        while missing > 0 {
            match acknowledged.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => missing -= 1,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => {
                    // Whoever is slow is slow; what was acknowledged is kept.
                    return Ok(true);
                }
            }
            for command in drain(&self.commands) {
                match command {
                    Command::Stop(_) => return Ok(false),
                    Command::WorkerEnded { shard, cause } => return Err(RunError::Worker { shard, cause }),
                    Command::Reload(_, Some(asker)) => {
                        let _ = asker.try_send(Err(ReloadError::Stopped));
                    }
                    Command::Reload(_, None) | Command::Lists => {}
                    Command::Tell(event) => self.log.event(event),
                    Command::Bans(ask) => ask(self.logins.logins()),
                }
            }
        }
        Ok(true)
    }

    fn take_down(self, ended: Result<ExitReason, RunError>) -> Result<ExitReason, RunError> {
        if let Some(signals) = &self.signals {
            signals.close();
        }
        if let Some(scrape) = self.scrape {
            scrape.stop();
        }
        for socket in &self.sockets {
            // It may be gone already, or in a directory that is closed by now; the next start replaces it in any case.
            let _ = std::fs::remove_file(socket);
        }
        self.sealed.end();
        if matches!(ended, Ok(ExitReason::Stopped)) {
            for worker in self.workers {
                // A worker that panics says so through its guard.
                let _ = worker.join();
            }
            if let Some(store) = self.store.and_then(Arc::into_inner) {
                if let Err(error) = store.stop() {
                    return Err(RunError::Store(error.to_string()));
                }
            }
            self.log.event(life::stopped(self.clock.now().mono_ms / 1_000));
            self.logins.stop();
            drop(self.inboxes);
            drop(self.log);
            self.control.close();
            self.log_thread.join();
        }
        ended
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
    let questions = Questions::start(usize::from(config.hash_threads), config.hash_queue as usize);
    questions.map_err(StartError::system("a thread"))
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
) -> Result<Option<OpenedStore>, StartError> {
    let Some(opened) = open_vault(config, keyring)? else { return Ok(None) };
    events.extend(opened.made);
    let Some(state) = state.filter(|_| config.durability() > Durability::Memory) else { return Ok(None) };
    let mut store = OpenedStore::open(config, state, opened.keyring)?;
    events.append(&mut store.events);
    Ok(Some(store))
}

/// Starts the thread that commits; gives what is in the journal for the workers.
fn start_store(mut store: OpenedStore, made: &Made) -> Result<(Recovered, Arc<Store>), StartError> {
    let recovered = std::mem::take(&mut store.recovered);
    let store = store.start(Arc::clone(&made.inboxes)).map_err(StartError::system("a thread"))?;
    Ok((recovered, Arc::new(store)))
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

fn retained_limits(config: &Config) -> RetainedLimits {
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
