//! Why one question is answered as it is, and the rule that comes nearest to another answer.

use std::sync::Arc;

use motte_topic::{TopicFilter, TopicRef};

use crate::action::Action;
use crate::analysis::effect::meets;
use crate::analysis::rights::{Question, Rights, Way};
use crate::analysis::world::{Message, World};
use crate::denial::Denial;
use crate::gate::{Target, holds};
use crate::policy::{Conditions, Rule, RuleId};
use crate::principal::{ClientPrincipal, Principal};
use crate::standing::Standing;

/// A question about one client.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// Who asks.
    pub client: ClientPrincipal,
    /// What for: publish, retain, will, subscribe, share or receive.
    pub way: Way,
    /// The topic, or the filter without share prefix when it is about subscribing.
    pub target: String,
    /// QoS.
    pub qos: u8,
    /// Bytes of the payload.
    pub payload_bytes: usize,
}

/// A rule, with what it has to do with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cited {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The role.
    pub role: String,
    /// What it says.
    pub rule: String,
    /// What it has to do with the answer.
    pub why: String,
}

/// An answer with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is permitted.
    pub permitted: bool,
    /// The answer in a sentence.
    pub answer: String,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// Whether the token denies it, whatever the rules say.
    pub by_token: bool,
    /// Whether the topic registry denies it, whatever the rules say.
    pub by_registry: bool,
    /// The rule that decides, when one does.
    pub decides: Option<Cited>,
    /// The rule that comes nearest to another answer; the nearest shape, where the topic registry denies.
    pub nearest: Option<Cited>,
}

impl World {
    /// Answers a question with reasons.
    ///
    /// # Errors
    /// Why the target is not a topic or a filter.
    pub fn explain(&self, inquiry: &Inquiry) -> Result<Explained, motte_topic::TopicError> {
        let principal = Arc::new(Principal::Client(inquiry.client.clone()));
        let client = &inquiry.client;
        let comes_in = self.gate.client_id_permitted(client).and_then(|_| self.gate.source_permitted(client));
        if let Err(denial) = comes_in {
            return Ok(Explained {
                permitted: false,
                answer: denial.to_string(),
                roles: Vec::new(),
                by_token: false,
                by_registry: false,
                decides: None,
                nearest: None,
            });
        }
        let standing = self.gate.standing(Arc::clone(&principal));
        let subscribes = matches!(inquiry.way, Way::Subscribe | Way::Share);
        let filter = if subscribes {
            TopicFilter::parse(&inquiry.target)?
        } else {
            TopicFilter::exactly(TopicRef::parse(&inquiry.target)?)?
        };
        let topic = TopicRef::parse(&inquiry.target).ok();
        let retain = inquiry.way == Way::Retain;
        let message = Message { qos: inquiry.qos, payload_bytes: inquiry.payload_bytes };
        let target = match topic {
            Some(topic) if !subscribes => Target::Topic(topic),
            _ => Target::Filter(&filter),
        };
        let action = if retain { Action::Publish } else { inquiry.way.action() };
        let rights = Rights { world: self, standing: &standing };
        let asked = rights.ask(&Question { action, target, message, retain });
        let tracer =
            Tracer { world: self, standing: &standing, filter, message, action: inquiry.way.action() };
        let roles = standing.roles().iter().filter_map(|number| self.policy().roles.get(*number as usize));
        let roles = roles.map(|role| role.name.clone()).collect();
        let denied = |denial: &Denial| Explained {
            permitted: false,
            answer: denial.to_string(),
            roles: Vec::new(),
            by_token: matches!(denial, Denial::Token { .. }),
            by_registry: matches!(denial, Denial::Unregistered { .. }),
            decides: None,
            nearest: None,
        };
        let explained = match asked {
            Ok(rule) => Explained {
                permitted: true,
                answer: format!("{} `{}` is permitted", inquiry.way.name(), inquiry.target),
                roles: Vec::new(),
                by_token: false,
                by_registry: false,
                decides: tracer.by_id(rule, "permits it"),
                nearest: tracer.nearest_to_denial(rule),
            },
            Err(denial @ Denial::Token { .. }) => denied(&denial),
            Err(denial @ Denial::Unregistered { .. }) => {
                Explained { nearest: tracer.nearest_shape(), ..denied(&denial) }
            }
            Err(denial) => {
                let decides = tracer.denying();
                let nearest = tracer.nearest_to_permission(decides.is_some());
                Explained { decides, nearest, ..denied(&denial) }
            }
        };
        Ok(Explained { roles, ..explained })
    }
}

/// Looks through the rules about one question.
struct Tracer<'a> {
    world: &'a World,
    standing: &'a Standing,
    filter: TopicFilter,
    message: Message,
    action: Action,
}

