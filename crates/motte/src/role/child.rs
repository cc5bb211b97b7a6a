//! The processes that the supervisor starts, as it has them: the key process and the core.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use motte_config::Config;
use motte_confine::Role as Confined;
use motte_roles::{Configuration, Link, LinkError, Order, Outcome, Role, Source, Task};
use motte_server::Sockets;

use crate::role::given;
use crate::role::seal::Sandbox;
use crate::role::supervise::{Heard, dead};
use crate::role::vault::VaultOrder;
use crate::verb::Fault;

/// Time for the core to take a message.
const CORE_TAKES: Duration = Duration::from_secs(5);
/// Time for key files to be read; opening one may take two seconds on purpose.
const LOAD: Duration = Duration::from_secs(30);

/// Starts a role with one end of a pair of sockets as its standard input; gives the other.
pub(crate) fn start(role: &str, sandbox: &Sandbox) -> io::Result<(Child, Link)> {
    let (here, there) = UnixStream::pair()?;
    lay_report(role, sandbox);
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(format!("motte-{role}"))
        .args(["role", role, "--sandbox", sandbox.mode.name()])
        .args(sandbox.audit.then_some("--audit"))
        .args(sandbox.state.iter().flat_map(|state| [OsStr::new("--state"), state.as_os_str()]))
        .stdin(Stdio::from(OwnedFd::from(there)))
        // Ctrl-C at a terminal goes to a group; the supervisor alone is to hear it.
        .process_group(0)
        .env_remove_for(role);
    let child = match &sandbox.domains {
        Some(domains) => domains.start(role, || command.spawn()),
        None => command.spawn(),
    }?;
    Ok((child, Link::new(here)))
}

/// Makes the file in which a role tells what is in force, or empties that of the one before: under SELinux the role may write
/// this file and make none.
fn lay_report(role: &str, sandbox: &Sandbox) {
    let Some(path) = Confined::parse(role).and_then(|role| sandbox.report(role)) else { return };
    // What cannot be made is missing in the report, which says so.
    let _ = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
}

/// First wait before a process is started again; each further one is twice as long.
pub(crate) const AGAIN_MIN: Duration = Duration::from_millis(50);
/// Longest such wait.
pub(crate) const AGAIN_MAX: Duration = Duration::from_secs(5);
/// After this long the next end counts as the first.
pub(crate) const STEADY: Duration = Duration::from_secs(30);

/// When a process that ended is started again.
pub(super) struct Again {
    /// Then; `None`: it runs.
    pub(super) at: Option<Instant>,
    /// How often it was.
    pub(super) times: u32,
    wait: Duration,
    since: Option<Instant>,
}

/// It is to be started for the first time, at once.
impl Default for Again {
    fn default() -> Self {
        Self { at: Some(Instant::now()), times: 0, wait: AGAIN_MIN, since: None }
    }
}

impl Again {
    /// It runs already.
    pub(super) fn running() -> Self {
        Self { at: None, since: Some(Instant::now()), ..Self::default() }
    }

    /// Whether it is time.
    pub(super) fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// It runs.
    pub(super) fn started(&mut self) {
        self.at = None;
        self.times += u32::from(self.since.is_some());
        self.since = Some(Instant::now());
    }

    /// It ended, or did not start: gives the milliseconds until it is started again.
    pub(super) fn ended(&mut self) -> u64 {
        if self.since.is_some_and(|since| since.elapsed() >= STEADY) {
            self.wait = AGAIN_MIN;
        }
        let wait = self.wait;
        self.at = Some(Instant::now() + wait);
        self.wait = (wait * 2).min(AGAIN_MAX);
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
    }
}

/// How a process ended, for people.
pub(crate) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => "it ended".to_owned(),
    }
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
pub(super) struct Keyd {
    pub(super) child: Child,
    link: Link,
    pub(super) since: Instant,
}

impl Keyd {
    /// Starts it and has it read these files. Gives the core's end of its socket, and what is wrong with files.
    pub(super) fn start(
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

    pub(super) fn load(&self, sources: &[Source], stopping: &AtomicBool) -> Result<String, LinkError> {
        self.link.send(&Order::Load { sources: sources.to_vec() })?;
        self.wait(stopping)?;
        let (Outcome::Loaded { faults, .. }, _) = self.link.receive()?;
        Ok(faults)
    }

    /// Ends it, if it has not ended.
    pub(super) fn end(&mut self) {
        // By its own process id only, which nobody else has before it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The core, as its parent has it.
pub(super) struct Core {
    pub(super) child: Child,
    pub(super) link: Link,
}

impl Core {
    pub(super) fn start(
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
    pub(super) fn say(&self, task: &Task) {
        let _ = self.link.send(task);
    }
}
