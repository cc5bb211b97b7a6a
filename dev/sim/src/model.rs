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
    pub(crate) is_retained: bool,
    /// It has no payload, and takes a Retained Message away.
    pub(crate) is_empty: bool,
    /// It is a Will.
    pub(crate) is_will: bool,
    /// Its Will was taken back, so it must not arrive.
    pub(crate) is_forbidden: bool,
    /// Monotonic time after which it must not go out for the first time, and seconds of its expiry.
    pub(crate) expires: Option<(u64, u32)>,
    /// It was sent again: who subscribed in between gets it late.
    pub(crate) is_resent: bool,
    /// The server ended or refused meanwhile.
    pub(crate) is_doubtful: bool,
    /// The disk failed when it was sent: the server may have refused it.
    pub(crate) may_be_refused: bool,
}

impl Sent {
    pub(crate) fn new(topic: &'static str, qos: u8, publisher: usize) -> Self {
        Self {
            topic,
            qos,
            publisher,
            is_retained: false,
            is_empty: false,
            is_will: false,
            is_forbidden: false,
            expires: None,
            is_resent: false,
            is_doubtful: false,
            may_be_refused: false,
        }
    }
}

/// One arrival.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    /// How often the broker was started before.
    pub(crate) life: usize,
}

/// What one Session is owed and got.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    /// Acknowledged subscriptions: filter and QoS.
    pub(crate) subscriptions: BTreeMap<&'static str, u8>,
    /// Every filter of this Session that was ever sent, and from which message on nothing may come by it any more.
    pub(crate) ever: BTreeMap<&'static str, Option<u64>>,
    /// Messages that must arrive, with their QoS.
    pub(crate) owed: BTreeMap<u64, u8>,
    /// Messages that need not arrive: the server ended before it took responsibility for them.
    pub(crate) let_go: BTreeSet<u64>,
    /// How often each message arrived as a new one (DUP resends of one flow not counted).
    pub(crate) got: BTreeMap<u64, u32>,
    /// QoS with which a message arrived, and in which life of the broker.
    got_qos: BTreeMap<u64, (u8, usize)>,
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
        let own = self.subscriptions.iter().filter(|(filter, _)| !filter.starts_with("$share/"));
        let qos =
            own.filter(|(filter, _)| matches(filter, sent.topic)).map(|(_, qos)| (*qos).min(sent.qos)).max();
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

    /// The groups it was ever in and a topic is for.
    pub(crate) fn groups(&self, topic: &str) -> Vec<&'static str> {
        let groups = self.ever.keys().filter(|filter| filter.starts_with("$share/"));
        groups.filter(|filter| matches(bare(filter), topic)).copied().collect()
    }

    /// A message arrived. Says what is wrong with that.
    pub(crate) fn arrived(&mut self, arrival: Arrival, sent: &Sent) -> Result<(), String> {
        let Arrival { number, qos, dup, life } = arrival;
        let may = |(filter, until): (&&'static str, &Option<u64>)| {
            matches(bare(filter), sent.topic) && until.is_none_or(|until| number < until)
        };
        if !self.ever.iter().any(may) {
            return Err(format!("message {number} on {} arrived without a subscription", sent.topic));
        }
        if sent.is_forbidden {
            return Err(format!("message {number} is a Will that was taken back"));
        }
        let groups = self.groups(sent.topic).len();
        let is_shared = groups > 0;
        let count = self.got.entry(number).or_default();
        *count += 1;
        let before = self.got_qos.insert(number, (qos, life));
        // An earlier one with a lower QoS, before the server ended and the publisher sent again, is none of its two.
        if before.is_some_and(|(before, _)| before == 2)
            && qos == 2
            && (*count as usize > groups + 1 || !is_shared)
        {
            return Err(format!("message {number} with QoS 2 arrived {count} times"));
        }
        if dup && qos == 0 {
            return Err(format!("message {number} with QoS 0 arrived with DUP"));
        }
        if before == Some((1, life)) && qos == 1 && !dup && !is_shared && !sent.is_resent && !sent.is_doubtful
        {
            return Err(format!("message {number} arrived again, without DUP"));
        }
        if *count == 1 && !dup && !sent.is_resent && !sent.is_will && !is_shared {
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

/// A filter without its `$share` and Share Name.
pub(crate) fn bare(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(filter, |(_, bare)| bare)
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
