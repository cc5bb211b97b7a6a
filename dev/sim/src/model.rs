//! What must have arrived, worked out apart from the broker: naive matching, naive bookkeeping.

use std::collections::{BTreeMap, BTreeSet};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The step after which it showed.
    pub step: usize,
    /// What is wrong.
    pub what: String,
}

/// A message of the simulation; its number is its payload.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) qos: u8,
    pub(crate) publisher: usize,
    /// It was sent again: who subscribed in between gets it late.
    pub(crate) is_resent: bool,
}

/// What one Session is owed and got.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    /// Acknowledged subscriptions: filter and QoS.
    pub(crate) subscriptions: BTreeMap<&'static str, u8>,
    /// Every filter of this Session that was ever sent: what may arrive at all.
    pub(crate) ever: BTreeSet<&'static str>,
    /// Messages that must arrive, with their QoS.
    pub(crate) owed: BTreeMap<u64, u8>,
    /// Messages that need not arrive: the server ended before it took responsibility for them.
    pub(crate) let_go: BTreeSet<u64>,
    /// How often each message arrived as a new one (DUP resends of one flow not counted).
    pub(crate) got: BTreeMap<u64, u32>,
    /// QoS with which a message arrived.
    pub(crate) got_qos: BTreeMap<u64, u8>,
    /// The newest message for each publisher and topic, in the order of first arrival.
    newest: BTreeMap<(usize, &'static str, u8), u64>,
}

impl Ledger {
    /// The Session ended: nothing is owed any more and nothing is subscribed.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// A message was published while this Session stood.
    pub(crate) fn published(&mut self, number: u64, sent: &Sent) {
        let qos = self
            .subscriptions
            .iter()
            .filter(|(filter, _)| matches(filter, sent.topic))
            .map(|(_, qos)| (*qos).min(sent.qos))
            .max();
        if let Some(qos) = qos.filter(|qos| *qos > 0) {
            self.owed.insert(number, qos);
        }
    }

    /// The server ended: what it had not acknowledged to the publisher is let go.
    pub(crate) fn server_ended(&mut self, is_acknowledged: impl Fn(u64) -> bool) {
        let lost: Vec<u64> = self.owed.keys().filter(|number| !is_acknowledged(**number)).copied().collect();
        for number in lost {
            self.owed.remove(&number);
            self.let_go.insert(number);
        }
    }

    /// A filter was given up: what came by it may still arrive, but need not.
    pub(crate) fn unsubscribed(&mut self, filter: &str, sent: &[Sent]) {
        self.subscriptions.remove(filter);
        self.owed.retain(|number, _| {
            usize::try_from(*number)
                .ok()
                .and_then(|n| sent.get(n))
                .is_none_or(|sent| !matches(filter, sent.topic))
        });
    }

    /// A message arrived. Says what is wrong with that.
    pub(crate) fn arrived(&mut self, number: u64, qos: u8, dup: bool, sent: &Sent) -> Result<(), String> {
        if !self.ever.iter().any(|filter| matches(filter, sent.topic)) {
            return Err(format!("message {number} on {} arrived without a subscription", sent.topic));
        }
        let count = self.got.entry(number).or_default();
        *count += 1;
        // An earlier one with a lower QoS, before the server ended and the publisher sent again, is none of its two.
        if self.got_qos.insert(number, qos) == Some(2) && qos == 2 {
            return Err(format!("message {number} with QoS 2 arrived {count} times"));
        }
        if qos != 1 && dup && qos == 0 {
            return Err(format!("message {number} with QoS 0 arrived with DUP"));
        }
        if *count == 1 && !dup && !sent.is_resent {
            let newest = self.newest.entry((sent.publisher, sent.topic, qos)).or_insert(number);
            if *newest > number {
                return Err(format!(
                    "message {number} arrived after {newest} of the same publisher, topic and QoS"
                ));
            }
            *newest = number;
        }
        Ok(())
    }

    /// What was owed and never came.
    pub(crate) fn missing(&self) -> Vec<u64> {
        self.owed.keys().filter(|number| !self.got.contains_key(number)).copied().collect()
    }
}

/// The obvious way to match, one level at a time.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut filters = filter.split('/');
    let mut levels = topic.split('/');
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(f), Some(t)) if f == t => {}
            (Some(_), Some(_) | None) | (None, Some(_)) => return false,
        }
        // `a/#` matches `a`.
        if levels.clone().next().is_none() && filters.clone().next() == Some("#") {
            return true;
        }
    }
}
