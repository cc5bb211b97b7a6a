//! When each thing of an open loop is due: a plan that does not wait for answers.
//!
//! What is late stays due at its own time, so that its latency holds the wait of everything before it; a generator that
//! waits for a slow broker and then counts from the moment of sending would omit just the messages that were slow.

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Evenly spaced moments, shared among `lanes` that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    per_s: u64,
    lanes: u64,
}

impl Schedule {
    /// `per_s` moments a second in all, at least 1, of `lanes`, at least 1.
    pub(crate) fn new(per_s: u64, lanes: u64) -> Self {
        Self { per_s: per_s.max(1), lanes: lanes.max(1) }
    }

    /// Nanoseconds from the start to the `turn`-th moment (from 0) of `lane`. Computed anew each time, so that errors of
    /// rounding do not add up.
    pub(crate) fn due_ns(&self, lane: u64, turn: u64) -> u64 {
        let place = u128::from(turn) * u128::from(self.lanes) + u128::from(lane);
        u64::try_from(place * u128::from(SECOND_NS) / u128::from(self.per_s)).unwrap_or(u64::MAX)
    }

    /// How many moments of `lane` lie before `until_ns`.
    pub(crate) fn count_before(&self, lane: u64, until_ns: u64) -> u64 {
        // Places p with p * SECOND / per_s, rounded down, below until: those below the next whole one.
        let places = (u128::from(until_ns) * u128::from(self.per_s)).div_ceil(u128::from(SECOND_NS));
        let mine = places.saturating_sub(u128::from(lane)).div_ceil(u128::from(self.lanes));
        u64::try_from(mine).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_at_even_distances() {
        let schedule = Schedule::new(1_000, 4);
        let mut due: Vec<u64> =
            (0..3).flat_map(|turn| (0..4).map(move |lane| schedule.due_ns(lane, turn))).collect();
        due.sort_unstable();
        assert_eq!(due, (0..12).map(|n| n * 1_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn an_uneven_rate_does_not_drift() {
        let schedule = Schedule::new(3, 1);
        assert_eq!(schedule.due_ns(0, 3_000_000), 1_000_000 * SECOND_NS);
        assert_eq!(schedule.due_ns(0, 1), 333_333_333);
    }

    #[test]
    fn what_lies_before_a_moment_is_counted_exactly() {
        for (per_s, lanes) in [(1, 1), (3, 2), (1_000, 7), (999_999, 10)] {
            let schedule = Schedule::new(per_s, lanes);
            for lane in 0..lanes {
                for turn in [0, 1, 2, 17] {
                    let due = schedule.due_ns(lane, turn);
                    assert_eq!(schedule.count_before(lane, due), turn, "{per_s} {lanes} {lane}");
                    assert_eq!(schedule.count_before(lane, due + 1), turn + 1, "{per_s} {lanes} {lane}");
                }
            }
        }
    }

    #[test]
    fn a_schedule_that_is_behind_keeps_its_times() {
        // Due times depend on the turn alone: nothing that happens meanwhile moves them.
        let schedule = Schedule::new(100, 1);
        let late_ns = 10 * SECOND_NS;
        assert_eq!(schedule.count_before(0, late_ns), 1_000);
        assert_eq!(schedule.due_ns(0, 0), 0);
        assert_eq!(schedule.due_ns(0, 999), 9_990_000_000);
    }
}
