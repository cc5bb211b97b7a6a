//! What two filters share, as a filter.

use crate::filter::{HASH, PLUS};
use crate::{TopicFilter, intersects};

/// The filter whose names are those that both `a` and `b` match; none if there is no such name.
///
/// The names that two filters share are always those of one filter, because a level that either writes out is written out
/// in the result, and the end is that of the one that says more. None as well when its text would be longer than a filter
/// may be.
pub fn meet(a: &TopicFilter, b: &TopicFilter) -> Option<TopicFilter> {
    intersects(a, b)?;
    let (mut a_levels, mut b_levels) = (a.levels(), b.levels());
    let mut levels: Vec<&str> = Vec::new();
    loop {
        match (a_levels.next(), b_levels.next()) {
            (Some(HASH), rest) => {
                levels.extend(rest.into_iter().chain(b_levels));
                break;
            }
            (rest, Some(HASH)) => {
                levels.extend(rest.into_iter().chain(a_levels));
                break;
            }
            (Some(x), Some(y)) => levels.push(if x == PLUS { y } else { x }),
            _ => break,
        }
    }
    TopicFilter::parse(levels.join("/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TopicName, contains};

    /// All texts of one to three levels of an alphabet.
    fn texts(alphabet: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = alphabet.iter().map(|level| (*level).to_owned()).collect();
        for from in [0, alphabet.len()] {
            let longer: Vec<String> = all[from..]
                .iter()
                .flat_map(|text| alphabet.iter().map(move |level| format!("{text}/{level}")))
                .collect();
            all.extend(longer);
        }
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn the_names_of_the_meet_are_those_of_both() {
        let names: Vec<TopicName> =
            texts(&["", "a", "$x", "z"]).iter().filter_map(|text| TopicName::parse(text).ok()).collect();
        let filters: Vec<TopicFilter> = texts(&["", "a", "$x", "+", "#"])
            .iter()
            .filter_map(|text| TopicFilter::parse(text).ok())
            .collect();
        for a in &filters {
            for b in &filters {
                let both = meet(a, b);
                for name in &names {
                    let expected = a.matches(name.as_ref()) && b.matches(name.as_ref());
                    let is_in = both.as_ref().is_some_and(|filter| filter.matches(name.as_ref()));
                    assert_eq!(is_in, expected, "{name} in {a} and {b}");
                }
                assert!(both.is_none_or(|both| contains(a, &both) && contains(b, &both)), "{a} and {b}");
            }
        }
    }
}
