//! The algebra against enumeration: every filter of up to three levels, every name of up to five.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Filters are built from these levels; names from these and one that no filter has.
const LEVELS: [&str; 3] = ["", "a", "$x"];

/// One more level than any filter here has, twice, so that what lies beyond every filter is enumerated too.
const NAME_LEVELS_MAX: usize = 5;
const FILTER_LEVELS_MAX: usize = 3;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap()
}

/// All texts of `1..=levels_max` levels from `alphabet`.
fn texts(alphabet: &[&str], levels_max: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest: Vec<String> = alphabet.iter().map(|level| (*level).to_owned()).collect();
    for _ in 0..levels_max {
        all.extend(longest.iter().cloned());
        longest = longest
            .iter()
            .flat_map(|text| alphabet.iter().map(move |level| format!("{text}/{level}")))
            .collect();
    }
    all
}

static NAMES: LazyLock<Vec<TopicName>> = LazyLock::new(|| {
    let alphabet = [LEVELS.as_slice(), &["other"]].concat();
    texts(&alphabet, NAME_LEVELS_MAX).iter().filter_map(|text| TopicName::parse(text).ok()).collect()
});

/// Every filter with the set of names it matches, a bit per name.
static FILTERS: LazyLock<Vec<(TopicFilter, Vec<u64>)>> = LazyLock::new(|| {
    let alphabet = [LEVELS.as_slice(), &["+"]].concat();
    let mut all = vec!["#".to_owned()];
    for text in texts(&alphabet, FILTER_LEVELS_MAX) {
        all.push(format!("{text}/#"));
        all.push(text);
    }
    all.iter()
        .filter_map(|text| TopicFilter::parse(text).ok())
        .map(|filter| {
            let bits = NAMES
                .chunks(64)
                .map(|names| {
                    names
                        .iter()
                        .enumerate()
                        .fold(0, |word, (at, name)| word | u64::from(filter.matches(name.as_ref())) << at)
                })
                .collect();
            (filter, bits)
        })
        .collect()
});

fn is_subset(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a & !b == 0)
}

#[test]
fn contains_and_intersects_agree_with_enumeration_for_every_pair() {
    for (a, a_bits) in FILTERS.iter() {
        for (b, b_bits) in FILTERS.iter() {
            assert_eq!(contains(a, b), is_subset(b_bits, a_bits), "{a} contains {b}");
            let shared = a_bits.iter().zip(b_bits).any(|(a, b)| a & b != 0);
            let witness = intersects(a, b);
            assert_eq!(witness.is_some(), shared, "{a} intersects {b}");
            if let Some(witness) = witness {
                assert!(a.matches(witness.as_ref()) && b.matches(witness.as_ref()), "{witness}");
            }
            assert_eq!(equivalent(a, b), a_bits == b_bits, "{a} equivalent {b}");
        }
    }
}

#[test]
fn the_rules_on_dollar_parent_and_empty_level_hold() {
    assert!(contains(&filter("a/#"), &filter("a")));
    assert!(!contains(&filter("#"), &filter("$SYS/#")));
    assert!(contains(&filter("$SYS/#"), &filter("$SYS")));
    assert!(equivalent(&filter("#"), &filter("+/#")));
    assert!(equivalent(&filter("/#"), &filter("/+/#")), "a single empty level is no name");
    assert_eq!(intersects(&filter("+"), &filter("/#")), None);
    assert_eq!(intersects(&filter("#"), &filter("$SYS/a")), None);
    assert_eq!(intersects(&filter("a/+/c"), &filter("a/b/#")).unwrap().as_str(), "a/b/c");
    assert_eq!(intersects(&filter("#"), &filter("/#")).unwrap().as_str(), "/x");
}

