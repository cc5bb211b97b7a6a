//! What a verified token says, and the topics to which it narrows whatever the policy grants.

use motte_topic::{TopicFilter, uncovered};

use crate::action::Action;
use crate::denial::Denial;
use crate::gate::Target;
use crate::principal::Principal;

/// Filters that a token may name for each direction.
pub const TOKEN_FILTERS_MAX: usize = 32;
/// Longest of them, in bytes.
pub const TOKEN_FILTER_BYTES_MAX: usize = 256;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFacts {
    /// Who issued it.
    pub issuer: String,
    /// The fingerprint of the key that signed it.
    pub key: String,
    /// Whom it is for (`aud`): at most 64 names.
    pub audience: Vec<String>,
    /// The claim that was read as its identity.
    pub identity_claim: String,
    /// The claim that was read for roles; `None`: none was.
    pub roles_claim: Option<String>,
    /// The claim that was read for groups; `None`: none was.
    pub groups_claim: Option<String>,
    /// The claim that was read for topics, whether it was there or not; `None`: none was.
    pub topics_claim: Option<String>,
    /// Its number (`jti`), if it has one.
    pub id: Option<String>,
    /// Roles that it grants: only such as tokens may grant.
    pub roles: Vec<String>,
    /// Groups that it names, whether they give roles or not.
    pub groups: Vec<String>,
    /// The roles that they give.
    pub group_roles: Vec<String>,
    /// Topics outside of which its client may do nothing, whatever its roles; `None`: no such bound.
    pub topics: Option<TokenTopics>,
    /// When it ends, in seconds since 1970; the connection ends then.
    pub ends_s: u64,
}

/// Topics to which a token narrows its client. They grant nothing: the policy has to permit it as well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenTopics {
    /// What may be published, retained, or left as a Will.
    pub publish: Vec<TopicFilter>,
    /// What may be subscribed to, shared or received.
    pub subscribe: Vec<TopicFilter>,
}

/// Whether something lies within the topics of a principal's token, if it has such.
pub(crate) fn bound(principal: &Principal, action: Action, target: &Target<'_>) -> Result<(), Denial> {
    let token = principal.client().and_then(|client| client.token.as_deref());
    token.and_then(|token| token.topics.as_ref()).map_or(Ok(()), |topics| topics.bound(action, target))
}

impl TokenTopics {
    /// Reads filters, at most [`TOKEN_FILTERS_MAX`] for each direction.
    ///
    /// # Errors
    /// Why they cannot be taken.
    pub fn parse(publish: &[&str], subscribe: &[&str]) -> Result<Self, &'static str> {
        let fault = "a topic of the token is no filter of at most 256 bytes";
        let filters = |texts: &[&str]| {
            if texts.len() > TOKEN_FILTERS_MAX {
                return Err("the token has more than 32 topics");
            }
            let fitting =
                |text: &&str| TopicFilter::parse(text).ok().filter(|_| text.len() <= TOKEN_FILTER_BYTES_MAX);
            texts.iter().map(|text| fitting(text).ok_or(fault)).collect()
        };
        Ok(Self { publish: filters(publish)?, subscribe: filters(subscribe)? })
    }

    /// Whether something lies within: a topic when a filter matches it, a filter when everything that it matches is matched.
    fn bound(&self, action: Action, target: &Target<'_>) -> Result<(), Denial> {
        let within = match action {
            Action::Publish | Action::Retain | Action::SetWill => &self.publish,
            Action::Subscribe | Action::Share | Action::Receive => &self.subscribe,
            Action::Administer => return Ok(()),
        };
        let witness = match target {
            Target::Topic(topic) if within.iter().any(|filter| filter.matches(*topic)) => None,
            Target::Topic(topic) => Some(topic.as_str().to_owned()),
            Target::Filter(filter) => {
                let all: Vec<&TopicFilter> = within.iter().collect();
                uncovered(filter, &all, &[]).map(|witness| witness.as_str().to_owned())
            }
        };
        match witness {
            None => Ok(()),
            Some(witness) => {
                Err(Denial::Token { action: action.name(), target: target.as_str().to_owned(), witness })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use motte_topic::TopicRef;
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [&str; 3] = ["a", "b", ""];

    /// Topics of up to three levels, some of which begin with `$`.
    fn topics() -> Vec<String> {
        let mut all: Vec<String> = ["a", "b", "$a"].map(str::to_owned).to_vec();
        for from in 0..2 {
            let longer: Vec<String> = all
                .iter()
                .filter(|topic| topic.matches('/').count() == from)
                .flat_map(|topic| LEVELS.map(|level| format!("{topic}/{level}")))
                .collect();
            all.extend(longer);
        }
        all
    }

    fn filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop::sample::select(vec!["a", "b", "+", "$a"]);
        (prop::collection::vec(level, 1..=3), any::<bool>()).prop_map(|(levels, rest)| {
            let text = levels.join("/");
            TopicFilter::parse(if rest { format!("{text}/#") } else { text }).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_filter_lies_within_when_all_that_it_matches_does(
            within in prop::collection::vec(filter(), 0..4), asked in filter(),
        ) {
            let bounds = TokenTopics { publish: Vec::new(), subscribe: within.clone() };
            let all = topics();
            let outside = all.iter().find(|topic| {
                let topic = TopicRef::parse(topic).unwrap();
                let reached = bounds.bound(Action::Receive, &Target::Topic(topic)).is_ok();
                assert_eq!(reached, within.iter().any(|filter| filter.matches(topic)));
                asked.matches(topic) && !reached
            });
            let told = bounds.bound(Action::Subscribe, &Target::Filter(&asked));
            match told {
                Ok(()) => prop_assert_eq!(outside, None, "nothing that it matches is outside"),
                Err(Denial::Token { witness, .. }) => {
                    let witness = TopicRef::parse(&witness).unwrap();
                    prop_assert!(asked.matches(witness) && !within.iter().any(|filter| filter.matches(witness)));
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
            let topic = TopicRef::parse("a").unwrap();
            prop_assert!(bounds.bound(Action::Publish, &Target::Topic(topic)).is_err(), "the other direction");
        }
    }
}
