//! The registry of topics: the shapes of all topics that there are at a site. It grants nothing; what lies outside of it nobody
//! publishes to, whatever the rules say, so that a message to a wrong topic is told from a missing right.

use std::sync::Arc;

use motte_topic::{FilterSet, TopicFilter, uncovered};
use toml::Spanned;

use crate::action::Action;
use crate::denial::Denial;
use crate::error::{PolicyError, place};
use crate::gate::Target;
use crate::policy::CompiledPolicy;
use crate::principal::Principal;
use crate::reader::Reader;

/// A shape of topics, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) filter: TopicFilter,
    pub(crate) file: Arc<str>,
    /// Line, from 1.
    pub(crate) line: usize,
}

/// The shapes that one policy declares.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) shapes: Vec<Shape>,
    set: FilterSet<()>,
}

impl Registry {
    pub(crate) fn new(shapes: &[Shape]) -> Self {
        let mut set = FilterSet::new();
        for shape in shapes {
            set.entry_or_insert_with(&shape.filter, || ());
        }
        Self { shapes: shapes.to_vec(), set }
    }

    /// The filters, without their places.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.shapes.iter().map(|shape| &shape.filter)
    }

    /// A topic of the target that no shape matches.
    fn outside(&self, target: &Target<'_>) -> Option<String> {
        match target {
            Target::Topic(topic) if self.set.any_match(*topic) => None,
            Target::Topic(topic) => Some(topic.as_str().to_owned()),
            Target::Filter(filter) => {
                let all: Vec<&TopicFilter> = self.filters().collect();
                uncovered(filter, &all, &[]).map(|witness| witness.as_str().to_owned())
            }
        }
    }

    /// Whether all topics of a filter are in it.
    pub(crate) fn knows(&self, filter: &TopicFilter) -> bool {
        self.outside(&Target::Filter(filter)).is_none()
    }

    /// The shape that shares most levels with a topic, if any shares one.
    pub(crate) fn nearest(&self, topic: &TopicFilter) -> Option<&Shape> {
        let shared = |shape: &Shape| {
            let levels = shape.filter.levels().zip(topic.levels());
            levels.filter(|(wanted, given)| *wanted == "+" || wanted == given).count()
        };
        let is_near = |shape: &&Shape| shape.filter.levels().zip(topic.levels()).any(|(a, b)| a == b);
        // Of several that are as near, the first that is written.
        self.shapes.iter().rev().filter(is_near).max_by_key(|shape| shared(shape))
    }
}

/// Whether a right to publish is about topics that there are; other rights are not concerned.
pub(crate) fn bound(
    policy: &CompiledPolicy,
    principal: &Principal,
    action: Action,
    target: &Target<'_>,
) -> Result<(), Denial> {
    if !matches!(action, Action::Publish | Action::Retain | Action::SetWill) {
        return Ok(());
    }
    match policy.registries(principal).find_map(|registry| registry.outside(target)) {
        None => Ok(()),
        Some(witness) => {
            Err(Denial::Unregistered { action: action.name(), target: target.as_str().to_owned(), witness })
        }
    }
}

impl CompiledPolicy {
    /// The registries that bound what a principal publishes: that of the general policy, and that of its listener's own one.
    pub(crate) fn registries(&self, principal: &Principal) -> impl Iterator<Item = &Registry> {
        let own = principal.client().and_then(|client| self.by_listener.get(&*client.listener));
        std::iter::once(&self.everywhere).chain(own).filter_map(|one| one.registry.as_ref())
    }
}

impl Reader<'_> {
    /// Adds the shapes of a file to those of the files before it.
    pub(crate) fn registry(
        &self,
        written: Option<&[Spanned<String>]>,
        shapes: &mut Option<Vec<Shape>>,
    ) -> Result<(), PolicyError> {
        let Some(written) = written else { return Ok(()) };
        let shapes = shapes.get_or_insert_default();
        let file: Arc<str> = Arc::from(self.file);
        for one in written {
            let (text, at) = (one.get_ref(), one.span().start);
            if text.contains(['{', '}']) {
                let what = format!("`{text}` of the topic registry has a placeholder");
                return Err(self.fault(
                    at,
                    what,
                    "write `+` for a level that is another one for each client",
                ));
            }
            let filter = TopicFilter::parse(text).map_err(|error| {
                let what = format!("`{text}` of the topic registry is not a Topic Filter: {error}");
                self.fault(at, what, "`+` stands for one whole level, `#` alone for the last ones")
            })?;
            shapes.push(Shape { filter, file: Arc::clone(&file), line: place(self.text, at).0 });
        }
        Ok(())
    }
}
