//! Everything a shard can ask of the world. The caller owns the buffers; the broker appends to them.

use motte_event::Event;
use motte_wire::{Auth, Connect, ProtocolVersion};

use crate::exchange::ShardMessage;
use crate::input::{CloseCause, ConnId, Handover, ShardId};
use crate::output::Output;

/// A question about identity, borrowed from the packet that raised it: whoever answers takes what it needs.
#[derive(Debug)]
pub enum Question<'a> {
    /// CONNECT: who is this?
    Connect(&'a Connect<'a>),
    /// AUTH 0x18: the next step of an exchange.
    Continue(&'a Auth<'a>),
    /// AUTH 0x19: a live client proves itself again.
    Again(&'a Auth<'a>),
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

    /// Something worth knowing happened.
    fn event(&mut self, event: Event);

    /// 128 random bits, for assigned Client Identifiers.
    fn random(&mut self) -> u128;
}
