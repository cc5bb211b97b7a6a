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
}

/// What was there before the first write, or when all was at rest.
const FIRST: Write = Write { number: None, by: u64::MAX, is_certain: true, is_again: false };

/// The Retained Messages as they may be.
#[derive(Debug, Default)]
pub(crate) struct Register {
    topics: BTreeMap<&'static str, Vec<Write>>,
}

impl Register {
    /// A publication with RETAIN reached the broker. It is not certain that it was taken if it is one of QoS 2 that may be
    /// known already, or if the disk fails.
    pub(crate) fn wrote(
        &mut self,
        topic: &'static str,
        number: u64,
        is_empty: bool,
        (is_again, is_faulty): (bool, bool),
    ) {
        let value = (!is_empty).then_some(number);
        let writes = self.topics.entry(topic).or_insert_with(|| vec![FIRST]);
        writes.push(Write { number: value, by: number, is_certain: !is_again && !is_faulty, is_again });
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
    pub(crate) fn seen(&mut self, found: &BTreeMap<String, u64>) -> Result<(), String> {
        if let Some((topic, number)) =
            found.iter().find(|(topic, _)| !self.topics.contains_key(topic.as_str()))
        {
            return Err(format!("{topic} has the Retained Message {number}, and nobody retained one"));
        }
        for (topic, writes) in &mut self.topics {
            let value = found.get(*topic).copied();
            let last = writes.iter().rposition(|write| write.is_certain).unwrap_or(0);
            let possible: Vec<_> = writes.iter().skip(last).map(|write| write.number).collect();
            if !possible.contains(&value) {
                return Err(format!(
                    "{topic} has the Retained Message {value:?}, which is none of {possible:?}"
                ));
            }
            *writes = vec![Write { number: value, ..FIRST }];
        }
        Ok(())
    }
}
