//! How clients come and go: CONNECT, takeover, loss of the network, DISCONNECT.

use std::sync::Arc;

use motte_access::Security;
use motte_broker::{CloseCause, ConnId, Input, Link, ShardId};
use motte_topic::TopicRef;
use motte_wire::{Connect, Disconnect, ProtocolVersion, QoS, ReasonCode, Will};

use super::World;
use super::wills::WILL_TOPIC;

impl World {
    pub(super) fn connect(&mut self, index: usize, resume: bool) -> Result<(), String> {
        let is_unsure = self.clients.get(index).is_some_and(|client| client.is_unsure);
        let clean = is_unsure || !resume && self.random.chance(15);
        let shard = self.shard_of();
        self.finds_closed(index);
        // The old connection dies with what was not read.
        self.forget_output(index);
        let conn = self.new_conn(shard);
        let limits = Arc::clone(&self.limits);
        let link =
            Link { listener: Arc::from("simulation"), address: None, security: Security::Local, limits };
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        let keeps = client.persistent && !clean;
        let expects = self.expects(index, keeps);
        self.will_of_replaced(index, !keeps);
        let will = if resume || index == self.setup.clients { None } else { self.new_will(index) };
        let bytes = self.connect_bytes(index, keeps, will);
        let goes_on = expects != Some(false);
        if !goes_on {
            // The Session before this one ends; what the client kept of it goes too.
            self.end_session(index);
        }
        self.begins(index, (shard, conn), keeps);
        if let Some(client) = self.clients.get_mut(index) {
            client.expects = expects;
            // Should CONNACK be lost, it stays unknown.
            client.is_unsure = expects.is_none();
            client.will = will.map(|(number, delay_s, _)| (number, delay_s));
        }
        self.handle(shard, Input::Connected { conn, link })?;
        self.outcome.connections += 1;
        self.send(index, &bytes)?;
        self.read(index)
    }

    fn begins(&mut self, index: usize, conn: (ShardId, ConnId), keeps: bool) {
        self.asked.remove(&index);
        let Some(client) = self.clients.get_mut(index) else { return };
        client.absence = match client.away {
            Some(_) => (client.absence.0, self.sent.len() as u64, 0),
            None => (0, 0, 0),
        };
        client.conn = Some(conn);
        client.accepted = false;
        client.is_connecting = true;
        client.outlives = keeps;
        client.away = None;
        client.may_read_secrets = false;
        client.is_half_open = false;
        client.is_refused = false;
    }

    /// The broker closed the connection at some time, and the client did not notice until now, if at all.
    pub(super) fn finds_closed(&mut self, index: usize) {
        let conn = self.clients.get(index).and_then(|client| client.conn);
        if conn.is_some_and(|conn| self.is_closed(conn)) {
            self.forget_output(index);
            self.closed(index);
        }
    }

    /// The broker closed a connection, it is not known when.
    pub(super) fn closed(&mut self, index: usize) {
        self.tell(|_| format!("c{index} was sent away"));
        let Some(client) = self.clients.get(index) else { return };
        if client.version != ProtocolVersion::V5 {
            // Below 5.0 that is how a publication is refused. Should it be sent again, it is owed again.
            let refused: Vec<u64> = client.unacknowledged.iter().map(|(_, number, ..)| *number).collect();
            for number in refused {
                self.is_refused(number);
            }
        }
        self.ended(index);
        if let Some(client) = self.clients.get_mut(index) {
            client.away = client.away.map(|(_, to)| (0, to));
        }
    }

    fn connect_bytes(&self, index: usize, keeps: bool, will: Option<(u64, u32, u8)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(client) = self.clients.get(index) else { return bytes };
        let payload = will.map(|(number, ..)| number.to_string()).unwrap_or_default();
        let mut connect = Connect::new(client.version, &client.id);
        if let (Some((_, delay_s, qos)), Ok(topic)) = (will, TopicRef::parse(WILL_TOPIC)) {
            let qos = QoS::from_bits(qos).unwrap_or(QoS::AtMostOnce);
            let mut will = Will::new(topic, payload.as_bytes(), qos, false);
            will.delay_s = delay_s;
            connect.will = Some(will);
        }
        connect.clean_start = !keeps;
        if keeps && client.version == ProtocolVersion::V5 {
            connect.properties.session_expiry_s = Some(client.expiry_s.unwrap_or(u32::MAX));
        }
        connect.keep_alive_s = client.keep_alive_s;
        connect.encode(&mut bytes);
        bytes
    }

