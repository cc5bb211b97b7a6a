//! Who confines itself, how strictly, and what a refused kernel call meets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part a process plays. It decides which kernel calls remain; the table is `allowed.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Parses what strangers send. Accepts on listeners it was given; makes no socket, starts no program.
    Core,
    /// Holds private keys and answers over descriptors it was given. No network at all.
    Keyd,
    /// Reaches out: bridges, log shipping, CRLs. Makes TCP and UDP sockets and connects; accepts nothing.
    Egress,
    /// Answers operators on listeners it was given.
    Admin,
    /// Opens listeners, starts the others and looks after them. What it gives up, its children have given up too:
    /// Landlock and seccomp are inherited and only ever get narrower.
    Supervisor,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [Role::Core, Role::Keyd, Role::Egress, Role::Admin, Role::Supervisor];

    /// The role's name as written in configuration and reports.
    pub fn name(self) -> &'static str {
        match self {
            Role::Core => "core",
            Role::Keyd => "keyd",
            Role::Egress => "egress",
            Role::Admin => "admin",
            Role::Supervisor => "supervisor",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What a refused kernel call meets in this role, unless an audit is asked for.
    ///
    /// Most fail and go on: where a new C library tries a call that the table does not know, everybody's connections are
    /// worth more than the end of an attacker who gets nothing from the call either way. Keyd ends: it is small, its calls
    /// are few, a restart loses nothing, and code that was taken over beside the keys gets no second try.
    pub fn denied(self) -> Denied {
        match self {
            Role::Keyd => Denied::Kill,
            Role::Core | Role::Egress | Role::Admin | Role::Supervisor => Denied::Errno,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happens where the kernel cannot do what is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// An error that names what is missing, before anything is given up.
    #[default]
    Required,
    /// What the kernel can do is in force; the rest is listed in [`InForce::missing`](crate::InForce::missing).
    BestEffort,
    /// Nothing is given up; the report says so.
    Off,
}

/// What a kernel call meets that the role's table does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Denied {
    /// The process ends with SIGSYS: no code that was taken over gets a second try.
    Kill,
    /// The call fails with EPERM and the process goes on.
    Errno,
    /// Audit: the call is carried out and logged by the kernel (`audit` or the kernel log, `type=1326`). Enforces nothing.
    Log,
    /// Audit: the thread gets SIGSYS with the number of the call, for a handler that reports it.
    Trap,
}
