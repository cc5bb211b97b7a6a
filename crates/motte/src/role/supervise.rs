//! The supervisor: binds, starts the other processes, starts the key process again when it ends, passes signals on. It
//! reads nothing that comes from a network.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use motte_config::Config;
use motte_event::life;
use motte_roles::{
    AskPassphrase, Configuration, KEYS_MAX, Link, LinkError, Order, Outcome, Passphrases, Report, Role,
    Source, Task,
};
use motte_server::{Bound, Sockets};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::role::given;
use crate::role::outward::Outwards;
use crate::role::seal::{self, Sandbox};
use crate::role::vault::VaultOrder;
use crate::verb::Fault;
use crate::verb::serve::meant;

/// First wait before the key process is started again; each further one is twice as long.
pub(crate) const AGAIN_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub(crate) const AGAIN_MAX: Duration = Duration::from_secs(5);
/// After this long the next end counts as the first.
pub(crate) const STEADY: Duration = Duration::from_secs(30);
/// Until then what is said of the key process is about the one before it.
pub(crate) const YOUNG: Duration = Duration::from_millis(500);
/// Between the second request to stop at once and the end of a core that does not.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Time for the core to take a message.
const CORE_TAKES: Duration = Duration::from_secs(5);
/// Time for key files to be read; opening one may take two seconds on purpose.
const LOAD: Duration = Duration::from_secs(30);
/// How often children are looked at even if no signal tells of them.
const LOOK: Duration = Duration::from_secs(1);

/// Called once, with where everything listens.
pub(crate) type Ready = Box<dyn FnOnce(&[Bound])>;

/// What is supervised.
pub(crate) struct Plan {
    /// Reads the configuration, for the start and for each reload.
    pub(crate) read: Box<dyn FnMut() -> Result<Configuration, Fault>>,
    /// Asks a person for a passphrase.
    pub(crate) ask: AskPassphrase,
    /// Called once everything serves.
    pub(crate) ready: Ready,
}

/// What the supervisor hears of.
enum Heard {
    Signal(i32),
    Core(Report),
}

