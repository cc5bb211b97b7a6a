//! Roles that are tried out: what no rule grants to their holders is permitted and noted, until a day has passed.
//!
//! A rule that denies stays in force, and so does what no policy can grant. Topics that begin with `$`, administration, bridges
//! and operators know no leniency. Without a clock there is none either.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::action::Action;
use crate::denial::Denial;
use crate::gate::Target;

/// Most notes that wait to be taken; more are only counted.
pub(crate) const NOTES_MAX: usize = 64;

/// Until when a role is permissive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PermissiveUntil {
    /// When it ends, in seconds since 1970 (UTC).
    pub end_s: u64,
    day: Date,
}

impl PermissiveUntil {
    /// The last day, as it is written.
    pub fn day(&self) -> String {
        self.day.to_string()
    }

    /// To the end of a day, given as `2027-03-31`. `None` when that is no day after 1970.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let day: Date = text.parse().ok()?;
        let next = day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(Self { end_s: u64::try_from(next.timestamp().as_second()).ok()?, day })
    }
}

/// A role that is permissive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissiveRole {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Until when.
    pub until: PermissiveUntil,
}

/// Something that was permitted because a role is permissive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leniency {
    /// The identity.
    pub identity: String,
    /// The Client Identifier.
    pub client_id: String,
    /// The right.
    pub action: &'static str,
    /// The topic or filter.
    pub target: String,
    /// Why it would have been denied.
    pub denial: Denial,
}

/// Whether leniency can reach a right on a topic or filter at all.
pub(crate) fn can_reach(action: Action, target: &Target<'_>) -> bool {
    action != Action::Administer && !target.as_str().starts_with('$')
}

/// Whether something was denied for the lack of a rule, and not by one.
pub(crate) fn is_lack(denial: &Denial) -> bool {
    match denial {
        Denial::NoRule { .. } | Denial::Reaches { .. } | Denial::Wildcards { .. } => true,
        Denial::Rule { .. }
        | Denial::Token { .. }
        | Denial::Unregistered { .. }
        | Denial::SystemSpace { .. }
        | Denial::Kind { .. }
        | Denial::ClientId { .. }
        | Denial::Source { .. } => false,
    }
}
