//! What a process may still do, and the act of giving up the rest.

use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use crate::capability;
use crate::domain::{self, Domain};
use crate::error::{ConfineError, Missing};
use crate::filter::Programs;
use crate::in_force::{InForce, Landlock, Probe};
use crate::probe::{self, Outside};
use crate::process;
use crate::role::{Denied, Mode, Role};
use crate::status::Gauge;

/// Where a process may connect to by TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TcpConnect {
    /// Nowhere.
    #[default]
    None,
    /// To these ports of any host.
    Ports(Vec<u16>),
    /// Anywhere. Only for a role whose table permits connecting.
    Any,
}

/// What a process may still do. All that is not named here is given up.
///
/// Paths mean themselves and, for directories, everything below; they must exist. Descriptors that are open already stay
/// usable whatever they lead to, so listeners, log files and connections are opened before.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// Which kernel calls remain.
    pub role: Role,
    /// What happens where the kernel cannot do it.
    pub mode: Mode,
    /// What a refused kernel call meets.
    pub denied: Denied,
    /// Files and directories to read.
    pub read: Vec<PathBuf>,
    /// Files and directories to read and write, and to make files in. Never to run from.
    pub read_write: Vec<PathBuf>,
    /// Programs and libraries to run; of use to the supervisor alone.
    pub execute: Vec<PathBuf>,
    /// TCP ports to bind. 0 stands for any free port. Of use to the supervisor alone.
    pub tcp_bind: Vec<u16>,
    /// Where to connect to.
    pub tcp_connect: TcpConnect,
    /// Capabilities that stay, e.g. CAP_NET_BIND_SERVICE for a supervisor that opens port 443 on a reload.
    pub capabilities: CapabilitySet,
    /// RLIMIT_NPROC, in threads of the user over all its processes. Sound only for a user that runs nothing else; root
    /// is not bound by it.
    pub tasks_max: Option<u64>,
}

impl Confinement {
    /// Nothing but what the role's kernel calls permit: no files, no ports, no capabilities; required.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            mode: Mode::default(),
            denied: role.denied(),
            read: Vec::new(),
            read_write: Vec::new(),
            execute: Vec::new(),
            tcp_bind: Vec::new(),
            tcp_connect: TcpConnect::None,
            capabilities: CapabilitySet::empty(),
            tasks_max: None,
        }
    }

    /// Gives up everything else, for good, and reads back what came of it.
    ///
    /// To be called while the process has one thread; seccomp synchronises all threads as well, but Landlock and
    /// capabilities would not. With [`Mode::Off`] nothing is given up.
    ///
    /// # Errors
    /// [`ConfineError::Missing`], [`ConfineError::Threads`] and [`ConfineError::Path`] come before anything is given up.
    /// After any other error the process is confined in part and should end.
    pub fn enforce(self) -> Result<Confined, ConfineError> {
        let gauge = Gauge::of_self()?;
        if self.mode == Mode::Off {
            return Confined::new(self, gauge, Landlock::default(), Vec::new());
        }
        process::alone()?;
        let missing = lacking();
        if self.mode == Mode::Required && !missing.is_empty() {
            return Err(ConfineError::Missing(missing));
        }
        // All that can fail for a reason of the caller's is made before the first step that cannot be undone.
        let domain = Domain::new(&self)?;
        let programs = Programs::new(self.role, self.denied)?;
        let outside = Outside::new();

        process::lower_limits(self.tasks_max)?;
        process::no_dumps()?;
        process::no_new_privileges()?;
        capability::give_up(self.capabilities)?;
        let abi = domain.enter()?.abi;
        let probes = if abi.is_some() { outside.try_all(&self) } else { Vec::new() };
        drop(outside);
        if let Err(error) = programs.install() {
            let is_known = missing.iter().any(|missing| missing.feature == SECCOMP);
            if !is_known {
                return Err(error);
            }
        }
        let confined = Confined::new(self, gauge, Landlock { abi, probes }, missing)?;
        confined.verified()
    }
}

const SECCOMP: &str = "seccomp";

/// Everything that this kernel lacks of what [`Mode::Required`] asks for; empty where it can do it all.
pub fn lacking() -> Vec<Missing> {
    let mut missing = domain::lacking();
    if !has_filters() {
        missing.push(Missing {
            feature: SECCOMP.to_owned(),
            remedy: "Linux 4.14 or newer built with CONFIG_SECCOMP_FILTER=y, and a readable /proc".to_owned(),
        });
    }
    missing
}

/// Whether the kernel has filters of calls. One file lists their actions; a service manager may hide it (`ProcSubset=pid`),
/// and then the process's own status tells it by counting its filters.
fn has_filters() -> bool {
    let own =
        || std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nSeccomp_filters:"));
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .map_or_else(|_| own(), |actions| actions.split_whitespace().any(|action| action == "errno"))
}

/// A process that has confined itself.
pub struct Confined {
    confinement: Confinement,
    gauge: Gauge,
    in_force: InForce,
}

impl Confined {
    fn new(
        confinement: Confinement,
        gauge: Gauge,
        landlock: Landlock,
        missing: Vec<Missing>,
    ) -> Result<Self, ConfineError> {
        let in_force = InForce { landlock, missing, ..gauge.read()? };
        let mut confined = Self { confinement, gauge, in_force };
        confined.name_intent();
        Ok(confined)
    }

    /// What was in force at the end of [`Confinement::enforce`], or at the last [`read_back`](Self::read_back).
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Reads again what is in force now, and tries again what can be tried without a socket.
    ///
    /// # Errors
    /// [`ConfineError::Unreadable`].
    pub fn read_back(&mut self) -> Result<&InForce, ConfineError> {
        let mut landlock = std::mem::take(&mut self.in_force.landlock);
        if landlock.abi.is_some() {
            let again: Probe = probe::read_root(&self.confinement);
            landlock.probes.retain(|probe| probe.attempt != again.attempt);
            landlock.probes.insert(0, again);
        }
        let missing = std::mem::take(&mut self.in_force.missing);
        self.in_force = InForce { landlock, missing, ..self.gauge.read()? };
        self.name_intent();
        Ok(&self.in_force)
    }

    fn name_intent(&mut self) {
        self.in_force.role = Some(self.confinement.role);
        self.in_force.mode = Some(self.confinement.mode);
        self.in_force.denied = Some(self.confinement.denied);
        self.in_force.capabilities.kept = self.confinement.capabilities.bits();
    }

    /// Holds what was read against what was required. An audit is asked for and so no fault.
    fn verified(self) -> Result<Self, ConfineError> {
        if self.confinement.mode != Mode::Required {
            return Ok(self);
        }
        let judged = match self.confinement.denied {
            Denied::Log => InForce { denied: Some(Denied::Trap), ..self.in_force.clone() },
            Denied::Kill | Denied::Errno | Denied::Trap => self.in_force.clone(),
        };
        let short = judged.shortfalls();
        if short.is_empty() { Ok(self) } else { Err(ConfineError::NotInForce(short)) }
    }
}

impl InForce {
    /// Reads what is in force on any process. Landlock and what the process intended cannot be known from outside.
    ///
    /// # Errors
    /// [`ConfineError::Unreadable`] when the process is gone or hidden, or `/proc` is not there.
    pub fn of(process: u32) -> Result<Self, ConfineError> {
        Gauge::of(process)?.read()
    }
}