/// Brings a broker up and stays until it ends.
pub(crate) fn run(plan: Plan) -> Result<(), Fault> {
    let Plan { mut read, ask, ready } = plan;
    let configuration = read()?;
    let config = meant(&configuration)?;
    // Told once here, and not by each process that would end of it.
    motte_server::check_sandbox(&config).map_err(|error| Fault::new(error.to_string()))?;
    let sandbox = Sandbox::of(&config);
    let sockets = Sockets::bind(&config).map_err(|error| Fault::new(error.to_string()))?;
    let mut passphrases = Passphrases::new(Some(ask));
    let sources = sources(&config, &mut passphrases).map_err(Fault::new)?;
    motte_server::make_state_dir(&config).map_err(|error| Fault::new(error.to_string()))?;
    let vault = VaultOrder::of(&config, &mut passphrases)?;
    // A token's library has to be reached, whatever the token's key is for.
    let reached: Vec<Source> =
        sources.iter().cloned().chain(vault.iter().filter_map(VaultOrder::reached)).collect();
    let confined = seal::supervisor(&sandbox, &config, Path::new(&configuration.file), &reached);
    let open = confined.map_err(|error| Fault::new(format!("the supervisor cannot be confined: {error}")))?;
    if sandbox.yields_to_token(&reached) {
        let what = "Landlock and seccomp, for the library of a PKCS#11 token (remedy: keep the key in a file, or none)";
        let event = life::confinement_incomplete("supervisor and keyd", what);
        motte_server::write_events(config.log_format, &[event]);
    }
    let (heard, hearing) = sync_channel(16);
    let stopping = Arc::new(AtomicBool::new(false));
    watch_signals(heard.clone(), Arc::clone(&stopping)).map_err(system)?;
    let (mut keyd, mut socket) = (None, None);
    let with_keys = !sources.is_empty() || vault.is_some();
    if with_keys {
        // What is wrong with the files is told by the core, which asks for their keys.
        let (process, cores, _) = Keyd::start(&sources, vault.as_ref(), &sandbox, &stopping)
            .map_err(|error| dead("keyd", &error))?;
        (keyd, socket) = (Some(process), Some(cores));
    }
    let (outwards, outward) = Outwards::start(&config, &sandbox, &stopping)?;
    let roles = (socket.as_ref(), outward.as_ref());
    let core = Core::start((&configuration, &config), &sockets, roles, &sandbox, heard)?;
    let addresses = sockets.addresses().to_vec();
    // From here on they are the core's alone, so that what it closes is closed.
    drop((sockets, socket, outward));
    let supervisor = Supervisor {
        read,
        passphrases,
        sandbox,
        open,
        with_keys,
        vault,
        sources,
        proposed: Vec::new(),
        core,
        keyd,
        outwards,
        again: AGAIN_MIN,
        again_at: None,
        stopping,
        stops: 0,
        kill_at: None,
        ready: Some(ready),
        addresses,
    };
    supervisor.stay(&hearing)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn system(error: io::Error) -> Fault {
    Fault::new(format!("the system refuses what a supervisor needs: {error}"))
}

pub(crate) fn dead(role: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::with_remedy(
        format!("the process `motte role {role}` did not start: {error}"),
        "see that /proc is mounted and that this user may start processes; roles.keys = \"inside\" does without them",
    )
}

/// Passes signals on. That one says stop is noted at once: what waits for keys looks there.
fn watch_signals(heard: SyncSender<Heard>, stopping: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
    std::thread::Builder::new().name("motte-signals".into()).spawn(move || {
        for signal in &mut signals {
            if [SIGTERM, SIGINT].contains(&signal) {
                stopping.store(true, Ordering::Relaxed);
            }
            if heard.send(Heard::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The key files of a configuration, each once.
fn sources(config: &Config, passphrases: &mut Passphrases) -> Result<Vec<Source>, String> {
    let mut sources: Vec<Source> = Vec::new();
    let tls = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    for certificate in tls.flat_map(|tls| &tls.certificates) {
        if sources.iter().all(|source| source.path != certificate.key) {
            sources.push(passphrases.source(certificate)?);
        }
    }
    if sources.len() > KEYS_MAX {
        return Err(format!(
            "{} key files are more than the {KEYS_MAX} that one broker may have",
            sources.len()
        ));
    }
    Ok(sources)
}

/// Starts a role with one end of a pair of sockets as its standard input; gives the other.
pub(crate) fn start(role: &str, sandbox: &Sandbox) -> io::Result<(Child, Link)> {
    let (here, there) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .arg0(format!("motte-{role}"))
        .args(["role", role, "--sandbox", sandbox.mode.name()])
        .args(sandbox.audit.then_some("--audit"))
        .args(sandbox.state.iter().flat_map(|state| [OsStr::new("--state"), state.as_os_str()]))
        .stdin(Stdio::from(OwnedFd::from(there)))
        // Ctrl-C at a terminal goes to a group; the supervisor alone is to hear it.
        .process_group(0)
        .env_remove_for(role)
        .spawn()?;
    Ok((child, Link::new(here)))
}

/// Which part of the environment a role does without.
trait Environment {
    fn env_remove_for(&mut self, role: &str) -> &mut Self;
}

impl Environment for Command {
    fn env_remove_for(&mut self, role: &str) -> &mut Self {
        for variable in motte_server::ACTIVATION {
            self.env_remove(variable);
        }
        // Credentials are for the process that keeps the keys.
        if role == "keyd" { self } else { self.env_remove("CREDENTIALS_DIRECTORY") }
    }
}

/// The key process, as its parent has it.
struct Keyd {
    child: Child,
    link: Link,
    since: Instant,
}

impl Keyd {
    /// Starts it and has it read these files. Gives the core's end of its socket, and what is wrong with files.
    fn start(
        sources: &[Source],
        vault: Option<&VaultOrder>,
        sandbox: &Sandbox,
        stopping: &AtomicBool,
    ) -> Result<(Self, UnixStream, String), LinkError> {
        let (child, link) = start("keyd", sandbox)?;
        let mut keyd = Self { child, link, since: Instant::now() };
        match keyd.prepare(sources, vault, stopping) {
            Ok((core, faults)) => Ok((keyd, core, faults)),
            Err(error) => {
                keyd.end();
                Err(error)
            }
        }
    }

    fn prepare(
        &self,
        sources: &[Source],
        vault: Option<&VaultOrder>,
        stopping: &AtomicBool,
    ) -> Result<(UnixStream, String), LinkError> {
        self.wait(stopping)?;
        self.link.greet(Role::Supervisor, Role::Keyd)?;
        if let Some(vault) = vault {
            self.link.send(&vault.order())?;
        }
        let faults = self.load(sources, stopping)?;
        let (core, own) = UnixStream::pair()?;
        self.link.send_with(&Order::Serve, own.as_fd())?;
        Ok((core, faults))
    }

    /// Waits for what it says next, but not when the broker is to stop.
    fn wait(&self, stopping: &AtomicBool) -> Result<(), LinkError> {
        self.link.wait(Instant::now() + LOAD, &|| !stopping.load(Ordering::Relaxed))
    }

    fn load(&self, sources: &[Source], stopping: &AtomicBool) -> Result<String, LinkError> {
        self.link.send(&Order::Load { sources: sources.to_vec() })?;
        self.wait(stopping)?;
        let (Outcome::Loaded { faults, .. }, _) = self.link.receive()?;
        Ok(faults)
    }

    /// Ends it, if it has not ended.
    fn end(&mut self) {
        // By its own process id only, which nobody else has before it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The core, as its parent has it.
struct Core {
    child: Child,
    link: Link,
}

impl Core {
    fn start(
        (configuration, config): (&Configuration, &Config),
        sockets: &Sockets,
        (keys, outward): (Option<&UnixStream>, Option<&UnixStream>),
        sandbox: &Sandbox,
        heard: SyncSender<Heard>,
    ) -> Result<Self, Fault> {
        let (mut child, link) = start("core", sandbox).map_err(|error| dead("core", &error))?;
        let prepare = || -> Result<(), LinkError> {
            link.greet(Role::Supervisor, Role::Core)?;
            link.socket().set_write_timeout(Some(CORE_TAKES))?;
            link.send(&Task::Start(configuration.clone()))?;
            given::send(config, &link)?;
            for (place, descriptor) in sockets.descriptors() {
                link.send_with(&Task::Listen(place), descriptor)?;
            }
            if let Some(keys) = keys {
                link.send_with(&Task::Keys { faults: String::new() }, keys.as_fd())?;
            }
            if let Some(outward) = outward {
                link.send_with(&Task::Outward, outward.as_fd())?;
            }
            link.send(&Task::Run)?;
            let reports = link.another()?;
            std::thread::Builder::new().name("motte-reports".into()).spawn(move || {
                while let Ok((report, _)) = reports.receive() {
                    if heard.send(Heard::Core(report)).is_err() {
                        return;
                    }
                }
            })?;
            Ok(())
        };
        if let Err(error) = prepare() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(dead("core", &error));
        }
        Ok(Self { child, link })
    }

    /// A core that cannot be told anything is about to end, which is heard elsewhere.
    fn say(&self, task: &Task) {
        let _ = self.link.send(task);
    }
}

struct Supervisor {
    read: Box<dyn FnMut() -> Result<Configuration, Fault>>,
    passphrases: Passphrases,
    sandbox: Sandbox,
    /// Directories that can be read, if it is not all of them.
    open: Option<BTreeSet<PathBuf>>,
    with_keys: bool,
    /// The key that opens the vault of the state directory.
    vault: Option<VaultOrder>,
    /// Key files of the configuration in force.
    sources: Vec<Source>,
    /// Key files of the last reload, until it is in force.
    proposed: Vec<Source>,
    core: Core,
    keyd: Option<Keyd>,
    outwards: Outwards,
    again: Duration,
    again_at: Option<Instant>,
    /// A signal to stop came.
    stopping: Arc<AtomicBool>,
    /// Signals to stop so far.
    stops: u32,
    /// When a core that was asked to stop at once is ended.
    kill_at: Option<Instant>,
    ready: Option<Ready>,
    addresses: Vec<Bound>,
}

impl Supervisor {
    fn stay(mut self, hearing: &Receiver<Heard>) -> Result<(), Fault> {
        loop {
            let now = Instant::now();
            let due = self.again_at.into_iter().chain(self.outwards.due()).min();
            let wait = due.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
            match hearing.recv_timeout(wait) {
                Ok(Heard::Signal(SIGHUP)) => self.reload(),
                Ok(Heard::Signal(signal @ (SIGTERM | SIGINT))) => {
                    self.core.say(&Task::Stop(u8::try_from(signal).unwrap_or_default()));
                    self.stops += 1;
                    if self.stops == 2 {
                        self.kill_at = Some(Instant::now() + AT_ONCE);
                    }
                }
                Ok(Heard::Core(report)) => self.hear(report),
                // A child ended, or it is time to look.
                Ok(Heard::Signal(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if let Some(status) = self.core.child.try_wait().map_err(system)? {
                if let Some(mut keyd) = self.keyd.take() {
                    keyd.end();
                }
                self.outwards.end();
                return ended(status);
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                // It was asked twice; its end is noticed next.
                let _ = self.core.child.kill();
            }
            self.look_after_keys();
            self.outwards.look_after(&self.core.link);
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Ready => {
                // It is in the vault.
                self.vault.iter_mut().for_each(VaultOrder::forget_recovery);
                if let Some(ready) = self.ready.take() {
                    ready(&self.addresses);
                }
            }
            Report::OutwardSilent => self.outwards.silent(),
            Report::Reloaded => {
                self.outwards.in_force();
                if !self.proposed.is_empty() {
                    self.sources = std::mem::take(&mut self.proposed);
                }
            }
            Report::KeysSilent => {
                // One that was just started is not the one that is meant; if it is, this is heard again.
                if let Some(keyd) = self.keyd.as_mut().filter(|keyd| keyd.since.elapsed() >= YOUNG) {
                    // Its end is noticed as any other.
                    let _ = keyd.child.kill();
                }
            }
        }
    }

    fn reload(&mut self) {
        let configuration = match (self.read)() {
            Ok(configuration) => configuration,
            Err(fault) => return self.core.say(&Task::ReloadFailed(fault.to_string())),
        };
        // A configuration with a fault is refused by the core, which says so.
        if let Ok(config) = meant(&configuration) {
            let reaches = self.open.as_ref().map_or(Ok(()), |open| motte_server::reaches(open, &config));
            if let Err(fault) = reaches {
                return self.core.say(&Task::ReloadFailed(fault.to_string()));
            }
            match sources(&config, &mut self.passphrases) {
                Ok(sources) => self.proposed = sources,
                Err(fault) => return self.core.say(&Task::ReloadFailed(fault)),
            }
            if let Some(keyd) = &mut self.keyd
                && keyd.load(&self.proposed, &self.stopping).is_err()
            {
                // It is started anew, with the new files, and the core waits for it.
                let _ = keyd.child.kill();
            }
            if let Err(fault) = self.outwards.propose(&config) {
                return self.core.say(&Task::ReloadFailed(fault));
            }
            // A core that cannot be told is about to end, which is noticed next.
            let _ = given::send(&config, &self.core.link);
        }
        self.core.say(&Task::Reload(configuration));
    }

    /// Notices the end of the key process, and starts it again when it is time.
    fn look_after_keys(&mut self) {
        if !self.with_keys || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Some(keyd) = &mut self.keyd {
            let Ok(Some(status)) = keyd.child.try_wait() else { return };
            if keyd.since.elapsed() >= STEADY {
                self.again = AGAIN_MIN;
            }
            self.keyd = None;
            self.keys_ended(&how(status));
        }
        if self.again_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        // Those of a reload that is not in force, and those that are.
        let mut all = self.proposed.clone();
        all.extend(
            self.sources.iter().filter(|old| self.proposed.iter().all(|new| new.path != old.path)).cloned(),
        );
        match Keyd::start(&all, self.vault.as_ref(), &self.sandbox, &self.stopping) {
            Ok((keyd, core, faults)) => {
                self.keyd = Some(keyd);
                self.again_at = None;
                // A core that cannot be told is about to end, which is noticed next.
                let _ = self.core.link.send_with(&Task::Keys { faults }, core.as_fd());
            }
            Err(error) => self.keys_ended(&error.to_string()),
        }
    }

    fn keys_ended(&mut self, cause: &str) {
        let again_ms = u64::try_from(self.again.as_millis()).unwrap_or(u64::MAX);
        self.core.say(&Task::KeysEnded { cause: cause.to_owned(), again_ms });
        self.again_at = Some(Instant::now() + self.again);
        self.again = (self.again * 2).min(AGAIN_MAX);
    }
}

pub(crate) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    }
}

/// The end of the core is the end of the broker; the core has said why, unless it could not.
fn ended(status: ExitStatus) -> Result<(), Fault> {
    if status.success() {
        return Ok(());
    }
    if status.code().is_some() {
        return Err(Fault::told());
    }
    Err(Fault::with_remedy(
        format!("the core did not end by itself: {}; Sessions of this run were not kept", how(status)),
        "see what the system's log says about it, most likely too little memory; then start motte again",
    ))
}
