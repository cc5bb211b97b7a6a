//! What one principal may with one kind of message, as sets of topics.

use motte_topic::{TopicFilter, uncovered};

use crate::action::{Action, Origin};
use crate::analysis::topic_set::{TopicPiece, TopicSet};
use crate::analysis::world::{Message, World};
use crate::gate::{Subject, Target, holds};
use crate::policy::{Rule, RuleId, Wildcards};
use crate::standing::Standing;

/// A way to do something with topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Publish to them.
    Publish,
    /// Publish to them with RETAIN.
    Retain,
    /// Leave a Will for them.
    Will,
    /// Get their messages by some subscription of its own, shared or not.
    Subscribe,
    /// Get their messages by a Shared Subscription.
    Share,
    /// Get their messages by whatever subscription there is.
    Receive,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Publish, Self::Retain, Self::Will, Self::Subscribe, Self::Share, Self::Receive];

    /// Its word in statements.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Retain => "retain",
            Self::Will => "will",
            Self::Subscribe => "subscribe",
            Self::Share => "share",
            Self::Receive => "receive",
        }
    }

    /// The right that is asked for first.
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Publish => Action::Publish,
            Self::Retain => Action::Retain,
            Self::Will => Action::SetWill,
            Self::Subscribe => Action::Subscribe,
            Self::Share => Action::Share,
            Self::Receive => Action::Receive,
        }
    }
}

/// A question for the Gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) action: Action,
    pub(crate) target: Target<'a>,
    pub(crate) message: Message,
    pub(crate) retain: bool,
}

impl Subject for Question<'_> {
    fn action(&self) -> Action {
        self.action
    }
    fn target(&self) -> Target<'_> {
        self.target
    }
    fn qos(&self) -> u8 {
        self.message.qos
    }
    fn retain(&self) -> bool {
        self.retain
    }
    fn payload_bytes(&self) -> usize {
        self.message.payload_bytes
    }
}

/// The filters that bear on one action, with their rules.
pub(crate) struct Sides<'a> {
    pub(crate) allow: Vec<(TopicFilter, &'a Rule)>,
    pub(crate) deny: Vec<(TopicFilter, &'a Rule)>,
}

impl Sides<'_> {
    pub(crate) fn denied(&self) -> Vec<&TopicFilter> {
        self.deny.iter().map(|(filter, _)| filter).collect()
    }

    fn topics(&self) -> TopicSet {
        TopicSet::of(self.allow.iter().map(|(filter, _)| filter), &self.denied())
    }
}

/// What a principal may under a world's policy.
pub(crate) struct Rights<'a> {
    pub(crate) world: &'a World,
    pub(crate) standing: &'a Standing,
}

impl<'a> Rights<'a> {
    /// The filters that bear on an action when such a message is asked about.
    pub(crate) fn sides(&self, action: Action, message: Message) -> Sides<'a> {
        let mut sides = Sides { allow: Vec::new(), deny: Vec::new() };
        let policy = self.world.policy();
        for (filter, rule) in self.standing.rules_about(policy, action) {
            if holds(rule, self.standing.principal(), message.qos, message.payload_bytes) {
                let side = if rule.allows { &mut sides.allow } else { &mut sides.deny };
                side.push((filter, rule));
            }
        }
        sides
    }

    /// The topics that are permitted by a way.
    pub(crate) fn topics(&self, way: Way, message: Message) -> TopicSet {
        match way {
            Way::Publish => self.publishable(&self.sides(Action::Publish, message).topics()),
            Way::Will => self.publishable(&self.sides(Action::SetWill, message).topics()),
            Way::Retain => {
                let publish = self.topics(Way::Publish, message);
                publish.meet(&self.sides(Action::Retain, message).topics())
            }
            Way::Receive => self.sides(Action::Receive, Message::default()).topics(),
            Way::Share => self.obtained(Action::Share, message),
            Way::Subscribe => {
                let mut all = self.obtained(Action::Subscribe, message);
                all.extend(&self.obtained(Action::Share, message));
                all
            }
        }
    }

    /// What of these topics may be published to at all: none below `$SYS`, and none that the topic registry does not know.
    pub(crate) fn publishable(&self, topics: &TopicSet) -> TopicSet {
        let topics = outside_system(topics);
        match self.world.registered.topics(self.standing.principal()) {
            Some(registered) => topics.meet(registered),
            None => topics,
        }
    }

    /// What the Gate says.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<RuleId, crate::denial::Denial> {
        self.world.gate.judge(self.standing, self.origin(question.action), question)
    }

    fn origin(&self, action: Action) -> Origin {
        use crate::principal::Principal;
        match (&**self.standing.principal(), action) {
            (Principal::Client(_), Action::SetWill) => Origin::Will,
            (Principal::Client(_), Action::Share) => Origin::Shared,
            (Principal::Client(_) | Principal::Node { .. } | Principal::System, _) => Origin::Publish,
            (Principal::Bridge { .. }, _) => Origin::Bridge,
            (Principal::Operator { .. }, _) => Origin::Admin,
        }
    }

    /// The topics whose messages come by a subscription that is permitted. They must be permitted to be received as well.
    fn obtained(&self, action: Action, message: Message) -> TopicSet {
        // SUBSCRIBE has no payload.
        let sides = self.sides(action, Message { payload_bytes: 0, ..message });
        let mut reached = sides.topics();
        reached.extend(&reached_by_narrowing(&sides));
        if reached.is_empty() {
            return reached;
        }
        reached.meet(&self.topics(Way::Receive, message))
    }
}

