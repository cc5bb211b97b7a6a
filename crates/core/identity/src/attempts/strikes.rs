//! The failures of one key, and until when it is held.

use super::limits::{AttemptLimits, KNOWN_MS};
use super::table::Entry;

/// The failures of one key. Times are those of the caller, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Strikes {
    pub(crate) failures: u16,
    /// Attempts whose outcome is not known yet.
    pub(crate) pending: u16,
    pub(crate) until_ms: u64,
    /// When it is forgotten.
    pub(crate) over_ms: u64,
}

/// What one more failure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) hold_ms: u64,
    pub(crate) locked: bool,
}

impl Strikes {
    /// In place of another whose place it takes: it begins where the free failures end if that one was there, so that
    /// nobody is better off by having been displaced, and nobody is held for what another did.
    pub(crate) fn instead_of(displaced: Option<&Self>, limits: &AttemptLimits, factor: u16) -> Self {
        let failures = displaced.map_or(0, |other| other.failures.min(limits.free.saturating_mul(factor)));
        Self { failures, ..Self::default() }
    }

    /// Forgets what is older than the window.
    fn settle(&mut self, now_ms: u64) {
        if self.over_ms <= now_ms && self.failures > 0 {
            *self = Self { pending: self.pending, ..Self::default() };
        }
    }

    /// Until when it is held, if so. Beyond the free failures only one attempt is `under_way` at a time.
    pub(crate) fn held_until(
        &self,
        now_ms: u64,
        limits: &AttemptLimits,
        factor: u16,
        under_way: bool,
    ) -> Option<u64> {
        if self.until_ms > now_ms {
            return Some(self.until_ms);
        }
        let spent = self.over_ms > now_ms && self.failures >= limits.free.saturating_mul(factor);
        let crowded = !under_way && spent && self.pending > 0;
        crowded.then(|| now_ms.saturating_add(limits.delay_base_ms))
    }

    /// An attempt begins.
    pub(crate) fn charge(&mut self, now_ms: u64) {
        self.settle(now_ms);
        self.pending = self.pending.saturating_add(1);
    }

    /// It came to nothing, or succeeded.
    pub(crate) fn refund(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// It failed.
    pub(crate) fn fail(&mut self, now_ms: u64, limits: &AttemptLimits, factor: u16) -> Strike {
        self.refund();
        self.settle(now_ms);
        self.failures = self.failures.saturating_add(1);
        let locked = self.failures >= limits.lockout_after.saturating_mul(factor);
        let hold_ms = if locked {
            // What comes after the lockout is delayed from its first failure on.
            self.failures = limits.free.saturating_mul(factor);
            limits.lockout_ms
        } else {
            limits.delay_ms(self.failures, factor)
        };
        if hold_ms > 0 {
            self.until_ms = self.until_ms.max(now_ms.saturating_add(hold_ms));
        }
        self.over_ms = self.until_ms.max(now_ms).saturating_add(limits.window_ms);
        Strike { hold_ms, locked }
    }

    /// As another run left it, with times that cannot be put right.
    pub(crate) fn bounded(mut self, now_ms: u64, limits: &AttemptLimits) -> Self {
        let longest = now_ms.saturating_add(limits.hold_max_ms());
        self.until_ms = self.until_ms.min(longest);
        self.over_ms = self.over_ms.min(longest.saturating_add(limits.window_ms));
        self.pending = 0;
        self
    }
}

impl Entry for Strikes {
    fn is_over(&self, now_ms: u64) -> bool {
        self.pending == 0 && self.over_ms <= now_ms && self.until_ms <= now_ms
    }

    fn rank(&self, now_ms: u64) -> (bool, u32, u64) {
        let weight = u32::from(self.failures) + u32::from(self.pending);
        (self.until_ms > now_ms, weight, self.over_ms)
    }
}

/// Something that proved itself, with an allowance of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// When it last did.
    pub(crate) seen_ms: u64,
    pub(crate) strikes: Strikes,
}

impl Known {
    /// Whether it still counts.
    pub(crate) fn is_known(&self, now_ms: u64) -> bool {
        self.seen_ms > 0 && self.seen_ms.saturating_add(KNOWN_MS) > now_ms
    }
}

impl Entry for Known {
    fn is_over(&self, now_ms: u64) -> bool {
        !self.is_known(now_ms) && self.strikes.is_over(now_ms)
    }

    fn rank(&self, _now_ms: u64) -> (bool, u32, u64) {
        // Only what has logged in gets here, so the one that did so longest ago goes.
        (false, 0, self.seen_ms)
    }
}
