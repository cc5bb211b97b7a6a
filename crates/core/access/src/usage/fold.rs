//! Many shapes into few: a level that differs becomes `+`.

use std::collections::{BTreeMap, BTreeSet};

/// Whether everything that `narrow` can be is in `wide`, level by level; placeholders are equal to themselves alone.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// What each shape becomes, so that there are not more than `max`, in the order given. Levels that are the same in all shapes of
/// a length stay; shapes of too many lengths become one that ends with `#`.
pub(crate) fn fold(shapes: &[String], max: usize) -> Vec<String> {
    let mut now: Vec<Vec<String>> =
        shapes.iter().map(|shape| shape.split('/').map(str::to_owned).collect()).collect();
    loop {
        let different: BTreeSet<&Vec<String>> = now.iter().collect();
        if different.len() <= max.max(1) {
            break;
        }
        let Some((key, column)) = most_varied(&different) else {
            now = shorten(&now);
            continue;
        };
        for shape in now.iter_mut().filter(|shape| group(shape) == key) {
            if let Some(level) = shape.get_mut(column) {
                "+".clone_into(level);
            }
        }
    }
    now.into_iter().map(|levels| levels.join("/")).collect()
}

/// Shapes are folded among those with as many levels, with or without `#` at the end.
fn group(shape: &[String]) -> (usize, bool) {
    (shape.len(), shape.last().is_some_and(|level| level == "#"))
}

/// The group and column with the most values, when any has several.
fn most_varied(shapes: &BTreeSet<&Vec<String>>) -> Option<((usize, bool), usize)> {
    let mut values: BTreeMap<((usize, bool), usize), BTreeSet<&str>> = BTreeMap::new();
    for shape in shapes {
        for (column, level) in shape.iter().enumerate() {
            values.entry((group(shape), column)).or_default().insert(level);
        }
    }
    let several = values.into_iter().filter(|(_, values)| values.len() > 1);
    several.max_by_key(|(_, values)| values.len()).map(|(key, _)| key)
}

/// All of them as one: what the first levels share, and `#`.
fn shorten(shapes: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut shared: Option<Vec<String>> = None;
    for shape in shapes {
        let levels = shape.iter().filter(|level| *level != "#");
        shared = Some(match shared {
            None => levels.cloned().collect(),
            Some(known) => {
                // Where both have a level and they differ it becomes `+`; the rest is below `#`.
                known
                    .iter()
                    .zip(levels)
                    .map(|(a, b)| if a == b { a.clone() } else { "+".to_owned() })
                    .collect()
            }
        });
    }
    let mut all = shared.unwrap_or_default();
    // A filter that begins with `+` does not reach as far as one that is `#`; both leave topics with `$` out.
    all.push("#".to_owned());
    vec![all; shapes.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(shapes: &[&str], max: usize) -> Vec<String> {
        let shapes: Vec<String> = shapes.iter().map(|shape| (*shape).to_owned()).collect();
        let mut all = fold(&shapes, max);
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn the_level_that_differs_most_becomes_any() {
        assert_eq!(folded(&["d/1/on", "d/2/on", "d/3/on", "d/3/off"], 2), ["d/+/off", "d/+/on"]);
        assert_eq!(folded(&["d/1/on", "d/2/on", "e"], 2), ["d/+/on", "e"]);
        assert_eq!(folded(&["a/b", "a/b/c", "a/b/c/d"], 1), ["a/b/#"]);
        assert_eq!(folded(&["a/{identity}", "a/x"], 1), ["a/+"]);
    }

    proptest! {
        #[test]
        fn folding_covers_what_was_there(
            shapes in proptest::collection::vec("([ab]|\\{identity\\}|\\+)(/([abc]|\\+)){0,3}(/#)?", 1..12), max in 1_usize..6,
        ) {
            let all = fold(&shapes, max);
            for (from, to) in shapes.iter().zip(&all) {
                prop_assert!(covers(to, from), "{} does not cover {}", to, from);
            }
            let different: BTreeSet<&String> = all.iter().collect();
            prop_assert!(different.len() <= max);
        }
    }
}
