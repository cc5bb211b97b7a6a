//! What a change of policy permits that was not permitted, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::blast::Topics;
use crate::analysis::population::{Candidate, Population, TooMany, Who};
use crate::analysis::rights::{Rights, Way};
use crate::analysis::topic_set::TopicSet;
use crate::analysis::world::{Message, World, messages};
use crate::principal::Methods;
use crate::standing::Standing;

/// What a change of policy means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What becomes permitted.
    pub widened: Vec<Change>,
    /// What is permitted no longer.
    pub narrowed: Vec<Change>,
}

/// One change, for everybody whom it concerns in the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// For whom.
    pub who: Vec<Who>,
    /// To do what.
    pub way: Way,
    /// With which topics.
    pub topics: Topics,
    /// Under which circumstances, when not under all that the policies speak of.
    pub when: Option<String>,
}

/// A change while it is gathered: by way, set in words, example and circumstances.
type Gathered = BTreeMap<(Way, Topics, Option<String>), BTreeSet<Who>>;

/// What differs for one principal by one way, for each kind of message.
struct Compared {
    widened: TopicSet,
    narrowed: TopicSet,
}

/// Compares two worlds.
///
/// # Errors
/// [`TooMany`]: it was not decided.
pub fn diff(old: &World, new: &World) -> Result<Difference, TooMany> {
    let worlds = [old, new];
    let population = Population::of(&worlds, &[], &[])?;
    let messages = messages(&worlds);
    let (mut widened, mut narrowed) = (Gathered::new(), Gathered::new());
    let mut told: BTreeMap<(Who, Way), (TopicSet, TopicSet)> = BTreeMap::new();
    for candidate in &population.candidates {
        let standings = worlds.map(|world| candidate.standing(world));
        for way in Way::ALL {
            for message in &messages {
                let compared = compare(&worlds, &standings, way, *message);
                let (wide, narrow) = told.entry((candidate.who.clone(), way)).or_default();
                let when = circumstances(&worlds, candidate, way, *message);
                gather(&mut widened, wide, &compared.widened, (candidate, way, when.clone()), &population);
                gather(&mut narrowed, narrow, &compared.narrowed, (candidate, way, when), &population);
            }
        }
    }
    Ok(Difference { widened: changes(widened, &population), narrowed: changes(narrowed, &population) })
}

fn compare(worlds: &[&World; 2], standings: &[Option<Standing>; 2], way: Way, message: Message) -> Compared {
    let topics = |world, standing: &Option<Standing>| {
        let standing = standing.as_ref();
        standing.map_or_else(TopicSet::default, |standing| Rights { world, standing }.topics(way, message))
    };
    let ([old, new], [old_standing, new_standing]) = (worlds, standings);
    let (before, after) = (topics(old, old_standing), topics(new, new_standing));
    Compared { widened: after.without(&before), narrowed: before.without(&after) }
}

/// Adds what was not told of this one yet.
fn gather(
    gathered: &mut Gathered,
    told: &mut TopicSet,
    found: &TopicSet,
    (candidate, way, when): (&Candidate, Way, Option<String>),
    population: &Population,
) {
    let news = found.without(told);
    if news.is_empty() {
        return;
    }
    told.extend(&news);
    for topics in Topics::all(&news, population) {
        gathered.entry((way, topics, when.clone())).or_default().insert(candidate.who.clone());
    }
}

/// What two policies speak of that this one brings.
fn circumstances(worlds: &[&World], candidate: &Candidate, way: Way, message: Message) -> Option<String> {
    let client = candidate.client()?;
    let conditions = || worlds.iter().flat_map(|world| world.rules()).map(|rule| &rule.conditions);
    let mut parts = Vec::new();
    let has_own = worlds.iter().any(|world| !world.policy().by_listener.is_empty());
    if has_own || conditions().any(|one| one.listeners.is_some()) {
        parts.push(format!("by listener {}", client.listener));
    }
    if conditions().any(|one| one.methods.is_some()) && !client.methods.has(Methods::ANONYMOUS) {
        parts.push(format!("by {}", client.methods.names()));
    }
    if conditions().any(|one| one.security.is_some()) {
        parts.push(format!("over {}", client.security.name()));
    }
    let is_bound = worlds.iter().any(|world| world.binds(client));
    if let Some(address) = client.address.filter(|_| is_bound || conditions().any(|one| one.from.is_some())) {
        parts.push(format!("from {address}"));
    }
    if way != Way::Receive && message.qos > 0 {
        parts.push(format!("with QoS {}", message.qos));
    }
    if matches!(way, Way::Publish | Way::Retain | Way::Will) && message.payload_bytes > 0 {
        parts.push(format!("with {} bytes or more", message.payload_bytes));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What was gathered, in order. A change of one name is left out when it is the change of everybody.
fn changes(gathered: Gathered, population: &Population) -> Vec<Change> {
    let general: BTreeSet<(Way, String)> = gathered
        .iter()
        .filter(|(_, who)| who.iter().any(|who| matches!(who, Who::Authenticated | Who::Certificate(_))))
        .map(|((way, topics, _), _)| (*way, topics.set.clone()))
        .collect();
    let mut all = Vec::new();
    for ((way, topics, when), mut who) in gathered {
        who.retain(|who| match who {
            Who::Identity { name, .. } if !population.listed.contains(name) => {
                !general.contains(&(way, topics.set.replace(name.as_str(), "{identity}")))
                    && !general.contains(&(way, topics.set.clone()))
            }
            _ => true,
        });
        if !who.is_empty() {
            all.push(Change { who: who.into_iter().collect(), way, topics, when });
        }
    }
    all.sort_by(|a, b| (&a.who, a.way, &a.topics).cmp(&(&b.who, b.way, &b.topics)));
    all
}
