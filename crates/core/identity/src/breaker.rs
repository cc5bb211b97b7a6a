//! A service that fails again and again is left alone for a while, so that nobody waits for it in vain.

/// Counts failures in a row. While it is open nothing is asked but one question after each pause, to see whether the
/// service is back.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    pause_ms: u64,
    failures: u32,
    /// Open, until then.
    open_until_ms: Option<u64>,
}

impl Breaker {
    /// Opens after `failures_max` failures in a row, for `pause_ms`.
    pub fn new(failures_max: u32, pause_ms: u64) -> Self {
        Self { failures_max: failures_max.max(1), pause_ms, failures: 0, open_until_ms: None }
    }

    /// Whether the service may be asked now. Whoever is told yes reports what became of it.
    pub fn may_ask(&mut self, now_ms: u64) -> bool {
        match self.open_until_ms {
            None => true,
            Some(until_ms) if now_ms < until_ms => false,
            Some(_) => {
                // One may try; the others wait for another pause, unless it succeeds.
                self.open_until_ms = Some(now_ms.saturating_add(self.pause_ms));
                true
            }
        }
    }

    /// The service answered; true when it was left alone before.
    pub fn answered(&mut self) -> bool {
        self.failures = 0;
        self.open_until_ms.take().is_some()
    }

    /// The service failed; true when it is left alone from now on.
    pub fn failed(&mut self, now_ms: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.failures_max {
            return false;
        }
        self.open_until_ms.replace(now_ms.saturating_add(self.pause_ms)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_after_each_pause() {
        let mut breaker = Breaker::new(3, 1_000);
        assert!(!breaker.failed(0) && !breaker.failed(1));
        assert!(!breaker.answered(), "a success in between");
        assert!(!breaker.failed(2) && !breaker.failed(3) && breaker.may_ask(3));
        assert!(breaker.failed(4) && !breaker.failed(5), "told once");
        assert!(!breaker.may_ask(1_003));
        assert!(breaker.may_ask(1_005) && !breaker.may_ask(1_006), "one tries");
        assert!(!breaker.failed(1_100) && !breaker.may_ask(2_099), "and fails");
        assert!(breaker.may_ask(2_100));
        assert!(breaker.answered() && breaker.may_ask(2_101));
    }
}
