//! The trie of names against the one matching rule, and which branches a match walks.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::filter_set::tests::{any_filter, any_name};

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap()
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn set_of(names: &[&str]) -> NameSet<()> {
    let mut set = NameSet::new();
    for text in names {
        set.insert(&name(text), ());
    }
    set
}

fn matched(set: &NameSet<()>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    set.for_each_match(&filter(text), |name, ()| {
        found.push(name.to_string());
        ControlFlow::Continue(())
    });
    found.sort();
    found
}

#[test]
fn every_matched_name_is_visited_once() {
    let set = set_of(&["a", "a/b", "a/b/c", "a/$c", "/", "/a", "$SYS", "$SYS/a", "b"]);
    assert_eq!(matched(&set, "#"), ["/", "/a", "a", "a/$c", "a/b", "a/b/c", "b"]);
    assert_eq!(matched(&set, "+"), ["a", "b"]);
    assert_eq!(matched(&set, "a/#"), ["a", "a/$c", "a/b", "a/b/c"]);
    assert_eq!(matched(&set, "a/+"), ["a/$c", "a/b"]);
    assert_eq!(matched(&set, "+/+/#"), ["/", "/a", "a/$c", "a/b", "a/b/c"]);
    assert_eq!(matched(&set, "$SYS/#"), ["$SYS", "$SYS/a"]);
    assert_eq!(matched(&set, "a/b"), ["a/b"]);
    assert_eq!(matched(&set, "c/#"), [""; 0]);
}

#[test]
fn a_break_ends_the_walk() {
    let set = set_of(&["a", "b", "c"]);
    let mut visited = 0;
    set.for_each_match(&filter("#"), |_, ()| {
        visited += 1;
        ControlFlow::Break(())
    });
    assert_eq!(visited, 1);
}

#[test]
fn the_deepest_names_neither_recurse_nor_linger() {
    let deep = "/".repeat(crate::TOPIC_BYTES_MAX);
    let mut set = set_of(&[&deep, "/a"]);
    assert_eq!(matched(&set, "#").len(), 2);
    assert_eq!(matched(&set, &deep), [deep.as_str()]);
    assert_eq!(set.remove(&name(&deep)), Some(()));
    assert_eq!(set.root.edges.len(), 1);
    set.insert(&name(&deep), ());
    assert_eq!(set.iter().count(), 2);
    drop(set);
}

#[test]
fn names_can_be_dropped_by_a_rule() {
    let mut set = set_of(&["a/1", "a/2", "b/1", "a"]);
    set.retain(|name, ()| !name.as_str().ends_with('1'));
    assert_eq!(matched(&set, "#"), ["a", "a/2"]);
    assert_eq!(set.len(), 2);
}

proptest! {
    #[test]
    fn the_set_agrees_with_a_plain_map(
        steps in prop::collection::vec((any_name(), any::<bool>()), 1..60),
        filters in prop::collection::vec(any_filter(), 1..20),
    ) {
        let mut set = NameSet::new();
        let mut model = BTreeMap::new();
        for (at, (name, add)) in steps.into_iter().enumerate() {
            if add {
                prop_assert_eq!(set.insert(&name, at), model.insert(name, at));
            } else {
                prop_assert_eq!(set.remove(name.as_ref()), model.remove(&name));
            }
            prop_assert_eq!(set.len(), model.len());
        }
        let listed: BTreeMap<_, _> = set.iter().map(|(name, value)| (name.clone(), *value)).collect();
        prop_assert_eq!(&listed, &model);
        for (name, value) in &model {
            prop_assert_eq!(set.get(name), Some(value));
            prop_assert_eq!(set.get_mut(name).copied(), Some(*value));
        }
        for filter in &filters {
            let mut found = Vec::new();
            set.for_each_match(filter, |name, value| {
                found.push((name.clone(), *value));
                ControlFlow::Continue(())
            });
            found.sort();
            let wanted: Vec<_> = model
                .iter()
                .filter(|(name, _)| filter.matches(name.as_ref()))
                .map(|(name, value)| (name.clone(), *value))
                .collect();
            prop_assert_eq!(found, wanted);
        }
        for name in model.keys() {
            set.remove(name);
        }
        prop_assert_eq!(set.root.edges.len(), 0);
    }
}
