//! SUBSCRIBE and UNSUBSCRIBE, and what their acknowledgements promise.

use motte_wire::{
    PacketId, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeEntry, SubscribeOptions, Unsubscribe,
};

use super::World;

const FILTERS: [&str; 10] = ["a", "a/#", "a/+", "+/c/d", "secret/#", "b/#", "a/b", "w/#", "r/+", "w/x"];
/// Those who have these are in no group, so that it is known which way a message came.
const EVERYTHING: &str = "#";
const SHARED: [&str; 2] = ["$share/g/job/#", "$share/h/job/+"];

/// What a client asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asking {
    /// A SUBSCRIBE that is not acknowledged.
    Subscription {
        filter: &'static str,
        qos: u8,
        /// The policy was closed when it was sent.
        is_closed: bool,
    },
    /// An UNSUBSCRIBE that is not acknowledged.
    End(&'static str),
}

impl World {
    fn some_filter(&mut self, index: usize) -> (&'static str, u8) {
        let qos = u8::try_from(self.random.below(3)).unwrap_or(0);
        let stays = self.clients.get(index).is_some_and(|client| client.expiry_s.is_none());
        if self.setup.shares_much && index >= 2 && stays && self.random.chance(80) {
            return (SHARED.get(self.random.below(SHARED.len())).copied().unwrap_or("a"), 2);
        }
        match self.random.below(10) {
            0 if index < 2 => (EVERYTHING, qos),
            0..=2 if index >= 2 && stays => {
                (SHARED.get(self.random.below(SHARED.len())).copied().unwrap_or("a"), 2)
            }
            _ => (FILTERS.get(self.random.below(FILTERS.len())).copied().unwrap_or("a"), qos),
        }
    }

    pub(super) fn subscribe(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let (filter, qos) = self.some_filter(index);
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted || self.asked.contains_key(&index) {
            return Ok(());
        }
        let (version, id) = (client.version, client.id());
        let Some(id) = PacketId::new(id) else { return Ok(()) };
        let mut options = SubscribeOptions::qos(QoS::from_bits(qos).unwrap_or(QoS::AtMostOnce));
        // Below 5.0 Retained Messages would come each time, and are looked at elsewhere.
        options.retain_handling = RetainHandling::Never;
        if version != motte_wire::ProtocolVersion::V5 && (filter == "r/+" || filter == EVERYTHING) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Subscribe::encode_new(version, id, None, &[SubscribeEntry { filter, options }], &mut bytes);
        if let Some(ledger) = self.ledgers.get_mut(index) {
            ledger.ever.insert(filter, None);
            // A lower QoS may hold before its SUBACK is read.
            if ledger.subscriptions.get(filter).is_some_and(|old| *old > qos) {
                ledger.unsubscribed(filter, &self.sent);
            }
        }
        if filter.starts_with("$share/") {
            self.groups.asked(filter, index);
        }
        self.will_may_be_missed(filter);
        self.asked.insert(index, Asking::Subscription { filter, qos, is_closed: self.closed });
        self.send(index, &bytes)?;
        self.read(index)
    }

    pub(super) fn unsubscribe(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted || self.asked.contains_key(&index) {
            return Ok(());
        }
        let (version, id) = (client.version, client.id());
        let (Some(id), Some(ledger)) = (PacketId::new(id), self.ledgers.get_mut(index)) else {
            return Ok(());
        };
        let which = self.random.below(ledger.subscriptions.len());
        let Some(filter) = ledger.subscriptions.keys().nth(which).copied() else { return Ok(()) };
        ledger.unsubscribed(filter, &self.sent);
        self.groups.leaves(index, filter);
        let mut bytes = Vec::new();
        Unsubscribe::encode_new(version, id, &[filter], &mut bytes);
        self.asked.insert(index, Asking::End(filter));
        self.send(index, &bytes)?;
        self.read(index)
    }

    /// SUBACK.
    pub(super) fn subscribed(&mut self, index: usize, codes: &[ReasonCode]) -> Result<(), String> {
        let Some(Asking::Subscription { filter, qos, is_closed }) = self.asked.remove(&index) else {
            return Err("a SUBACK too many".into());
        };
        let (Some(ledger), Some(client)) = (self.ledgers.get_mut(index), self.clients.get(index)) else {
            return Ok(());
        };
        match codes.first() {
            // All of it is denied under the closed policy.
            Some(code) if code.is_failure() && is_closed && filter.starts_with("secret/") => {}
            Some(code) if code.is_failure() && self.is_faulty => {}
            Some(code) if code.0 == qos => {
                // What is between shards when a QoS is lowered arrives with the lower one.
                if ledger.subscriptions.get(filter).is_some_and(|old| *old > qos) {
                    ledger.unsubscribed(filter, &self.sent);
                }
                ledger.subscriptions.insert(filter, qos);
                if filter.starts_with("$share/") {
                    self.groups.joined(filter, index, client.outlives);
                }
            }
            other => return Err(format!("{filter} with QoS {qos} was answered with {other:?}")),
        }
        Ok(())
    }

    /// UNSUBACK: nothing published from now on comes by this filter.
    pub(super) fn unsubscribed(&mut self, index: usize) -> Result<(), String> {
        let Some(Asking::End(filter)) = self.asked.remove(&index) else {
            return Err("an UNSUBACK too many".into());
        };
        self.groups.left(index, Some(filter));
        if let Some(ledger) = self.ledgers.get_mut(index) {
            ledger.ever.insert(filter, Some(self.sent.len() as u64));
        }
        Ok(())
    }
}
