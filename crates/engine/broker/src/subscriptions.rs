//! The subscriptions of a shard's Sessions, by Topic Filter. Shared Subscriptions are not here but in the exchange.

use motte_topic::{FilterSet, TopicFilter, TopicRef};

use crate::exchange::Exchange;
use crate::input::ShardId;
use crate::sessions::Wish;

/// One Session at a filter.
#[derive(Debug, Clone, Copy)]
pub struct Subscriber {
    /// Slot of the Session.
    pub session: u32,
    /// How.
    pub wish: Wish,
    /// The Session is kept, and what comes is acknowledged.
    pub is_kept: bool,
}

/// The index, with a generation that grows with every change.
#[derive(Debug)]
pub struct Subscriptions {
    set: FilterSet<Vec<Subscriber>>,
    generation: u64,
    count: usize,
}

impl Subscriptions {
    /// None.
    pub fn new() -> Self {
        Self { set: FilterSet::new(), generation: 1, count: 0 }
    }

    /// Grows with every change; a route is good as long as it stays.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes every route be made again: a Session's rights may have changed.
    pub fn touch(&mut self) {
        self.generation += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds a subscription, or changes the one this Session has with the same filter (`known`; MQTT-3.8.4-3).
    pub fn add(
        &mut self,
        filter: &TopicFilter,
        subscriber: Subscriber,
        known: bool,
        shard: ShardId,
        exchange: &Exchange,
    ) {
        self.generation += 1;
        let at_filter = self.set.entry_or_insert_with(filter, Vec::new);
        let first = at_filter.is_empty();
        let existing =
            if known { at_filter.iter_mut().find(|s| s.session == subscriber.session) } else { None };
        match existing {
            Some(entry) => *entry = subscriber,
            None => {
                at_filter.push(subscriber);
                self.count += 1;
            }
        }
        // That a filter has one that is kept is forgotten with the filter: until then a receipt too many is asked for.
        if first || subscriber.is_kept && !exchange.keeps(shard, filter) {
            exchange.add_interest(shard, filter, subscriber.is_kept);
        }
    }

    /// Removes a Session's subscription with this filter.
    pub fn remove(&mut self, filter: &TopicFilter, session: u32, shard: ShardId, exchange: &Exchange) {
        let Some(at_filter) = self.set.get_mut(filter) else { return };
        let Some(index) = at_filter.iter().position(|s| s.session == session) else { return };
        at_filter.swap_remove(index);
        self.count -= 1;
        self.generation += 1;
        if at_filter.is_empty() {
            self.set.remove(filter);
            exchange.remove_interest(shard, filter);
        }
    }

    /// Calls `found` with every subscriber whose filter matches; a Session comes once for each of its filters.
    pub fn for_each_match(&self, topic: TopicRef<'_>, mut found: impl FnMut(&Subscriber)) {
        self.set.for_each_match(topic, |subscribers| subscribers.iter().for_each(&mut found));
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::new()
    }
}
