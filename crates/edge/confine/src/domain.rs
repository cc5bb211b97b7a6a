//! Landlock: what of the file system and of TCP is left, and who can be signalled.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, PathFdError, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};

use crate::confinement::{Confinement, TcpConnect};
use crate::error::{ConfineError, Missing};

const STEP: &str = "Landlock";
/// The newest rights this build knows; the kernel takes those it has.
const NEWEST: ABI = ABI::V9;
/// What a process may not do even where it may write: run programs, make devices, talk to them.
const NEVER_WRITTEN: [AccessFs; 4] =
    [AccessFs::Execute, AccessFs::MakeBlock, AccessFs::MakeChar, AccessFs::IoctlDev];

/// What [`Mode::Required`](crate::Mode::Required) asks of the kernel's Landlock, oldest first, and what brings it.
const NEEDS: [(ABI, &str, &str); 5] = [
    (
        ABI::V1,
        "Landlock",
        "Linux 5.13 or newer built with CONFIG_SECURITY_LANDLOCK=y, and `landlock` among the modules of `lsm=` on the \
         kernel's command line",
    ),
    (ABI::V3, "Landlock: renaming between directories and truncation", "Linux 6.2 or newer"),
    (ABI::V4, "Landlock: TCP ports", "Linux 6.7 or newer built with CONFIG_INET=y"),
    (ABI::V5, "Landlock: control of devices", "Linux 6.10 or newer"),
    (ABI::V6, "Landlock: signals and abstract Unix sockets", "Linux 6.12 or newer"),
];

/// What of Landlock this kernel lacks. Without Landlock that is all that is said.
pub(crate) fn lacking() -> Vec<Missing> {
    let needs = if is_known(ABI::V1) { &NEEDS[..] } else { &NEEDS[..1] };
    needs
        .iter()
        .filter(|(abi, ..)| !is_known(*abi))
        .map(|(_, feature, remedy)| Missing { feature: (*feature).to_owned(), remedy: (*remedy).to_owned() })
        .collect()
}

/// Whether the kernel knows everything of an ABI.
fn is_known(abi: ABI) -> bool {
    let ruleset = || {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))?;
        if abi >= ABI::V4 {
            ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
        }
        if abi >= ABI::V6 {
            ruleset = ruleset.scope(Scope::from_all(abi))?;
        }
        ruleset.create()
    };
    ruleset().is_ok()
}

/// A set of rules, ready to be entered. Making one gives nothing up.
pub(crate) struct Domain {
    rules: RulesetCreated,
}

/// What the kernel made of a [`Domain`].
pub(crate) struct Entered {
    /// The ABI in use; none without Landlock.
    pub(crate) abi: Option<u8>,
}

impl Domain {
    /// Opens the paths and makes the rules.
    ///
    /// # Errors
    /// [`ConfineError::Path`] for a path that cannot be opened, [`ConfineError::Step`] for what the kernel refuses.
    pub(crate) fn new(confinement: &Confinement) -> Result<Self, ConfineError> {
        let mut rules = handled(confinement).map_err(failed)?;
        let groups: [(&[PathBuf], BitFlags<AccessFs>); 3] = [
            (&confinement.read, AccessFs::ReadFile | AccessFs::ReadDir),
            (&confinement.read_write, written()),
            (&confinement.execute, AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute),
        ];
        for (paths, access) in groups {
            for path in paths {
                rules = rules.add_rule(beneath(path, access)?).map_err(failed)?;
            }
        }
        for port in &confinement.tcp_bind {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp)).map_err(failed)?;
        }
        if let TcpConnect::Ports(ports) = &confinement.tcp_connect {
            for port in ports {
                rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(failed)?;
            }
        }
        Ok(Self { rules })
    }

    /// Puts the rules into force, for good.
    ///
    /// # Errors
    /// [`ConfineError::Step`] with what the kernel said.
    pub(crate) fn enter(self) -> Result<Entered, ConfineError> {
        let status: RestrictionStatus = self.rules.restrict_self().map_err(failed)?;
        let abi = match status.landlock {
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                u8::try_from(kernel_abi.unwrap_or(effective_abi as i32)).ok()
            }
        };
        Ok(Entered { abi })
    }
}

fn failed(error: landlock::RulesetError) -> ConfineError {
    ConfineError::step(STEP, error)
}

/// Takes everything that can be taken; rules then give back.
fn handled(confinement: &Confinement) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(NEWEST))?;
    if confinement.tcp_connect != TcpConnect::Any {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    ruleset.create()
}

fn written() -> BitFlags<AccessFs> {
    let never = NEVER_WRITTEN.iter().fold(BitFlags::empty(), |never, access| never | *access);
    AccessFs::from_all(NEWEST) & !never
}

/// A rule for a path; of the rights of directories a file takes none.
fn beneath(path: &Path, access: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, ConfineError> {
    let failed = |source| ConfineError::Path { path: path.to_owned(), source };
    let is_file = path.metadata().map_err(failed)?.is_file();
    let access = if is_file { access & AccessFs::from_file(NEWEST) } else { access };
    let descriptor = PathFd::new(path).map_err(|error| match error {
        PathFdError::OpenCall { source, .. } => failed(source),
        other => failed(io::Error::other(other.to_string())),
    })?;
    Ok(PathBeneath::new(descriptor, access))
}
