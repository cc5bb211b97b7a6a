//! Why a topic is or is not permitted: the deciding rule, and the one that would have changed the answer.

use motte_topic::TopicRef;

use crate::action::Action;
use crate::gate::{Gate, bearing};
use crate::policy::RulePlace;
use crate::standing::Standing;

/// The rules that bear on one action and topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Places of rules that allow the action on the topic, conditions aside.
    pub allowing: Vec<RulePlace>,
    /// Places of rules that deny it, conditions aside.
    pub denying: Vec<RulePlace>,
    /// Places of rules that match the topic and speak of other actions: the nearest to what would have changed the answer.
    pub nearby: Vec<RulePlace>,
}

impl Gate {
    /// The rules that bear on a decision.
    pub fn explain(&self, who: &Standing, action: Action, topic: TopicRef<'_>) -> Explanation {
        let mut explanation = Explanation { allowing: Vec::new(), denying: Vec::new(), nearby: Vec::new() };
        for rule in bearing(self, who, topic) {
            let Some(place) = self.policy().place(rule.id).cloned() else { continue };
            let list = match (rule.actions.has(action), rule.allows) {
                (true, true) => &mut explanation.allowing,
                (true, false) => &mut explanation.denying,
                (false, _) => &mut explanation.nearby,
            };
            list.push(place);
        }
        explanation
    }
}
