//! Everything a shard can ask of the world. The caller owns the buffers; the broker appends to them.

use motte_access::{ClientPrincipal, Principal};
use motte_event::Event;
use motte_store::Batch;
use motte_wire::{Auth, Connect, ProtocolVersion};

use crate::exchange::ShardMessage;
use crate::input::{CloseCause, ConnId, Handover, ShardId};
use crate::output::Output;
use crate::sessions::SessionKey;

/// A question about identity, borrowed from the packet that raised it: whoever answers takes what it needs.
#[derive(Debug)]
pub enum Question<'a> {
    /// CONNECT: who is this?
    Connect(&'a Connect<'a>),
    /// AUTH 0x18: the next step of an exchange.
    Continue(&'a Auth<'a>),
    /// AUTH 0x19: a live client proves itself again.
    Again {
        /// What it says.
        auth: &'a Auth<'a>,
        /// Who it is.
        client: &'a ClientPrincipal,
    },
}

/// Deliveries of a Session that are wanted from where they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadRequest {
    /// The Session here.
    pub session: SessionKey,
    /// Its number where it is kept.
    pub number: u64,
    /// Place in its queue from which on they are wanted.
    pub from: u64,
    /// How many, at most.
    pub max: usize,
}

/// The world as a shard sees it.
pub trait Effects {
    /// The output of a connection, to append whole packets to; `None` when the connection is gone. Touching it marks the
    /// connection to be flushed at the end of the turn.
    fn output(&mut self, conn: ConnId) -> Option<&mut Output>;

    /// Bytes that wait to be written to a connection.
    fn backlog(&self, conn: ConnId) -> usize;

    /// The client is accepted: packets up to `packet_bytes_max` bytes may come, in `version`.
    fn established(&mut self, conn: ConnId, version: ProtocolVersion, packet_bytes_max: u32);

    /// Flushes what was appended and closes the connection; no [`crate::Input::Closed`] follows.
    fn close(&mut self, conn: ConnId, cause: CloseCause);

    /// Asks who a client is; answered by [`crate::Input::Verdict`]. No packet of this connection may arrive before.
    fn authenticate(&mut self, conn: ConnId, question: Question<'_>);

    /// Moves a connection to another shard, with its unread bytes; there it arrives as [`crate::Input::Adopt`].
    fn hand_over(&mut self, conn: ConnId, to: ShardId, handover: Box<Handover>);

    /// Sends to another shard; delivered in order for each pair of shards.
    fn send(&mut self, to: ShardId, message: ShardMessage);

    /// Hands over what is to be kept; answered by [`crate::Input::Committed`] with this tag, in the order of tags. With
    /// `is_synced` it is kept once it is on disk, else once the system has it. Gives an empty batch to go on with.
    ///
    /// # Errors
    /// The batch comes back if nothing can be taken at the moment; the broker tries again.
    fn submit(&mut self, tag: u64, batch: Batch, is_synced: bool) -> Result<Batch, Batch>;

    /// The commits up to this one are kept: calls [`Output::release`] on the connection's output, which may be closing,
    /// and flushes it.
    fn release(&mut self, conn: ConnId, tag: u64);

    /// Reads deliveries that are kept; answered by [`crate::Input::Loaded`], not within this call.
    fn load(&mut self, request: LoadRequest);

    /// Number of the group whose key seals what belongs to a client alone; 0 is everybody's.
    fn group(&mut self, principal: &Principal) -> u32;

    /// Something worth knowing happened.
    fn event(&mut self, event: Event);

    /// 128 random bits, for assigned Client Identifiers.
    fn random(&mut self) -> u128;
}
