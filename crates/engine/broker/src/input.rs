//! Everything that can happen to a shard. Nothing else reaches the broker: no clock, no socket, no configuration file.

use std::net::IpAddr;
use std::sync::Arc;

use motte_access::{ClientPrincipal, CompiledPolicy, Origin, Principal, Security};
use motte_session::{ConnectRequest, SessionLimits};
use motte_store::{Batch, PublicationRecord};
use motte_wire::{ControlPacket, FrameError, MalformedPacket, ReasonCode};

use crate::deliver::Home;
use crate::exchange::ShardMessage;
use crate::publication::StoredPublication;
use crate::restoring::Restored;
use crate::sessions::SessionKey;
use crate::transit::Transit;

/// The time of an input, read once a turn by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; deadlines count in it.
    pub mono_ms: u64,
    /// Milliseconds since 1970 (UTC); only records that outlive the process count in it.
    pub unix_ms: u64,
}

/// A connection of this shard: its slot, and an epoch that tells apart connections that had the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the shard's table of connections; small numbers are reused.
    pub slot: u32,
    /// Grows each time the slot is used again.
    pub epoch: u32,
}

/// One of the shards of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// What is known of a connection before its first packet.
#[derive(Debug, Clone)]
pub struct Link {
    /// Name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The peer's address, after the PROXY header; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// How the connection is protected.
    pub security: Security,
    /// The listener's limits.
    pub limits: Arc<SessionLimits>,
}

/// Bytes of advice in a CONNACK; a client whose Maximum Packet Size leaves no room for so much gets none.
pub const ADVICE_MAX: usize = 256;

/// The answer to [`crate::Effects::authenticate`].
#[derive(Debug)]
pub enum Verdict {
    /// The client is who it says; `data` answers in CONNACK or AUTH when an exchange took place.
    Accepted {
        /// The identity; the broker fills in the Client Identifier.
        principal: Box<ClientPrincipal>,
        /// Authentication Data of the last step, if the method has one.
        data: Option<Vec<u8>>,
        /// What the client should know, for the Reason String of CONNACK (5.0); at most [`ADVICE_MAX`] bytes are sent.
        advice: Option<Box<str>>,
    },
    /// The exchange goes on: send AUTH 0x18 with this data.
    Continue {
        /// Authentication Data for the client.
        data: Vec<u8>,
    },
    /// The client is refused.
    Refused {
        /// Reason Code for CONNACK, or for DISCONNECT when a live client authenticated again.
        reason: ReasonCode,
        /// The cause, for the log only.
        cause: String,
    },
}

/// An authenticated client on its way to the shard that owns its Session.
#[derive(Debug)]
pub struct Handover {
    /// The connection's facts.
    pub link: Link,
    /// Its CONNECT.
    pub request: ConnectRequest,
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The Client Identifier was assigned by us.
    pub assigned: bool,
    /// Authentication Data for CONNACK.
    pub data: Option<Vec<u8>>,
    /// The Reason String of CONNACK.
    pub advice: Option<Box<str>>,
}

/// Why a connection is gone, or is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The client sent DISCONNECT.
    Disconnected,
    /// The peer closed without DISCONNECT, or the network failed.
    Lost,
    /// The peer broke the protocol.
    Protocol,
    /// The client was silent for longer than its Keep Alive.
    KeepAlive,
    /// Another connection took the Session.
    TakenOver,
    /// CONNECT was refused.
    Refused,
    /// Its rights or its credentials were taken back.
    Revoked,
    /// An operator wanted it.
    Administrative,
    /// The server is stopping.
    Shutdown,
    /// It went to another shard.
    HandedOver,
    /// What it was to be told is not kept: the disk refuses.
    NotKept,
}

/// A delivery as it was kept.
#[derive(Debug)]
pub struct Loaded {
    /// Where it goes and how.
    pub delivery: motte_store::Delivery,
    /// The message; `None` if it is lost or its key was shredded.
    pub message: Option<Arc<PublicationRecord>>,
}

/// A message that was on its way between shards when the process ended.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The queue it waits in; `None` for all shards but one, which takes it out.
    pub transit: Option<Transit>,
    /// Who was to get it.
    pub home: Home,
    /// The group it is for: Share Name and Topic Filter.
    pub shared: Option<(String, String)>,
    /// The message; `None` if it is lost.
    pub message: Option<Arc<PublicationRecord>>,
}

