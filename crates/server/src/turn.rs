//! What a turn does with one connection: handshake, read, frame, decode, flush, close.

use std::io::{self, IoSlice};

use mio::event::Source;
use motte_broker::{CloseCause, ConnId, Input};
use motte_wire::{decode, frame};

use crate::connection::{Connection, NEVER, Phase};
use crate::notice;
use crate::worker::{STALLED_MS, Worker};

/// Bytes one connection may read in a turn; the rest waits for the next. What a turn makes of them should still be in the
/// core's cache when it is written, and fit buffers that are kept.
const TURN_BYTES: usize = 48 * 1024;
/// Bytes read at once from somebody who is not authenticated.
const READ_BYTES_BEFORE: usize = 8 * 1024;
/// Slices given to one write.
const SLICES: usize = 64;
/// Rounds of flushing in a turn: what the broker adds when outputs drain goes out at once, but not for ever.
const FLUSH_ROUNDS: usize = 4;
/// Time a peer has to close its end, in milliseconds.
const LINGER_MS: u64 = 2_000;
/// Bytes thrown away while it does.
const LINGER_BYTES_MAX: u32 = 1024 * 1024;

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Nothing more is there.
    Dry,
    /// More may be there.
    More,
    /// No packet may be taken now; what was read waits.
    Held,
    /// The peer or the network is gone.
    Lost,
}

impl Worker {
    /// Goes on with a connection as far as it can in this turn.
    pub(crate) fn serve(&mut self, slot: u32) {
        let Some(connection) = self.world.connections.at(slot) else { return };
        connection.queued = false;
        let id = connection.id;
        if connection.phase == Phase::Opening && !self.open(id) {
            return;
        }
        match self.world.connections.get_mut(id).map(|c| c.phase) {
            Some(Phase::Awaiting | Phase::Open) => {}
            Some(Phase::Closing | Phase::Lingering) => return self.discard(id),
            Some(Phase::Opening) | None => return,
        }
        self.world.held_back = false;
        let mut scratch = std::mem::take(&mut self.scratch);
        let after = self.read(id, &mut scratch);
        self.scratch = scratch;
        // TLS and WebSocket may have something to answer by themselves.
        if self.world.connections.get_mut(id).is_some_and(|c| c.stream.wants_write()) {
            self.world.touch(slot);
        }
        match after {
            After::Dry | After::Held => {}
            After::More => self.world.queue(slot),
            After::Lost => self.lost(id),
        }
    }

