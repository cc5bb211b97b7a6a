//! Retained Messages change: in memory for all shards at once, and on disk by the shard that changed them.

use std::sync::Arc;

use motte_access::Authorized;
use motte_session::Durability;
use motte_store::Group;
use motte_topic::TopicName;

use crate::core::Core;
use crate::effect::Effects;
use crate::input::Now;
use crate::notice;
use crate::publication::StoredPublication;
use crate::retained::RetainedMessage;

impl Core {
    /// Keeps a message as its topic's Retained Message.
    pub(crate) fn retain(
        &mut self,
        stored: &Arc<Authorized<StoredPublication>>,
        (durability, group): (Durability, Group),
        now: Now,
        fx: &mut impl Effects,
    ) -> bool {
        let message = stored.get();
        let is_kept = durability > Durability::Memory && self.durable.is_on();
        let mut retained = self.exchange.retained_mut();
        let Ok(change) = retained.put(Arc::clone(stored), is_kept) else {
            drop(retained);
            notice::retained_full(message.topic.as_str(), fx);
            return false;
        };
        // What is not kept itself ends what was.
        let concerns_disk = is_kept || change.was_kept && self.durable.is_on();
        if concerns_disk {
            retained.departs(self.shard, change.place);
        }
        drop(retained);
        if concerns_disk {
            let (topic, mut number) = (message.topic.as_str(), None);
            // By itself, not with deliveries of the same message: it is its publisher's, they are their recipients'.
            let number = (is_kept && !message.payload.is_empty())
                .then(|| self.durable.put_message(&mut number, group, message, now));
            self.durable.retain(topic, number, (change.place, durability));
        }
        true
    }

    /// Forgets expired Retained Messages, on disk, too.
    pub(crate) fn sweep_retained(&mut self, now: Now) {
        let mut retained = self.exchange.retained_mut();
        let changes = retained.sweep(now.mono_ms);
        for (_, place) in &changes {
            retained.departs(self.shard, *place);
        }
        drop(retained);
        for (topic, place) in changes {
            self.durable.retain(topic.as_str(), None, (place, Durability::Os));
        }
    }

    /// Forgets a Retained Message, on disk, too; if another is retained for its topic meanwhile, that one stays.
    pub(crate) fn forget_retained_message(&mut self, message: &RetainedMessage) {
        let mut retained = self.exchange.retained_mut();
        if !retained.is_current(message) {
            return;
        }
        let topic = &message.get().topic;
        let change = retained.remove(topic);
        let concerns_disk = change.was_kept && self.durable.is_on();
        if concerns_disk {
            retained.departs(self.shard, change.place);
        }
        drop(retained);
        if concerns_disk {
            self.durable.retain(topic.as_str(), None, (change.place, Durability::Disk));
        }
    }

    /// Forgets what is on disk for a topic.
    pub(crate) fn forget_retained(&mut self, topic: &TopicName) {
        let mut retained = self.exchange.retained_mut();
        let change = retained.remove(topic);
        retained.departs(self.shard, change.place);
        drop(retained);
        self.durable.retain(topic.as_str(), None, (change.place, Durability::Disk));
    }

    /// Tells the other shards how far the own changes are kept, and whoever keeps them how far those of all are.
    pub(crate) fn settle_retained(&mut self) {
        let first = self.durable.first_retained();
        if first != self.retained_first {
            let place = self.exchange.retained_mut().settled(self.shard, first);
            self.durable.settle_retained(place);
            self.retained_first = first;
        }
    }
}
