//! How a directory is asked about a user: as a configuration writes it, and read.

use crate::NAME_BYTES_MAX;
use crate::filter::Filter;
use crate::name::{Name, NameTemplate, attribute};

/// As written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanText {
    /// The name that a user has, with `{user}`.
    pub bind_as: Option<String>,
    /// Or: below which entry users are searched for,
    pub search_base: Option<String>,
    /// by which filter, with `{user}`,
    pub search_filter: Option<String>,
    /// and the name of the account that searches.
    pub account: Option<String>,
    /// The attribute that must be the user name, letter by letter.
    pub identity_attribute: Option<String>,
    /// The attribute of an entry that names its groups.
    pub group_attribute: Option<String>,
    /// Or: below which entry groups are searched for,
    pub group_base: Option<String>,
    /// by which filter, with `{dn}` or `{user}`.
    pub group_filter: Option<String>,
}

impl PlanText {
    /// Its texts, with the words that a configuration has for them, always in the same order.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("bind_as", self.bind_as.as_deref()),
            ("search_base", self.search_base.as_deref()),
            ("search_filter", self.search_filter.as_deref()),
            ("bind_dn", self.account.as_deref()),
            ("identity_attribute", self.identity_attribute.as_deref()),
            ("group_attribute", self.group_attribute.as_deref()),
            ("group_base", self.group_base.as_deref()),
            ("group_filter", self.group_filter.as_deref()),
        ]
    }

    /// Of texts in the order of [`PlanText::fields`].
    pub fn of(fields: [Option<String>; 8]) -> Self {
        let [
            bind_as,
            search_base,
            search_filter,
            account,
            identity_attribute,
            group_attribute,
            group_base,
            group_filter,
        ] = fields;
        Self {
            bind_as,
            search_base,
            search_filter,
            account,
            identity_attribute,
            group_attribute,
            group_base,
            group_filter,
        }
    }
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFault {
    /// The word of the configuration that it is about.
    pub key: &'static str,
    /// What, for people.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// How a user's entry is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Its name is known.
    Template(NameTemplate),
    /// It is searched for.
    Search {
        /// Below this entry.
        base: String,
        /// By this.
        filter: Filter,
        /// By the account of this name.
        account: String,
    },
}

/// Where the groups of a user are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// Nobody asks.
    None,
    /// In an attribute of its entry.
    Attribute(String),
    /// Among these entries, by this filter.
    Search {
        /// Below this entry.
        base: String,
        /// By this.
        filter: Filter,
    },
}

/// How a directory is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How a user's entry is found.
    pub way: Way,
    /// The attribute that must be the user name, letter by letter.
    pub identity_attribute: String,
    /// Where its groups are found.
    pub groups: Groups,
}

const A_NAME: &str = "write the name of an entry, such as \"ou=people,dc=example,dc=org\"";
const WAYS: &str = "write bind_as = \"uid={user},ou=…\", or search_base, search_filter and bind_dn";
const GROUP_WAYS: &str = "write group_attribute, or group_base and group_filter";

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &PlanText) -> Result<Self, Vec<PlanFault>> {
        let mut faults = Vec::new();
        let way = way(text, &mut faults);
        let groups = groups(text, &mut faults);
        let usual = match &way {
            Some(Way::Template(template)) => Some(template.attribute()),
            Some(Way::Search { filter, .. }) => filter.user_attribute(),
            None => None,
        };
        let identity = text.identity_attribute.as_deref().or(usual).map(str::to_owned);
        if identity.as_deref().is_some_and(|one| attribute(one).is_none()) {
            faults.push(fault(
                "identity_attribute",
                "it is not an attribute",
                "write its name, such as \"uid\"",
            ));
        }
        match (way, groups, identity) {
            (Some(way), Some(groups), Some(identity_attribute)) if faults.is_empty() => {
                Ok(Self { way, identity_attribute, groups })
            }
            (way, _, identity) => {
                if way.is_some() && identity.is_none() {
                    let what = "no attribute is known that must be the user name";
                    faults.push(fault("identity_attribute", what, "write identity_attribute = \"uid\""));
                }
                Err(faults)
            }
        }
    }
}

fn fault(key: &'static str, what: impl Into<String>, remedy: &'static str) -> PlanFault {
    PlanFault { key, what: what.into(), remedy }
}

fn way(text: &PlanText, faults: &mut Vec<PlanFault>) -> Option<Way> {
    if let Some(template) = &text.bind_as {
        for (key, written) in [
            ("search_base", &text.search_base),
            ("search_filter", &text.search_filter),
            ("bind_dn", &text.account),
        ] {
            if written.is_some() {
                faults.push(fault(key, "users are found by bind_as already", WAYS));
            }
        }
        return match NameTemplate::parse(template) {
            Ok(template) => Some(Way::Template(template)),
            Err(what) => {
                let remedy = "write a name with {user} in one value: \"uid={user},ou=people,dc=example\"";
                faults.push(fault("bind_as", what, remedy));
                None
            }
        };
    }
    let before = faults.len();
    let base = name("search_base", text.search_base.as_deref(), WAYS, faults);
    let account = name("bind_dn", text.account.as_deref(), WAYS, faults);
    let filter = filter("search_filter", text.search_filter.as_deref(), WAYS, faults);
    if let Some(filter) = &filter {
        if !filter.has_user() {
            let what = "it has no {user}, so it would find the same entry for everybody";
            faults.push(fault(
                "search_filter",
                what,
                "write {user} where the user name belongs: \"(uid={user})\"",
            ));
        }
        if filter.has_entry() {
            let what = "it has {dn}, and no entry is known yet";
            faults.push(fault(
                "search_filter",
                what,
                "write {user} where the user name belongs: \"(uid={user})\"",
            ));
        }
    }
    match (base, filter, account) {
        (Some(base), Some(filter), Some(account)) if faults.len() == before => {
            Some(Way::Search { base, filter, account })
        }
        _ => None,
    }
}

