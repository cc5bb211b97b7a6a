//! Retained Messages: the last one of each topic, with who published it, within bounds; and the order in which they
//! change, so that what is kept of them is kept in that order, whatever shard is the first to have it kept.

use std::ops::ControlFlow;
use std::sync::Arc;

use motte_access::Authorized;
use motte_store::RetainedPlace;
use motte_topic::{NameSet, TopicFilter, TopicName};

use crate::input::ShardId;
use crate::publication::StoredPublication;

/// A Retained Message with the proof under which it was taken.
pub type RetainedMessage = Arc<Authorized<StoredPublication>>;

/// Bounds of the store of Retained Messages.
#[derive(Debug, Clone, Copy)]
pub struct RetainedLimits {
    /// Topics with a Retained Message.
    pub messages_max: usize,
    /// Bytes of all of them.
    pub bytes_max: usize,
}

/// Why a message was not retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedFull;

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedChange {
    /// Its place among all changes of the process.
    pub place: RetainedPlace,
    /// What it replaced or took away is on disk.
    pub was_kept: bool,
}

/// What is retained for a topic.
#[derive(Debug)]
struct Entry {
    message: RetainedMessage,
    /// It is on disk, or on its way there.
    is_kept: bool,
}

/// The Retained Messages of the whole process.
#[derive(Debug)]
pub struct Retained {
    set: NameSet<Entry>,
    bytes: usize,
    limits: RetainedLimits,
    /// Place of the last change.
    last: RetainedPlace,
    /// The first change of each shard that is on its way to the disk.
    on_their_way: Vec<Option<RetainedPlace>>,
}

impl Retained {
    /// Nothing retained yet.
    pub fn new(limits: RetainedLimits) -> Self {
        Self {
            set: NameSet::new(),
            bytes: 0,
            limits,
            last: RetainedPlace::default(),
            on_their_way: Vec::new(),
        }
    }

    /// Changes the bounds; what is retained stays.
    pub fn set_limits(&mut self, limits: RetainedLimits) {
        self.limits = limits;
    }

    /// Retains `message`, or forgets the topic's message when its payload is empty (MQTT-3.3.1-6, MQTT-3.3.1-7). `is_kept`:
    /// the caller has it kept on disk.
    ///
    /// # Errors
    /// The bounds leave no room; the previous message of the topic stays.
    pub fn put(&mut self, message: RetainedMessage, is_kept: bool) -> Result<RetainedChange, RetainedFull> {
        let topic = message.get().topic.clone();
        if message.get().payload.is_empty() {
            return Ok(self.remove(&topic));
        }
        let old = self.set.get(&topic).map(|old| (old.message.get().bytes(), old.is_kept));
        let bytes = self.bytes - old.map_or(0, |(bytes, _)| bytes) + message.get().bytes();
        let count = self.set.len() + usize::from(old.is_none());
        if bytes > self.limits.bytes_max || count > self.limits.messages_max {
            return Err(RetainedFull);
        }
        self.bytes = bytes;
        self.set.insert(&topic, Entry { message, is_kept });
        Ok(self.changed(old.is_some_and(|(_, was_kept)| was_kept)))
    }

    /// Forgets the message of a topic.
    pub fn remove(&mut self, topic: &TopicName) -> RetainedChange {
        let old = self.set.remove(topic);
        if let Some(old) = &old {
            self.bytes -= old.message.get().bytes();
        }
        self.changed(old.is_some_and(|old| old.is_kept))
    }

    fn changed(&mut self, was_kept: bool) -> RetainedChange {
        self.last.0 += 1;
        RetainedChange { place: self.last, was_kept }
    }

    /// A change is on its way to the disk, by this shard. To be said before anybody else can change anything.
    pub fn departs(&mut self, shard: ShardId, place: RetainedPlace) {
        let index = usize::from(shard.0);
        if self.on_their_way.len() <= index {
            self.on_their_way.resize(index + 1, None);
        }
        if let Some(first) = self.on_their_way.get_mut(index) {
            *first = Some(first.map_or(place, |first| first.min(place)));
        }
    }

    /// Says which change is the first that is still on its way by this shard. Gives the place before which nothing is on
    /// its way by anybody.
    pub fn settled(&mut self, shard: ShardId, first: Option<RetainedPlace>) -> RetainedPlace {
        if let Some(own) = self.on_their_way.get_mut(usize::from(shard.0)) {
            *own = first;
        }
        let on_their_way = self.on_their_way.iter().copied().flatten().min();
        on_their_way.unwrap_or(RetainedPlace(self.last.0 + 1))
    }

    /// Whether this is still its topic's Retained Message.
    pub fn is_current(&self, message: &RetainedMessage) -> bool {
        self.set.get(&message.get().topic).is_some_and(|entry| Arc::ptr_eq(&entry.message, message))
    }

    /// The messages whose topics match, unexpired ones only.
    pub fn matching(&self, filter: &TopicFilter, now_ms: u64) -> Vec<RetainedMessage> {
        let mut found = Vec::new();
        self.set.for_each_match(filter, |_, entry| {
            if !entry.message.get().expired(now_ms) {
                found.push(Arc::clone(&entry.message));
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Forgets expired messages. Gives the topics of those that are on disk, with the changes.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<(TopicName, RetainedPlace)> {
        let expired: Vec<TopicName> =
            self.all().filter(|m| m.get().expired(now_ms)).map(|m| m.get().topic.clone()).collect();
        let changes = expired.into_iter().map(|topic| (self.remove(&topic), topic));
        changes.filter(|(change, _)| change.was_kept).map(|(change, topic)| (topic, change.place)).collect()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &RetainedMessage> {
        self.set.iter().map(|(_, entry)| &entry.message)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Bytes they hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
