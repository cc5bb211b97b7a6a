//! The topics that a topic registry leaves, as sets.

use std::collections::BTreeMap;

use crate::analysis::topic_set::TopicSet;
use crate::policy::CompiledPolicy;
use crate::principal::Principal;
use crate::registry::Registry;
use crate::template::Template;

/// What may be published to at all, whatever the rules say.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    /// `None`: everything.
    everywhere: Option<TopicSet>,
    /// For clients of listeners whose own policy has a registry too.
    by_listener: BTreeMap<String, TopicSet>,
}

impl Registered {
    pub(crate) fn of(policy: &CompiledPolicy) -> Self {
        let topics = |registry: &Registry| TopicSet::of(registry.filters(), &[]);
        let everywhere = policy.everywhere.registry.as_ref().map(topics);
        let own = |(name, registry): (&String, &Registry)| {
            let own = topics(registry);
            (name.clone(), everywhere.as_ref().map_or_else(|| own.clone(), |all| all.meet(&own)))
        };
        let named = policy.by_listener.iter().filter_map(|(name, one)| Some((name, one.registry.as_ref()?)));
        let by_listener = named.map(own).collect();
        Self { everywhere, by_listener }
    }

    /// The topics that there are for a principal; `None`: all.
    pub(crate) fn topics(&self, principal: &Principal) -> Option<&TopicSet> {
        let own = principal.client().and_then(|client| self.by_listener.get(&*client.listener));
        own.or(self.everywhere.as_ref())
    }
}

/// The shapes of all registries, as templates: names that rules make equal to a level of a shape have to be looked at.
pub(crate) fn shapes(policy: &CompiledPolicy) -> Vec<Template> {
    let all = std::iter::once(&policy.everywhere).chain(policy.by_listener.values());
    let filters = all.filter_map(|one| one.registry.as_ref()).flat_map(Registry::filters);
    filters.filter_map(|filter| Template::parse(filter.as_str()).ok()).collect()
}
