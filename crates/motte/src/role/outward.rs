//! The process that connects out, as the supervisor has it: given its sources, started again when it ends. It is there only
//! where the configuration names something to connect to.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use motte_config::{Config, Outward};
use motte_roles::{
    AUTHORITIES_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, Header, Link, LinkError, OutwardOrder,
    OutwardOutcome, OutwardSource, Role, SetId, SourceFacts, Task,
};
use motte_seal::SecretString;

use crate::role::child::{AGAIN_MAX, AGAIN_MIN, STEADY, how, start};
use crate::role::seal::Sandbox;
use crate::role::supervise::{YOUNG, dead};
use crate::verb::Fault;

/// Time for its first words, and to take sources.
const TAKES: Duration = Duration::from_secs(10);
/// Where systems keep the authorities that everybody trusts, as one PEM file.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What finding the address of a name reads.
const RESOLVING: [&str; 7] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
];

/// The files of authorities that this system has.
pub(crate) fn authorities() -> impl Iterator<Item = &'static Path> {
    AUTHORITIES.iter().map(Path::new).filter(|path| path.exists())
}

/// What this system has of the files that finding an address reads; also the directory that a managed resolv.conf is in, so
/// that it may be replaced there.
pub(crate) fn resolving() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = RESOLVING.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    let managed = Path::new("/etc/resolv.conf").canonicalize().ok();
    let managed =
        managed.as_deref().and_then(Path::parent).filter(|directory| *directory != Path::new("/etc"));
    files.extend(managed.map(Path::to_owned));
    files
}

/// What is wrong with the files that the process would be given, if anything.
///
/// # Errors
/// For people.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    order(config).map(drop)
}

/// What the process is told of a configuration; or everything that is wrong with its files.
fn order(config: &Config) -> Result<OutwardOrder, String> {
    let outward = config.outward();
    let (mut texts, mut faults): (Vec<(Vec<PathBuf>, String)>, Vec<String>) = (Vec::new(), Vec::new());
    let sources = outward
        .iter()
        .map(|one| OutwardSource {
            facts: SourceFacts::of(one),
            authorities: if takes_tls(one) { trusted(&one.ca, &mut texts, &mut faults) } else { u8::MAX },
            headers: secret_headers(one, &mut faults),
            password: account_password(one, &mut faults),
        })
        .collect();
    let authorities = texts.into_iter().map(|(_, text)| text).collect();
    if faults.is_empty() {
        Ok(OutwardOrder::Load { set: SetId::of(&outward), authorities, sources })
    } else {
        Err(faults.join("\n"))
    }
}

/// Whether its server has to come from an authority: `ldap` takes StartTLS.
fn takes_tls(one: &Outward) -> bool {
    one.url.is_tls() || one.directory.as_ref().is_some_and(|directory| !directory.plaintext)
}

/// The password of the account that searches a directory: the first line of its file, which only its owner may be able to
/// read.
fn account_password(one: &Outward, faults: &mut Vec<String>) -> Option<Arc<SecretString>> {
    let path = one.directory.as_ref()?.password_file.as_ref()?;
    if let Some(fault) = motte_roles::key_file_fault(path) {
        faults.push(fault);
        return None;
    }
    let text = match read(path, HEADER_BYTES_MAX) {
        Ok(text) => SecretString::new(text),
        Err(fault) => {
            faults.push(fault);
            return None;
        }
    };
    let line = text.expose().lines().next().unwrap_or_default();
    if line.is_empty() || line.contains('\0') {
        faults.push(format!(
            "{}: no password\n  remedy: write the password of bind_dn into its first line",
            path.display()
        ));
        return None;
    }
    Some(Arc::new(SecretString::new(line.to_owned())))
}

