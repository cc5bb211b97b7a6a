//! A smaller scenario that breaks the same kind of promise: fewer clients, fewer steps.

use crate::model::Violation;
use crate::scenario::Scenario;
use crate::world::replay;

/// Runs that are made to find a smaller one.
const RUNS_MAX: usize = 3_000;

/// A scenario that fails, made as small as leaving out clients and steps makes it, with what it breaks. Any broken
/// promise counts, so that the smallest may break another one than the first.
pub fn shrink(scenario: &Scenario, violation: Violation) -> (Scenario, Violation) {
    let mut search = Search { best: scenario.clone(), violation, runs: 0 };
    let after = search.violation.step;
    search.best.steps.retain(|step| *step <= after);
    if !search.try_one(search.best.clone()) {
        search.best = scenario.clone();
    }
    loop {
        let before = (search.best.steps.len(), search.best.absent.len());
        search.leave_out_clients();
        search.leave_out_steps();
        if before == (search.best.steps.len(), search.best.absent.len()) || search.runs >= RUNS_MAX {
            return (search.best, search.violation);
        }
    }
}

struct Search {
    best: Scenario,
    violation: Violation,
    runs: usize,
}

impl Search {
    fn try_one(&mut self, scenario: Scenario) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        match replay(&scenario) {
            Ok(_) => false,
            Err(violation) => {
                self.violation = violation;
                self.best = scenario;
                true
            }
        }
    }

    fn leave_out_clients(&mut self) {
        for client in 0..self.best.setup.clients {
            if !self.best.absent.contains(&client) {
                let mut smaller = self.best.clone();
                smaller.absent.insert(client);
                self.try_one(smaller);
            }
        }
    }

    /// Halves, quarters and so on, down to single steps.
    fn leave_out_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut from = 0;
            while from < self.best.steps.len() {
                let mut smaller = self.best.clone();
                smaller.steps.drain(from..(from + size).min(self.best.steps.len()));
                if !self.try_one(smaller) {
                    from += size;
                }
            }
            size /= 2;
        }
    }
}
