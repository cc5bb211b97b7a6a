//! The claim with groups, and the roles that they give by the table of the issuer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Groups of one token. One that names more is not taken: a group that was left out could be one whose roles deny.
const GROUPS_MAX: usize = 64;

/// Roles by group. Names are compared letter by letter; a group that is not in it gives nothing.
#[derive(Debug, Clone, Default)]
pub struct TokenGroups(BTreeMap<String, Vec<String>>);

impl TokenGroups {
    /// Of names of groups, each with its roles.
    pub fn new(table: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        Self(table.into_iter().collect())
    }

    /// The roles that groups give, each once, in order.
    pub(crate) fn roles(&self, groups: &[String]) -> Vec<String> {
        let given: BTreeSet<&String> =
            groups.iter().filter_map(|group| self.0.get(group)).flatten().collect();
        given.into_iter().cloned().collect()
    }
}

/// Reads the claim: a text or a list of texts.
///
/// # Errors
/// What is wrong with it. A token whose groups cannot be read whole is not taken.
pub(crate) fn named(claim: &Value) -> Result<Vec<String>, &'static str> {
    match claim {
        Value::Null => Ok(Vec::new()),
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(list) if list.len() > GROUPS_MAX => Err("the token names more than 64 groups"),
        Value::Array(list) => {
            let text = |one: &Value| one.as_str().map(str::to_owned).ok_or("a group of the token is no text");
            list.iter().map(text).collect()
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err("the token's groups are no list"),
    }
}