/// The number of the text of these authorities, which is read the first time.
fn trusted(ca: &[PathBuf], texts: &mut Vec<(Vec<PathBuf>, String)>, faults: &mut Vec<String>) -> u8 {
    let place = texts.iter().position(|(known, _)| known == ca).unwrap_or_else(|| {
        let text = if ca.is_empty() {
            authorities().find_map(|path| read(path, AUTHORITIES_BYTES_MAX).ok()).unwrap_or_default()
        } else {
            let mut all = String::new();
            for path in ca {
                match read(path, AUTHORITIES_BYTES_MAX.saturating_sub(all.len())) {
                    Ok(text) => all.push_str(&(text + "\n")),
                    Err(fault) => faults.push(fault),
                }
            }
            all
        };
        texts.push((ca.to_vec(), text));
        texts.len() - 1
    });
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// The headers of a source's file: lines of `Name: value`. Only its owner may be able to read it.
fn secret_headers(one: &Outward, faults: &mut Vec<String>) -> Vec<Header> {
    let Some(path) = &one.headers_file else { return Vec::new() };
    if let Some(fault) = motte_roles::key_file_fault(path) {
        faults.push(fault);
        return Vec::new();
    }
    let text = match read(path, HEADERS_MAX * HEADER_BYTES_MAX) {
        Ok(text) => SecretString::new(text),
        Err(fault) => {
            faults.push(fault);
            return Vec::new();
        }
    };
    let mut headers = Vec::new();
    for (number, line) in text.expose().lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match header {
            Some((name, value))
                if !name.is_empty()
                    && name.len().max(value.len()) <= HEADER_BYTES_MAX
                    && name.bytes().all(is_token)
                    && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
                    && headers.len() < HEADERS_MAX =>
            {
                headers.push(Header {
                    name: name.to_owned(),
                    value: Arc::new(SecretString::new(value.to_owned())),
                });
            }
            Some(_) | None => faults.push(format!(
                "{}:{}: not a header\n  remedy: write `Name: value`, one a line, at most {HEADERS_MAX}",
                path.display(),
                number + 1
            )),
        }
    }
    headers
}

fn read(path: &Path, most: usize) -> Result<String, String> {
    let fault = |error: &dyn std::fmt::Display| {
        format!("{}: {error}\n  remedy: see that it is there and readable", path.display())
    };
    let file = File::open(path).map_err(|error| fault(&error))?;
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let length =
        file.take(limit.saturating_add(1)).read_to_string(&mut text).map_err(|error| fault(&error))?;
    if length > most { Err(fault(&"longer than a file of its kind may be")) } else { Ok(text) }
}

struct Process {
    child: Child,
    link: Link,
    since: Instant,
}

impl Process {
    /// Gives it sources; says what it finds wrong with them.
    fn load(&self, order: &OutwardOrder, stopping: &AtomicBool) -> Result<String, LinkError> {
        self.link.send(order)?;
        self.link.wait(Instant::now() + TAKES, &|| !stopping.load(Ordering::Relaxed))?;
        let (OutwardOutcome::Loaded { faults }, _) = self.link.receive()?;
        Ok(faults)
    }

