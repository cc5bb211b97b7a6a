//! The process: workers, turns, timers, effects, reload and shutdown.
//!
//! A worker is a thread with an event loop, a shard of the broker and its connections; `turn` is what it does between two
//! waits. `world` is how the broker's effects reach sockets and other workers. `sealing` gives up what none of them needs. `supervise` brings everything up, passes
//! commands on and takes everything down. Never here: rules of the protocol or of policy.

mod accepting;
mod activation;
mod admission;
mod asking;
mod assemble;
mod buffers;
mod certificate_rules;
mod clock;
mod connection;
mod control;
mod door;
mod exchanging;
mod exposing;
mod handshakes;
mod holding;
#[cfg(motte_hole)]
mod hole;
mod inbox;
pub mod kept_file;
mod kept_keys;
mod kept_lists;
mod keyring;
mod lane;
mod learning;
mod limits;
mod log;
mod logins;
mod logins_kept;
mod metrics;
mod moving;
mod notice;
mod ocsp;
mod opening;
mod preparing;
mod priority;
mod questions;
mod reloading;
mod remote_service;
mod revocation;
mod rules;
mod scrape;
mod sealing;
mod server;
mod shutdown;
mod sockets;
mod starting;
mod state;
mod step_up;
mod store;
mod store_keys;
mod supervise;
mod system_topics;
mod token_keys;
mod tokens;
mod trust;
mod turn;
mod usage;
pub mod vault;
mod worker;
mod world;

pub use activation::ACTIVATION;
pub use assemble::{AssembleError, OpenFile};
pub use control::{Control, ControlSocket};
pub use log::write_events;
pub use motte_roles::AskPassphrase;
pub use reloading::ReloadError;
pub use sealing::{
    Sealed, SelfConfinement, check_sandbox, confine_mode, make_state_dir, places, reaches, report_of,
    sandbox_mode,
};
pub use server::{
    Bound, BoundAddress, ExitReason, Handle, LogSink, Options, ReadConfig, RunError, Server, StartError,
    check, run,
};
pub use sockets::Sockets;
pub use state::{StateDirectory, StateError};
pub use store::{StoreFault, files_of};
