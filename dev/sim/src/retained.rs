//! What must be retained: the writes of each topic since the last one that is certain.

use std::collections::BTreeMap;

/// One write; `None` takes the Retained Message away.
#[derive(Debug, Clone, Copy)]
struct Write {
    number: Option<u64>,
    /// Number of the publication that wrote.
    by: u64,
    is_certain: bool,
    /// It was sent again, and what arrived first may be what was acknowledged.
    is_again: bool,
    /// Monotonic time at which it expires.
    until_ms: Option<u64>,
}

/// What was there before the first write, or when all was at rest.
const FIRST: Write = Write { number: None, by: u64::MAX, is_certain: true, is_again: false, until_ms: None };

/// How a publication with RETAIN reached the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    /// It is one of QoS 2 that may be known there already.
    pub(crate) is_again: bool,
    /// The broker may refuse it.
    pub(crate) is_doubtful: bool,
}

/// The clocks when the Retained Messages are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    /// When the look began and ended, in monotonic milliseconds.
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    /// The clock on the wall never jumped over a restart, so that it is known when something expires.
    pub(crate) is_clock_exact: bool,
}

impl Write {
    /// Whether it may be gone because its time is over.
    fn may_be_over(&self, looked: Looked) -> bool {
        self.until_ms.is_some_and(|at| at <= looked.to_ms || !looked.is_clock_exact)
    }

    /// Whether it must be gone.
    fn is_over(&self, looked: Looked) -> bool {
        looked.is_clock_exact && self.until_ms.is_some_and(|at| at <= looked.from_ms)
    }
}

/// The Retained Messages as they may be.
#[derive(Debug, Default)]
pub(crate) struct Register {
    topics: BTreeMap<&'static str, Vec<Write>>,
}

impl Register {
    /// A publication with RETAIN reached the broker, whose writes are made in this order, whichever shard makes them.
    pub(crate) fn wrote(
        &mut self,
        topic: &'static str,
        (number, is_empty): (u64, bool),
        until_ms: Option<u64>,
        reached: Reached,
    ) {
        let Reached { is_again, is_doubtful } = reached;
        let value = (!is_empty).then_some(number);
        let writes = self.topics.entry(topic).or_insert_with(|| vec![FIRST]);
        let is_certain = !is_again && !is_doubtful;
        writes.push(Write { number: value, by: number, is_certain, is_again, until_ms });
    }

    /// A publication was refused: it changed nothing, but what it might have.
    pub(crate) fn refused(&mut self, number: u64) {
        for write in self.topics.values_mut().flatten().filter(|write| write.by == number) {
            write.is_certain = false;
        }
    }

    /// The broker ended: what was acknowledged last is kept, what came later may be.
    pub(crate) fn server_ended(&mut self, is_acknowledged: impl Fn(u64) -> bool) {
        for writes in self.topics.values_mut() {
            let is_kept =
                |write: &Write| write.by == FIRST.by || !write.is_again && is_acknowledged(write.by);
            let last = writes.iter().rposition(is_kept).unwrap_or(0);
            writes.drain(..last);
            for write in writes.iter_mut() {
                write.is_certain = false;
            }
        }
    }

    /// What is there was seen, when all was kept. Says what is wrong with it.
    pub(crate) fn seen(&mut self, found: &BTreeMap<String, u64>, looked: Looked) -> Result<(), String> {
        if let Some((topic, number)) =
            found.iter().find(|(topic, _)| !self.topics.contains_key(topic.as_str()))
        {
            return Err(format!("{topic} has the Retained Message {number}, and nobody retained one"));
        }
        for (topic, writes) in &mut self.topics {
            let value = found.get(*topic).copied();
            let last = writes.iter().rposition(|write| write.is_certain).unwrap_or(0);
            let possible = writes.get(last..).unwrap_or_default();
            let fits = |write: &&Write| match value {
                Some(_) => write.number == value && !write.is_over(looked),
                None => write.number.is_none() || write.may_be_over(looked),
            };
            let mut fitting: Vec<Write> = possible.iter().filter(fits).copied().collect();
            let Some(first) = fitting.first_mut() else {
                let possible: Vec<_> = possible.iter().map(|write| (write.number, write.until_ms)).collect();
                return Err(format!(
                    "{topic} has the Retained Message {value:?}, which is none of {possible:?}"
                ));
            };
            // What has expired may not have after a restart under another clock.
            *first = Write { number: first.number, until_ms: first.until_ms, ..FIRST };
            for write in fitting.iter_mut().skip(1) {
                write.is_certain = false;
            }
            *writes = fitting;
        }
        Ok(())
    }
}