/// What became of what was to be kept.
#[derive(Debug)]
pub enum CommitResult {
    /// It is kept.
    Durable,
    /// Nothing of it is kept.
    Refused {
        /// The batch, to be tried again.
        batch: Batch,
        /// Why, for the log.
        cause: String,
    },
    /// It may be found after a restart or not.
    InDoubt {
        /// Why, for the log.
        cause: String,
    },
}

/// Whether a client is still who it was; `Err` says why not.
pub type StillValid = Arc<dyn Fn(&ClientPrincipal) -> Result<(), String> + Send + Sync>;

/// The limits of a listener by its name.
pub type LimitsOf = Arc<dyn Fn(&str) -> Option<Arc<SessionLimits>> + Send + Sync>;

/// New rules for everybody, already parsed and accepted as a whole.
pub struct Reload {
    /// The policy from now on.
    pub policy: Arc<CompiledPolicy>,
    /// Whether a live or stored client is still who it was: its credentials exist and are not revoked. `Err` says why
    /// not, for the log.
    pub still_valid: StillValid,
    /// The limits of a listener by its name, if the listener is still there.
    pub limits: LimitsOf,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reload")
    }
}

/// Who may not stay connected.
#[derive(Clone)]
pub struct Expelled {
    /// Whether a live client may stay; `Err` says why not, for the log.
    pub may_stay: StillValid,
}

impl std::fmt::Debug for Expelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expelled")
    }
}

/// One thing that happens to a shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection stands, its transport's handshakes are over.
    Connected {
        /// The connection.
        conn: ConnId,
        /// Its facts.
        link: Link,
    },
    /// A Control Packet arrived.
    Packet {
        /// The connection.
        conn: ConnId,
        /// The packet, borrowed from the read buffer; by reference, because it is large and passes many hands.
        packet: &'a ControlPacket<'a>,
        /// Bytes of the packet on the wire.
        bytes: usize,
    },
    /// A frame could not be decoded.
    Malformed {
        /// The connection.
        conn: ConnId,
        /// What is wrong, and the Reason Code the standard names for it.
        error: MalformedPacket,
    },
    /// The bytes are no frame, or the frame is larger than allowed.
    BadFrame {
        /// The connection.
        conn: ConnId,
        /// What is wrong.
        error: FrameError,
    },
    /// The transport is gone.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// The connection's output went below its low mark: waiting messages may follow.
    Drained {
        /// The connection.
        conn: ConnId,
    },
    /// The answer to a question about identity.
    Verdict {
        /// The connection.
        conn: ConnId,
        /// The answer.
        verdict: Verdict,
    },
    /// A connection arrives from another shard.
    Adopt {
        /// Its id here.
        conn: ConnId,
        /// What came with it.
        handover: Box<Handover>,
    },
    /// A message from another shard.
    Shard(ShardMessage),
    /// Time passed: timers are due.
    Tick,
    /// A publication that no connection of this shard sent: from an operator, a bridge, another node or the system.
    Inject {
        /// The way in.
        by: Origin,
        /// Who is responsible.
        principal: Arc<Principal>,
        /// The message.
        publication: StoredPublication,
    },
    /// Policy, credentials or limits changed.
    Reload(Reload),
    /// Clients for whom this is an error are disconnected; their Sessions stay.
    Expel(Expelled),
    /// What became of [`crate::Effects::submit`].
    Committed {
        /// Its tag.
        tag: u64,
        /// What became of it.
        result: CommitResult,
    },
    /// The answer to [`crate::Effects::load`].
    Loaded {
        /// The Session.
        session: SessionKey,
        /// Its deliveries, in order.
        deliveries: Vec<Loaded>,
    },
    /// A Session that was kept.
    Restore(Box<Restored>),
    /// A Retained Message that was kept, with who published it.
    RestoreRetained {
        /// Who is responsible.
        principal: Arc<Principal>,
        /// The message.
        publication: StoredPublication,
    },
    /// A message that was on its way between shards when the process ended.
    Arrive(Box<Arrival>),
    /// The turn is over: what it gathered is handed over.
    TurnOver,
    /// The server stops: say goodbye to every client and let Wills be handled.
    Shutdown,
}
