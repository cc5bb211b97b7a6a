//! The process that connects out.

use std::collections::BTreeSet;
use std::io;

use motte_egress::serve_outward;
use motte_roles::{OutwardSource, Role};

use crate::cli::RoleArgs;
use crate::role::confine::confine;
use crate::role::seal::{self, Sandbox};
use crate::role::{leave_signals_to_the_supervisor, name, orphan, supervisor};
use crate::verb::Fault;

/// Connects where it is told to until the supervisor is gone.
pub(crate) fn run(args: &RoleArgs) -> Result<(), Fault> {
    name(c"motte-egress");
    confine(Role::Egress).map_err(|error| orphan(&error))?;
    leave_signals_to_the_supervisor().map_err(|error| orphan(&error))?;
    let supervisor = supervisor()?;
    let sandbox = Sandbox::given(args);
    let mut refused = None;
    let mut before = |sources: &[OutwardSource]| {
        let ports: BTreeSet<u16> = sources.iter().flat_map(|source| source.facts.ports()).collect();
        seal::egress(&sandbox, ports.into_iter().collect()).map_err(|error| {
            refused = Some(error);
            io::Error::from(io::ErrorKind::PermissionDenied)
        })
    };
    let served = serve_outward(&supervisor, &mut before);
    match (refused, served) {
        (Some(error), _) => {
            Err(Fault::new(format!("the process that connects out cannot be confined: {error}")))
        }
        (None, served) => served.map_err(|error| orphan(&error)),
    }
}
