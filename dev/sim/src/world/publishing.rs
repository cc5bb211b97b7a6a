//! PUBLISH, first and again, and to whom it is owed.

use motte_wire::{Ack, PacketId, ProtocolVersion, QoS, ReasonCode};

use super::World;
use crate::model::Sent;
use crate::parts::{Wire, publish_bytes};
use crate::retained::Reached;

const TOPICS: [&str; 10] = ["a", "a/b", "a/c", "b/c/d", "secret/x", "b", "r/0", "r/1", "job/1", "job/2"];
/// From here on they are those of Shared Subscriptions.
const JOBS: usize = 8;
/// Unacknowledged publications of a client: within the Receive Maximum.
const WINDOW: usize = 8;

impl World {
    pub(super) fn publish(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let from = if self.setup.shares_much && self.random.chance(80) { JOBS } else { 0 };
        let topic = TOPICS.get(from + self.random.below(TOPICS.len() - from)).copied().unwrap_or("a");
        let qos = QoS::from_bits(u8::try_from(self.random.below(3)).unwrap_or(0)).unwrap_or(QoS::AtMostOnce);
        let mut sent = Sent::new(topic, qos as u8, index);
        sent.is_retained = topic.starts_with("r/") && self.random.chance(80);
        sent.is_empty = sent.is_retained && self.random.chance(30);
        sent.may_be_refused = self.is_faulty;
        let expiry_s = self.random.chance(10).then_some(10);
        let is_lost = self.random.chance(3);
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted || client.unacknowledged.len() >= WINDOW {
            return Ok(());
        }
        if let Some(seconds) = expiry_s.filter(|_| client.version == ProtocolVersion::V5) {
            sent.expires = Some((self.now.mono_ms + u64::from(seconds) * 1_000, seconds));
        }
        let number = self.sent.len() as u64;
        let packet_id = if qos == QoS::AtMostOnce { None } else { PacketId::new(client.id()) };
        if let Some(id) = packet_id {
            client.unacknowledged.push((id.value(), number, qos, false));
        }
        let mut bytes = Vec::new();
        let wire =
            Wire { version: client.version, qos, packet_id, dup: false, padding: self.setup.padding() };
        publish_bytes(&sent, number, wire, &mut bytes);
        self.sent.push(sent.clone());
        self.outcome.published += 1;
        if is_lost {
            // The network takes the last packet with it.
            return self.lose(index);
        }
        self.reached(number, &sent, false);
        self.send(index, &bytes)
    }

    /// Sends unacknowledged publications again (MQTT-4.4.0-1).
    pub(super) fn republish(&mut self, index: usize) -> Result<(), String> {
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        let version = client.version;
        if !client.accepted {
            return Ok(());
        }
        for (id, number, qos, released) in client.unacknowledged.clone() {
            let mut bytes = Vec::new();
            let Some(packet_id) = PacketId::new(id) else { continue };
            if released {
                Ack::new(packet_id, ReasonCode::SUCCESS).encode_pubrel(version, &mut bytes);
            } else {
                let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get_mut(n)) else {
                    continue;
                };
                sent.is_resent = true;
                sent.may_be_refused |= self.is_faulty;
                if let Some((at, seconds)) = &mut sent.expires {
                    *at = self.now.mono_ms + u64::from(*seconds) * 1_000;
                }
                let sent = sent.clone();
                let padding = self.setup.padding();
                let wire = Wire { version, qos, packet_id: Some(packet_id), dup: true, padding };
                publish_bytes(&sent, number, wire, &mut bytes);
                self.reached(number, &sent, qos == QoS::ExactlyOnce);
            }
            self.send(index, &bytes)?;
        }
        Ok(())
    }

    /// A publication reaches the broker, for the first time or again. One of QoS 2 may be known there already.
    fn reached(&mut self, number: u64, sent: &Sent, is_known: bool) {
        if sent.is_retained {
            let is_doubtful = self.is_faulty || self.setup.has_little_memory;
            let reached = Reached { is_again: is_known, is_doubtful };
            let until_ms = sent.expires.map(|(at, _)| at);
            self.register.wrote(sent.topic, (number, sent.is_empty), until_ms, reached);
        }
        if !is_known {
            return self.owe(number, sent);
        }
        // Whoever had a right to it before the server ended still has.
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.let_go.contains(&number)) {
            if !self.closed || !sent.topic.starts_with("secret/") {
                ledger.published(number, sent);
            }
        }
    }

    /// What is published is owed to whoever has an acknowledged subscription, unless it may be dropped.
    pub(super) fn owe(&mut self, number: u64, sent: &Sent) {
        let has_little_room = self.setup.has_small_queues || self.setup.has_little_memory;
        let may_be_dropped = sent.is_empty || sent.expires.is_some() || has_little_room;
        if may_be_dropped || sent.qos == 0 || self.closed && sent.topic.starts_with("secret/") {
            return;
        }
        for ledger in &mut self.ledgers {
            ledger.published(number, sent);
        }
        self.groups.published(number, sent);
    }

    /// A publication was refused: nobody need get it.
    pub(super) fn denied(&mut self, number: u64, reason: ReasonCode) -> Result<(), String> {
        let may_be = self.is_faulty || self.setup.has_small_queues || self.setup.has_little_memory;
        if !may_be || reason != ReasonCode::QUOTA_EXCEEDED {
            return Err(format!("message {number} was refused: {}", reason.name()));
        }
        self.is_refused(number);
        Ok(())
    }

    /// Nobody need get a publication, unless it is sent again.
    pub(super) fn is_refused(&mut self, number: u64) {
        self.register.refused(number);
        self.need_not_arrive(number);
    }

    /// Likewise, if it is not known whether it was refused.
    pub(super) fn need_not_arrive(&mut self, number: u64) {
        for ledger in &mut self.ledgers {
            if ledger.owed.remove(&number).is_some() {
                ledger.let_go.insert(number);
            }
        }
        self.groups.let_go(|owed| owed == number);
        if let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get_mut(n)) {
            sent.is_doubtful = true;
        }
    }
}
