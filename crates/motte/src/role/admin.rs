//! The admin process.

use motte_roles::{Role, serve_control};

use crate::cli::RoleArgs;
use crate::role::confine::confine;
use crate::role::seal::{self, Sandbox};
use crate::role::{leave_signals_to_the_supervisor, name, orphan, supervisor};
use crate::verb::Fault;

/// Takes what operators ask until the supervisor is gone.
pub(crate) fn run(args: &RoleArgs) -> Result<(), Fault> {
    name(c"motte-admin");
    confine(Role::Admin).map_err(|error| orphan(&error))?;
    leave_signals_to_the_supervisor().map_err(|error| orphan(&error))?;
    let supervisor = supervisor()?;
    let sandbox = Sandbox::given(args);
    seal::admin(&sandbox)
        .map_err(|error| Fault::new(format!("the admin process cannot be confined: {error}")))?;
    serve_control(&supervisor).map_err(|error| orphan(&error))
}
