//! The trie of filters against the one matching rule, and its memory after removal.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::TopicName;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap()
}

fn name(text: &str) -> TopicRef<'_> {
    TopicRef::parse(text).unwrap()
}

fn matched(set: &FilterSet<TopicFilter>, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    set.for_each_match(name(text), |filter| found.push(filter.to_string()));
    found.sort();
    found
}

fn set_of(filters: &[&str]) -> FilterSet<TopicFilter> {
    let mut set = FilterSet::new();
    for text in filters {
        set.entry_or_insert_with(&filter(text), || filter(text));
    }
    set
}

#[test]
fn every_matching_filter_is_visited_once() {
    let set = set_of(&["#", "+", "+/#", "a", "a/#", "a/+", "a/b", "a/b/#", "/#", "$SYS/#", "$SYS/+", "+/b"]);
    assert_eq!(matched(&set, "a/b"), ["#", "+/#", "+/b", "a/#", "a/+", "a/b", "a/b/#"]);
    assert_eq!(matched(&set, "a"), ["#", "+", "+/#", "a", "a/#"]);
    assert_eq!(matched(&set, "/"), ["#", "+/#", "/#"]);
    assert_eq!(matched(&set, "$SYS/b"), ["$SYS/#", "$SYS/+"]);
    assert!(!set.any_match(name("$other/b")));
    assert!(set.any_match(name("other/c")));
}

#[test]
fn removal_leaves_no_node_behind() {
    let mut set = set_of(&["a/b/c/d", "a/b", "+/x/#", "+/x/y", "#"]);
    for text in ["a/b/c/d", "a/b", "+/x/y", "#", "+/x/#"] {
        assert_eq!(set.remove(&filter("a/b/c")), None);
        assert_eq!(set.remove(&filter(text)), Some(filter(text)));
        assert_eq!(set.remove(&filter(text)), None);
    }
    assert!(set.is_empty());
    assert_eq!(set.root.uses(), 0);
}

#[test]
fn removing_a_parent_keeps_what_is_below() {
    let mut set = set_of(&["a", "a/b/c", "a/b/+"]);
    set.remove(&filter("a"));
    set.remove(&filter("a/b/+"));
    assert_eq!(matched(&set, "a/b/c"), ["a/b/c"]);
    assert_eq!(set.len(), 1);
}

#[test]
fn the_deepest_filters_neither_recurse_nor_linger() {
    let deep = "/".repeat(crate::TOPIC_BYTES_MAX);
    let wild = format!("{}+/#", "+/".repeat(32_766));
    let mut set = set_of(&[&deep, &wild, "+//+/#"]);
    assert_eq!(matched(&set, &deep).len(), 3);
    assert_eq!(set.iter().count(), 3);
    assert_eq!(set.remove(&filter(&wild)), Some(filter(&wild)));
    assert_eq!(set.len(), 2);
    drop(set);
}

#[test]
fn a_wide_node_finds_each_of_its_branches() {
    let mut set = FilterSet::new();
    for n in 0..5_000_u32 {
        set.entry_or_insert_with(&filter(&format!("d/{n}/+")), || n);
    }
    for n in 0..5_000_u32 {
        let mut found = Vec::new();
        set.for_each_match(name(&format!("d/{n}/t")), |n| found.push(*n));
        assert_eq!(found, [n]);
    }
}

#[test]
fn a_node_is_small() {
    assert_eq!(size_of::<Node<Box<u8>>>(), 4 * size_of::<usize>());
}

fn levels() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "$x"]).prop_map(str::to_owned)
}

pub(crate) fn any_name() -> impl Strategy<Value = TopicName> {
    prop::collection::vec(levels(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter_map("a name has a character", |text| TopicName::parse(text).ok())
}

pub(crate) fn any_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![3 => levels(), 2 => Just("+".to_owned())];
    (prop::collection::vec(level, 0..4), any::<bool>()).prop_filter_map("valid", |(mut levels, open)| {
        if open {
            levels.push("#".to_owned());
        }
        TopicFilter::parse(levels.join("/")).ok()
    })
}

proptest! {
    #[test]
    fn the_set_agrees_with_a_plain_map(
        steps in prop::collection::vec((any_filter(), any::<bool>()), 1..60),
        names in prop::collection::vec(any_name(), 1..20),
    ) {
        let mut set = FilterSet::new();
        let mut model = BTreeMap::new();
        for (at, (filter, add)) in steps.into_iter().enumerate() {
            if add {
                let value = *set.entry_or_insert_with(&filter, || at);
                prop_assert_eq!(value, *model.entry(filter).or_insert(at));
            } else {
                prop_assert_eq!(set.remove(&filter), model.remove(&filter));
                prop_assert_eq!(set.get(&filter), None);
            }
            prop_assert_eq!(set.len(), model.len());
        }
        let listed: BTreeMap<_, _> = set.iter().map(|(filter, value)| (filter, *value)).collect();
        prop_assert_eq!(&listed, &model);
        for (filter, value) in &model {
            prop_assert_eq!(set.get(filter), Some(value));
            prop_assert_eq!(set.get_mut(filter).copied(), Some(*value));
        }
        for name in &names {
            let mut found = Vec::new();
            set.for_each_match(name.as_ref(), |value| found.push(*value));
            found.sort_unstable();
            let mut wanted: Vec<_> =
                model.iter().filter(|(filter, _)| filter.matches(name.as_ref())).map(|(_, value)| *value).collect();
            wanted.sort_unstable();
            prop_assert_eq!(set.any_match(name.as_ref()), !wanted.is_empty());
            prop_assert_eq!(found, wanted);
        }
        for filter in model.keys() {
            set.remove(filter);
        }
        prop_assert_eq!(set.root.uses(), 0);
    }

    #[test]
    fn matching_agrees_with_a_recursive_model(filter in any_filter(), name in any_name()) {
        let wanted: Vec<&str> = filter.levels().collect();
        let levels: Vec<&str> = name.as_ref().levels().collect();
        prop_assert_eq!(filter.matches(name.as_ref()), model_match(&wanted, &levels, true));
    }
}

/// The rules of section 4.7 word by word, for short topics.
fn model_match(filter: &[&str], name: &[&str], is_first: bool) -> bool {
    let barred = is_first && name.first().is_some_and(|level| level.starts_with('$'));
    match (filter, name) {
        (["#"], _) => !barred,
        ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => !barred && model_match(filter, name, false),
        ([wanted, filter @ ..], [level, name @ ..]) => wanted == level && model_match(filter, name, false),
        _ => false,
    }
}
