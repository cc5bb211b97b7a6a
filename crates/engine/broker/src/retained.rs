//! Retained Messages: the last one of each topic, with who published it, within bounds.

use std::ops::ControlFlow;
use std::sync::Arc;

use motte_access::Authorized;
use motte_topic::{NameSet, TopicFilter, TopicName};

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

/// The Retained Messages of the whole process.
#[derive(Debug)]
pub struct Retained {
    set: NameSet<RetainedMessage>,
    bytes: usize,
    limits: RetainedLimits,
}

impl Retained {
    /// Nothing retained yet.
    pub fn new(limits: RetainedLimits) -> Self {
        Self { set: NameSet::new(), bytes: 0, limits }
    }

    /// Changes the bounds; what is retained stays.
    pub fn set_limits(&mut self, limits: RetainedLimits) {
        self.limits = limits;
    }

    /// Retains `message`, or forgets the topic's message when its payload is empty (MQTT-3.3.1-6, MQTT-3.3.1-7).
    ///
    /// # Errors
    /// The bounds leave no room; the previous message of the topic stays.
    pub fn put(&mut self, message: RetainedMessage) -> Result<(), RetainedFull> {
        let topic = message.get().topic.clone();
        if message.get().payload.is_empty() {
            self.remove(&topic);
            return Ok(());
        }
        let old = self.set.get(&topic).map(|old| old.get().bytes());
        let bytes = self.bytes - old.unwrap_or(0) + message.get().bytes();
        let count = self.set.len() + usize::from(old.is_none());
        if bytes > self.limits.bytes_max || count > self.limits.messages_max {
            return Err(RetainedFull);
        }
        self.bytes = bytes;
        self.set.insert(&topic, message);
        Ok(())
    }

    /// Forgets the message of a topic.
    pub fn remove(&mut self, topic: &TopicName) {
        if let Some(old) = self.set.remove(topic) {
            self.bytes -= old.get().bytes();
        }
    }

    /// Forgets the message of a topic if it still is this one.
    pub fn remove_same(&mut self, message: &RetainedMessage) {
        if self.is_current(message) {
            self.remove(&message.get().topic);
        }
    }

    /// Whether this is still its topic's Retained Message.
    pub fn is_current(&self, message: &RetainedMessage) -> bool {
        self.set.get(&message.get().topic).is_some_and(|current| Arc::ptr_eq(current, message))
    }

    /// The messages whose topics match, unexpired ones only.
    pub fn matching(&self, filter: &TopicFilter, now_ms: u64) -> Vec<RetainedMessage> {
        let mut found = Vec::new();
        self.set.for_each_match(filter, |_, message| {
            if !message.get().expired(now_ms) {
                found.push(Arc::clone(message));
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Forgets expired messages.
    pub fn sweep(&mut self, now_ms: u64) {
        let expired: Vec<TopicName> =
            self.all().filter(|m| m.get().expired(now_ms)).map(|m| m.get().topic.clone()).collect();
        for topic in expired {
            self.remove(&topic);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &RetainedMessage> {
        self.set.iter().map(|(_, message)| message)
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
