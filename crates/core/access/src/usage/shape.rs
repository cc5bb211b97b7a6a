//! The shape of what was permitted.

use motte_topic::{TopicFilter, meet};

use crate::action::Action;
use crate::gate::{Authorized, Gate, Subject, Target, holds};
use crate::policy::{Rule, RuleId};
use crate::principal::{ClientPrincipal, Methods};
use crate::standing::Standing;
use crate::template::{Piece, is_safe};

/// A use of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Used {
    pub(crate) rule: RuleId,
    pub(crate) action: Action,
    pub(crate) shape: String,
}

/// Longest shape in bytes; of a longer one the rule's own topic is noted.
const SHAPE_BYTES_MAX: usize = 512;

impl Gate {
    /// Which rules a permission used. What came from no rule uses none.
    pub(crate) fn uses<T: Subject>(&self, who: &Standing, decided: &Authorized<T>) -> Vec<Used> {
        let Some(client) = who.principal().client() else { return Vec::new() };
        let what = decided.get();
        let used = |rule: &Rule, action: Action, text: &str| Used {
            rule: rule.id,
            action,
            shape: shape(rule, text, client),
        };
        let action = what.action();
        match what.target() {
            Target::Topic(topic) => {
                let publishes = matches!(action, Action::Publish | Action::SetWill);
                let mut found: Vec<Used> = self
                    .policy()
                    .rule(decided.rule())
                    .map(|rule| used(rule, action, topic.as_str()))
                    .into_iter()
                    .collect();
                if publishes && what.retain() {
                    let retain = self.judge_topic(who, Action::Retain, topic, what).ok();
                    let rule = retain.and_then(|rule| self.policy().rule(rule));
                    found.extend(rule.map(|rule| used(rule, Action::Retain, topic.as_str())));
                }
                found
            }
            Target::Filter(filter) => {
                let mut found = Vec::new();
                who.for_each_near(self.policy(), action, filter, |granted, rule| {
                    if rule.allows && holds(rule, who.principal(), what.qos(), what.payload_bytes()) {
                        let part: Option<TopicFilter> = meet(&granted, filter);
                        found.extend(part.map(|part| used(rule, action, part.as_str())));
                    }
                });
                found
            }
        }
    }
}

/// A topic or filter that a rule granted, with the rule's placeholders in their levels, and with `{identity}` or `{client_id}`
/// where the rule has a wildcard and the client's own name stands.
fn shape(rule: &Rule, text: &str, client: &ClientPrincipal) -> String {
    let levels = rule.topic.levels();
    let is_named = !client.methods.has(Methods::ANONYMOUS);
    let own = |level: &str| {
        if is_named && *level == *client.identity && is_safe(level) {
            return Some("{identity}".to_owned());
        }
        (*level == *client.client_id && is_safe(level)).then(|| "{client_id}".to_owned())
    };
    let mut shape = Vec::new();
    for (at, level) in text.split('/').enumerate() {
        let pieces = levels.get(at).map(Vec::as_slice);
        let written = match pieces {
            Some([]) => String::new(),
            Some([Piece::Text(one)]) if one != "+" && one != "#" => one.clone(),
            Some(pieces) if pieces.iter().any(|piece| matches!(piece, Piece::Placeholder(_))) => {
                pieces.iter().map(Piece::written).collect()
            }
            // Braces could be taken for a placeholder.
            _ if level.contains(['{', '}']) => "+".to_owned(),
            _ => own(level).unwrap_or_else(|| level.to_owned()),
        };
        shape.push(written);
    }
    let shape = shape.join("/");
    if shape.len() > SHAPE_BYTES_MAX { rule.topic.to_string() } else { shape }
}
