//! What a role gives up before it does anything: called first in each role's start, with everything that it needs open.

use std::io;

use motte_roles::Role;
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};

/// Confines the calling process to what its role needs. Every thread that is started later is bound by it.
pub(crate) fn confine(role: Role) -> io::Result<()> {
    // Keys, connections and operators without a supervisor are looked after by nobody. The core sees its link end, and stops
    // cleanly.
    if matches!(role, Role::Keyd | Role::Egress | Role::Admin) {
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    rustix::thread::set_no_new_privs(true)?;
    match role {
        // Neither a core dump nor another process of this user gets at keys and credentials.
        Role::Keyd | Role::Egress | Role::Admin => set_dumpable_behavior(DumpableBehavior::NotDumpable)?,
        Role::Core | Role::Supervisor => {}
    }
    Ok(())
}
