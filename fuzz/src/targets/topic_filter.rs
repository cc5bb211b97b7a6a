//! Topic Filters: what is parsed prints as it was, and the algebra agrees with matching, level by level.

use motte_topic::{
    FilterSet, SubscriptionFilter, TopicFilter, TopicName, TopicRef, contains, intersects, subtract,
};

/// The first two lines are filters, the third is a name.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut filters = Vec::new();
    for line in lines.by_ref().take(2) {
        if let Ok(read) = SubscriptionFilter::parse(line) {
            assert_eq!(read.to_string(), line, "a filter that prints as another one");
            assert_eq!(read.share.is_some(), line.starts_with("$share/"), "a share that was not asked for");
            filters.push(read.filter);
        }
    }
    let name = lines.next().and_then(|line| {
        let parsed = TopicRef::parse(line).ok();
        assert_eq!(
            parsed.is_some(),
            !line.is_empty() && line.len() <= 65_535 && !line.contains(['+', '#', '\0'])
        );
        parsed
    });
    for filter in &filters {
        alone(filter, name);
    }
    if let [a, b] = filters.as_slice() {
        together(a, b, name);
    }
}

fn alone(filter: &TopicFilter, name: Option<TopicRef<'_>>) {
    assert_eq!(TopicFilter::parse(filter.as_str()).as_ref(), Ok(filter));
    assert!(contains(filter, filter), "a filter that does not contain itself");
    let witness = intersects(filter, filter);
    if let Some(witness) = &witness {
        assert!(matches_by_levels(filter, witness.into()), "a witness that does not match");
    }
    let Some(name) = name else { return };
    let matches = filter.matches(name);
    assert_eq!(matches, matches_by_levels(filter, name), "{filter} and {name}");
    let mut set = FilterSet::new();
    set.entry_or_insert_with(filter, || ());
    assert_eq!(set.any_match(name), matches, "a set that matches otherwise than its only filter");
    if let Ok(exactly) = TopicFilter::exactly(name) {
        assert_eq!(contains(filter, &exactly), matches, "{filter} and {exactly}");
        assert_eq!(intersects(filter, &exactly).is_some(), matches, "{filter} and {exactly}");
    }
}

fn together(a: &TopicFilter, b: &TopicFilter, name: Option<TopicRef<'_>>) {
    let both: Option<TopicName> = intersects(a, b);
    assert_eq!(both.is_some(), intersects(b, a).is_some(), "an intersection with an order");
    if let Some(both) = &both {
        assert!(a.matches(both.into()) && b.matches(both.into()), "{a} and {b} by {both}");
    }
    let rest = subtract(a, &[b]);
    assert_eq!(rest.is_empty(), contains(b, a), "{a} without {b}");
    let Some(name) = name else { return };
    if a.matches(name) && b.matches(name) {
        assert!(both.is_some(), "{a} and {b} both match {name}");
    }
    if contains(a, b) && b.matches(name) {
        assert!(a.matches(name), "{a} contains {b}, which matches {name}");
    }
    assert_eq!(rest.matches(name), a.matches(name) && !b.matches(name), "{a} without {b} on {name}");
    assert!(!rest.matches(name) || !rest.is_empty(), "an empty rest that matches {name}");
}

/// The rules of section 4.7, in the simplest words.
fn matches_by_levels(filter: &TopicFilter, name: TopicRef<'_>) -> bool {
    if name.is_dollar() && filter.as_str().starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.as_str().split('/');
    for level in filter.as_str().split('/') {
        match (level, names.next()) {
            ("#", _) | ("+", Some(_)) => {
                if level == "#" {
                    return true;
                }
            }
            (literal, Some(name)) if literal == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}
