//! The process confines itself once it listens and has read what it needs, before it starts a thread or takes a byte from
//! a stranger. What it must read again at a reload stays readable, and nothing else.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use motte_config::{Config, SandboxMode};
use motte_confine::{ConfineError, Confined, Confinement, Denied, Mode, Role};
use motte_event::{Event, life};

use crate::reloading::ReloadError;
use crate::server::StartError;

/// In the state directory: what a process found to be in force on itself, for `motte harden status`.
pub fn report_of(role: Role) -> String {
    format!("sandbox-{role}.json")
}

/// Makes the state directory, if there is to be one and it is not there.
///
/// # Errors
/// What the system says.
pub fn make_state_dir(config: &Config) -> Result<(), StartError> {
    config.state_dir.as_deref().map_or(Ok(()), |directory| Ok(crate::state::make(directory)?))
}

/// That the process may confine itself as `[sandbox]` of its configuration says. For a process that has one thread and is
/// nothing but this server: what is given up is gone for everything in it.
#[derive(Debug, Clone, Default)]
pub struct SelfConfinement {
    /// Files that are read at a reload beside those of the configuration, such as the configuration itself.
    pub read: Vec<PathBuf>,
    /// Another process opens the files of the configuration: none of them is to be read by its path.
    pub files_are_given: bool,
}

/// What is left to the process.
#[derive(Default)]
pub struct Sealed {
    confined: Option<Confined>,
    /// What came of it, until it is told.
    events: Vec<Event>,
    /// Directories, and files of the root directory, that can be read; all of them real paths.
    open: BTreeSet<PathBuf>,
    /// Files of the configuration come from another process.
    given: bool,
    report: Option<PathBuf>,
}

impl Sealed {
    /// Gives up what is not needed. The calling process has one thread.
    ///
    /// # Errors
    /// When the configuration requires more than is to be had. The process may be confined in part then and has to end.
    pub fn seal(config: &Config, asked: &SelfConfinement) -> Result<Self, StartError> {
        make_state_dir(config)?;
        let own = if asked.files_are_given { Vec::new() } else { config.files_read() };
        let mut open = places(own.into_iter().chain(asked.read.iter().map(AsRef::as_ref)));
        if !asked.files_are_given {
            open.extend(credentials(config));
        }
        let mut confinement = Confinement::new(Role::Core);
        confinement.mode = confine_mode(sandbox_mode(config));
        if config.sandbox.audit {
            confinement.denied = Denied::Log;
        }
        confinement.read = open.iter().cloned().collect();
        confinement.read_write.extend(config.state_dir.clone());
        open.extend(config.state_dir.as_ref().and_then(|dir| dir.canonicalize().ok()));
        let confined = confinement.enforce().map_err(|error| StartError::Confine(explained(&error)))?;
        let events = told(&confined);
        let report = config.state_dir.as_ref().map(|dir| dir.join(report_of(Role::Core)));
        let given = asked.files_are_given;
        let sealed = Self { confined: Some(confined), events, open, given, report };
        sealed.write_report();
        Ok(sealed)
    }

    /// What came of it, once.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Refuses a new configuration that names files which the process cannot reach any more.
    pub(crate) fn reaches(&self, config: &Config) -> Result<(), ReloadError> {
        let sealed =
            self.confined.as_ref().is_some_and(|confined| confined.in_force().landlock.abi.is_some());
        if !sealed || self.given {
            return Ok(());
        }
        reaches(&self.open, config)
    }

    /// Asks the kernel again, for the report.
    pub(crate) fn look_again(&mut self) {
        // Unreadable: then the report of the last look stays.
        if self.confined.as_mut().is_some_and(|confined| confined.read_back().is_ok()) {
            self.write_report();
        }
    }

    /// Takes the report away; the process is about to end.
    pub(crate) fn end(&self) {
        if let Some(report) = &self.report {
            let _ = std::fs::remove_file(report);
        }
    }

