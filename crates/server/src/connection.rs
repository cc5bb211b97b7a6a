//! A connection of a worker, and the table of them.

use std::sync::Arc;

use motte_access::CertificateFacts;
use motte_broker::{ConnId, Handover, Output, ShardId};
use motte_transport::Stream;
use motte_wire::{DecodeRules, Direction, ProtocolVersion};

use crate::admission::Seat;
use crate::exchanging::Exchange;
use crate::logins::LoginNote;
use crate::ocsp::{Refused, Watch};
use crate::rules::ListenerRules;

/// Largest packet taken from somebody who is not authenticated, in bytes.
pub(crate) const PACKET_BYTES_MAX_BEFORE: u32 = 4 * 1024;
/// The time over which the speed of a reader is measured, in milliseconds.
const WINDOW_MS: usize = 10;
/// A reader is fast from this speed on. It bounds what one reader can cost a publisher: never less than this.
const FAST_BYTES_PER_MS: usize = 16 * 1024;
/// A speed measured longer ago says nothing, in milliseconds.
const FRESH_MS: u64 = 20;
/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The transport's handshakes: PROXY header, TLS, WebSocket.
    Opening,
    /// CONNECT is awaited, or its verdict.
    Awaiting,
    /// The client is in.
    Open,
    /// What is left to say is written.
    Closing,
    /// Everything is said; the peer has a moment to close its end, so that our last bytes are not lost in a reset.
    Lingering,
}

/// A login at hand. Kept apart: a connection that is in has none.
#[derive(Debug, Default)]
pub(crate) struct Entering {
    /// What was presented, until the rest comes in AUTH.
    pub(crate) exchange: Option<Exchange>,
    /// The number of the rules by which somebody was asked; gone with the connection, so that nobody answers in vain.
    pub(crate) asked: Option<Arc<u64>>,
    /// What is known of it beside the verdict.
    pub(crate) note: Option<Arc<LoginNote>>,
}

