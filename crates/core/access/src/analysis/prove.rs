//! Proofs: a statement holds for everybody, or there is somebody for whom it does not.

use std::collections::{BTreeMap, BTreeSet};

use motte_topic::{TopicFilter, TopicName};

use crate::action::Action;
use crate::analysis::population::{Candidate, Population, TooMany, Who};
use crate::analysis::rights::{Question, Rights, Way};
use crate::analysis::statement::{Statement, Whom};
use crate::analysis::topic_set::{TopicPiece, TopicSet};
use crate::analysis::world::{Message, World, messages};
use crate::gate::Target;
use crate::principal::{Methods, Principal};
use crate::template::Template;

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds for everybody.
    Proved(Proof),
    /// It does not hold for this one.
    Refuted(Box<CounterExample>),
}

/// Why a statement was not decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// There are too many principals to look at.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// It is about something that no policy has.
    #[error("no policy has a {kind} `{name}`\n  remedy: use one of: {known}")]
    Unknown {
        /// Role, bridge or operator.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Names that there are.
        known: String,
    },
}

/// What a proof rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whom it is about.
    pub about: Vec<Who>,
    /// What it supposes that no policy says.
    pub assumptions: Vec<String>,
}

/// Somebody for whom a statement does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterExample {
    /// Who it is.
    pub who: Who,
    /// The identity, or the name of a bridge or an operator.
    pub identity: String,
    /// How it comes, as far as that matters: listener, method, Client Identifier, certificate, QoS.
    pub circumstances: Vec<(&'static str, String)>,
    /// The Topic Filter that it may subscribe with, when the statement is about subscribing.
    pub filter: Option<String>,
    /// The topic that it reaches, or that it does not reach though it should.
    pub topic: Option<String>,
    /// Where the rule stands that permits or denies it.
    pub rule: Option<String>,
    /// What is the case, in a sentence.
    pub why: String,
}

impl World {
    /// Decides a statement.
    ///
    /// # Errors
    /// [`Undecided`].
    pub fn prove(&self, statement: &Statement) -> Result<Verdict, Undecided> {
        self.check_whom(&statement.whom)?;
        let names: Vec<&str> = match &statement.whom {
            Whom::Identity(name) => vec![name],
            _ => Vec::new(),
        };
        let question: Vec<&Template> = std::iter::once(&statement.filter).chain(&statement.except).collect();
        let population = Population::of(&[self], &question, &names)?;
        let candidates = self.meant(&population, &statement.whom);
        let prover = Prover { world: self, statement, messages: messages(&[self]) };
        let found = if statement.can {
            prover.somebody_who_cannot(&candidates)
        } else {
            candidates.iter().find_map(|candidate| prover.can_anyway(candidate))
        };
        Ok(match found {
            Some(found) => Verdict::Refuted(Box::new(found)),
            None => {
                let about: BTreeSet<Who> = candidates.into_iter().map(|candidate| candidate.who).collect();
                let assumptions = self.assumptions(&about);
                Verdict::Proved(Proof { about: about.into_iter().collect(), assumptions })
            }
        })
    }

    /// Refuses statements about roles, bridges and operators that are not there: about nobody everything is true.
    fn check_whom(&self, whom: &Whom) -> Result<(), Undecided> {
        let policy = self.policy();
        let (kind, name, mut known): (_, _, Vec<&str>) = match whom {
            Whom::Role(name) => ("role", name, policy.roles.iter().map(|role| role.name.as_str()).collect()),
            Whom::Bridge(name) => ("bridge", name, policy.bridges.keys().map(String::as_str).collect()),
            Whom::Operator(name) => ("operator", name, policy.operators.keys().map(String::as_str).collect()),
            Whom::Identity(_) | Whom::Anonymous | Whom::Anybody => return Ok(()),
        };
        known.sort_unstable();
        known.dedup();
        if known.contains(&name.as_str()) {
            return Ok(());
        }
        let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
        Err(Undecided::Unknown { kind, name: name.clone(), known })
    }