    fn end(&mut self) {
        // By its own process id only, which nobody else has before it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process with what it was told.
pub(crate) struct Outwards {
    sandbox: Sandbox,
    /// Of the configuration in force; `None`: it names nothing, and there is no process.
    order: Option<OutwardOrder>,
    /// Of the last reload, until it is in force.
    proposed: Option<OutwardOrder>,
    process: Option<Process>,
    /// How often it was started again.
    restarts: u32,
    again: Duration,
    again_at: Option<Instant>,
    stopping: Arc<AtomicBool>,
}

impl Outwards {
    /// Starts the process if there is something to connect to. Gives the core's end of its socket.
    pub(crate) fn start(
        config: &Config,
        sandbox: &Sandbox,
        stopping: &Arc<AtomicBool>,
    ) -> Result<(Self, Option<UnixStream>), Fault> {
        let is_needed = !config.outward().is_empty();
        let order = is_needed.then(|| order(config)).transpose().map_err(Fault::new)?;
        let mut own = Self {
            sandbox: sandbox.clone(),
            order,
            proposed: None,
            process: None,
            restarts: 0,
            again: AGAIN_MIN,
            again_at: None,
            stopping: Arc::clone(stopping),
        };
        if !is_needed {
            return Ok((own, None));
        }
        let (core, faults) = own.begin().map_err(|error| dead("egress", &error))?;
        if faults.is_empty() {
            return Ok((own, Some(core)));
        }
        own.end();
        Err(Fault::new(faults))
    }

    fn begin(&mut self) -> Result<(UnixStream, String), LinkError> {
        let (child, link) = start("egress", &self.sandbox)?;
        let mut process = Process { child, link, since: Instant::now() };
        match self.prepare(&process) {
            Ok(core) => {
                self.process = Some(process);
                Ok(core)
            }
            Err(error) => {
                process.end();
                Err(error)
            }
        }
    }

    fn prepare(&self, process: &Process) -> Result<(UnixStream, String), LinkError> {
        process.link.socket().set_write_timeout(Some(TAKES))?;
        process.link.wait(Instant::now() + TAKES, &|| !self.stopping.load(Ordering::Relaxed))?;
        process.link.greet(Role::Supervisor, Role::Egress)?;
        let mut faults = String::new();
        for order in self.order.iter().chain(&self.proposed) {
            faults = process.load(order, &self.stopping)?;
        }
        let (core, own) = UnixStream::pair()?;
        process.link.send_with(&OutwardOrder::Serve, own.as_fd())?;
        Ok((core, faults))
    }

    /// When something is to be done that nobody tells of.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again_at
    }

    /// Tells the process of a configuration that is about to be in force.
    ///
    /// # Errors
    /// What is wrong with its sources, for people.
    pub(crate) fn propose(&mut self, config: &Config) -> Result<(), String> {
        if config.outward().is_empty() || self.order.is_none() {
            return Ok(());
        }
        let order = order(config)?;
        match self.process.as_ref().map(|process| process.load(&order, &self.stopping)) {
            Some(Ok(faults)) if !faults.is_empty() => return Err(faults),
            Some(Ok(_)) | None => {}
            // It is started anew, with the new sources.
            Some(Err(_)) => self.kill(),
        }
        self.proposed = Some(order);
        Ok(())
    }

    /// The last reload is in force.
    pub(crate) fn in_force(&mut self) {
        if let Some(order) = self.proposed.take() {
            self.order = Some(order);
        }
    }

    /// The core says that it does not answer.
    pub(crate) fn silent(&mut self) {
        // One that was just started is not the one that is meant; if it is, this is heard again.
        if self.process.as_ref().is_some_and(|process| process.since.elapsed() >= YOUNG) {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            // Its end is noticed as any other.
            let _ = process.child.kill();
        }
    }

    /// Notices its end, and starts it again when it is time.
    pub(crate) fn look_after(&mut self, core: &Link) {
        if self.order.is_none() || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Some(process) = &mut self.process {
            let Ok(Some(status)) = process.child.try_wait() else { return };
            if process.since.elapsed() >= STEADY {
                self.again = AGAIN_MIN;
            }
            self.process = None;
            self.ended(&how(status), core);
        }
        if self.again_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        match self.begin() {
            Ok((socket, _)) => {
                self.again_at = None;
                self.restarts = self.restarts.saturating_add(1);
                // A core that cannot be told is about to end, which is noticed elsewhere.
                let _ = core.send_with(&Task::Outward, socket.as_fd());
            }
            Err(error) => self.ended(&error.to_string(), core),
        }
    }

    fn ended(&mut self, cause: &str, core: &Link) {
        let again_ms = u64::try_from(self.again.as_millis()).unwrap_or(u64::MAX);
        let _ = core.send(&Task::OutwardEnded { cause: cause.to_owned(), again_ms });
        self.again_at = Some(Instant::now() + self.again);
        self.again = (self.again * 2).min(AGAIN_MAX);
    }

    /// Its number and how often it was started again.
    pub(crate) fn process(&self) -> Option<(u32, u32)> {
        self.process.as_ref().map(|process| (process.child.id(), self.restarts))
    }

    /// Ends it with the broker.
    pub(crate) fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end();
        }
    }
}
