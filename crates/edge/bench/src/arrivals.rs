//! What one subscriber got of each stream: which message is new, which came twice, which came after a later one.

use std::ops::Range;

/// Gaps that are remembered for each stream; when there are more, the oldest counts as lost for good.
const GAPS_MAX: usize = 256;

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or a later one: what lies between has not come yet.
    New,
    /// New, but behind a later one of its stream.
    Late,
    /// It was here before.
    Duplicate,
    /// Of a stream that this subscriber did not ask for.
    Foreign,
}

/// What came of one stream.
#[derive(Debug, Default)]
struct Seen {
    next: u64,
    gaps: Vec<Range<u64>>,
}

/// What came of the streams of one subscriber.
#[derive(Debug)]
pub(crate) struct Arrivals {
    first: u64,
    seen: Vec<Seen>,
}

impl Arrivals {
    /// For streams with these numbers.
    pub(crate) fn new(streams: &Range<u64>) -> Self {
        let mut seen = Vec::new();
        seen.resize_with(usize::try_from(streams.end - streams.start).unwrap_or(0), Seen::default);
        Self { first: streams.start, seen }
    }

    /// Takes note of a message.
    pub(crate) fn note(&mut self, stream: u64, place: u64) -> Arrival {
        let index = stream.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(seen) = index.and_then(|index| self.seen.get_mut(index)) else { return Arrival::Foreign };
        if place >= seen.next {
            if place > seen.next {
                if seen.gaps.len() == GAPS_MAX {
                    seen.gaps.remove(0);
                }
                seen.gaps.push(seen.next..place);
            }
            seen.next = place + 1;
            return Arrival::New;
        }
        let Some(at) = seen.gaps.iter().position(|gap| gap.contains(&place)) else {
            return Arrival::Duplicate;
        };
        let gap = seen.gaps.swap_remove(at);
        seen.gaps.extend([gap.start..place, place + 1..gap.end].into_iter().filter(|part| !part.is_empty()));
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_told_from_what_came_late() {
        use Arrival::{Duplicate, Late, New};
        let mut arrivals = Arrivals::new(&(4..6));
        let got: Vec<Arrival> =
            [0, 1, 1, 5, 3, 3, 2, 4, 4, 6].map(|place| arrivals.note(5, place)).into_iter().collect();
        assert_eq!(got, [New, New, Duplicate, New, Late, Duplicate, Late, Late, Duplicate, New]);
        assert_eq!(arrivals.note(4, 0), New);
        assert_eq!(arrivals.note(6, 0), Arrival::Foreign);
        assert_eq!(arrivals.note(3, 0), Arrival::Foreign);
    }

    #[test]
    fn gaps_are_bounded() {
        let mut arrivals = Arrivals::new(&(0..1));
        for place in 0..2_000 {
            arrivals.note(0, place * 2);
        }
        assert_eq!(arrivals.seen[0].gaps.len(), GAPS_MAX);
        assert_eq!(arrivals.note(0, 3_997), Arrival::Late);
    }
}
