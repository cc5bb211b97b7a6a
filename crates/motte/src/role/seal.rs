//! What the supervisor and the key process leave themselves before they do anything else. The core does it in
//! `motte_server::Sealed`, which knows what a reload reads.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_config::{Config, LogFormat, SandboxMode};
use motte_confine::{ConfineError, Confinement, Denied, Mode, Role, TcpConnect};
use motte_event::life;
use motte_roles::{Passphrase, Source};

use crate::cli::RoleArgs;
use crate::role::domain::Domains;
use crate::role::outward;
use crate::verb::Fault;

/// Where programs have their libraries, as far as a system has these.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];
/// What is read to learn about the machine and oneself.
const FACTS: [&str; 3] = ["/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu"];

/// How roles confine themselves.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) mode: SandboxMode,
    /// Kernel calls that are not a role's own are logged and not refused.
    pub(crate) audit: bool,
    /// The state directory, where each role tells what is in force on it.
    pub(crate) state: Option<PathBuf>,
    /// The way to start each in its SELinux domain; `None`: they have none, or this is one of them.
    pub(crate) domains: Option<Arc<Domains>>,
}

impl Sandbox {
    /// As a configuration says.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            mode: motte_server::sandbox_mode(config),
            audit: config.sandbox.audit,
            state: config.state_dir.clone(),
            domains: None,
        }
    }

    /// As the supervisor says to a role.
    pub(crate) fn given(args: &RoleArgs) -> Self {
        Self { mode: args.sandbox, audit: args.audit, state: args.state.clone(), domains: None }
    }

    /// With a domain for each role, where the system has them. For the supervisor, in the thread that starts the others.
    ///
    /// # Errors
    /// When the system has them, they cannot be asked for, and the sandbox is required; otherwise that is an event.
    pub(crate) fn with_domains(mut self, format: LogFormat) -> Result<Self, Fault> {
        match Domains::of_self() {
            Ok(domains) => self.domains = domains.map(Arc::new),
            Err(error) => {
                let what = format!("SELinux: no role can be started in a domain of its own: {error}");
                if self.mode == SandboxMode::Required {
                    let remedy = "see what ausearch -m avc says; or write [sandbox] mode = \"best-effort\"";
                    return Err(Fault::with_remedy(what, remedy));
                }
                motte_server::write_events(format, &[life::confinement_incomplete("supervisor", &what)]);
            }
        }
        Ok(self)
    }

    /// The file in which a role tells.
    pub(crate) fn report(&self, role: Role) -> Option<PathBuf> {
        self.state.as_ref().map(|state| state.join(motte_server::report_of(role)))
    }

    /// Whether nothing is given up for the sake of a token: its library is somebody else's code, which opens what it wants
    /// and brings code with it.
    pub(crate) fn yields_to_token(&self, sources: &[Source]) -> bool {
        self.mode != SandboxMode::Off && sources.iter().any(Source::is_token)
    }

    fn confinement(&self, role: Role, sources: &[Source]) -> Confinement {
        let mut confinement = Confinement::new(role);
        let mode = if self.yields_to_token(sources) { SandboxMode::Off } else { self.mode };
        confinement.mode = motte_server::confine_mode(mode);
        if self.audit {
            confinement.denied = Denied::Log;
        }
        confinement
    }
}

/// Leaves the supervisor what it needs itself, and what its children will need: they inherit it and narrow it further. Gives the
/// directories that can be read, if it is not all of them.
pub(crate) fn supervisor(
    sandbox: &Sandbox,
    config: &Config,
    file: &Path,
    sources: &[Source],
) -> Result<Option<BTreeSet<PathBuf>>, ConfineError> {
    let mut confinement = sandbox.confinement(Role::Supervisor, sources);
    let is_off = confinement.mode == Mode::Off;
    let files = config.files_read().into_iter().chain(Some(file).filter(|file| !file.as_os_str().is_empty()));
    let mut open: BTreeSet<PathBuf> =
        motte_server::places(files).into_iter().chain(of_sources(sources)).collect();
    let ports = config.outward_ports();
    if !ports.is_empty() {
        open.extend(outward::authorities().map(Path::to_owned));
        confinement.read.extend(outward::resolving());
        confinement.tcp_connect = TcpConnect::Ports(ports.into_iter().collect());
    }
    confinement.read.extend(open.iter().cloned());
    confinement.read.extend(FACTS.iter().map(PathBuf::from).filter(|path| path.exists()));
    confinement.read_write.extend(config.state_dir.clone());
    confinement.execute = LIBRARIES.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    confinement.execute.extend(std::env::current_exe().and_then(|exe| exe.canonicalize()).ok());
    let landlock = motte_confine::lacking().iter().all(|missing| !missing.feature.starts_with("Landlock"));
    enforce(confinement, sandbox.report(Role::Supervisor).as_deref())?;
    Ok((landlock && !is_off).then_some(open))
}

/// Leaves the key process the directories of its files to read, and nothing else.
pub(crate) fn keyd(sandbox: &Sandbox, sources: &[Source]) -> Result<(), ConfineError> {
    let mut confinement = sandbox.confinement(Role::Keyd, sources);
    confinement.read = of_sources(sources);
    enforce(confinement, sandbox.report(Role::Keyd).as_deref())
}

/// Leaves the process that connects out its ports and what finding addresses takes, and nothing else.
pub(crate) fn egress(sandbox: &Sandbox, ports: Vec<u16>) -> Result<(), ConfineError> {
    let mut confinement = sandbox.confinement(Role::Egress, &[]);
    confinement.read = outward::resolving();
    confinement.tcp_connect = TcpConnect::Ports(ports);
    enforce(confinement, sandbox.report(Role::Egress).as_deref())
}

/// Leaves the admin process nothing but what it was given.
pub(crate) fn admin(sandbox: &Sandbox) -> Result<(), ConfineError> {
    enforce(sandbox.confinement(Role::Admin, &[]), sandbox.report(Role::Admin).as_deref())
}

/// Directories of key files, of their passphrases, and of systemd's credentials.
fn of_sources(sources: &[Source]) -> Vec<PathBuf> {
    let files = sources.iter().flat_map(|source| {
        let passphrase = match &source.passphrase {
            Passphrase::File(path) => Some(path.as_path()),
            Passphrase::None | Passphrase::Credential(_) | Passphrase::Known(_) => None,
        };
        std::iter::once(source.path.as_path()).chain(passphrase)
    });
    let mut places: Vec<PathBuf> = motte_server::places(files).into_iter().collect();
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    places.extend(credentials.and_then(|directory| directory.canonicalize().ok()));
    places
}

/// Gives up the rest and tells what came of it in a file that was opened before.
fn enforce(confinement: Confinement, report: Option<&Path>) -> Result<(), ConfineError> {
    let open = |path: &Path| -> std::io::Result<File> {
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
    };
    let file = report.and_then(|path| open(path).ok());
    let confined = confinement.enforce()?;
    if let Some(mut file) = file {
        // A full disk is told of by what has to be kept.
        let _ = file.write_all(confined.in_force().to_json().as_bytes());
    }
    Ok(())
}
