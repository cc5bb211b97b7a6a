//! What can be written to ask a running broker: `motte status`, `reload`, `stop` and `clients`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StepUpArgs;

/// Where the broker's control socket is.
#[derive(Debug, Clone, Args)]
pub(crate) struct SocketArgs {
    /// The configuration of the broker, which says where its control socket is
    #[arg(long, global = true)]
    pub(crate) config: Option<PathBuf>,
    /// The control socket
    #[arg(long, global = true, conflicts_with = "config")]
    pub(crate) socket: Option<PathBuf>,
    /// The state directory, with the control socket in it; if left out, motte-state, or the broker of this system
    #[arg(long, global = true, conflicts_with_all = ["config", "socket"])]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    #[command(flatten)]
    pub(crate) step_up: StepUpArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    /// Seconds to wait until it has stopped; after them the exit code is 1, and it goes on stopping
    #[arg(long, default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ClientsArgs {
    #[command(flatten)]
    pub(crate) socket: SocketArgs,
    #[command(subcommand)]
    pub(crate) action: ClientsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientsAction {
    /// List clients and Sessions by Client Identifier, a page at a time
    List {
        /// Begin behind this Client Identifier
        #[arg(long)]
        after: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// All of them, page after page
        #[arg(long, conflicts_with_all = ["after", "limit"])]
        all: bool,
        /// Only those that are connected
        #[arg(long)]
        connected: bool,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one client with its subscriptions
    Show {
        /// Its Client Identifier
        client_id: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// End a client's connection (MQTT 5.0: reason 0x98); its Session stays, and it may connect again
    Disconnect {
        /// Its Client Identifier
        client_id: String,
    },
}
