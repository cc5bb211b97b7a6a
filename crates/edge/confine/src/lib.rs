//! A process gives up what its role does not need, and reads back what is really in force.
//!
//! A [`Confinement`] says what one process may still do; [`Confinement::enforce`] takes the rest away for good: memory
//! dumps, new privileges, capabilities, files and ports (Landlock), kernel calls (seccomp). Nothing here can be undone,
//! by us or by an attacker. What was meant counts for nothing: [`InForce`] is read from the kernel and from attempts that
//! had to fail, and [`selftest`] tries the door from inside.
//!
//! Called while the process has one thread: Landlock (before ABI 8) and capabilities belong to a thread, and threads
//! started later inherit them. A process with more threads is refused ([`ConfineError::Threads`]).

mod allowed;
mod attempts;
mod capability;
mod confinement;
mod domain;
mod error;
mod filter;
mod in_force;
mod probe;
mod process;
mod role;
pub mod selftest;
mod status;
mod table;

pub use confinement::{Confined, Confinement, TcpConnect, lacking};
pub use error::{ConfineError, Missing};
pub use in_force::{Capabilities, InForce, Landlock, Limit, Probe, ProbeOutcome, SeccompMode};
pub use role::{Denied, Mode, Role};
pub use rustix::thread::CapabilitySet;
