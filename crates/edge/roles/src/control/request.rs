//! What can be asked. A request has a number that is never used for another one.

use super::field::{choice, message};

/// Clients on one page, at most.
pub const CLIENTS_PAGE_MAX: u16 = 500;
/// Longest request.
pub(super) const REQUEST_BYTES_MAX: usize = 160 * 1_024;

choice! {
    /// What an operator asks on the control socket.
    pub enum ControlRequest {
        /// Something that the core answers.
        1 => Core {
            /// What.
            request: CoreRequest,
        },
        /// Something that the supervisor answers.
        2 => Supervisor {
            /// What.
            request: SupervisorRequest,
        },
    }
}
message!(ControlRequest, REQUEST_BYTES_MAX);

choice! {
    /// What the core is asked. It changes nothing of its own accord but what the request names.
    pub enum CoreRequest {
        /// How it is. Answered by [`CoreAnswer::Status`](super::CoreAnswer::Status).
        1 => Status,
        /// Sessions and clients, a page of them, by Client Identifier. Answered by
        /// [`CoreAnswer::Clients`](super::CoreAnswer::Clients).
        2 => Clients {
            /// The last Client Identifier of the page before; `None` for the first page.
            after: Option<String>,
            /// Only those that are connected.
            connected: bool,
            /// At most so many, and at most [`CLIENTS_PAGE_MAX`].
            most: u16,
        },
        /// One of them, with its subscriptions. Answered by [`CoreAnswer::Client`](super::CoreAnswer::Client).
        3 => Client {
            /// Its Client Identifier.
            client_id: String,
        },
        /// Ends a client's connection; its Session stays as it would if it had left by itself. Answered by
        /// [`CoreAnswer::Done`](super::CoreAnswer::Done).
        4 => Disconnect {
            /// Its Client Identifier.
            client_id: String,
        },
    }
}

choice! {
    /// What the supervisor is asked.
    pub enum SupervisorRequest {
        /// Which processes there are. Answered by [`SupervisorAnswer::Processes`](super::SupervisorAnswer::Processes).
        1 => Processes,
        /// Read configuration and files anew. Answered by [`SupervisorAnswer::Reloaded`](super::SupervisorAnswer::Reloaded)
        /// when it is known how it went.
        2 => Reload,
        /// Stop cleanly. Answered by [`SupervisorAnswer::Stopping`](super::SupervisorAnswer::Stopping) at once.
        3 => Stop,
    }
}

impl CoreRequest {
    /// What it is called in the log, with whom it is about; `None` for a request that changes nothing.
    pub fn act(&self) -> Option<String> {
        match self {
            Self::Status | Self::Clients { .. } | Self::Client { .. } => None,
            Self::Disconnect { client_id } => Some(format!("disconnect client {client_id}")),
        }
    }
}
