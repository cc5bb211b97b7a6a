//! Statements about a policy: `role:sensor cannot subscribe cmd/+/unlock`.

use std::fmt;

use motte_topic::SubscriptionFilter;

use crate::analysis::rights::Way;
use crate::template::Template;

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Everybody who has a role, and anybody to whom it would be given.
    Role(String),
    /// One identity.
    Identity(String),
    /// One bridge.
    Bridge(String),
    /// One operator.
    Operator(String),
    /// Clients of listeners that ask nobody.
    Anonymous,
    /// Everybody.
    Anybody,
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "role:{name}"),
            Self::Identity(name) => write!(f, "identity:{name}"),
            Self::Bridge(name) => write!(f, "bridge:{name}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Anybody => f.write_str("anybody"),
        }
    }
}

impl Whom {
    /// Reads `role:NAME`, `identity:NAME`, `bridge:NAME`, `operator:NAME`, `anonymous` or `anybody`.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn parse(text: &str) -> Result<Self, StatementError> {
        let fault = || StatementError {
            what: format!("`{text}` does not say whom the statement is about"),
            remedy: "write role:NAME, identity:NAME, bridge:NAME, operator:NAME, anonymous or anybody".into(),
        };
        match (text, text.split_once(':')) {
            ("anonymous", _) => Ok(Self::Anonymous),
            ("anybody", _) => Ok(Self::Anybody),
            (_, Some((_, "")) | None) => Err(fault()),
            (_, Some((kind, name))) => Ok(match kind {
                "role" => Self::Role(name.into()),
                "identity" => Self::Identity(name.into()),
                "bridge" => Self::Bridge(name.into()),
                "operator" => Self::Operator(name.into()),
                _ => return Err(fault()),
            }),
        }
    }
}

/// A statement about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub(crate) whom: Whom,
    /// Whether they can; if not, they cannot.
    pub(crate) can: bool,
    pub(crate) way: Way,
    /// The Share Name, when a Shared Subscription is meant.
    pub(crate) share: Option<String>,
    pub(crate) filter: Template,
    pub(crate) except: Vec<Template>,
}

/// Why a statement cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  remedy: {remedy}")]
pub struct StatementError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

const FORM: &str = "write it as 'role:sensor cannot subscribe cmd/+/unlock', with `can` or `cannot`, and one of publish, \
retain, will, subscribe, receive";

impl Statement {
    /// Reads a statement. `except FILTER …` at the end takes topics out of what cannot be done; filters may have the
    /// placeholders of policies.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(text: &str) -> Result<Self, StatementError> {
        let fault = |what: String| StatementError { what, remedy: FORM.into() };
        let mut words = text.split_whitespace();
        let (Some(whom), Some(verb), Some(way), Some(filter)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(fault(format!("`{text}` is not a whole statement")));
        };
        let can = match verb {
            "can" => true,
            "cannot" => false,
            other => return Err(fault(format!("`{other}` is neither `can` nor `cannot`"))),
        };
        let except: Vec<&str> = match words.next() {
            None => Vec::new(),
            Some("except") => words.collect(),
            Some(other) => {
                return Err(fault(format!("`{other}` is too much; only `except` can follow the filter")));
            }
        };
        Self::new(Whom::parse(whom)?, can, way, filter, &except)
    }

    /// Makes a statement of its parts.
    ///
    /// # Errors
    /// As [`Statement::parse`].
    pub fn new(
        whom: Whom,
        can: bool,
        way: &str,
        filter: &str,
        except: &[&str],
    ) -> Result<Self, StatementError> {
        let fault = |what: String, remedy: &str| StatementError { what, remedy: remedy.into() };
        let words = [Way::Publish, Way::Retain, Way::Will, Way::Subscribe, Way::Receive];
        let Some(way) = words.into_iter().find(|one| one.name() == way) else {
            let what = format!("`{way}` is nothing that a statement can be about");
            return Err(fault(what, "use publish, retain, will, subscribe or receive"));
        };
        if can && !except.is_empty() {
            let what = "`except` goes with `cannot` only".to_owned();
            return Err(fault(what, "say for each filter what can be done"));
        }
        let (share, filter) = match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((name, rest)) if way == Way::Subscribe => {
                let is_good = SubscriptionFilter::parse(format!("$share/{name}/x")).is_ok();
                if !is_good {
                    return Err(fault(format!("`{name}` is not a Share Name"), "write $share/NAME/FILTER"));
                }
                (Some(name.to_owned()), rest)
            }
            _ => (None, filter),
        };
        let parse =
            |text: &str| Template::parse(text).map_err(|(what, remedy)| StatementError { what, remedy });
        let except = except.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { whom, can, way, share, filter: parse(filter)?, except })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.can { "can" } else { "cannot" };
        write!(f, "{} {verb} {} ", self.whom, self.way.name())?;
        if let Some(share) = &self.share {
            write!(f, "$share/{share}/")?;
        }
        write!(f, "{}", self.filter)?;
        for (at, filter) in self.except.iter().enumerate() {
            write!(f, "{} {filter}", if at == 0 { " except" } else { "" })?;
        }
        Ok(())
    }
}
