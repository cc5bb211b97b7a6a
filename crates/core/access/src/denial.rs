//! Why something must not be done, and which rule said so.

use std::fmt;
use std::sync::Arc;

use motte_topic::TopicName;

use crate::{Action, Origin};

/// The number of a rule within its compiled policy; [`CompiledPolicy::place`](crate::CompiledPolicy::place)
/// tells where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub(crate) u32);

impl RuleId {
    /// The built-in rule that confines the broker itself to `$SYS/` and `$motte/`.
    pub const SYSTEM: Self = Self(0);
    /// The rule of the development policy that permits everything.
    pub const DEVELOPMENT: Self = Self(1);
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// The section, such as `role.sensor` or `identity."dev-1"`.
    pub section: Arc<str>,
    /// Which rule of the section, from 1; 0 when the section has no list of rules.
    pub number: usize,
    /// The file, as it was named to [`Policy::parse`](crate::Policy::parse); empty for a built-in rule.
    pub file: Arc<str>,
    /// The line in the file, from 1; 0 for a built-in rule.
    pub line: usize,
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.section)?;
        if self.number > 0 {
            write!(f, " rule {}", self.number)?;
        }
        if !self.file.is_empty() {
            write!(f, " ({}:{})", self.file, self.line)?;
        }
        Ok(())
    }
}

/// Why something must not be done; the text names the rule or the lack of one, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// A deny rule applies.
    #[error("{} is denied by {place}", action.name())]
    Rule {
        /// What was asked for.
        action: Action,
        /// The rule.
        rule: RuleId,
        /// Where it stands.
        place: RulePlace,
    },
    /// A deny rule cannot be put in terms of this principal, so it denies whatever it may have meant.
    #[error("{} is denied by {place}: {void}, so the rule holds for every value", action.name())]
    Void {
        /// What was asked for.
        action: Action,
        /// The rule.
        rule: RuleId,
        /// Where it stands.
        place: RulePlace,
        /// Why it cannot be put.
        void: String,
    },
    /// No allow rule applies.
    #[error("no rule permits {} here: add an allow rule to a role of this principal", action.name())]
    NoRule {
        /// What was asked for.
        action: Action,
    },
    /// The principal has no role at all.
    #[error("{kind} {name} has no role: give it one in the policy")]
    NoRole {
        /// Kind of the principal.
        kind: &'static str,
        /// Name of the principal.
        name: Arc<str>,
    },
    /// A subscription reaches further than the rules do.
    #[error(
        "the topic filter reaches topics beyond the rules, such as {witness}: subscribe to less, widen the rule, \
         or say narrow = true in it"
    )]
    Beyond {
        /// A topic that the filter matches and no rule permits.
        witness: TopicName,
    },
    /// A deny rule takes some of what a subscription reaches away.
    #[error(
        "the topic filter reaches {witness}, which {place} denies: subscribe to less, or say narrow = true"
    )]
    BeyondDenied {
        /// A topic that the filter matches and the rule denies.
        witness: TopicName,
        /// The rule.
        rule: RuleId,
        /// Where it stands.
        place: RulePlace,
    },
    /// The roles do not permit wildcards at this place of a Topic Filter.
    #[error(
        "wildcards are {stance} in role {role}: subscribe below a level that is no wildcard, or set \
         wildcards = \"allow\" in the role"
    )]
    Wildcard {
        /// What the role says of wildcards.
        stance: &'static str,
        /// The role.
        role: Arc<str>,
    },
    /// The topic belongs to the broker.
    #[error("topics below {prefix} belong to the broker: publish elsewhere")]
    Reserved {
        /// The first level.
        prefix: &'static str,
    },
    /// This kind of principal has no such right by this way, whatever the rules say.
    #[error("{kind} {name} has no right to {} by way of {}", action.name(), origin.name())]
    Way {
        /// Kind of the principal.
        kind: &'static str,
        /// Name of the principal.
        name: Arc<str>,
        /// What was asked for.
        action: Action,
        /// The way.
        origin: Origin,
    },
    /// The policy has nothing on the identity.
    #[error("the policy has nothing on identity {identity}: add [identity.\"{identity}\"] or a [[match]]")]
    UnknownIdentity {
        /// The identity.
        identity: Arc<str>,
    },
    /// The policy gives the identity other Client Identifiers.
    #[error("identity {identity} may not use this client identifier: see client_ids in {place}")]
    ClientId {
        /// The identity.
        identity: Arc<str>,
        /// Where its Client Identifiers are given.
        place: RulePlace,
    },
    /// The Client Identifier is the name of another identity.
    #[error("the client identifier is the name of another identity: {place}")]
    ClientIdOfAnother {
        /// Where the other identity is declared.
        place: RulePlace,
    },
}

impl Denial {
    /// The rule that denied, if one did.
    pub const fn rule(&self) -> Option<RuleId> {
        match self {
            Self::Rule { rule, .. } | Self::Void { rule, .. } | Self::BeyondDenied { rule, .. } => {
                Some(*rule)
            }
            Self::NoRule { .. }
            | Self::NoRole { .. }
            | Self::Beyond { .. }
            | Self::Wildcard { .. }
            | Self::Reserved { .. }
            | Self::Way { .. }
            | Self::UnknownIdentity { .. }
            | Self::ClientId { .. }
            | Self::ClientIdOfAnother { .. } => None,
        }
    }
}
