//! Two texts as a unified diff, as `patch` takes it.

/// Lines around a change.
const CONTEXT: usize = 3;
/// Most pairs of lines that are compared; beyond, what differs is exchanged as a whole.
const PAIRS_MAX: usize = 16_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Out,
    In,
}

/// The difference; empty where there is none.
pub(super) fn diff(old: &str, new: &str, name: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let steps = steps(&old, &new);
    let changed: Vec<usize> =
        (0_usize..).zip(&steps).filter(|(_, step)| **step != Step::Same).map(|(at, _)| at).collect();
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for at in changed {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(steps.len()));
        match hunks.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => hunks.push((from, to)),
        }
    }
    let mut out = String::new();
    if !hunks.is_empty() {
        out.push_str(&format!("--- {name}\n+++ {name}\n"));
    }
    for (from, to) in hunks {
        let before = steps.get(..from).unwrap_or_default();
        let inside = steps.get(from..to).unwrap_or_default();
        let count = |steps: &[Step], other: Step| steps.iter().filter(|step| **step != other).count();
        let (mut a, mut b) = (count(before, Step::In), count(before, Step::Out));
        let (removed, added) = (count(inside, Step::In), count(inside, Step::Out));
        let first = |at: usize, lines: usize| if lines == 0 { at } else { at + 1 };
        out.push_str(&format!("@@ -{},{removed} +{},{added} @@\n", first(a, removed), first(b, added)));
        for step in inside {
            let (sign, line) = match step {
                Step::Same => (' ', old.get(a)),
                Step::Out => ('-', old.get(a)),
                Step::In => ('+', new.get(b)),
            };
            a += usize::from(*step != Step::In);
            b += usize::from(*step != Step::Out);
            let line = line.copied().unwrap_or_default();
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

/// The way from one text to the other that keeps most lines.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let old = old.get(..old.len() - tail).unwrap_or_default();
    let new = new.get(..new.len() - tail).unwrap_or_default();
    let mut steps = vec![Step::Same; head];
    steps.extend(between(old, new));
    steps.extend(std::iter::repeat_n(Step::Same, tail));
    steps
}

fn between(old: &[&str], new: &[&str]) -> Vec<Step> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return std::iter::repeat_n(Step::Out, old.len())
            .chain(std::iter::repeat_n(Step::In, new.len()))
            .collect();
    }
    // Lines in common of what is left from here on.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |common: &[u32], a: usize, b: usize| common.get(a * width + b).copied().unwrap_or(0);
    for (a, left) in old.iter().enumerate().rev() {
        for (b, right) in new.iter().enumerate().rev() {
            let most = if left == right {
                at(&common, a + 1, b + 1) + 1
            } else {
                at(&common, a + 1, b).max(at(&common, a, b + 1))
            };
            if let Some(cell) = common.get_mut(a * width + b) {
                *cell = most;
            }
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut steps = Vec::new();
    while a < old.len() || b < new.len() {
        let is_same = old.get(a).is_some_and(|line| new.get(b) == Some(line));
        let step = if is_same {
            Step::Same
        } else if b == new.len() || (a < old.len() && at(&common, a + 1, b) >= at(&common, a, b + 1)) {
            Step::Out
        } else {
            Step::In
        };
        a += usize::from(step != Step::In);
        b += usize::from(step != Step::Out);
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_with_their_surroundings() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
        let new = old.replace("2\n3", "2\nx\n3").replace("11\n", "");
        let wanted =
            "--- p\n+++ p\n@@ -1,5 +1,6 @@\n 1\n 2\n+x\n 3\n 4\n 5\n@@ -8,5 +9,4 @@\n 8\n 9\n 10\n-11\n 12\n";
        assert_eq!(diff(old, &new, "p"), wanted);
        assert_eq!(diff(old, old, "p"), "");
        assert!(
            diff("a", "b", "p")
                .ends_with("-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n")
        );
    }
}