#[test]
fn several_filters_may_cover_what_none_covers_alone() {
    let (all, one, more) = (filter("a/#"), filter("a"), filter("a/+/#"));
    assert_eq!(uncovered(&all, &[&one, &more], &[]), None);
    assert_eq!(uncovered(&all, &[&more], &[]).unwrap().as_str(), "a");
    assert_eq!(uncovered(&all, &[&all], &[&filter("a/+/secret")]).unwrap().as_str(), "a/x/secret");
    assert_eq!(uncovered(&filter("a/x"), &[], &[]).unwrap().as_str(), "a/x");
    let witness = uncovered(&filter("+"), &[&filter("x"), &filter("x1")], &[]).unwrap();
    assert_eq!(witness.as_str(), "x2");
}

#[test]
fn a_witness_near_the_greatest_length_is_still_a_name() {
    let long = filter(&format!("{}/+", "l".repeat(TOPIC_BYTES_MAX - 2)));
    assert_eq!(uncovered(&long, &[], &[]).unwrap().as_str().len(), TOPIC_BYTES_MAX);
    let taken = [filter(&format!("{}/x", "l".repeat(TOPIC_BYTES_MAX - 2)))];
    let witness = uncovered(&long, &[&taken[0]], &[]).unwrap();
    assert!(long.matches(witness.as_ref()) && !taken[0].matches(witness.as_ref()));
    let half = "h".repeat(40_000);
    assert_eq!(intersects(&filter(&format!("{half}/+")), &filter(&format!("+/{half}"))), None);
    let deep = filter(&format!("{}#", "+/".repeat(32_767)));
    assert!(contains(&filter("#"), &deep) && !contains(&deep, &filter("#")));
}

#[test]
fn a_difference_says_what_is_left() {
    let rest = subtract(&filter("a/+"), &[&filter("a/b"), &filter("b/#"), &filter("+/b"), &filter("a/c")]);
    assert_eq!(rest.to_string(), "a/+ without +/b, a/c");
    assert!(rest.matches(TopicRef::parse("a/d").unwrap()) && !rest.matches(TopicRef::parse("a/b").unwrap()));
    assert!(!rest.is_empty() && !rest.is_whole());
    assert!(rest.matches(rest.witness().unwrap().as_ref()));
    assert_eq!(subtract(&filter("a"), &[&filter("#")]).to_string(), "nothing");
    assert!(subtract(&filter("a/#"), &[&filter("$SYS/#")]).is_whole());
}

fn some_filters(most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..FILTERS.len(), 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn uncovered_agrees_with_enumeration(
        subject in 0..FILTERS.len(),
        allow in some_filters(6),
        deny in some_filters(2),
    ) {
        let (subject, bits) = &FILTERS[subject];
        let pick = |chosen: &[usize]| chosen.iter().map(|at| &FILTERS[*at].0).collect::<Vec<_>>();
        let left = bits.iter().enumerate().any(|(word, bits)| {
            let union = |chosen: &[usize]| chosen.iter().fold(0, |all, at| all | FILTERS[*at].1[word]);
            bits & !(union(&allow) & !union(&deny)) != 0
        });
        let (allow, deny) = (pick(&allow), pick(&deny));
        let witness = uncovered(subject, &allow, &deny);
        prop_assert_eq!(witness.is_some(), left, "{} allow {:?} deny {:?}", subject, allow, deny);
        if let Some(witness) = witness {
            let name = witness.as_ref();
            let allowed = allow.iter().any(|allow| allow.matches(name)) && !deny.iter().any(|deny| deny.matches(name));
            prop_assert!(subject.matches(name) && !allowed, "{} is no witness", witness);
        }
    }

    #[test]
    fn a_difference_agrees_with_its_definition(subject in 0..FILTERS.len(), taken in some_filters(5)) {
        let subject = &FILTERS[subject].0;
        let taken: Vec<_> = taken.iter().map(|at| &FILTERS[*at].0).collect();
        let rest = subtract(subject, &taken);
        let mut is_empty = true;
        for name in NAMES.iter() {
            let name = name.as_ref();
            let wanted = subject.matches(name) && !taken.iter().any(|taken| taken.matches(name));
            prop_assert_eq!(rest.matches(name), wanted);
            is_empty &= !wanted;
        }
        prop_assert_eq!(rest.is_empty(), is_empty);
    }
}
