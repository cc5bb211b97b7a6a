//! The processes of a broker. The operator starts the supervisor; it starts the others from the same file, each with one
//! end of a pair of sockets as its standard input.

mod admin;
mod administration;
mod child;
mod confine;
mod core;
mod domain;
mod egress;
mod given;
mod keyd;
mod outward;
mod seal;
pub(crate) mod supervise;
mod vault;

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use motte_roles::Link;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(crate) use domain::domain as selinux_domain;
pub(crate) use outward::check as check_outward;

use crate::cli::{RoleArgs, RoleName};
use crate::verb::Fault;

/// Runs a role to its end.
pub(crate) fn run(args: &RoleArgs) -> Result<(), Fault> {
    match args.role {
        RoleName::Core => core::run(),
        RoleName::Keyd => keyd::run(args),
        RoleName::Egress => egress::run(args),
        RoleName::Admin => admin::run(args),
    }
}

/// The link to the supervisor.
fn supervisor() -> Result<Link, Fault> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    socket.map(Link::new).map_err(|error| orphan(&error))
}

/// Names the process for `ps` and `top`, which would call it after the way it was started.
fn name(name: &CStr) {
    // Only for people.
    let _ = rustix::thread::set_name(name);
}

/// Without a supervisor a role is nothing.
fn orphan(cause: &dyn std::fmt::Display) -> Fault {
    Fault::with_remedy(
        format!("this process of a broker has no supervisor: {cause}"),
        "use `motte serve` or `motte up`, which start it",
    )
}

/// The supervisor alone decides when a role ends: a service manager may send its signals to every process of the broker.
fn leave_signals_to_the_supervisor() -> io::Result<()> {
    let noted = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&noted))?;
    }
    Ok(())
}