    /// Reads until dry, or until the turn's share is used up.
    ///
    /// Bytes of a packet that is not whole are carried at the front of the scratch buffer while they are few, and in the
    /// connection's own buffer when they are many.
    fn read(&mut self, id: ConnId, scratch: &mut [u8]) -> After {
        let Some(connection) = self.world.connections.get_mut(id) else { return After::Dry };
        if !connection.takes_packets() {
            return After::Held;
        }
        let mut own = std::mem::take(&mut connection.unread);
        let mut held = carry(&mut own, scratch);
        let mut left = TURN_BYTES;
        let mut dry = false;
        let after = loop {
            let carried =
                if own.is_empty() { scratch.get(..held).unwrap_or_default() } else { own.as_slice() };
            let (used, go_on) = self.packets(id, carried);
            if own.is_empty() {
                scratch.copy_within(used..held, 0);
                held -= used;
            } else {
                own.drain(..used);
                held = carry(&mut own, scratch);
            }
            if !go_on {
                break After::Held;
            }
            if dry {
                break After::Dry;
            }
            if left == 0 {
                break After::More;
            }
            if held > scratch.len() / 2 {
                own = scratch.get(..held).unwrap_or_default().to_vec();
                held = 0;
            }
            let Some(connection) = self.world.connections.get_mut(id) else { return After::Dry };
            let room = room(connection, scratch, held);
            let bytes = room.len();
            match connection.stream.read(room) {
                Ok(0) => break After::Lost,
                Ok(count) => {
                    // A short read means that the socket is dry: the next call would only say so.
                    dry = connection.stream.is_dry(count, bytes) && !connection.peer_closed;
                    left = left.saturating_sub(count.max(connection.stream.taken()));
                    if own.is_empty() {
                        held += count;
                    } else {
                        own.extend_from_slice(scratch.get(held..held + count).unwrap_or_default());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    break if connection.stream.has_more() { After::More } else { After::Dry };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break After::Lost,
            }
        };
        if held > 0 {
            own = scratch.get(..held).unwrap_or_default().to_vec();
        }
        if let Some(connection) = self.world.connections.get_mut(id)
            && !matches!(connection.phase, Phase::Closing | Phase::Lingering)
        {
            connection.unread = own;
        }
        after
    }

    /// Takes the whole packets at the front of `bytes`; how many bytes they were, and whether more may be taken.
    fn packets(&mut self, id: ConnId, bytes: &[u8]) -> (usize, bool) {
        let mut used = 0;
        loop {
            let Some(connection) = self.world.connections.get(id) else { return (bytes.len(), false) };
            if !connection.takes_packets() {
                return (used, false);
            }
            let (version, most) = (connection.version, connection.packet_bytes_max);
            let rules = connection.decode_rules();
            match frame(bytes.get(used..).unwrap_or_default(), most) {
                Ok(None) => return (used, true),
                Ok(Some(whole)) => {
                    used += whole.len;
                    match decode(whole, version, &rules) {
                        Ok(packet) => {
                            #[cfg(motte_hole)]
                            self.fall_into_hole(&packet);
                            self.input(Input::Packet { conn: id, packet: &packet, bytes: whole.len });
                        }
                        Err(error) => self.input(Input::Malformed { conn: id, error }),
                    }
                    if self.world.held_back {
                        self.world.rest(id.slot);
                        return (used, false);
                    }
                }
                Err(error) => {
                    self.input(Input::BadFrame { conn: id, error });
                    return (used, false);
                }
            }
        }
    }

    /// Throws away what a peer still sends after the end.
    fn discard(&mut self, id: ConnId) {
        let mut left = TURN_BYTES;
        while left > 0 {
            let Some(connection) = self.world.connections.get_mut(id) else { return };
            match connection.stream.read(&mut self.scratch) {
                Ok(0) => return self.remove(id),
                Ok(count) => {
                    left = left.saturating_sub(count);
                    connection.discarded =
                        connection.discarded.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                    if connection.discarded > LINGER_BYTES_MAX {
                        return self.remove(id);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if connection.stream.has_more() {
                        self.world.queue(id.slot);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.remove(id),
            }
        }
        self.world.queue(id.slot);
    }

    /// Writes what was appended in this turn, once for each connection.
    pub(crate) fn flush_touched(&mut self) {
        for _ in 0..FLUSH_ROUNDS {
            if self.world.touched.is_empty() {
                return;
            }
            for slot in std::mem::take(&mut self.world.touched) {
                self.flush(slot);
            }
        }
    }

    fn flush(&mut self, slot: u32) {
        let now_ms = self.world.now.mono_ms;
        let Some(connection) = self.world.connections.at(slot) else { return };
        connection.touched = false;
        if matches!(connection.phase, Phase::Opening | Phase::Lingering) {
            return;
        }
        let id = connection.id;
        let before = connection.backlog();
        connection.was_full |= before >= connection.low_mark();
        let written = write(connection);
        let after = connection.backlog();
        self.world.tally.bytes_sent += before.saturating_sub(after) as u64;
        self.world.backlog = (self.world.backlog + after).saturating_sub(connection.counted);
        connection.counted = after;
        connection.wrote(before.saturating_sub(after), now_ms);
        let drained = connection.was_full && after < connection.low_mark();
        if drained {
            connection.was_full = false;
        }
        if after == 0
            && let Some(output) = connection.output.take()
        {
            self.world.buffers.give_back(output);
        }
        match written {
            Err(_) => return self.lost(id),
            Ok(Written::All) if connection.phase == Phase::Closing => return self.linger(id),
            Ok(Written::All | Written::Held) => connection.blocked = false,
            Ok(Written::Blocked) => {
                if !connection.blocked {
                    connection.blocked = true;
                    connection.progress_ms = now_ms;
                }
                if connection.phase == Phase::Open && connection.deadline_ms == NEVER {
                    self.world.set_deadline(id, now_ms.saturating_add(STALLED_MS));
                }
            }
        }
        if drained {
            self.world.caught_up();
            self.input(Input::Drained { conn: id });
            // Its own packets may have been left unread until it took its answers.
            self.world.queue(slot);
        }
    }

    /// Everything is said: closes our end and gives the peer a moment to close its own.
    fn linger(&mut self, id: ConnId) {
        let at_ms = self.world.now.mono_ms.saturating_add(LINGER_MS);
        let Some(connection) = self.world.connections.get_mut(id) else { return };
        connection.phase = Phase::Lingering;
        connection.stream.shutdown();
        if connection.peer_closed {
            return self.remove(id);
        }
        self.world.set_deadline(id, at_ms);
        self.discard(id);
    }

    /// The peer or the network is gone.
    fn lost(&mut self, id: ConnId) {
        let Some(connection) = self.world.connections.get_mut(id) else { return };
        let known = matches!(connection.phase, Phase::Awaiting | Phase::Open) && connection.moving.is_none();
        if known {
            self.input(Input::Closed { conn: id, cause: CloseCause::Lost });
        }
        if self.world.connections.get(id).is_some_and(|c| c.moving.is_none()) {
            self.remove(id);
        }
    }

    /// Ends connections whose deadline has come.
    pub(crate) fn end_overdue(&mut self) {
        while let Some(id) = self.world.due() {
            let now_ms = self.world.now.mono_ms;
            let short = self.world.backlog > self.backlog_max / 2;
            let Some(connection) = self.world.connections.get_mut(id) else { continue };
            match connection.phase {
                Phase::Opening | Phase::Awaiting => {
                    let event = notice::connect_timeout(&connection.rules, &connection.stream);
                    let told = connection.phase == Phase::Awaiting;
                    self.world.tally.connect_timeouts += 1;
                    self.world.log.event(event);
                    if told {
                        self.input(Input::Closed { conn: id, cause: CloseCause::Refused });
                    }
                    self.remove(id);
                }
                Phase::Closing | Phase::Lingering => self.remove(id),
                Phase::Open if !connection.blocked => {}
                Phase::Open => {
                    let stalled = now_ms.saturating_sub(connection.progress_ms) >= STALLED_MS;
                    if stalled && short {
                        self.lost(id);
                    } else {
                        self.world.set_deadline(id, now_ms.saturating_add(STALLED_MS));
                    }
                }
            }
        }
    }

    /// Forgets a connection and closes its socket.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if let Some(connection) = self.world.connections.get_mut(id)
            && connection.lent.take().is_some()
        {
            // Its socket is still open and watched, so its place is not free before the stream is back.
            connection.ended = true;
            return;
        }
        let Some(mut connection) = self.world.connections.remove(id) else { return };
        self.world.backlog = self.world.backlog.saturating_sub(connection.counted);
        if let Some(output) = connection.output.take() {
            self.world.buffers.give_back(output);
        }
        // Closing the socket ends its registration; a failure to say so beforehand changes nothing.
        let _ = connection.stream.deregister(self.poll.registry());
    }
}

/// Brings what the connection carries to the front of the scratch buffer, if it is not much; how many bytes.
fn carry(own: &mut Vec<u8>, scratch: &mut [u8]) -> usize {
    if own.len() > scratch.len() / 2 {
        return 0;
    }
    let carried = std::mem::take(own);
    if let Some(front) = scratch.get_mut(..carried.len()) {
        front.copy_from_slice(&carried);
    }
    carried.len()
}

/// Where the next bytes go.
fn room<'a>(connection: &Connection, scratch: &'a mut [u8], held: usize) -> &'a mut [u8] {
    let most = if connection.phase == Phase::Open { scratch.len() } else { held + READ_BYTES_BEFORE };
    let end = most.min(scratch.len());
    scratch.get_mut(held..end).unwrap_or_default()
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    All,
    /// What is left waits until it is kept.
    Held,
    Blocked,
}

/// Writes as much as the kernel takes.
fn write(connection: &mut Connection) -> io::Result<Written> {
    let stream = &mut connection.stream;
    if let Some(output) = &mut connection.output {
        while output.is_writable() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = output.slices(&mut slices);
            match stream.write(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    let is_held = connection.output.as_ref().is_some_and(|output| !output.is_empty());
    match stream.flush() {
        Ok(true) if is_held => Ok(Written::Held),
        Ok(true) => Ok(Written::All),
        Ok(false) => Ok(Written::Blocked),
        Err(error) => Err(error),
    }
}