    /// Those whom a statement is about.
    fn meant(&self, population: &Population, whom: &Whom) -> Vec<Candidate> {
        let all = &population.candidates;
        match whom {
            Whom::Anybody => all.clone(),
            Whom::Anonymous => all.iter().filter(|one| one.who == Who::Anonymous).cloned().collect(),
            Whom::Bridge(name) => {
                all.iter().filter(|one| one.who == Who::Bridge(name.clone())).cloned().collect()
            }
            Whom::Operator(name) => {
                all.iter().filter(|one| one.who == Who::Operator(name.clone())).cloned().collect()
            }
            Whom::Identity(name) => all
                .iter()
                .filter(|one| {
                    one.who != Who::Anonymous && one.client().is_some_and(|client| *client.identity == **name)
                })
                .cloned()
                .collect(),
            Whom::Role(role) => {
                let mut found: Vec<Candidate> = all
                    .iter()
                    .filter(|one| {
                        one.standing(self).is_some_and(|standing| {
                            let mut roles = standing.roles().iter();
                            roles.any(|number| {
                                self.policy().roles.get(*number as usize).is_some_and(|one| one.name == *role)
                            })
                        })
                    })
                    .cloned()
                    .collect();
                found.extend(self.given(population, role));
                found
            }
        }
    }

    /// Anybody to whom a role would be given: with nothing else but what everybody has.
    pub(crate) fn given(&self, population: &Population, role: &str) -> Vec<Candidate> {
        let mut found = Vec::new();
        let groups = population.values.all(crate::template::Placeholder::Group);
        // Who has what everybody has who is authenticated, and nothing else.
        let some = |one: &&Candidate| {
            let is_proved = !matches!(one.who, Who::Anonymous | Who::Bridge(_) | Who::Operator(_));
            let standing = one.standing(self).filter(|_| is_proved);
            let shared =
                one.client().map(|client| &self.policy().assignments(&client.listener).authenticated.roles);
            standing.is_some_and(|standing| shared.is_some_and(|roles| standing.roles() == roles.as_slice()))
        };
        for defined in self.policy().roles.iter().filter(|one| one.name == role) {
            for one in population.candidates.iter().filter(some) {
                let Some(client) = one.client() else { continue };
                let own = self.policy().by_listener.keys().find(|name| ***name == *client.listener);
                if own != defined.listener.as_ref() {
                    continue;
                }
                found.extend(groups.iter().map(|group| Candidate {
                    who: Who::Role(role.to_owned()),
                    principal: std::sync::Arc::clone(&one.principal),
                    further: Some((role.to_owned(), defined.listener.clone(), group.clone())),
                }));
            }
        }
        found
    }

    /// What an answer about these supposes.
    pub(crate) fn assumptions(&self, about: &BTreeSet<Who>) -> Vec<String> {
        let unknown: Vec<&str> = about
            .iter()
            .filter_map(|who| match who {
                Who::Identity { name, certificate: None }
                    if !self.certificates.contains_key(name) && self.policy().knows_identity(name) =>
                {
                    Some(name.as_str())
                }
                _ => None,
            })
            .collect();
        if unknown.is_empty() || self.any_certificate || !self.certificates_give_roles() {
            return Vec::new();
        }
        let names = match unknown.as_slice() {
            [one] => (*one).to_owned(),
            [one, rest @ ..] => format!("{one} and {} more", rest.len()),
            [] => String::new(),
        };
        vec![format!("no certificate of {names} has the names of a [[certificate]] entry")]
    }
}

/// Decides one statement.
struct Prover<'a> {
    world: &'a World,
    statement: &'a Statement,
    messages: Vec<Message>,
}

