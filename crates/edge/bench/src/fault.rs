//! Why a run cannot begin or go on: what happened, where, and what to do.

use std::io;
use std::net::SocketAddr;

use motte_client::ClientFault;
use motte_transport::ClientError;
use motte_wire::ReasonCode;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The options cannot be carried out.
    #[error(transparent)]
    Options(#[from] crate::options::OptionsError),
    /// The target is another machine.
    #[error(
        "{host} is {address}, which is not this machine: a load can disturb those who use it\n  remedy: if it is yours to burden, say so with --i-own-this-target"
    )]
    ForeignTarget {
        /// As it was given.
        host: String,
        /// What it stands for.
        address: SocketAddr,
    },
    /// No connection stands.
    #[error(transparent)]
    Connect(#[from] ClientError),
    /// The broker and we do not agree.
    #[error(transparent)]
    Mqtt(#[from] ClientFault),
    /// A subscription was refused.
    #[error("the subscription `{filter}` was refused: {} (0x{:02x})\n  remedy: {}", .reason.name(), .reason.0, subscribe_remedy(*.reason))]
    Subscription {
        /// The Topic Filter.
        filter: String,
        /// The Reason Code.
        reason: ReasonCode,
    },
    /// A publication was refused.
    #[error("`{topic}` was not taken: {} (0x{:02x})\n  remedy: {}", .reason.name(), .reason.0, publish_remedy(*.reason))]
    Publication {
        /// The Topic Name.
        topic: String,
        /// The Reason Code.
        reason: ReasonCode,
    },
    /// The broker does not take what the options ask for.
    #[error("the broker takes {what}\n  remedy: {remedy}")]
    Limit {
        /// What it takes.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The system permits too few open files.
    #[error(
        "{needed} open files are needed and the system permits {permitted}\n  remedy: `ulimit -n {needed}` before it (or a higher limit in /etc/security/limits.conf), or fewer connections"
    )]
    Files {
        /// What is needed.
        needed: u64,
        /// The hard limit.
        permitted: u64,
    },
    /// All ports of this machine are in use.
    #[error(
        "this machine has no source port left for {target}: {cause}\n  remedy: wait a minute for ended connections, or give a lower --connect-rate or fewer connections"
    )]
    Ports {
        /// Host and port.
        target: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The process of `--pid` cannot be read.
    #[error(
        "the process {pid} cannot be observed: {cause}\n  remedy: give the broker's process id with --pid, as its own user or root"
    )]
    Process {
        /// Its number.
        pid: u32,
        /// What the system said.
        cause: io::Error,
    },
    /// Not one connection was made.
    #[error("no connection was made: {0}")]
    NoConnection(String),
    /// It was ended before anything was measured.
    #[error("ended before anything was measured")]
    Ended,
    /// The system refuses what the generator needs.
    #[error("the system refuses {what}: {cause}\n  remedy: close other programs, or use fewer --threads")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl Fault {
    /// A connection that the broker closed, perhaps before TLS stood.
    pub(crate) fn closed(target: &str, before_tls: bool) -> Self {
        if before_tls {
            let cause = "the server closed the connection during the handshake; does this port speak TLS?";
            ClientError::tls(target, cause.to_owned()).into()
        } else {
            ClientFault::Closed.into()
        }
    }

    /// A connection that could not be made or is lost, with the remedy that fits.
    pub(crate) fn lost(target: &str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => {
                Self::Ports { target: target.to_owned(), cause }
            }
            // rustls reports what is wrong with TLS as invalid data.
            io::ErrorKind::InvalidData => ClientError::tls(target, cause.to_string()).into(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => {
                ClientError::connecting(target, cause).into()
            }
            _ => ClientFault::Lost(cause).into(),
        }
    }
}

fn subscribe_remedy(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::NOT_AUTHORIZED => {
            "grant this identity `subscribe` on it in the broker's policy, or give --prefix a branch that it may use"
        }
        ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => {
            "use another --shape: mixed subscribes to wildcards"
        }
        ReasonCode::QUOTA_EXCEEDED => "give fewer --topics, or raise limits.subscriptions_per_session_max",
        // Below 5.0 there is one code for every cause.
        ReasonCode::UNSPECIFIED_ERROR => {
            "look at the broker's log: likely its policy does not grant `subscribe` on it (--prefix, --as NAME)"
        }
        _ => "look at the broker's log: it names the cause",
    }
}

fn publish_remedy(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::NOT_AUTHORIZED => {
            "grant this identity `publish` on it in the broker's policy, or give --prefix a branch that it may use"
        }
        ReasonCode::QUOTA_EXCEEDED => "the broker is at a limit: see its log",
        _ => "look at the broker's log: it names the cause",
    }
}