fn groups(text: &PlanText, faults: &mut Vec<PlanFault>) -> Option<Groups> {
    match (&text.group_attribute, &text.group_base, &text.group_filter) {
        (None, None, None) => Some(Groups::None),
        (Some(one), None, None) => {
            if attribute(one).is_none() {
                faults.push(fault(
                    "group_attribute",
                    "it is not an attribute",
                    "write its name, such as \"memberOf\"",
                ));
                return None;
            }
            Some(Groups::Attribute(one.clone()))
        }
        (Some(_), _, _) => {
            faults.push(fault("group_attribute", "groups are searched for already", GROUP_WAYS));
            None
        }
        (None, base, written) => {
            let base = name("group_base", base.as_deref(), GROUP_WAYS, faults);
            let filter = filter("group_filter", written.as_deref(), GROUP_WAYS, faults)?;
            if !filter.has_user() && !filter.has_entry() {
                let what = "it has neither {dn} nor {user}, so everybody would be in the same groups";
                let remedy = "write {dn} where the name of the user's entry belongs: \"(member={dn})\"";
                faults.push(fault("group_filter", what, remedy));
            }
            Some(Groups::Search { base: base?, filter })
        }
    }
}

/// What is written, which has to be.
fn wanted<'t>(
    key: &'static str,
    text: Option<&'t str>,
    missing: &'static str,
    faults: &mut Vec<PlanFault>,
) -> Option<&'t str> {
    if text.is_none() {
        faults.push(fault(key, format!("{key} is missing"), missing));
    }
    text
}

fn name(
    key: &'static str,
    text: Option<&str>,
    missing: &'static str,
    faults: &mut Vec<PlanFault>,
) -> Option<String> {
    let text = wanted(key, text, missing, faults)?;
    if text.len() > NAME_BYTES_MAX || Name::parse(text).is_none() {
        faults.push(fault(key, format!("`{text}` is not the name of an entry"), A_NAME));
    }
    Some(text.to_owned())
}

fn filter(
    key: &'static str,
    text: Option<&str>,
    missing: &'static str,
    faults: &mut Vec<PlanFault>,
) -> Option<Filter> {
    let text = wanted(key, text, missing, faults)?;
    match Filter::parse(text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            let remedy = "write a filter as RFC 4515 has it, such as \"(uid={user})\"";
            faults.push(fault(key, format!("it is not a filter: {error}"), remedy));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &[(&str, &str)]) -> PlanText {
        let known = PlanText::default()
            .fields()
            .map(|(key, _)| fields.iter().find(|(one, _)| *one == key).map(|(_, value)| (*value).to_owned()));
        PlanText::of(known)
    }

    #[test]
    fn a_plan_has_one_way_and_an_attribute_that_is_the_user_name() {
        let plan =
            Plan::parse(&text(&[("bind_as", "uid={user},dc=x"), ("group_attribute", "memberOf")])).unwrap();
        assert_eq!(plan.identity_attribute, "uid");
        assert_eq!(plan.groups, Groups::Attribute("memberOf".to_owned()));
        let search = [("search_base", "dc=x"), ("search_filter", "(mail={user})"), ("bind_dn", "cn=m,dc=x")];
        assert_eq!(Plan::parse(&text(&search)).unwrap().identity_attribute, "mail");
    }

    #[test]
    fn each_fault_names_its_key() {
        let faults = |fields: &[(&str, &str)]| -> Vec<&'static str> {
            let found = Plan::parse(&text(fields)).err().unwrap_or_default();
            found.iter().map(|one| one.key).collect()
        };
        let search =
            |filter| vec![("search_base", "dc=x"), ("search_filter", filter), ("bind_dn", "cn=m,dc=x")];
        assert_eq!(faults(&[]), ["search_base", "bind_dn", "search_filter"]);
        assert_eq!(faults(&[("bind_as", "uid=x")]), ["bind_as"]);
        assert_eq!(faults(&[("bind_as", "uid={user}"), ("bind_dn", "cn=m")]), ["bind_dn"]);
        assert_eq!(faults(&search("(uid=x)")), ["search_filter"]);
        assert_eq!(faults(&search("(a={dn}{user})")), ["search_filter",]);
        assert_eq!(faults(&search("(|(uid={user})(mail={user}))")), ["identity_attribute"]);
        assert_eq!(faults(&search("(uid={user}")), ["search_filter"]);
        let with = |more: &[(&'static str, &'static str)]| {
            [vec![("bind_as", "uid={user},dc=x")], more.to_vec()].concat()
        };
        assert_eq!(faults(&with(&[("group_base", "dc=x")])), ["group_filter"]);
        assert_eq!(faults(&with(&[("group_filter", "(member={dn})")])), ["group_base"]);
        assert_eq!(
            faults(&with(&[("group_base", "dc=x"), ("group_filter", "(member=x)")])),
            ["group_filter"]
        );
        assert_eq!(faults(&with(&[("group_attribute", "m o")])), ["group_attribute"]);
        assert_eq!(faults(&with(&[("group_attribute", "m"), ("group_base", "dc=x")])), ["group_attribute"]);
        assert_eq!(faults(&with(&[("identity_attribute", "=")])), ["identity_attribute"]);
    }
}