    fn write_report(&self) {
        let (Some(confined), Some(path)) = (&self.confined, &self.report) else { return };
        let text = confined.in_force().to_json();
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())
        };
        // A disk that is full is told of by what has to be kept; half a report is read as none.
        let _ = write();
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("open", &self.open).finish_non_exhaustive()
    }
}

/// Whether everything that a configuration names lies where a confined process can read.
///
/// # Errors
/// [`ReloadError::Closed`] for the first file that does not.
pub fn reaches(open: &BTreeSet<PathBuf>, config: &Config) -> Result<(), ReloadError> {
    for file in config.files_read() {
        let closed = |place: &PathBuf| !open.iter().any(|open| place.starts_with(open));
        if let Some(place) = places([file].into_iter()).iter().find(|place| closed(place)) {
            let (file, directory) = (file.display().to_string(), place.display().to_string());
            return Err(ReloadError::Closed { file, directory });
        }
    }
    Ok(())
}

/// How a process confines itself: as configured; otherwise required where the kernel can do it all.
pub fn sandbox_mode(config: &Config) -> SandboxMode {
    match config.sandbox.mode {
        Some(mode) => mode,
        None if motte_confine::lacking().is_empty() => SandboxMode::Required,
        None => SandboxMode::BestEffort,
    }
}

/// The same to the crate that does it.
pub fn confine_mode(mode: SandboxMode) -> Mode {
    match mode {
        SandboxMode::Required => Mode::Required,
        SandboxMode::BestEffort => Mode::BestEffort,
        SandboxMode::Off => Mode::Off,
    }
}

/// What is in force, or each thing that is not.
fn told(confined: &Confined) -> Vec<Event> {
    let in_force = confined.in_force();
    let role = in_force.role.unwrap_or(Role::Core).name();
    if in_force.is_full() {
        return vec![life::confined(role, &in_force.summary())];
    }
    if in_force.mode == Some(Mode::Off) {
        return vec![life::confinement_incomplete(role, "nothing at all: sandbox.mode is off")];
    }
    let lacking = in_force.missing.iter().map(ToString::to_string);
    lacking.chain(in_force.faults()).map(|what| life::confinement_incomplete(role, &what)).collect()
}

/// Whether the kernel can do what the configuration requires.
///
/// # Errors
/// When not, with everything that it lacks.
pub fn check_sandbox(config: &Config) -> Result<(), StartError> {
    let lacking = motte_confine::lacking();
    if sandbox_mode(config) != SandboxMode::Required || lacking.is_empty() {
        return Ok(());
    }
    Err(StartError::Confine(explained(&ConfineError::Missing(lacking))))
}

fn explained(error: &ConfineError) -> String {
    let remedy = match error {
        ConfineError::Missing(_) | ConfineError::NotInForce(_) => {
            "\n  remedy: bring what is missing, or write [sandbox] mode = \"best-effort\" and start with less"
        }
        ConfineError::Threads(_)
        | ConfineError::Path { .. }
        | ConfineError::Step { .. }
        | ConfineError::Unreadable { .. } => "",
    };
    format!("the process cannot be confined: {error}{remedy}")
}

/// Where files lie: of each the directory in which it is named and the one in which it really is, so that a file and a link
/// can be replaced by new ones. A file of the root directory stands for itself.
pub fn places<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::new();
    for file in files {
        places.extend(place(file));
        places.extend(file.canonicalize().ok().as_deref().and_then(place));
    }
    places
}

fn place(file: &Path) -> Option<PathBuf> {
    if file.is_dir() {
        // Of revocation lists.
        return file.canonicalize().ok();
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().ok()?;
    if parent == Path::new("/") { file.canonicalize().ok() } else { Some(parent) }
}

/// The directory of systemd's credentials, where one of them is used.
fn credentials(config: &Config) -> Option<PathBuf> {
    let certificates = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let mut certificates = certificates.flat_map(|tls| &tls.certificates);
    certificates.any(|one| one.passphrase_credential.is_some()).then_some(())?;
    PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).canonicalize().ok()
}
