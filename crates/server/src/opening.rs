//! The transport's handshakes, up to where MQTT begins.

use std::sync::Arc;
use std::time::Instant;

use motte_broker::{ConnId, Input};
use motte_event::Event;
use motte_transport::{Progress, Refusal};

use crate::connection::{Connection, Phase};
use crate::handshakes::{Job, Stepped};
use crate::notice;
use crate::worker::Worker;

impl Worker {
    /// Goes on with the handshakes; true when they are over. A step that costs cryptography is taken by another thread.
    pub(crate) fn open(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.world.connections.get_mut(id) else { return false };
        if connection.ended {
            return false;
        }
        if connection.lent.is_some() {
            connection.again = true;
            return false;
        }
        if !connection.stream.is_costly() {
            let outcome = connection.stream.advance();
            return self.opened(id, outcome);
        }
        let Some(inbox) = self.world.peers.get(usize::from(self.world.shard.0)).cloned() else {
            return false;
        };
        let lent = Arc::new(());
        let wanted = Arc::downgrade(&lent);
        connection.lent = Some(lent);
        let stream = connection.stream.lend();
        self.world.handshakes.step(Job { conn: id, wanted, stream, inbox, since: Instant::now() });
        false
    }

    /// A stream is back from a step of its handshake.
    pub(crate) fn stepped(&mut self, stepped: Stepped) {
        let Stepped { conn, stream, outcome } = stepped;
        let Some(connection) = self.world.connections.get_mut(conn) else { return };
        connection.stream = stream;
        connection.lent = None;
        let again = std::mem::take(&mut connection.again);
        if connection.ended || self.stopping {
            return self.remove(conn);
        }
        if self.opened(conn, outcome) || again {
            self.world.queue(conn.slot);
        }
    }

    /// What a step came to; true when MQTT may be spoken.
    fn opened(&mut self, id: ConnId, outcome: Result<Progress, Refusal>) -> bool {
        let Some(connection) = self.world.connections.get_mut(id) else { return false };
        match outcome {
            Ok(Progress::Waiting) => {
                if connection.stream.has_more() {
                    self.world.queue(id.slot);
                }
                false
            }
            Ok(Progress::Ready) => {
                connection.phase = Phase::Awaiting;
                if let Some(event) = turned_away(connection, self.world.now.unix_ms / 1_000) {
                    self.world.tally.turned_away += 1;
                    self.world.log.event(event);
                    self.remove(id);
                    return false;
                }
                let link = connection.rules.link(&connection.stream);
                if !self.may_stay(id) {
                    return false;
                }
                let Some(connection) = self.world.connections.get_mut(id) else { return false };
                if let Some(event) = notice::handshake_done(&connection.rules, &connection.stream) {
                    self.world.log.event(event);
                }
                self.input(Input::Connected { conn: id, link });
                true
            }
            Err(error) => {
                let event = notice::handshake_failed(&connection.rules, &connection.stream, &error);
                self.world.tally.handshakes_failed += 1;
                if let Some(event) = event {
                    self.world.log.event(event);
                }
                self.remove(id);
                false
            }
        }
    }
}

/// Why a connection whose handshakes are over is not let in, if so.
fn turned_away(connection: &mut Connection, now_s: u64) -> Option<Event> {
    let (rules, stream) = (&connection.rules, &connection.stream);
    // A reload while the handshake ran: what it accepted may not be acceptable any more.
    if !stream.went_through(&rules.stages)
        && let Err(cause) = connection.still_trusted(now_s)
    {
        return Some(notice::not_trusted(rules, stream, &cause));
    }
    let address = rules.link(stream).address?;
    if !rules.admits(address) {
        return Some(notice::address_refused(rules, stream));
    }
    let full = connection.seat.count_address(address).err()?;
    Some(notice::turned_away(full, rules, stream))
}
