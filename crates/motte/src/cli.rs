//! What can be written on the command line. Secrets cannot: they come from a prompt or a file.

mod acl;
mod audit;
mod bans;
mod bench;
mod control;
mod import;
mod key;
mod step_up;
mod store;
mod tunnel;
mod user;
mod vault;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use acl::{
    AclAction, AclAdviseArgs, AclApplyArgs, AclArgs, AclBlastArgs, AclDiffArgs, AclExplainArgs, AclLintArgs,
    AclProveArgs, AclTestArgs, MethodArg, PolicyArgs, SeverityArg,
};
pub(crate) use audit::{AuditAction, AuditArgs, HostAuditArgs};
pub(crate) use bans::{BansAction, BansArgs};
pub(crate) use bench::{BenchArgs, ShapeArg};
pub(crate) use control::{ClientsAction, ClientsArgs, ReloadArgs, SocketArgs, StatusArgs, StopArgs};
pub(crate) use import::{ImportArgs, ImportFrom, MosquittoArgs};
pub(crate) use key::{KeyAction, KeyArgs};
pub(crate) use step_up::StepUpArgs;
pub(crate) use store::{KeptArgs, StoreAction, StoreArgs};
pub(crate) use tunnel::{TunnelArgs, TunnelKind, WgAction};
pub(crate) use user::{
    AccountsArgs, GenFormat, NewPasswordArgs, PasswdAction, PasswdArgs, ProfileArg, TotpAction, UserAction,
    UserArgs,
};
pub(crate) use vault::{RecoveryAction, VaultAction, VaultArgs};

