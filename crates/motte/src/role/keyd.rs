//! The key process.

use std::io;
use std::path::PathBuf;

use motte_roles::{Role, Source, serve_keys};

use crate::cli::RoleArgs;
use crate::role::confine::confine;
use crate::role::seal::{self, Sandbox};
use crate::role::{leave_signals_to_the_supervisor, name, orphan, supervisor};
use crate::verb::Fault;

/// Keeps keys until the supervisor is gone.
pub(crate) fn run(args: &RoleArgs) -> Result<(), Fault> {
    name(c"motte-keyd");
    confine(Role::Keyd).map_err(|error| orphan(&error))?;
    leave_signals_to_the_supervisor().map_err(|error| orphan(&error))?;
    let supervisor = supervisor()?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let sandbox = Sandbox::given(args);
    let mut refused = None;
    let mut before = |sources: &[Source]| {
        seal::keyd(&sandbox, sources).map_err(|error| {
            refused = Some(error);
            io::Error::from(io::ErrorKind::PermissionDenied)
        })
    };
    let served = serve_keys(&supervisor, credentials.as_deref(), &mut before);
    match (refused, served) {
        (Some(error), _) => Err(Fault::new(format!("the key process cannot be confined: {error}"))),
        (None, served) => served.map_err(|error| orphan(&error)),
    }
}
