//! What each group of a Shared Subscription is owed: somebody in it gets the message.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Sent, bare, matches};

/// The books of one group.
#[derive(Debug, Default)]
struct Group {
    /// Acknowledged members; whether their Sessions stay for ever.
    members: BTreeMap<usize, bool>,
    /// Whoever asked to be one, acknowledged or not.
    asked: BTreeSet<usize>,
    /// Whoever went. A crash may undo that.
    gone: BTreeSet<usize>,
    owed: BTreeSet<u64>,
    got: BTreeMap<u64, usize>,
}

/// The groups by their Topic Filter, with `$share`.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<&'static str, Group>,
}

impl Groups {
    pub(crate) fn asked(&mut self, filter: &'static str, client: usize) {
        self.groups.entry(filter).or_default().asked.insert(client);
    }

    pub(crate) fn joined(&mut self, filter: &'static str, client: usize, stays: bool) {
        self.groups.entry(filter).or_default().members.insert(client, stays);
    }

    /// A member asked to go. Until that is acknowledged a crash may undo it.
    pub(crate) fn leaves(&mut self, client: usize, filter: &str) {
        if let Some(group) = self.groups.get_mut(filter) {
            group.members.remove(&client);
            group.owed.clear();
        }
    }

    /// A member goes or may go: what it held may be lost with it.
    pub(crate) fn left(&mut self, client: usize, filter: Option<&str>) {
        for (own, group) in &mut self.groups {
            if filter.is_none_or(|filter| *own == filter) && group.asked.remove(&client) {
                group.gone.insert(client);
                group.members.remove(&client);
                group.owed.clear();
            }
        }
    }

    /// The broker ended: whoever went may be there again, and hold messages.
    pub(crate) fn server_ended(&mut self) {
        for group in self.groups.values_mut() {
            group.asked.append(&mut group.gone);
        }
    }

    pub(crate) fn published(&mut self, number: u64, sent: &Sent) {
        for (filter, group) in &mut self.groups {
            if matches(bare(filter), sent.topic) && group.members.values().any(|stays| *stays) {
                group.owed.insert(number);
            }
        }
    }

    pub(crate) fn let_go(&mut self, is_let_go: impl Fn(u64) -> bool) {
        for group in self.groups.values_mut() {
            group.owed.retain(|number| !is_let_go(*number));
        }
    }

    /// A message arrived at a client that was in these groups.
    pub(crate) fn arrived(
        &mut self,
        number: u64,
        client: usize,
        ever: &[&'static str],
        sent: &Sent,
    ) -> Result<(), String> {
        for filter in ever {
            let Some(group) = self.groups.get_mut(filter) else { continue };
            group.owed.remove(&number);
            if ever.len() > 1 {
                // It is not known which of them the message came by.
                continue;
            }
            let first = *group.got.entry(number).or_insert(client);
            if first != client && sent.qos == 2 && !sent.is_resent && !sent.is_doubtful {
                return Err(format!(
                    "message {number} with QoS 2 went to c{first} and c{client} of {filter}"
                ));
            }
        }
        Ok(())
    }

    /// A message that nobody of a group got.
    pub(crate) fn missing(&self) -> Option<(&'static str, u64)> {
        self.groups.iter().find_map(|(filter, group)| group.owed.first().map(|number| (*filter, *number)))
    }
}