impl Prover<'_> {
    /// The right that subscribing needs here.
    fn way(&self) -> Way {
        if self.statement.share.is_some() { Way::Share } else { self.statement.way }
    }

    fn filters(&self, candidate: &Candidate, rights: &Rights<'_>, template: &Template) -> Vec<TopicFilter> {
        if let Some(fixed) = template.fixed() {
            return vec![fixed];
        }
        let groups = match &candidate.further {
            Some((_, _, group)) => vec![group.clone()],
            None => crate::standing::groups_of(rights.standing.principal(), self.world.policy()),
        };
        template.resolve(&candidate.principal, &groups)
    }

    /// Against `cannot`: what this one can all the same.
    fn can_anyway(&self, candidate: &Candidate) -> Option<CounterExample> {
        let standing = candidate.standing(self.world)?;
        let rights = Rights { world: self.world, standing: &standing };
        let filters = self.filters(candidate, &rights, &self.statement.filter);
        let except: Vec<TopicFilter> =
            self.statement.except.iter().flat_map(|one| self.filters(candidate, &rights, one)).collect();
        let wanted = TopicSet::of(&filters, &except.iter().collect::<Vec<_>>());
        if wanted.is_empty() {
            return None;
        }
        for message in &self.messages {
            let topics = rights.topics(self.way(), *message).meet(&wanted);
            if let Some(piece) = topics.pieces().first() {
                let topic = piece.example()?;
                return Some(self.reached(candidate, &rights, *message, &filters, piece, &topic));
            }
        }
        None
    }

    fn reached(
        &self,
        candidate: &Candidate,
        rights: &Rights<'_>,
        message: Message,
        filters: &[TopicFilter],
        piece: &TopicPiece,
        topic: &TopicName,
    ) -> CounterExample {
        let mut found = self.about(candidate, message);
        found.topic = Some(topic.to_string());
        let subscribes = matches!(self.statement.way, Way::Subscribe);
        let rule = if subscribes {
            let first = topic.as_ref().levels().next().unwrap_or_default();
            let wider = [format!("{first}/#"), "#".to_owned()];
            let exact = TopicFilter::exactly(topic.as_ref()).ok();
            let wider = wider.iter().filter_map(|text| TopicFilter::parse(text).ok());
            let choices: Vec<TopicFilter> =
                filters.iter().cloned().chain([piece.filter().clone()]).chain(exact).chain(wider).collect();
            let actions: &[Action] = if self.statement.share.is_some() {
                &[Action::Share]
            } else {
                &[Action::Subscribe, Action::Share]
            };
            let granted = actions.iter().find_map(|action| {
                choices.iter().filter(|filter| filter.matches(topic.as_ref())).find_map(|filter| {
                    let question = Question {
                        action: *action,
                        target: Target::Filter(filter),
                        message: Message { payload_bytes: 0, ..message },
                        retain: false,
                    };
                    rights.ask(&question).ok().map(|rule| (*action, filter, rule))
                })
            });
            granted.map(|(action, filter, rule)| {
                let group = self.statement.share.as_deref().unwrap_or("g");
                let share = if action == Action::Share { format!("$share/{group}/") } else { String::new() };
                found.filter = Some(format!("{share}{filter}"));
                rule
            })
        } else {
            let retain = self.statement.way == Way::Retain;
            let action = self.statement.way.action();
            let action = if retain { Action::Publish } else { action };
            rights.ask(&Question { action, target: Target::Topic(topic.as_ref()), message, retain }).ok()
        };
        found.rule = rule.and_then(|rule| self.world.policy().place(rule)).map(ToString::to_string);
        found.why = match (subscribes, &found.filter) {
            (true, Some(filter)) => format!("{} may subscribe with {filter} and gets {topic}", found.who),
            _ => format!("{} may {} {topic}", found.who, phrase(self.statement.way)),
        };
        found
    }

    /// Against `can`: somebody who cannot by any way of coming in.
    fn somebody_who_cannot(&self, candidates: &[Candidate]) -> Option<CounterExample> {
        let mut everybody: BTreeMap<(Who, String), Vec<&Candidate>> = BTreeMap::new();
        for one in candidates {
            everybody.entry((one.who.clone(), one.principal.name().to_owned())).or_default().push(one);
        }
        if everybody.is_empty() {
            let who = Who::Authenticated;
            let why = format!("there is nobody like {}", self.statement.whom);
            return Some(CounterExample {
                who,
                identity: String::new(),
                circumstances: Vec::new(),
                filter: None,
                topic: None,
                rule: None,
                why,
            });
        }
        everybody.into_values().find_map(|ways| {
            let mut first = None;
            for candidate in ways {
                match self.lacks(candidate) {
                    None => return None,
                    Some(found) => first = first.or(Some(found)),
                }
            }
            first
        })
    }

    /// What this one cannot, if anything.
    fn lacks(&self, candidate: &Candidate) -> Option<CounterExample> {
        let mut found = self.about(candidate, Message::default());
        let Some(standing) = candidate.standing(self.world) else {
            found.why = format!("{} may not use that Client Identifier", found.who);
            return Some(found);
        };
        let rights = Rights { world: self.world, standing: &standing };
        let filters = self.filters(candidate, &rights, &self.statement.filter);
        if filters.is_empty() {
            found.why = format!("{} has no value for {}", found.who, self.statement.filter);
            return Some(found);
        }
        let subscribes = self.statement.way == Way::Subscribe;
        if subscribes {
            let action = self.way().action();
            for filter in &filters {
                let question = Question {
                    action,
                    target: Target::Filter(filter),
                    message: Message::default(),
                    retain: false,
                };
                if let Err(denial) = rights.ask(&question) {
                    found.filter = Some(filter.to_string());
                    found.why = format!("{} is refused: {denial}", found.who);
                    return Some(found);
                }
            }
        }
        let way = if subscribes { Way::Receive } else { self.statement.way };
        let missing = TopicSet::of(&filters, &[]).without(&rights.topics(way, Message::default()));
        let topic = missing.example()?;
        let retain = way == Way::Retain;
        let action = if retain { Action::Publish } else { way.action() };
        let question =
            Question { action, target: Target::Topic(topic.as_ref()), message: Message::default(), retain };
        let denial = rights.ask(&question).err().map(|denial| format!(": {denial}")).unwrap_or_default();
        found.why = format!("{} may not {} {topic}{denial}", found.who, phrase(way));
        found.topic = Some(topic.to_string());
        Some(found)
    }

    /// Who it is, and how it comes, as far as the policy cares.
    fn about(&self, candidate: &Candidate, message: Message) -> CounterExample {
        let mut circumstances = Vec::new();
        if let Principal::Client(client) = &*candidate.principal {
            let rules = self.world.rules();
            let conditions = || rules.iter().map(|rule| &rule.conditions);
            if self.world.listeners.len() > 1 {
                circumstances.push(("listener", client.listener.to_string()));
            }
            if conditions().any(|one| one.methods.is_some()) || client.methods.has(Methods::ANONYMOUS) {
                circumstances.push(("method", client.methods.names()));
            }
            if conditions().any(|one| one.security.is_some()) {
                circumstances.push(("security", client.security.name().to_owned()));
            }
            let is_bound = self.world.binds(client);
            let differs = is_bound || conditions().any(|one| one.from.is_some());
            if let Some(address) = client.address.filter(|_| differs) {
                circumstances.push(("address", address.to_string()));
            }
            if client.client_id != client.identity {
                circumstances.push(("client id", client.client_id.to_string()));
            }
            if let Some(facts) = &client.certificate {
                let names = [("ou", &facts.ou), ("o", &facts.o)];
                let names: Vec<String> = names
                    .iter()
                    .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
                    .collect();
                circumstances.extend((!names.is_empty()).then(|| ("certificate", names.join(", "))));
            }
            if conditions().any(|one| one.qos_max.is_some()) {
                circumstances.push(("QoS", message.qos.to_string()));
            }
            if message.payload_bytes > 0 {
                circumstances.push(("payload", format!("{} bytes", message.payload_bytes)));
            }
        }
        CounterExample {
            who: candidate.who.clone(),
            identity: candidate.principal.name().to_owned(),
            circumstances,
            filter: None,
            topic: None,
            rule: None,
            why: String::new(),
        }
    }
}

/// The words before a topic.
pub(crate) fn phrase(way: Way) -> &'static str {
    match way {
        Way::Publish => "publish to",
        Way::Retain => "publish with RETAIN to",
        Way::Will => "leave a Will for",
        Way::Subscribe => "subscribe to",
        Way::Share => "share a subscription to",
        Way::Receive => "receive",
    }
}
