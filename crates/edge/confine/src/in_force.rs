//! What is really in force on a process, as read from the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Missing;
use crate::role::{Denied, Mode, Role};

/// What was read about one process. Nothing in here is what somebody intended, but for `role`, `mode` and `denied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The process.
    pub process: u32,
    /// When it started, in clock ticks since the machine did: numbers of processes come back, these two together do not.
    pub started: u64,
    /// The role it took; unknown for another process.
    pub role: Option<Role>,
    /// How strictly it was asked to confine itself; unknown for another process.
    pub mode: Option<Mode>,
    /// What a refused call meets; unknown for another process.
    pub denied: Option<Denied>,
    /// Its threads. More than one after [`enforce`](crate::Confinement::enforce) is normal.
    pub threads: u32,
    /// `NoNewPrivs` of `/proc/PID/status`.
    pub no_new_privileges: bool,
    /// Whether memory may be dumped and read by others of the same user. Of another process it is told by the owner of
    /// `/proc/PID`, and not at all when that process is root's.
    pub dumpable: Option<bool>,
    /// `Seccomp` of `/proc/PID/status`.
    pub seccomp: SeccompMode,
    /// Number of seccomp programs; unknown before Linux 5.9.
    pub seccomp_filters: Option<u32>,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// Limits that a confinement lowers, and the number of open files, which it leaves.
    pub limits: Vec<Limit>,
    /// Landlock, told by attempts: the kernel has no question for it.
    pub landlock: Landlock,
    /// The label of SELinux or AppArmor, if one of them is there.
    pub label: Option<String>,
    /// What the kernel could not do, under [`Mode::BestEffort`].
    pub missing: Vec<Missing>,
}

/// Seccomp of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeccompMode {
    /// All kernel calls are permitted, or the kernel was built without seccomp.
    Off,
    /// Nothing but read, write and exit.
    Strict,
    /// Programs decide.
    Filter,
}

/// Capability sets as bits, numbered as in capabilities(7). `kept` is what the confinement left on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// In use.
    pub effective: u64,
    /// To be had without execve.
    pub permitted: u64,
    /// Passed over an execve.
    pub inheritable: u64,
    /// What an execve could bring at most.
    pub bounding: u64,
    /// Kept over an execve of a plain program.
    pub ambient: u64,
    /// What the confinement was told to keep; 0 for another process.
    pub kept: u64,
}

/// A resource limit; none means unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name in `/proc/PID/limits`.
    pub name: String,
    /// In force; units are those of `/proc/PID/limits`.
    pub soft: Option<u64>,
    /// The most it can be raised to.
    pub hard: Option<u64>,
}

/// What is known of Landlock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// The ABI of the kernel; none without Landlock, or for another process.
    pub abi: Option<u8>,
    /// Attempts that had to be refused.
    pub probes: Vec<Probe>,
}

/// One attempt at what Landlock must refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried.
    pub attempt: String,
    /// What came of it.
    pub outcome: ProbeOutcome,
}

/// What came of a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// Refused as it should be.
    Refused,
    /// Not refused: the kernel went along, or failed for another reason.
    Permitted(String),
    /// Could not tell anything, and why.
    NotTried(String),
}

impl InForce {
    /// What a full confinement has and this process has not, as sentences; empty when all is in force.
    pub fn shortfalls(&self) -> Vec<String> {
        let lacking = self.missing.iter().map(|missing| format!("this kernel lacks {}", missing.feature));
        lacking.chain(self.faults()).collect()
    }

    /// The [`shortfalls`](Self::shortfalls) that do not follow from what the kernel lacks.
    pub fn faults(&self) -> Vec<String> {
        let mut short = Vec::new();
        let mut need = |holds: bool, what: &str| {
            if !holds {
                short.push(what.to_owned());
            }
        };
        need(self.no_new_privileges, "no_new_privs is not set");
        need(self.dumpable == Some(false), "memory is dumpable, or it cannot be told");
        let is_lacking = self.missing.iter().any(|missing| missing.feature == "seccomp");
        need(self.seccomp != SeccompMode::Off || is_lacking, "seccomp is off");
        let audits = matches!(self.denied, Some(Denied::Log));
        need(!audits, "seccomp only logs");
        let capabilities = &self.capabilities;
        let gained = (capabilities.effective | capabilities.permitted) & !capabilities.kept;
        need(gained == 0, "capabilities are left");
        need(capabilities.inheritable | capabilities.ambient == 0, "capabilities are inheritable");
        // Without new privileges no execve uses the bounding set, and without CAP_SETPCAP nobody can empty it.
        need(
            capabilities.bounding & !capabilities.kept == 0 || self.no_new_privileges,
            "the bounding set is not empty",
        );
        let core = self.limits.iter().find(|limit| limit.name == CORE_FILES);
        need(core.is_some_and(|limit| limit.hard == Some(0)), "core files are permitted");
        let is_lacking = self.missing.iter().any(|missing| missing.feature.starts_with("Landlock"));
        need(self.landlock.abi.is_some() || is_lacking, "Landlock is not in force, or it cannot be told");
        for probe in &self.landlock.probes {
            match &probe.outcome {
                ProbeOutcome::Refused | ProbeOutcome::NotTried(_) => {}
                ProbeOutcome::Permitted(how) => {
                    short.push(format!("Landlock let through: {} ({how})", probe.attempt));
                }
            }
        }
        short
    }

