//! What a thief of a credential could read, write and trigger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::analysis::population::{Population, TooMany, Who};
use crate::analysis::rights::{Rights, Way};
use crate::analysis::topic_set::{TopicPiece, TopicSet};
use crate::analysis::world::{World, messages};
use crate::principal::ClientPrincipal;
use crate::standing::client_id_fits;
use crate::template::Placeholder;

/// Topics in words: the set, and one topic that is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topics {
    /// The set, with placeholders where any value can stand.
    pub set: String,
    /// A topic that is in it.
    pub example: String,
}

impl Topics {
    pub(crate) fn of(piece: &TopicPiece, population: &Population) -> Self {
        let example = piece.example().map_or_else(String::new, |topic| topic.to_string());
        Self { set: population.general(&piece.to_string()), example }
    }

    /// The pieces of a set, in order.
    pub(crate) fn all(topics: &TopicSet, population: &Population) -> Vec<Self> {
        let mut all: Vec<Self> = topics.pieces().iter().map(|piece| Self::of(piece, population)).collect();
        all.sort();
        all.dedup_by(|a, b| a.set == b.set);
        all
    }
}

/// What somebody could do with a credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blast {
    /// Topics by way; ways without any are left out. Not every combination of circumstances permits all of it at once.
    pub may: Vec<(Way, Vec<Topics>)>,
    /// Who gets what could be published, with the topics.
    pub triggers: Vec<(Who, Vec<Topics>)>,
    /// Client Identifiers that it may use; `*` stands for any rest.
    pub client_ids: Vec<String>,
    /// What this supposes that no policy says.
    pub assumptions: Vec<String>,
    /// Whether anybody like this was found.
    pub found: bool,
}

impl World {
    /// Everything that this identity may by any way of coming in, and whom that reaches.
    ///
    /// # Errors
    /// [`TooMany`]: it was not decided.
    pub fn blast(&self, identity: &str) -> Result<Blast, TooMany> {
        let population = Population::of(&[self], &[], &[identity])?;
        let messages = messages(&[self]);
        let mut blast = Blast::default();
        let mut sets: BTreeMap<Way, TopicSet> = BTreeMap::new();
        let is_it = |who: &Who, name: &str| name == identity && *who != Who::Anonymous;
        let mut about = BTreeSet::new();
        for candidate in &population.candidates {
            let Some(client) = candidate.client().filter(|client| is_it(&candidate.who, &client.identity))
            else {
                continue;
            };
            let Some(standing) = candidate.standing(self) else { continue };
            blast.found = true;
            about.insert(candidate.who.clone());
            blast.client_ids.extend(self.client_ids_of(client, &population));
            let rights = Rights { world: self, standing: &standing };
            for way in Way::ALL {
                for message in &messages {
                    sets.entry(way).or_default().extend(&rights.topics(way, *message));
                }
            }
        }
        let written = sets.get(&Way::Publish).cloned().unwrap_or_default();
        for way in Way::ALL {
            let topics = sets.get(&way).map(|set| Topics::all(set, &population)).unwrap_or_default();
            if !topics.is_empty() {
                blast.may.push((way, topics));
            }
        }
        blast.triggers = self.reached_by(identity, &written, &population);
        blast.client_ids.sort();
        blast.client_ids.dedup();
        blast.assumptions = self.assumptions(&about);
        if !population.listed.contains(identity) && self.certificates_give_roles() {
            blast.assumptions.push(format!("{identity} is not known: any certificate may be its own"));
        }
        Ok(blast)
    }

    /// Client Identifiers that a client may use: the one it has, its own name with anything behind it, anything at all.
    fn client_ids_of(&self, client: &ClientPrincipal, population: &Population) -> Vec<String> {
        let fresh = population.values.fresh(Placeholder::ClientId);
        let choices =
            [client.client_id.to_string(), format!("{}-{fresh}", client.identity), fresh.to_owned()];
        let fits = |id: &&String| {
            client_id_fits(
                &ClientPrincipal { client_id: Arc::from(id.as_str()), ..client.clone() },
                self.policy(),
            )
        };
        choices.iter().filter(fits).map(|id| id.replace(fresh, "*")).collect()
    }

    /// Whom publications to these topics reach, if they subscribe as they may.
    fn reached_by(
        &self,
        identity: &str,
        written: &TopicSet,
        population: &Population,
    ) -> Vec<(Who, Vec<Topics>)> {
        let mut reached: BTreeMap<&Who, TopicSet> = BTreeMap::new();
        if written.is_empty() {
            return Vec::new();
        }
        for candidate in &population.candidates {
            if candidate.principal.name() == identity {
                continue;
            }
            let Some(standing) = candidate.standing(self) else { continue };
            let rights = Rights { world: self, standing: &standing };
            let topics =
                rights.topics(Way::Receive, crate::analysis::world::Message::default()).meet(written);
            if !topics.is_empty() {
                reached.entry(&candidate.who).or_default().extend(&topics);
            }
        }
        reached.into_iter().map(|(who, topics)| (who.clone(), Topics::all(&topics, population))).collect()
    }
}