/// The fortified MQTT broker: closed until you open it.
#[derive(Debug, Parser)]
#[command(name = "motte", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a secured broker from nothing: certificate authority, certificates, identities and policy are made
    Up(UpArgs),
    /// Make the credentials that are missing in a state directory, and stop: what a service needs before its start
    Init(InitArgs),
    /// Run a written configuration
    Serve(ServeArgs),
    /// Check a configuration and everything it names, without starting
    Check(ServeArgs),
    /// Run without encryption and authentication, on this machine only, for development
    Dev(DevArgs),
    /// Say how a running broker is
    Status(StatusArgs),
    /// Have a running broker read its configuration and files anew; exit code 1, with every fault, if it refuses them
    Reload(ReloadArgs),
    /// Stop a running broker cleanly, and wait for it
    Stop(StopArgs),
    /// See and disconnect the clients of a running broker
    Clients(ClientsArgs),
    /// See, make and lift the bans of a running broker
    Bans(BansArgs),
    /// Publish messages
    Pub(PubArgs),
    /// Subscribe and print messages
    Sub(SubArgs),
    /// Load a broker and measure what it delivers, how late, and at what cost
    Bench(Box<BenchArgs>),
    /// Make the credential of another device, or revoke one
    Device(DeviceArgs),
    /// Private keys in files: make, look at, give another passphrase
    Key(KeyArgs),
    /// Accounts with passwords: add, change, rotate, close, expose, import
    User(UserArgs),
    /// Generate and check passwords; set one
    Passwd(PasswdArgs),
    /// See and test how a broker confines itself
    Harden(HardenArgs),
    /// Ask the policy: why, who, what if; prove it, compare it, test it
    Acl(AclArgs),
    /// Look at the host that a broker runs on: what is found, how grave it is, what to do
    Audit(AuditArgs),
    /// Take over the configuration of another broker
    Import(ImportArgs),
    /// Check, measure, copy and move what a broker keeps
    Store(StoreArgs),
    /// The keys that seal what a broker keeps: see, exchange and destroy them
    Vault(VaultArgs),
    /// Tunnels by which devices reach the broker: keys and configurations for them
    Tunnel(TunnelArgs),
    /// Explain an event of the log: what it means and what to do
    Explain(ExplainArgs),
    /// A process of a running broker; only `serve` and `up` start it
    #[command(hide = true)]
    Role(RoleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Which
    pub(crate) role: RoleName,
    /// How it confines itself
    #[arg(long, value_parser = sandbox_mode, default_value = "required")]
    pub(crate) sandbox: motte_config::SandboxMode,
    /// Kernel calls that are not its own are logged and not refused
    #[arg(long)]
    pub(crate) audit: bool,
    /// The state directory, in which it tells what is in force
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Listeners, parsing, routing, store
    Core,
    /// Private keys
    Keyd,
    /// Connections to elsewhere
    Egress,
    /// What operators ask
    Admin,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Directory for everything that is made and kept
    #[arg(long, default_value = "motte-state")]
    pub(crate) state: PathBuf,
    /// Address to listen on; anything but a loopback address opens the broker to the network
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) bind: std::net::IpAddr,
    /// Port for TLS
    #[arg(long, default_value_t = 8883)]
    pub(crate) port: u16,
    /// Another name under which clients reach the broker, for its certificate (may be repeated)
    #[arg(long = "name")]
    pub(crate) names: Vec<String>,
    /// Worker threads; 0: one for each core
    #[arg(long, default_value_t = 0)]
    pub(crate) workers: u16,
    /// How the process confines itself: required, best-effort or off; required where the kernel can, if left out
    #[arg(long, value_parser = sandbox_mode)]
    pub(crate) sandbox: Option<motte_config::SandboxMode>,
    /// Print the configuration and stop
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Write events as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Directory for everything that is made and kept
    #[arg(long, default_value = "motte-state")]
    pub(crate) state: PathBuf,
    /// Another name under which clients reach the broker, for its certificate (may be repeated)
    #[arg(long = "name")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration; every key is in examples/configs/motte.toml
    #[arg(long)]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Loopback address and port to listen on
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub(crate) bind: SocketAddr,
    /// Loopback address and port for WebSocket, beside the other
    #[arg(long)]
    pub(crate) ws: Option<SocketAddr>,
    /// Directory to keep Sessions and Retained Messages in
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// File with [limits], [log] and [sys]
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Worker threads; 0: one for each core
    #[arg(long, default_value_t = 0)]
    pub(crate) workers: u16,
    /// Write events as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// As whom to connect, and whom to trust.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// Connect as an identity of the state directory
    #[arg(long = "as", value_name = "NAME", conflicts_with_all = ["cert", "key"])]
    pub(crate) identity: Option<String>,
    /// The state directory
    #[arg(long, default_value = "motte-state")]
    pub(crate) state: PathBuf,
    /// Certificate of the authority of the server's certificate: use TLS
    #[arg(long, visible_alias = "tls-ca")]
    pub(crate) ca: Option<PathBuf>,
    /// Own certificate
    #[arg(long, visible_alias = "tls-cert", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of the own certificate
    #[arg(long, visible_alias = "tls-key", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Name that the server's certificate must have, where it is not the host
    #[arg(long)]
    pub(crate) tls_name: Option<String>,
    /// User Name; the password is asked for
    #[arg(long, short)]
    pub(crate) user: Option<String>,
    /// File with the password, instead of the prompt; `-` is standard input
    #[arg(long, requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Where and as whom to connect.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Host of the broker
    #[arg(long, short = 'H', default_value = "localhost")]
    pub(crate) host: String,
    /// Port; 8883 with TLS, 1883 without
    #[arg(long, short)]
    pub(crate) port: Option<u16>,
    /// Connect to a Unix socket instead
    #[arg(long, conflicts_with_all = ["port", "ws"])]
    pub(crate) unix: Option<PathBuf>,
    /// Connect by WebSocket, with this path
    #[arg(long, num_args = 0..=1, default_missing_value = "/mqtt")]
    pub(crate) ws: Option<String>,
    #[command(flatten)]
    pub(crate) credential: CredentialArgs,
    /// Client Identifier
    #[arg(long, short = 'i')]
    pub(crate) id: Option<String>,
    /// Keep Alive in seconds
    #[arg(long, short, default_value_t = 60)]
    pub(crate) keep_alive: u16,
    /// Protocol version: 3.1, 3.1.1 or 5
    #[arg(long, short = 'V', default_value = "5")]
    pub(crate) version: String,
    /// Session Expiry Interval in seconds; keeps the Session (5)
    #[arg(long)]
    pub(crate) session_expiry: Option<u32>,
    /// Resume the Session instead of starting clean
    #[arg(long)]
    pub(crate) resume: bool,
    /// Topic of a Will
    #[arg(long)]
    pub(crate) will_topic: Option<String>,
    /// Payload of the Will
    #[arg(long, requires = "will_topic", default_value = "")]
    pub(crate) will_message: String,
    /// QoS of the Will
    #[arg(long, requires = "will_topic", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) will_qos: u8,
    /// Retain the Will
    #[arg(long, requires = "will_topic")]
    pub(crate) will_retain: bool,
    /// Seconds between the end of the connection and the Will (5)
    #[arg(long, requires = "will_topic", default_value_t = 0)]
    pub(crate) will_delay: u32,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Topic Name
    #[arg(long, short)]
    pub(crate) topic: String,
    /// Payload; without it, standard input is the payload
    #[arg(long, short)]
    pub(crate) message: Option<String>,
    /// File whose contents are the payload
    #[arg(long, short, conflicts_with = "message")]
    pub(crate) file: Option<PathBuf>,
    /// Publish each line of standard input as a message
    #[arg(long, short, conflicts_with_all = ["message", "file"])]
    pub(crate) lines: bool,
    /// QoS
    #[arg(long, short, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Retain the message
    #[arg(long, short)]
    pub(crate) retain: bool,
    /// Publish it this many times
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// Message Expiry Interval in seconds (5)
    #[arg(long)]
    pub(crate) expiry: Option<u32>,
    /// Content Type (5)
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// Response Topic (5)
    #[arg(long)]
    pub(crate) response_topic: Option<String>,
    /// Correlation Data (5)
    #[arg(long)]
    pub(crate) correlation: Option<String>,
    /// User Property, NAME=VALUE (5; may be repeated)
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub(crate) properties: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Topic Filter (may be repeated)
    #[arg(long = "topic", short, required = true)]
    pub(crate) topics: Vec<String>,
    /// Highest QoS
    #[arg(long, short, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Stop after this many messages
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Stop when no message came for this many seconds; exit code 1 if --count was not reached
    #[arg(long)]
    pub(crate) timeout: Option<u64>,
    /// Print topics before payloads
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// No Local (5)
    #[arg(long)]
    pub(crate) no_local: bool,
    /// Retain As Published (5)
    #[arg(long)]
    pub(crate) retain_as_published: bool,
    /// Retained Messages: 0 always, 1 if the subscription is new, 2 never (5)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) retain_handling: u8,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    pub(crate) action: DeviceAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceAction {
    /// Issue a certificate for a device; its policy is the role `device` of policy.toml
    Add {
        /// Name of the device: its identity and Client Identifier
        name: String,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
    /// Revoke a device's certificate; the name can be issued anew afterwards
    Revoke {
        /// Name of the device
        name: String,
        /// The state directory
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Identifier or name of an event, MOTTE-G-0003 or gate.connect_refused; without it, all are listed
    pub(crate) event: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HardenArgs {
    #[command(subcommand)]
    pub(crate) action: HardenAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HardenAction {
    /// Ask the kernel what is in force on a running broker; exit code 1 if that is not everything
    Status {
        /// The state directory of the broker
        #[arg(long, default_value = "motte-state")]
        state: PathBuf,
        /// The process, in place of the one that uses the state directory
        #[arg(long)]
        pid: Option<u32>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Try to get out of the sandbox in every role; exit code 1 if anything is not refused
    Selftest {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// One attempt of the self-test, in a process that it starts
    #[command(hide = true)]
    Attempt { arguments: Vec<String> },
}

fn sandbox_mode(name: &str) -> Result<motte_config::SandboxMode, String> {
    motte_config::SandboxMode::parse(name).ok_or_else(|| "use required, best-effort or off".to_owned())
}