    /// Whether everything is in force.
    pub fn is_full(&self) -> bool {
        self.shortfalls().is_empty()
    }

    /// What is in force in one line, for a log.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(abi) = self.landlock.abi {
            let refused = |probe: &&Probe| probe.outcome == ProbeOutcome::Refused;
            let refused = self.landlock.probes.iter().filter(refused).count();
            parts.push(format!("Landlock ABI {abi} ({refused} attempts refused)"));
        }
        parts.push(format!("seccomp {}", self.seccomp_text()));
        if self.no_new_privileges {
            parts.push("no_new_privs".to_owned());
        }
        if self.capabilities.effective | self.capabilities.permitted == 0 {
            parts.push("no capabilities".to_owned());
        }
        if self.dumpable == Some(false) {
            parts.push("not dumpable".to_owned());
        }
        parts.join(", ")
    }

    /// The report for programs.
    pub fn to_json(&self) -> String {
        // Numbers, text and names of variants: nothing in it can fail to be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote; nothing when it is something else.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Adds to what was read from outside what the process found out about itself, and only what cannot be read from
    /// outside: Landlock, the dumpable flag of a process of root, what was meant. Of another process nothing is taken.
    #[must_use]
    pub fn with_own(self, own: &Self) -> Self {
        if (self.process, self.started) != (own.process, own.started) {
            return self;
        }
        let kept = own.capabilities.kept;
        Self {
            role: own.role,
            mode: own.mode,
            denied: own.denied,
            dumpable: self.dumpable.or(own.dumpable),
            landlock: own.landlock.clone(),
            capabilities: Capabilities { kept, ..self.capabilities },
            missing: own.missing.clone(),
            ..self
        }
    }

    /// The report as rows of a name and a value.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("process", self.process),
            row("role", self.role.map_or("unknown", Role::name)),
            row("threads", self.threads),
            row("no new privileges", yes(self.no_new_privileges)),
            row("dumpable", self.dumpable.map_or("unknown", yes)),
            row("seccomp", self.seccomp_text()),
        ];
        let Capabilities { effective, permitted, inheritable, bounding, ambient, kept: _ } =
            self.capabilities;
        let sets = [
            ("effective", effective),
            ("permitted", permitted),
            ("inheritable", inheritable),
            ("bounding", bounding),
            ("ambient", ambient),
        ];
        for (name, bits) in sets {
            let value = if bits == 0 { "none".to_owned() } else { format!("{bits:#x}") };
            rows.push(row(&format!("capabilities {name}"), value));
        }
        for limit in &self.limits {
            let value = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
            rows.push((
                limit.name.to_lowercase(),
                format!("{} (at most {})", value(limit.soft), value(limit.hard)),
            ));
        }
        rows.push(row(
            "landlock",
            self.landlock.abi.map_or("unknown or none".to_owned(), |abi| format!("ABI {abi}")),
        ));
        for probe in &self.landlock.probes {
            let value = match &probe.outcome {
                ProbeOutcome::Refused => "refused".to_owned(),
                ProbeOutcome::Permitted(how) => format!("PERMITTED: {how}"),
                ProbeOutcome::NotTried(why) => format!("not tried: {why}"),
            };
            rows.push(row(&format!("landlock {}", probe.attempt), value));
        }
        rows.push(row("label", self.label.as_deref().unwrap_or("none")));
        rows.extend(self.missing.iter().map(|missing| row("MISSING", missing)));
        rows
    }

    fn seccomp_text(&self) -> String {
        let filters = self.seccomp_filters.map_or(String::new(), |count| format!(", programs: {count}"));
        match self.seccomp {
            SeccompMode::Off => "OFF".to_owned(),
            SeccompMode::Strict => "strict".to_owned(),
            SeccompMode::Filter => match self.denied {
                None => format!("on{filters}"),
                Some(Denied::Kill) => format!("on{filters}, a refused call ends the process"),
                Some(Denied::Errno) => format!("on{filters}, a refused call fails"),
                Some(Denied::Log) => format!("AUDIT{filters}, a refused call is logged and carried out"),
                Some(Denied::Trap) => format!("on{filters}, a refused call raises SIGSYS"),
            },
        }
    }
}

/// The name of RLIMIT_CORE in `/proc/PID/limits`.
const CORE_FILES: &str = "Max core file size";

fn row(name: &str, value: impl fmt::Display) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

impl fmt::Display for InForce {
    /// A table of two aligned columns, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().try_for_each(|(name, value)| writeln!(f, "{name:width$}  {value}"))
    }
}