    /// What CONNACK has to say of the Session.
    fn expects(&self, index: usize, keeps: bool) -> Option<bool> {
        let client = self.clients.get(index)?;
        if !keeps || !client.outlives {
            return Some(false);
        }
        let (Some(seconds), Some((from, to))) = (client.expiry_s, client.away) else { return Some(true) };
        let lasts_ms = u64::from(seconds) * 1_000;
        if !self.is_clock_exact {
            // By the clock on the wall it may have been any time.
            None
        } else if self.now.mono_ms < from + lasts_ms {
            Some(true)
        } else if self.now.mono_ms >= to.saturating_add(lasts_ms) {
            Some(false)
        } else {
            None
        }
    }

    pub(super) fn forget_output(&mut self, index: usize) {
        let conn = self.clients.get(index).and_then(|client| client.conn);
        if let Some((shard, conn)) = conn
            && let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0))
        {
            asked.outputs.remove(&conn);
        }
    }

    /// The network loses a connection, somewhere in what was written to it.
    pub(super) fn lose(&mut self, index: usize) -> Result<(), String> {
        self.finds_closed(index);
        let is_half_open = self.clients.get(index).is_some_and(|client| client.is_half_open);
        if self.random.chance(50) && !is_half_open {
            let mut bytes = self.take_output(index);
            bytes.truncate(self.random.below(bytes.len() + 1));
            let mut answer = Vec::new();
            let seen = match self.clients.get_mut(index) {
                Some(client) => client.read(&bytes, true, &mut answer)?,
                None => Vec::new(),
            };
            for one in seen {
                self.saw(index, one)?;
            }
        }
        let conn = self.clients.get(index).and_then(|client| client.conn);
        let Some((shard, conn)) = conn else { return Ok(()) };
        self.forget_output(index);
        self.tell(|_| format!("c{index} is lost"));
        self.handle(shard, Input::Closed { conn, cause: CloseCause::Lost })?;
        self.will_of_lost(index);
        self.ended(index);
        Ok(())
    }

    pub(super) fn disconnect(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        if !client.accepted {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Disconnect::new(ReasonCode::NORMAL_DISCONNECTION).encode(client.version, &mut bytes);
        self.send(index, &bytes)?;
        self.will_of_disconnected(index);
        self.ended(index);
        Ok(())
    }

    /// The connection is gone; a Session that does not outlive it went with it.
    pub(super) fn ended(&mut self, index: usize) {
        let number = self.sent.len() as u64;
        let Some(client) = self.clients.get_mut(index) else { return };
        let was_there = client.conn.take().is_some();
        client.accepted = false;
        // The broker may have ended it before, unheard.
        let from_ms = if client.is_half_open { client.silent_ms } else { self.now.mono_ms };
        client.is_half_open = false;
        client.will = None;
        client.sends_again = false;
        self.asked.remove(&index);
        if was_there && client.outlives {
            client.away = Some((from_ms, self.now.mono_ms));
            client.absence = (number, number, 0);
        }
        if !client.outlives {
            self.end_session(index);
        }
    }

    pub(super) fn end_session(&mut self, index: usize) {
        self.groups.left(index, None);
        // Nobody asks any more what became of what was sent while the disk failed.
        let sent = &self.sent;
        let may_be_refused = |number: &u64| {
            usize::try_from(*number).ok().and_then(|n| sent.get(n)).is_some_and(|sent| sent.may_be_refused)
        };
        let unknown = self.clients.get(index).map(|client| {
            client
                .unacknowledged
                .iter()
                .map(|(_, number, ..)| *number)
                .filter(may_be_refused)
                .collect::<Vec<_>>()
        });
        unknown.into_iter().flatten().for_each(|number| self.need_not_arrive(number));
        let (Some(client), Some(ledger)) = (self.clients.get_mut(index), self.ledgers.get_mut(index)) else {
            return;
        };
        ledger.end();
        client.open.clear();
        client.unacknowledged.clear();
    }
}
