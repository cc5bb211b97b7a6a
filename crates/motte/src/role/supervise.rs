//! The supervisor: binds, starts the other processes, starts the key process again when it ends, passes signals on. It
//! reads nothing that comes from a network.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use motte_config::Config;
use motte_confine::Role as Confined;
use motte_event::life;
use motte_roles::{
    AdminAsks, AskPassphrase, Asker, Configuration, KEYS_MAX, Passphrases, Report, Source, StepUp,
    SupervisorAnswer, SupervisorRequest, Task,
};
use motte_server::{Bound, ControlSocket, Sockets};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::role::administration::{self, Administration, Asked};
use crate::role::child::{Again, Core, Keyd, how};
use crate::role::given;
use crate::role::outward::Outwards;
use crate::role::seal::{self, Sandbox};
use crate::role::vault::VaultOrder;
use crate::verb::Fault;
use crate::verb::serve::meant;

/// Until then what is said of the key process is about the one before it.
pub(crate) const YOUNG: Duration = Duration::from_millis(500);
/// Between the second request to stop at once and the end of a core that does not.
const AT_ONCE: Duration = Duration::from_secs(3);
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
pub(super) enum Heard {
    Signal(i32),
    Core(Report),
    Admin(Asked),
}

/// Brings a broker up and stays until it ends.
pub(crate) fn run(plan: Plan) -> Result<(), Fault> {
    let Plan { mut read, ask, ready } = plan;
    let configuration = read()?;
    let config = meant(&configuration)?;
    // Told once here, and not by each process that would end of it.
    motte_server::check_sandbox(&config).map_err(|error| Fault::new(error.to_string()))?;
    let sandbox = Sandbox::of(&config).with_domains(config.log_format)?;
    let mut sockets = Sockets::bind(&config).map_err(|error| Fault::new(error.to_string()))?;
    let mut passphrases = Passphrases::new(Some(ask));
    let sources = sources(&config, &mut passphrases).map_err(Fault::new)?;
    motte_server::make_state_dir(&config).map_err(|error| Fault::new(error.to_string()))?;
    let control = control_socket(&config, &mut sockets)?;
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
    let administration = control.map(|control| Administration::new(control, heard.clone()));
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
        again: Again::running(),
        administration,
        reloads: 0,
        stopping,
        stops: 0,
        kill_at: None,
        ready: Some(ready),
        addresses,
    };
    supervisor.stay(&hearing)
}

