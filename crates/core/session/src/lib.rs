//! One client's protocol, apart from every other client: the checks of CONNECT, the Will, the QoS flows in both
//! directions, the send window, Topic Aliases, Keep Alive and Session expiry.
//!
//! Never here: other sessions, policy, sockets, clocks. Time arrives as an argument in milliseconds.

pub mod alias;
pub mod connect;
pub mod expiry;
pub mod inbound;
pub mod keep_alive;
pub mod limits;
pub mod outbound;
pub mod will;

pub use alias::{InboundAliases, OutboundAlias, OutboundAliases};
pub use connect::{ConnectRefusal, ConnectRequest};
pub use expiry::SessionExpiry;
pub use inbound::{Inbound, Received};
pub use keep_alive::KeepAlive;
pub use limits::{Durability, SessionLimits};
pub use outbound::{Admission, Completion, Letter, Outbound, QueueLimits, Retransmission};
pub use will::Will;
