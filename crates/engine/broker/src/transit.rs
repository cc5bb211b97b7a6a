//! Queues between shards, in which messages that must be kept wait on their way.

use motte_store::{PublicationId, SessionId};

use crate::input::ShardId;

/// The kept queue in which a message waits while it is on its way, to be taken out where it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transit {
    /// Number of the queue: of a Session, or of those on their way between two shards.
    pub queue: SessionId,
    /// Place in it.
    pub seq: u64,
    /// The message, if its number is known.
    pub message: Option<PublicationId>,
}

impl Transit {
    /// Numbers up to this one are of queues between shards; those of Sessions are larger.
    pub const QUEUES: u64 = 64 * 64;

    /// The queue between two shards.
    pub(crate) fn queue(from: ShardId, to: ShardId) -> SessionId {
        SessionId(1 + u64::from(from.0 % 64) * 64 + u64::from(to.0 % 64))
    }

    /// Where a queue between shards leads.
    pub fn destination(queue: SessionId) -> ShardId {
        ShardId(u16::try_from(queue.0.saturating_sub(1) % 64).unwrap_or(0))
    }
}
