//! Topic Aliases in both directions (5.0 section 3.3.2.3.4). They live as long as the connection, not the Session.

use std::num::NonZeroU16;

use motte_topic::{TopicName, TopicRef};
use rustc_hash::FxHashMap;

/// Aliases that the client has set.
#[derive(Debug, Default)]
pub struct InboundAliases {
    names: Box<[Option<TopicName>]>,
}

impl InboundAliases {
    /// Sets `alias` to `topic`. `false`: the alias is above `maximum` (MQTT-3.3.2-9, reason 0x94).
    pub fn set(&mut self, alias: NonZeroU16, topic: TopicRef<'_>, maximum: u16) -> bool {
        if alias.get() > maximum {
            return false;
        }
        let index = usize::from(alias.get()) - 1;
        if self.names.len() <= index {
            // Boxed, because most connections never set an alias; grown in steps for those that do.
            let mut names = std::mem::take(&mut self.names).into_vec();
            names.resize(index.saturating_add(1).next_power_of_two().min(usize::from(maximum)), None);
            self.names = names.into_boxed_slice();
        }
        if let Some(slot) = self.names.get_mut(index)
            && slot.as_ref().is_none_or(|name| name.as_str() != topic.as_str())
        {
            *slot = Some(topic.to_name());
        }
        true
    }

    /// The topic that `alias` stands for; `None`: it was never set.
    pub fn resolve(&self, alias: NonZeroU16) -> Option<&TopicName> {
        self.names.get(usize::from(alias.get()) - 1)?.as_ref()
    }
}

/// How a topic goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundAlias {
    /// With its name only.
    None,
    /// With its name, setting this alias.
    Set(NonZeroU16),
    /// By this alias alone.
    Known(NonZeroU16),
}

/// Aliases that we have set towards the client: the first topics get them, and keep them.
#[derive(Debug, Default)]
pub struct OutboundAliases {
    /// Made with the first alias: most clients take none.
    known: Option<Box<FxHashMap<TopicName, NonZeroU16>>>,
    maximum: u16,
}

impl OutboundAliases {
    /// Aliases up to `maximum` (the client's Topic Alias Maximum, lowered by our own bound); 0: none (MQTT-3.1.2-27).
    pub fn new(maximum: u16) -> Self {
        Self { known: None, maximum }
    }

    /// Whether any alias may be used.
    pub fn enabled(&self) -> bool {
        self.maximum > 0
    }

    /// How `topic` goes out now.
    pub fn alias(&mut self, topic: &TopicName) -> OutboundAlias {
        if self.maximum == 0 {
            return OutboundAlias::None;
        }
        let known = self.known.get_or_insert_default();
        if let Some(alias) = known.get(topic) {
            return OutboundAlias::Known(*alias);
        }
        let next = u16::try_from(known.len() + 1).ok().filter(|next| *next <= self.maximum);
        match next.and_then(NonZeroU16::new) {
            Some(alias) => {
                known.insert(topic.clone(), alias);
                OutboundAlias::Set(alias)
            }
            None => OutboundAlias::None,
        }
    }

    /// Takes back an alias that was to be set by a packet which was not sent after all.
    pub fn unset(&mut self, topic: &TopicName) {
        // Only the newest alias can be in that state, so the count stays dense.
        if let Some(known) = &mut self.known {
            known.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_above_the_maximum_is_refused_and_an_unset_one_unknown() {
        let mut aliases = InboundAliases::default();
        let two = NonZeroU16::new(2).unwrap();
        let topic = TopicRef::parse("a/b").unwrap();
        assert!(!aliases.set(two, topic, 1));
        assert!(aliases.resolve(two).is_none());
        assert!(aliases.set(two, topic, 2));
        assert_eq!(aliases.resolve(two).unwrap().as_str(), "a/b");
    }

    #[test]
    fn outbound_aliases_are_set_once_and_then_used() {
        let mut aliases = OutboundAliases::new(1);
        let a = TopicRef::parse("a").unwrap().to_name();
        let b = TopicRef::parse("b").unwrap().to_name();
        let one = NonZeroU16::new(1).unwrap();
        assert_eq!(aliases.alias(&a), OutboundAlias::Set(one));
        assert_eq!(aliases.alias(&a), OutboundAlias::Known(one));
        assert_eq!(aliases.alias(&b), OutboundAlias::None);
    }
}
