//! A directory that says who a client is: what is asked, and what its groups give.

use std::collections::{BTreeSet, HashMap};

use motte_access::DirectoryFacts;
use motte_ldap::Name;
use motte_seal::SecretBytes;

use crate::remote::RemoteQuestion;

/// Roles by group. A group that is not in it gives nothing.
#[derive(Debug, Clone, Default)]
pub struct DirectoryGroups(HashMap<Name, Vec<String>>);

impl DirectoryGroups {
    /// Of names of groups, each with its roles. What is not the name of an entry is nobody's group.
    pub fn new<'a>(table: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        let named = |(name, roles): (&str, &[String])| Some((Name::parse(name)?, roles.to_vec()));
        Self(table.into_iter().filter_map(named).collect())
    }

    /// What is known of somebody in these groups.
    pub fn facts(&self, entry: String, groups: Vec<String>) -> DirectoryFacts {
        let gives = |group: &String| Name::parse(group).is_some_and(|name| self.0.contains_key(&name));
        let groups: Vec<String> = groups.into_iter().filter(gives).collect();
        let roles = self.roles(&groups).into_iter().map(str::to_owned).collect();
        DirectoryFacts { entry, groups, roles }
    }

    /// Whether what somebody was given is what its groups give by this table.
    pub fn still_gives(&self, facts: &DirectoryFacts) -> bool {
        self.roles(&facts.groups) == facts.roles.iter().map(String::as_str).collect()
    }

    fn roles(&self, groups: &[String]) -> BTreeSet<&str> {
        let found = groups.iter().filter_map(|group| self.0.get(&Name::parse(group)?));
        found.flatten().map(String::as_str).collect()
    }
}

impl RemoteQuestion {
    /// The user name and the password for a directory.
    pub fn login(&self) -> (&str, &[u8]) {
        (self.name(), self.credentials.password.as_ref().map(SecretBytes::expose).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_give_the_roles_of_the_table_and_unknown_ones_nothing() {
        let (operator, both) =
            (vec!["operator".to_owned()], vec!["reader".to_owned(), "operator".to_owned()]);
        let table = DirectoryGroups::new([("cn=Ops,dc=x", &operator[..]), ("cn=all,dc=x", &both)]);
        let facts = |groups: &[&str]| {
            table.facts("uid=a".to_owned(), groups.iter().map(|one| (*one).to_owned()).collect())
        };
        assert_eq!(facts(&["CN=ops, DC=X", "cn=others,dc=x", "cn=ops,dc=y", "ops", ""]).roles, operator);
        let all = facts(&["cn=all,dc=x", "cn=ops,dc=x"]);
        assert_eq!(
            (all.roles.clone(), all.groups.len()),
            (vec!["operator".to_owned(), "reader".to_owned()], 2)
        );
        assert!(facts(&[]).roles.is_empty());
        assert!(table.still_gives(&all));
        let less = DirectoryGroups::new([("cn=ops,dc=x", &operator[..])]);
        assert!(!less.still_gives(&all), "a right was taken back");
        assert!(less.still_gives(&facts(&["cn=ops,dc=x"])));
    }
}
