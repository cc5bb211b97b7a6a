//! From a waiting connection to a place in the table.

use motte_event::gate;
use motte_transport::{Socket, Stream};

use crate::connection::Connection;
use crate::notice;
use crate::worker::Worker;

/// Connections taken from one listener in a turn.
const ACCEPTED_MAX: usize = 64;

impl Worker {
    /// Lets in those that wait, a bounded number of them.
    pub(crate) fn accept(&mut self) {
        for number in 0..self.doors.len() {
            for _ in 0..ACCEPTED_MAX {
                let Some(door) = self.doors.get_mut(number) else { return };
                match door.next(self.world.now.mono_ms) {
                    Ok(Some(socket)) => self.let_in(number, socket),
                    Ok(None) => break,
                    Err(error) => {
                        self.world.log.event(gate::accept_failed(&door.rules.name, &error.to_string()));
                        break;
                    }
                }
            }
        }
    }

    fn let_in(&mut self, door: usize, socket: Socket) {
        let Some(rules) = self.doors.get(door).map(|door| std::sync::Arc::clone(&door.rules)) else { return };
        self.world.tally.accepted += 1;
        let mut stream = Stream::new(socket, std::sync::Arc::clone(&rules.stages));
        let address = stream.peer().map(|peer| peer.ip()).filter(|_| !rules.is_behind_proxy());
        if address.is_some_and(|address| !rules.admits(address)) {
            self.world.tally.turned_away += 1;
            self.world.log.event(notice::address_refused(&rules, &stream));
            return;
        }
        if let Some(address) = address
            && !self.may_come(address, &rules)
        {
            return;
        }
        let seat = self.admission.seat().and_then(|mut seat| {
            address.map_or(Ok(()), |address| seat.count_address(address))?;
            Ok(seat)
        });
        let seat = match seat {
            Ok(seat) => seat,
            Err(full) => {
                self.world.tally.turned_away += 1;
                self.world.log.event(notice::turned_away(full, &rules, &stream));
                return;
            }
        };
        let Some(id) = self.world.connections.vacancy() else { return };
        if let Err(error) = self.watch(&mut stream, id.slot) {
            self.world.log.event(notice::not_watched(&rules, &error));
            return;
        }
        let deadline_ms = self.world.now.mono_ms.saturating_add(rules.connect_timeout_ms);
        // The system says when the first bytes of a handshake are there; of other connections they mostly are.
        let first = !stream.is_costly();
        self.world.connections.fill(Connection::new(id, stream, rules, seat));
        self.world.set_deadline(id, deadline_ms);
        if first {
            self.world.queue(id.slot);
        }
    }
}