/// One connection. An idle one holds no buffer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each noted and read in one place")]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) stream: Stream,
    pub(crate) phase: Phase,
    pub(crate) rules: Arc<ListenerRules>,
    pub(crate) seat: Seat,
    pub(crate) version: ProtocolVersion,
    pub(crate) packet_bytes_max: u32,
    pub(crate) output: Option<Box<Output>>,
    /// A packet that has not arrived whole, or packets that wait for a verdict.
    pub(crate) unread: Vec<u8>,
    /// Where it is going, once the packet at hand is done with, and the number of the rules by which it was accepted.
    pub(crate) moving: Option<Box<(ShardId, u64, Box<Handover>)>>,
    pub(crate) deadline_ms: u64,
    /// Output bytes as last counted into the worker's total.
    pub(crate) counted: usize,
    /// When bytes were last written although not all could be.
    pub(crate) progress_ms: u64,
    /// Since when bytes were counted for [`Self::keeps_up`], in monotonic milliseconds, and how many.
    window_ms: u64,
    window_bytes: u32,
    fast: bool,
    /// Bytes thrown away after the end.
    pub(crate) discarded: u32,
    /// A verdict is awaited: no packet may be taken.
    pub(crate) waiting: bool,
    /// The login at hand, until somebody is let in.
    entering: Option<Box<Entering>>,
    /// The stream is lent for a step of the handshake; gone with the connection, so that nobody takes the step in vain.
    pub(crate) lent: Option<Arc<()>>,
    /// Something came meanwhile.
    pub(crate) again: bool,
    /// It was ended meanwhile, and goes when the stream comes back.
    pub(crate) ended: bool,
    /// The certificate that it showed, where somebody is asked about it.
    pub(crate) watch: Option<Box<Watch>>,
    /// It is in the list of those to flush.
    pub(crate) touched: bool,
    /// It is in the list of those to read.
    pub(crate) queued: bool,
    /// The output was above its low mark since the broker was last told that it is not.
    pub(crate) was_full: bool,
    /// The kernel takes no more at present.
    pub(crate) blocked: bool,
    /// The peer closed its end.
    pub(crate) peer_closed: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnId, stream: Stream, rules: Arc<ListenerRules>, seat: Seat) -> Self {
        Self {
            id,
            stream,
            phase: Phase::Opening,
            rules,
            seat,
            version: ProtocolVersion::V5,
            packet_bytes_max: PACKET_BYTES_MAX_BEFORE,
            output: None,
            unread: Vec::new(),
            moving: None,
            deadline_ms: NEVER,
            counted: 0,
            progress_ms: 0,
            window_ms: 0,
            window_bytes: 0,
            fast: false,
            discarded: 0,
            waiting: false,
            entering: None,
            lent: None,
            again: false,
            ended: false,
            watch: None,
            touched: false,
            queued: false,
            was_full: false,
            blocked: false,
            peer_closed: false,
        }
    }

    /// The login at hand, begun if there is none.
    pub(crate) fn entering(&mut self) -> &mut Entering {
        self.entering.get_or_insert_default()
    }

    /// What is known of the login at hand beside the verdict.
    pub(crate) fn note(&self) -> Option<&Arc<LoginNote>> {
        self.entering.as_ref()?.note.as_ref()
    }

    /// Somebody was let in: nothing is at hand any more.
    pub(crate) fn entered(&mut self) {
        self.entering = None;
    }

    /// Whether its next packet may be taken. Not while it leaves many answers unread: they have no other bound. Messages stop
    /// at half of that by themselves.
    pub(crate) fn takes_packets(&self) -> bool {
        matches!(self.phase, Phase::Awaiting | Phase::Open)
            && !self.waiting
            && self.moving.is_none()
            && self.backlog() <= self.rules.limits.write_buffer_bytes_max.saturating_mul(2)
    }

    /// Whether its listener, as it is now, would still accept what the peer showed in the handshake.
    pub(crate) fn still_trusted(&self, now_s: u64) -> Result<(), String> {
        let Some(tls) = &self.rules.stages.tls else { return Ok(()) };
        let chain = self.stream.tls_facts().map(|facts| facts.certificates).unwrap_or_default();
        if chain.is_empty() && tls.requires_certificate() {
            return Err("a certificate is required now".to_owned());
        }
        tls.still_trusted(&chain, now_s)?;
        self.watch.as_ref().map_or(Ok(()), |watch| watch.holds(now_s))
    }

    /// Whoever is asked about the certificate that the peer showed looks after it from now on, by the rules as they are now;
    /// it asks by itself within so many seconds.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(crate) fn look_after(&mut self, now_s: u64, within_s: u64) -> Result<(), Refused> {
        self.watch = None;
        let (Some(tls), false) = (&self.rules.stages.tls, self.rules.responders.is_empty()) else {
            return Ok(());
        };
        let chain = self.stream.tls_facts().map(|facts| facts.certificates).unwrap_or_default();
        self.watch = self.rules.responders.watch(tls, &chain, now_s, within_s)?.map(Box::new);
        Ok(())
    }

    /// What the certificate says that the peer showed, and which authorities vouch for it by its listener as it is now.
    pub(crate) fn certificate_facts(&self, now_s: u64) -> Option<CertificateFacts> {
        let chain = self.stream.tls_facts()?.certificates;
        let mut facts = motte_identity::facts(chain.first()?)?;
        if let Some(tls) = &self.rules.stages.tls {
            facts.authorities = tls.authorities_of(&chain, now_s);
        }
        Some(facts)
    }

    /// How its packets are read.
    pub(crate) fn decode_rules(&self) -> DecodeRules {
        DecodeRules { from: Direction::Client, text: self.rules.limits.text }
    }

    /// Notes that bytes were written, and how fast that goes.
    pub(crate) fn wrote(&mut self, bytes: usize, now_ms: u64) {
        if bytes > 0 {
            self.progress_ms = now_ms;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let elapsed_ms = usize::try_from(now_ms.saturating_sub(self.window_ms)).unwrap_or(usize::MAX);
        if elapsed_ms >= WINDOW_MS {
            self.fast = self.window_bytes as usize / elapsed_ms.max(1) >= FAST_BYTES_PER_MS;
            (self.window_ms, self.window_bytes) = (now_ms, bytes);
        } else {
            self.window_bytes = self.window_bytes.saturating_add(bytes);
        }
    }

    /// Whether it is behind, but takes its bytes fast, or was not asked to take them yet: then those who publish to it
    /// wait a moment instead of having messages dropped. Nobody waits for a client that reads slowly.
    pub(crate) fn keeps_up(&self, now_ms: u64) -> bool {
        let fast = self.fast && now_ms.saturating_sub(self.progress_ms) <= FRESH_MS;
        self.backlog() >= self.low_mark() && (fast || !self.blocked)
    }

    /// Half of the bytes that may wait here before the broker holds back, at least one.
    pub(crate) fn low_mark(&self) -> usize {
        (self.rules.limits.write_buffer_bytes_max / 2).max(1)
    }

    /// Bytes waiting to be written.
    pub(crate) fn backlog(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.len())
    }
}

const _: () = assert!(size_of::<Connection>() <= 256, "what an idle connection costs in memory");

#[derive(Debug, Default)]
struct Slot {
    epoch: u32,
    connection: Option<Box<Connection>>,
}

/// The connections of a worker by slot.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    /// The id the next connection gets; `None` when four thousand million are in use.
    pub(crate) fn vacancy(&mut self) -> Option<ConnId> {
        if self.free.is_empty() {
            self.free.push(u32::try_from(self.slots.len()).ok()?);
            self.slots.push(Slot::default());
        }
        let slot = *self.free.last()?;
        let epoch = self.slots.get(slot as usize)?.epoch.wrapping_add(1);
        Some(ConnId { slot, epoch })
    }

    /// Puts a connection in the vacancy that was named last.
    pub(crate) fn fill(&mut self, connection: Connection) {
        let id = connection.id;
        if self.free.last() != Some(&id.slot) {
            return;
        }
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            self.free.pop();
            *slot = Slot { epoch: id.epoch, connection: Some(Box::new(connection)) };
        }
    }

    /// A connection by its id.
    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots.get(id.slot as usize)?.connection.as_deref().filter(|c| c.id == id)
    }

    /// A connection by its id, to change.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.at(id.slot).filter(|c| c.id == id)
    }

    /// The connection that has a slot at present.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_deref_mut()
    }

    /// Takes a connection out.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.connection.as_ref().is_none_or(|c| c.id != id) {
            return None;
        }
        self.free.push(id.slot);
        slot.connection.take()
    }

    /// All connections.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().filter_map(|slot| slot.connection.as_deref_mut())
    }
}