/// Nobody but the broker publishes below `$SYS`.
fn outside_system(topics: &TopicSet) -> TopicSet {
    let system: Vec<TopicFilter> = TopicFilter::parse("$SYS/#").into_iter().collect();
    topics.without(&TopicSet::of(&system, &[]))
}

/// The topics of all filters that are granted because a rule narrows them, whether they may be received or not.
fn reached_by_narrowing(sides: &Sides<'_>) -> TopicSet {
    let denied = sides.denied();
    let grants = |filter: &str| {
        TopicFilter::parse(filter).ok().filter(|filter| uncovered(filter, &denied, &[]).is_some())
    };
    let mut reached = TopicSet::default();
    for (filter, rule) in sides.allow.iter().filter(|(_, rule)| rule.narrow) {
        let first = filter.levels().next().unwrap_or_default();
        let is_wild = matches!(first, "+" | "#");
        // The widest filter that meets the rule and that the role's wildcards permit; what narrower ones reach, it reaches.
        let widest = match rule.wildcards {
            Wildcards::Deny => continue,
            Wildcards::Allow if first.starts_with('$') => grants(&format!("{first}/#")),
            Wildcards::Allow => grants("#"),
            Wildcards::Scoped if first.is_empty() => continue,
            Wildcards::Scoped if !is_wild => grants(&format!("{first}/#")),
            Wildcards::Scoped => {
                reached.extend(&below_any_first_level(&sides.deny));
                continue;
            }
        };
        reached.extend(&widest.and_then(|filter| TopicPiece::new(filter, [])).into_iter().collect());
    }
    reached
}

/// The topics below every first level that is not empty and of which not all is denied.
fn below_any_first_level(deny: &[(TopicFilter, &Rule)]) -> TopicSet {
    let denied: Vec<&TopicFilter> = deny.iter().map(|(filter, _)| filter).collect();
    let firsts: Vec<&str> = denied.iter().filter_map(|filter| filter.levels().next()).collect();
    let is_denied = |first: &str| {
        TopicFilter::parse(format!("{first}/#"))
            .is_ok_and(|filter| uncovered(&filter, &denied, &[]).is_none())
    };
    let mut fresh = "x".to_owned();
    while firsts.contains(&fresh.as_str()) {
        fresh.push('x');
    }
    if is_denied(&fresh) {
        return TopicSet::default();
    }
    let wholly = firsts.iter().filter(|first| !matches!(**first, "+" | "#") && is_denied(first));
    let except: Vec<TopicFilter> =
        wholly.chain([&""]).filter_map(|first| TopicFilter::parse(format!("{first}/#")).ok()).collect();
    let all = TopicFilter::parse("#").ok();
    all.and_then(|all| TopicPiece::new(all, &except)).into_iter().collect()
}