/// The control socket, if there is to be one.
fn control_socket(config: &Config, sockets: &mut Sockets) -> Result<Option<ControlSocket>, Fault> {
    let bound = ControlSocket::bind(config, sockets).map_err(|error| Fault::new(error.to_string()))?;
    Ok(bound.unwrap_or_else(|event| {
        motte_server::write_events(config.log_format, &[event]);
        None
    }))
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
    again: Again,
    /// The control socket, if there is one.
    administration: Option<Administration>,
    /// Reloads so far.
    reloads: u64,
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
            let admin = self.administration.as_ref().filter(|_| self.ready.is_none());
            let admin = admin.and_then(Administration::due);
            let due = self.again.at.into_iter().chain(self.outwards.due()).chain(admin).min();
            let wait = due.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
            match hearing.recv_timeout(wait) {
                Ok(Heard::Signal(signal @ SIGHUP)) => {
                    self.reload(by_signal(signal), None);
                }
                Ok(Heard::Signal(signal @ (SIGTERM | SIGINT))) => self.stop(by_signal(signal)),
                Ok(Heard::Core(report)) => self.hear(report),
                Ok(Heard::Admin(asked)) => self.asked(asked),
                // A child ended, or it is time to look.
                Ok(Heard::Signal(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if let Some(status) = self.core.child.try_wait().map_err(system)? {
                if let Some(mut keyd) = self.keyd.take() {
                    keyd.end();
                }
                self.outwards.end();
                if let Some(mut administration) = self.administration.take() {
                    administration.end();
                }
                return ended(status);
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                // It was asked twice; its end is noticed next.
                let _ = self.core.child.kill();
            }
            self.look_after_keys();
            self.outwards.look_after(&self.core.link);
            // Before the core serves it has nothing to say to operators.
            if let Some(administration) = self.administration.as_mut().filter(|_| self.ready.is_none()) {
                administration.look(&self.core, &self.sandbox, &self.stopping);
            }
        }
    }

    /// Asks the core to stop, a second time at once.
    fn stop(&mut self, by: Asker) {
        self.stopping.store(true, Ordering::Relaxed);
        self.core.say(&Task::Stop(by));
        self.stops += 1;
        if self.stops == 2 {
            self.kill_at = Some(Instant::now() + AT_ONCE);
        }
    }

    /// What an operator asks of the supervisor.
    fn asked(&mut self, asked: Asked) {
        let Some(administration) = &mut self.administration else { return };
        let Some(AdminAsks::Request { id, operator, request }) = administration.present(asked) else {
            return;
        };
        let answer = match request {
            SupervisorRequest::Processes => SupervisorAnswer::Processes { processes: self.processes() },
            SupervisorRequest::Reload => {
                if !administration.await_reload(id, self.reloads + 1) {
                    let cause = "too many reloads are waited for\n  remedy: try again in a moment".to_owned();
                    return administration.reply(id, SupervisorAnswer::Refused { cause });
                }
                // The answer is what the core reports.
                return self.reload(Asker::Operator(operator.uid), operator.step_up);
            }
            SupervisorRequest::Stop => {
                // Asked again it still is a clean stop; only a signal makes it one at once.
                if self.stops == 0 {
                    self.stop(Asker::Operator(operator.uid));
                }
                SupervisorAnswer::Stopping
            }
        };
        if let Some(administration) = &mut self.administration {
            administration.reply(id, answer);
        }
    }

    fn processes(&self) -> motte_roles::Processes {
        let mut all = vec![(Confined::Supervisor, std::process::id(), 0)];
        all.push((Confined::Core, self.core.child.id(), 0));
        all.extend(self.keyd.as_ref().map(|keyd| (Confined::Keyd, keyd.child.id(), self.again.times)));
        all.extend(self.outwards.process().map(|(pid, restarts)| (Confined::Egress, pid, restarts)));
        let admin = self.administration.as_ref().and_then(Administration::process);
        all.extend(admin.map(|(pid, restarts)| (Confined::Admin, pid, restarts)));
        administration::processes(&all, &self.sandbox)
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
            Report::Reloaded { number, fault } => {
                if fault.is_none() {
                    self.outwards.in_force();
                    if !self.proposed.is_empty() {
                        self.sources = std::mem::take(&mut self.proposed);
                    }
                }
                if let Some(administration) = &mut self.administration {
                    administration.reloaded(number, fault.as_deref());
                }
            }
            Report::AdminSilent => {
                if let Some(administration) = &mut self.administration {
                    administration.kill();
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

    fn reload(&mut self, by: Asker, step_up: Option<StepUp>) {
        self.reloads += 1;
        let number = self.reloads;
        let failed = |cause: String| Task::ReloadFailed { number, by, cause };
        let configuration = match (self.read)() {
            Ok(configuration) => configuration,
            Err(fault) => return self.core.say(&failed(fault.to_string())),
        };
        // A configuration with a fault is refused by the core, which says so.
        if let Ok(config) = meant(&configuration) {
            let reaches = self.open.as_ref().map_or(Ok(()), |open| motte_server::reaches(open, &config));
            if let Err(fault) = reaches {
                return self.core.say(&failed(fault.to_string()));
            }
            match sources(&config, &mut self.passphrases) {
                Ok(sources) => self.proposed = sources,
                Err(fault) => return self.core.say(&failed(fault)),
            }
            if let Some(keyd) = &mut self.keyd
                && keyd.load(&self.proposed, &self.stopping).is_err()
            {
                // It is started anew, with the new files, and the core waits for it.
                let _ = keyd.child.kill();
            }
            if let Err(fault) = self.outwards.propose(&config) {
                return self.core.say(&failed(fault));
            }
            // A core that cannot be told is about to end, which is noticed next.
            let _ = given::send(&config, &self.core.link);
        }
        self.core.say(&Task::Reload { number, by, step_up, configuration });
    }

    /// Notices the end of the key process, and starts it again when it is time.
    fn look_after_keys(&mut self) {
        if !self.with_keys || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Some(keyd) = &mut self.keyd {
            let Ok(Some(status)) = keyd.child.try_wait() else { return };
            self.keyd = None;
            self.keys_ended(&how(status));
        }
        if !self.again.is_due() {
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
                self.again.started();
                // A core that cannot be told is about to end, which is noticed next.
                let _ = self.core.link.send_with(&Task::Keys { faults }, core.as_fd());
            }
            Err(error) => self.keys_ended(&error.to_string()),
        }
    }

    fn keys_ended(&mut self, cause: &str) {
        let again_ms = self.again.ended();
        self.core.say(&Task::KeysEnded { cause: cause.to_owned(), again_ms });
    }
}

fn by_signal(signal: i32) -> Asker {
    Asker::Signal(u8::try_from(signal).unwrap_or_default())
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