impl Tracer<'_> {
    fn cite(&self, rule: &Rule, why: impl Into<String>) -> Option<Cited> {
        let place = self.world.policy().place(rule.id)?;
        Some(Cited {
            file: place.file.to_string(),
            line: place.line,
            role: place.role.to_string(),
            rule: rule.words(),
            why: why.into(),
        })
    }

    fn by_id(&self, id: RuleId, why: &str) -> Option<Cited> {
        self.cite(self.world.rules().iter().find(|rule| rule.id == id)?, why)
    }

    fn holds(&self, rule: &Rule) -> bool {
        holds(rule, self.standing.principal(), self.message.qos, self.message.payload_bytes)
    }

    fn own(&self, action: Action) -> impl Iterator<Item = (TopicFilter, &Rule)> {
        self.standing.rules_about(self.world.policy(), action)
    }

    /// The rule that denies it, if one does.
    fn denying(&self) -> Option<Cited> {
        let mut denying = self
            .own(self.action)
            .filter(|(filter, rule)| !rule.allows && self.holds(rule) && meets(filter, &self.filter));
        denying.next().and_then(|(_, rule)| self.cite(rule, "denies it, and a rule that denies wins"))
    }

    fn nearest_to_denial(&self, decided: RuleId) -> Option<Cited> {
        let waiting =
            self.own(self.action).find(|(filter, rule)| !rule.allows && meets(filter, &self.filter));
        if let Some((_, rule)) = waiting {
            return self
                .cite(rule, format!("would deny it, but holds only {}", conditions(&rule.conditions)));
        }
        let mut others = self.own(self.action).filter(|(filter, rule)| {
            rule.allows
                && rule.id != decided
                && self.holds(rule)
                && motte_topic::contains(filter, &self.filter)
        });
        if let Some((_, rule)) = others.next() {
            return self.cite(rule, "permits it as well, so both would have to go");
        }
        let deciding = self.world.rules().iter().find(|rule| rule.id == decided)?;
        let denying = self.own(self.action).filter(|(_, rule)| !rule.allows);
        let nearest = denying.max_by_key(|(filter, _)| shared_levels(filter, &self.filter));
        match nearest.filter(|(filter, _)| shared_levels(filter, &self.filter) > 0) {
            Some((_, rule)) => {
                self.cite(rule, "denies nearby; without the deciding rule it would be denied too")
            }
            None => self.cite(deciding, "is the only one: without it no rule would permit it"),
        }
    }

    /// The shape of a topic registry that is most like the topic.
    fn nearest_shape(&self) -> Option<Cited> {
        let registries = self.world.policy().registries(self.standing.principal());
        // One that knows the topic is not what denies it.
        let mut denying = registries.filter(|registry| !registry.knows(&self.filter));
        let shape = denying.find_map(|registry| registry.nearest(&self.filter))?;
        Some(Cited {
            file: shape.file.to_string(),
            line: shape.line,
            role: String::new(),
            rule: format!("topic_registry has {}", shape.filter),
            why: "is the shape that is most like it".to_owned(),
        })
    }

    fn nearest_to_permission(&self, is_denied: bool) -> Option<Cited> {
        let (action, wanted) = (self.action, &self.filter);
        let granting = |(filter, rule): &(TopicFilter, &Rule)| {
            rule.allows && motte_topic::contains(filter, wanted) && self.holds(rule)
        };
        if is_denied && let Some((_, rule)) = self.own(action).find(granting) {
            return self.cite(rule, "would permit it if the deciding rule were not there");
        }
        if let Some((_, rule)) = self.own(action).find(granting) {
            return self.cite(rule, "would permit it if the role's `wildcards` reached so far");
        }
        let held_back = self
            .own(action)
            .find(|(filter, rule)| rule.allows && motte_topic::contains(filter, wanted) && !self.holds(rule));
        if let Some((_, rule)) = held_back {
            return self
                .cite(rule, format!("would permit it, but holds only {}", conditions(&rule.conditions)));
        }
        // Those of the same direction are nearer.
        let sends = |one: Action| matches!(one, Action::Publish | Action::Retain | Action::SetWill);
        let mut of_others: Vec<Action> = Action::ALL.into_iter().filter(|one| *one != action).collect();
        of_others.sort_by_key(|one| sends(*one) != sends(action));
        for other in of_others {
            let found =
                self.own(other).find(|(filter, rule)| rule.allows && motte_topic::contains(filter, wanted));
            if let Some((_, rule)) = found {
                return self.cite(rule, format!("speaks of this topic, and not of {}", action.name()));
            }
        }
        let part = self.own(action).find(|(filter, rule)| rule.allows && meets(filter, wanted));
        if let Some((_, rule)) = part {
            return self.cite(rule, "permits a part of it");
        }
        let near = self.own(action).filter(|(filter, rule)| rule.allows && shared_levels(filter, wanted) > 0);
        if let Some((filter, rule)) = near.max_by_key(|(filter, _)| shared_levels(filter, wanted)) {
            return self.cite(rule, format!("permits {} on {filter}", action.name()));
        }
        let elsewhere = self.world.rules().iter().find(|rule| {
            rule.allows
                && rule.actions.has(action)
                && rule.topic.widest().is_some_and(|filter| motte_topic::contains(&filter, wanted))
        });
        elsewhere.and_then(|rule| self.cite(rule, "would permit it to those who have that role"))
    }
}

/// Levels from the first on that two filters share.
fn shared_levels(a: &TopicFilter, b: &TopicFilter) -> usize {
    a.levels().zip(b.levels()).take_while(|(a, b)| a == b).count()
}

/// Conditions in words.
fn conditions(conditions: &Conditions) -> String {
    let mut parts = Vec::new();
    parts.extend(conditions.qos_max.map(|max| format!("up to QoS {max}")));
    parts.extend(conditions.payload_bytes_max.map(|max| format!("up to {max} bytes")));
    parts.extend(conditions.listeners.as_ref().map(|names| format!("by listener {}", names.join(" or "))));
    parts.extend(conditions.security.as_ref().map(|all| {
        let names: Vec<&str> = all.iter().map(|one| one.name()).collect();
        format!("over {}", names.join(" or "))
    }));
    parts.extend(conditions.methods.map(|methods| format!("with {}", methods.names())));
    parts.extend(conditions.from.as_ref().map(|nets| {
        let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        format!("from {}", nets.join(" or "))
    }));
    if parts.is_empty() { "under conditions".into() } else { parts.join(" and ") }
}
