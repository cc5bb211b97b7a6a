//! The key process.

use std::path::PathBuf;

use motte_roles::{Role, serve_keys};

use crate::role::confine::confine;
use crate::role::{leave_signals_to_the_supervisor, name, orphan, supervisor};
use crate::verb::Fault;

/// Keeps keys until the supervisor is gone.
pub(crate) fn run() -> Result<(), Fault> {
    name(c"motte-keyd");
    confine(Role::Keyd).map_err(|error| orphan(&error))?;
    leave_signals_to_the_supervisor().map_err(|error| orphan(&error))?;
    let supervisor = supervisor()?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    serve_keys(&supervisor, credentials.as_deref()).map_err(|error| orphan(&error))
}
