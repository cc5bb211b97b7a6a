//! Connections that are open at one end only: the client is gone, and the broker learns it by Keep Alive or by a takeover.

use motte_broker::ShardId;
use motte_wire::PINGREQ;

use super::World;

/// Milliseconds of silence after which a client with Keep Alive sends PINGREQ.
const PING_MS: u64 = 2_000;

impl World {
    /// The network swallows from now on whatever a client and the broker send each other.
    pub(super) fn goes_silent(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        if let Some(client) = self.clients.get_mut(index).filter(|client| client.accepted) {
            (client.is_half_open, client.silent_ms) = (true, self.now.mono_ms);
            self.tell(|_| format!("c{index} is half open"));
        }
        Ok(())
    }

    /// Those with a Keep Alive show that they are there.
    pub(super) fn ping(&mut self) -> Result<(), String> {
        for index in 0..self.clients.len() {
            let Some(client) = self.clients.get(index) else { continue };
            let is_due = client.said_ms + PING_MS <= self.now.mono_ms;
            if client.keep_alive_s > 0 && client.conn.is_some() && !client.is_half_open && is_due {
                self.send(index, &PINGREQ)?;
            }
        }
        Ok(())
    }

    /// All shards know the time: whoever was silent for too long is gone, and nobody else is.
    pub(super) fn check_silence(&mut self) -> Result<(), String> {
        for index in 0..self.clients.len() {
            let Some(client) = self.clients.get(index).filter(|client| client.keep_alive_s > 0) else {
                continue;
            };
            let Some((shard, conn)) = client.conn else { continue };
            let silent_ms = self.now.mono_ms.saturating_sub(client.said_ms);
            let is_over = silent_ms >= u64::from(client.keep_alive_s) * 1_500;
            match (self.is_closed((shard, conn)), is_over) {
                (false, true) => {
                    return Err(format!("c{index} was silent for {silent_ms} ms and is still connected"));
                }
                (true, true) if client.is_half_open => {
                    self.outcome.silences += 1;
                    self.tell(|_| format!("c{index} was silent for {silent_ms} ms"));
                    self.forget_output(index);
                    self.will_of_lost(index);
                    self.ended(index);
                }
                (_, true) => return Err(format!("c{index} did not ping")),
                (_, false) => {}
            }
        }
        Ok(())
    }

    /// Whether the broker has closed a connection.
    pub(super) fn is_closed(&self, (shard, conn): (ShardId, motte_broker::ConnId)) -> bool {
        self.shards.get(usize::from(shard.0)).is_some_and(|(_, asked)| asked.closed.contains(&conn))
    }
}
