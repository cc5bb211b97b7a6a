//! Tries the door from inside: what an attacker would try first, in a process that confined itself as a role does.
//!
//! Each attempt has a process of its own, for a refused call may end it. [`run`] starts them; the process that it starts
//! must call [`answer`] first thing, while it has one thread, and print what it gives.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

use crate::attempts::{ATTEMPTS, Attempt, Bait};
use crate::confinement::Confinement;
use crate::in_force::ProbeOutcome;
use crate::role::{Mode, Role};

/// What one attempt came to in one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The role that was taken.
    pub role: Role,
    /// What was tried.
    pub attempt: String,
    /// What came of it.
    pub outcome: ProbeOutcome,
}

impl Finding {
    /// Whether it went through, or could not be made though it had to be.
    pub fn is_hole(&self) -> bool {
        matches!(self.outcome, ProbeOutcome::Permitted(_))
    }
}

/// The findings as lines for people, a role after the other.
pub fn to_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.attempt.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { role, attempt, outcome } in findings {
        let outcome = match outcome {
            ProbeOutcome::Refused => "refused".to_owned(),
            ProbeOutcome::Permitted(how) => format!("NOT REFUSED: {how}"),
            ProbeOutcome::NotTried(why) => format!("not tried: {why}"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{role:<10}  {attempt:<width$}  {outcome}");
    }
    text
}

/// Makes every attempt in every role. `program` gives the command whose process calls [`answer`] with the arguments that
/// are added here; `temporary` is a directory to lay out what the attempts reach for, in a directory of its own.
///
/// # Errors
/// When the bait cannot be laid out or a process cannot be started.
pub fn run(mode: Mode, temporary: &Path, mut program: impl FnMut() -> Command) -> io::Result<Vec<Finding>> {
    let stage = Stage::new(temporary)?;
    let mut findings = Vec::new();
    for role in Role::ALL {
        for (number, attempt) in ATTEMPTS.iter().enumerate() {
            stage.renew()?;
            let mut command = program();
            command.args([role.name(), &number.to_string(), mode_name(mode), &stage.port.to_string()]);
            let outcome = judged(&command.arg(&stage.dir).output()?);
            findings.push(Finding { role, attempt: attempt.name.to_owned(), outcome });
        }
    }
    Ok(findings)
}

/// Confines this process, whose program is `itself`, and makes one attempt; gives the line to print.
///
/// # Errors
/// When the arguments are not those of [`run`], or the process could not confine itself.
pub fn answer(arguments: &[String], itself: PathBuf) -> Result<String, String> {
    let [role, number, mode, port, dir] = arguments else {
        return Err("this is for the self-test alone".to_owned());
    };
    let role = Role::parse(role).ok_or("no such role")?;
    let attempt =
        number.parse::<usize>().ok().and_then(|number| ATTEMPTS.get(number)).ok_or("no such attempt")?;
    let mode = [Mode::Required, Mode::BestEffort, Mode::Off].into_iter().find(|one| mode_name(*one) == mode);
    let port = port.parse().map_err(|_| "not a port")?;
    let bait = Bait::new(PathBuf::from(dir), port, itself);
    let mut confinement = Confinement::new(role);
    confinement.mode = mode.ok_or("no such mode")?;
    confinement.read_write.push(bait.state());
    confinement.enforce().map_err(|error| error.to_string())?;
    // A process that can do nothing at all would pass every other attempt.
    fs::write(bait.state().join("own"), b"x")
        .map_err(|error| format!("its own state is closed to it: {error}"))?;
    serde_json::to_string(&outcome(attempt, role, &bait)).map_err(|error| error.to_string())
}

fn outcome(attempt: &Attempt, role: Role, bait: &Bait) -> ProbeOutcome {
    if attempt.belongs_to.contains(&role) {
        return ProbeOutcome::NotTried("part of this role".to_owned());
    }
    match (attempt.carry_out)(bait) {
        Ok(()) => ProbeOutcome::Permitted("it succeeded".to_owned()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::EAFNOSUPPORT) => ProbeOutcome::Refused,
            _ => ProbeOutcome::Permitted(error.to_string()),
        },
    }
}

/// What a process said or how it ended.
fn judged(output: &Output) -> ProbeOutcome {
    if output.status.signal() == Some(libc::SIGSYS) {
        return ProbeOutcome::Refused;
    }
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let gone = || ProbeOutcome::Permitted("the process became another program".to_owned());
        return serde_json::from_str(said.trim()).unwrap_or_else(|_| gone());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    ProbeOutcome::Permitted(format!(
        "the attempt could not be made ({}): {}",
        output.status,
        complaint.trim()
    ))
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Required => "required",
        Mode::BestEffort => "best-effort",
        Mode::Off => "off",
    }
}

/// What the attempts reach for, outside of every sandbox.
struct Stage {
    dir: PathBuf,
    port: u16,
    _tcp: TcpListener,
    _abstract_socket: UnixListener,
    _socket: UnixListener,
}

impl Stage {
    fn new(temporary: &Path) -> io::Result<Self> {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        // The port is nobody else's now, so the name is not either.
        let dir = temporary.join(format!("motte-selftest-{}-{port}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir)?;
        let laid_out = Self::lay_out(&dir, port);
        let (socket, abstract_socket) = laid_out.inspect_err(|_| remove(&dir))?;
        Ok(Self { dir, port, _tcp: tcp, _abstract_socket: abstract_socket, _socket: socket })
    }

    /// What an attempt that went through took away.
    fn renew(&self) -> io::Result<()> {
        fs::write(self.dir.join("foreign"), b"somebody else's")
    }

    fn lay_out(dir: &Path, port: u16) -> io::Result<(UnixListener, UnixListener)> {
        fs::create_dir(dir.join("state"))?;
        let address = UnixAddr::from_abstract_name(abstract_name(port))?;
        Ok((UnixListener::bind(dir.join("socket"))?, UnixListener::bind_addr(&address)?))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// The abstract Unix socket that belongs to a TCP port.
pub(crate) fn abstract_name(port: u16) -> String {
    format!("motte-selftest-{port}")
}

fn remove(dir: &Path) {
    // Left behind in the directory for temporary files: untidy, and nothing in it is worth anything.
    let _ = fs::remove_dir_all(dir);
}
