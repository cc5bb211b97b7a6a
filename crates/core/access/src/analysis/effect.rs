//! Which rules decide something: a rule without effect can be taken out, and nobody may more or less.

use std::collections::BTreeSet;

use motte_topic::{TopicFilter, contains, intersects, meet};

use crate::action::Action;
use crate::analysis::population::Population;
use crate::analysis::rights::{Rights, Sides, Way};
use crate::analysis::topic_set::TopicSet;
use crate::analysis::world::{World, messages};
use crate::policy::{Rule, RuleId, Wildcards};

/// What became of a rule, over everybody who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Effect {
    /// Somebody fulfils its conditions.
    pub(crate) holds: bool,
    /// Without it somebody may more or less.
    pub(crate) decides: bool,
    /// It was looked at as one that permits publishing.
    pub(crate) publishes: bool,
    /// Some topic that it permits to publish to is in the topic registry.
    pub(crate) is_registered: bool,
    /// All that it permits is denied by others.
    pub(crate) denied: bool,
    /// The one rule that takes the decision from it, when there is one.
    pub(crate) by: Option<RuleId>,
}

/// Filters that hold for somebody with one kind of message, by number of their rule: what the effect depends on.
type Holding = Vec<(Action, Vec<(TopicFilter, RuleId)>)>;

/// The effect of every rule, in the order of the rules.
pub(crate) fn effects(world: &World, population: &Population) -> Vec<Effect> {
    let mut effects = vec![Effect { denied: true, ..Effect::default() }; world.rules().len()];
    let mut names: Vec<&str> = world.policy().roles.iter().map(|role| role.name.as_str()).collect();
    names.dedup();
    let given = names.iter().flat_map(|name| world.given(population, name));
    let everybody = population.candidates.iter().cloned().chain(given);
    let messages = messages(&[world]);
    let mut seen: BTreeSet<Vec<(u8, String, u32)>> = BTreeSet::new();
    for candidate in everybody {
        let Some(standing) = candidate.standing(world) else { continue };
        let rights = Rights { world, standing: &standing };
        for message in &messages {
            let all: Vec<(Action, Sides<'_>)> =
                Action::ALL.map(|action| (action, rights.sides(action, *message))).into_iter().collect();
            if !seen.insert(key(&holding(&all))) {
                continue;
            }
            let publish = rights.topics(Way::Publish, *message);
            for (action, sides) in &all {
                judge(&rights, *action, sides, &publish, &mut effects);
            }
        }
    }
    effects
}

fn holding(all: &[(Action, Sides<'_>)]) -> Holding {
    let filters = |sides: &Sides<'_>| {
        sides.allow.iter().chain(&sides.deny).map(|(filter, rule)| ((*filter).clone(), rule.id)).collect()
    };
    all.iter().map(|(action, sides)| (*action, filters(sides))).collect()
}

fn key(holding: &Holding) -> Vec<(u8, String, u32)> {
    let all = holding.iter().flat_map(|(action, filters)| filters.iter().map(move |one| (action, one)));
    all.map(|(action, (filter, rule))| (*action as u8, filter.to_string(), rule.0)).collect()
}

/// Notes for each rule that bears on an action whether it decides something here.
fn judge(rights: &Rights<'_>, action: Action, sides: &Sides<'_>, publish: &TopicSet, effects: &mut [Effect]) {
    let number = |rule: &Rule| rights.world.rules().iter().position(|one| std::ptr::eq(one, rule));
    let publishes = matches!(action, Action::Publish | Action::Retain | Action::SetWill);
    // What lies outside of the topic registry is denied to all, by no rule.
    let there = |topics: TopicSet| if publishes { rights.publishable(&topics) } else { topics };
    let mut denied: Vec<TopicFilter> = sides.deny.iter().map(|(filter, _)| (*filter).clone()).collect();
    if publishes {
        denied.extend(TopicFilter::parse("$SYS/#"));
    }
    for (at, (filter, rule)) in sides.allow.iter().enumerate() {
        let Some(effect) = number(rule).and_then(|number| effects.get_mut(number)) else { continue };
        effect.holds = true;
        if publishes && !effect.is_registered {
            effect.publishes = true;
            effect.is_registered = !there(TopicSet::of([filter], &[])).is_empty();
        }
        if effect.decides {
            continue;
        }
        let others = || sides.allow.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| one);
        let left = TopicSet::of([filter], &denied.iter().collect::<Vec<_>>());
        effect.denied &= left.is_empty();
        let left = there(left);
        let asks_for_filters = matches!(action, Action::Subscribe | Action::Share);
        let counts = |other: &Rule| !asks_for_filters || other.wildcards >= wildcards_needed(rule, filter);
        let covering: Vec<&TopicFilter> =
            others().filter(|(_, other)| counts(other)).map(|(filter, _)| filter).collect();
        let mut delta = left.without(&TopicSet::of(covering, &[]));
        if action == Action::Retain {
            delta = delta.meet(publish);
        }
        let narrows_alone = rule.narrow
            && asks_for_filters
            && !left.is_empty()
            && !others().any(|(wider, other)| {
                other.narrow && other.wildcards >= rule.wildcards && contains(wider, filter)
            });
        effect.decides = !delta.is_empty() || narrows_alone;
        let taker = if left.is_empty() {
            sides.deny.iter().find(|(wider, _)| contains(wider, filter)).map(|(_, other)| other.id)
        } else {
            others()
                .find(|(wider, other)| counts(other) && contains(wider, filter))
                .map(|(_, other)| other.id)
        };
        effect.by = taker.or(effect.by);
    }
    for (at, (filter, rule)) in sides.deny.iter().enumerate() {
        let Some(effect) = number(rule).and_then(|number| effects.get_mut(number)) else { continue };
        effect.holds = true;
        if effect.decides {
            continue;
        }
        let others: Vec<&TopicFilter> =
            denied.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, filter)| filter).collect();
        let taken = sides.allow.iter().filter_map(|(allowed, _)| meet(allowed, filter));
        let mut delta = there(TopicSet::of(&taken.collect::<Vec<_>>(), &others));
        if action == Action::Retain {
            delta = delta.meet(publish);
        }
        // Whether a filter is denied as a whole decides about narrowing too.
        let narrowed = sides.allow.iter().any(|(_, other)| other.narrow);
        effect.decides = !delta.is_empty() || narrowed;
    }
}

/// How far wildcards of a rule must reach that can stand in for this one.
fn wildcards_needed(rule: &Rule, filter: &TopicFilter) -> Wildcards {
    let first = filter.levels().next().unwrap_or_default();
    // A filter that begins with a wildcard is never granted by the help of one that does not.
    if matches!(first, "+" | "#" | "") { rule.wildcards } else { rule.wildcards.min(Wildcards::Scoped) }
}

/// Whether two filters have topics in common.
pub(crate) fn meets(a: &TopicFilter, b: &TopicFilter) -> bool {
    intersects(a, b).is_some()
}
