//! What the broker learns from logins and must not forget: which code was used, which recovery code is spent, which rotated
//! password was taken into use. The password file is not written for it; what has to outlive the process goes to a journal
//! that the caller keeps.
//!
//! Codes are in memory only: after a start, codes of a time before it are refused, so none can be used twice over it. Of a code
//! that was ahead of the clock its time is kept as well; where nothing is kept, such codes are refused for one time longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use motte_seal::{KeyedHash, SiteKey, StoredHash};

use crate::password_file::PasswordFile;
use crate::second_factor::{DRIFT, STEP_S, TotpSecret, recovery_hash};

/// Wrong codes for an identity in the time of one; more are refused unseen, for a code has a million values only.
const WRONG_MAX: u8 = 5;

/// Keeps facts over a restart.
pub trait Journal: Send + Sync {
    /// Keeps a line. With `surely` it is on disk when this returns.
    ///
    /// # Errors
    /// It cannot be kept; the text is for the log.
    fn keep(&self, line: &str, surely: bool) -> Result<(), String>;
}

/// What was learned.
pub struct Learned {
    /// Codes up to this step are not taken.
    begun_step: u64,
    state: Mutex<State>,
    journal: OnceLock<Box<dyn Journal>>,
}

#[derive(Default)]
struct State {
    codes: BTreeMap<String, Codes>,
    /// Fingerprints of recovery codes.
    spent: BTreeSet<u64>,
    /// Fingerprints of new passwords that were used.
    rotated: BTreeSet<u64>,
    /// Codes up to this step may have been taken before the start, by clocks that were ahead.
    ahead_step: u64,
    /// The last step ahead of the clock that the journal has of this run.
    kept_step: u64,
}

#[derive(Default, Clone, Copy)]
struct Codes {
    last_step: u64,
    wrong_step: u64,
    wrong: u8,
}

impl Learned {
    /// Nothing, at `now_s` in Unix seconds; nothing outlives the process.
    pub fn nothing(now_s: u64) -> Self {
        Self { begun_step: now_s / STEP_S, state: Mutex::default(), journal: OnceLock::new() }
    }

    /// Where everything is kept from now on; the first one that is named holds.
    pub fn keep_in(&self, journal: Box<dyn Journal>) {
        let _ = self.journal.set(journal);
    }

    /// Learns what a journal holds. Lines that cannot be read are passed over: the last one may be torn.
    pub fn read(&self, text: &str) {
        let mut state = self.state();
        for line in text.lines() {
            let Some((word, fingerprint)) = line.split_once(' ') else { continue };
            let Some(fingerprint) =
                u64::from_str_radix(fingerprint, 16).ok().filter(|_| fingerprint.len() == 16)
            else {
                continue;
            };
            match word {
                "spent" => state.spent.insert(fingerprint),
                "rotated" => state.rotated.insert(fingerprint),
                // One from the far future is of a clock that was wrong.
                "ahead" if fingerprint <= self.begun_step + u64::from(DRIFT) => {
                    state.ahead_step = state.ahead_step.max(fingerprint);
                    true
                }
                _ => false,
            };
        }
    }

    /// Forgets what a password file does not speak of any more; what is left, as a journal's text.
    pub fn compact(&self, file: &PasswordFile) -> String {
        let accounts = || file.accounts().map(|(_, account)| account);
        let recovery: BTreeSet<u64> = accounts()
            .filter_map(|account| account.second.as_ref())
            .flat_map(|second| second.recovery.iter().map(fingerprint))
            .collect();
        let present: BTreeSet<u64> = accounts()
            .flat_map(|account| account.passwords.iter().map(|password| password.hash.fingerprint()))
            .collect();
        let mut state = self.state();
        state.spent.retain(|one| recovery.contains(one));
        state.rotated.retain(|one| present.contains(one));
        state.codes.retain(|identity, _| file.account(identity).is_some());
        let spent = state.spent.iter().map(|one| format!("spent {one:016x}\n"));
        let ahead = Some(state.ahead_step).filter(|step| *step > self.begun_step);
        let ahead = ahead.map(|step| format!("ahead {step:016x}\n"));
        spent.chain(state.rotated.iter().map(|one| format!("rotated {one:016x}\n"))).chain(ahead).collect()
    }

    /// Takes a code, once.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(crate) fn take_code(
        &self,
        identity: &str,
        secret: &TotpSecret,
        code: &str,
        now_s: u64,
    ) -> Result<(), &'static str> {
        let mut state = self.state();
        // Where nothing is kept, one that was ahead of the clock may have been taken before the start.
        let ahead_step = match self.journal.get() {
            Some(_) => state.ahead_step,
            None => self.begun_step + u64::from(DRIFT),
        };
        let refused_until = self.begun_step.max(ahead_step);
        let is_kept = state.kept_step;
        let codes = state.codes.entry(identity.to_owned()).or_default();
        let step = now_s / STEP_S;
        if codes.wrong_step != step {
            (codes.wrong_step, codes.wrong) = (step, 0);
        }
        if codes.wrong >= WRONG_MAX {
            return Err("too many wrong codes; the next one is taken");
        }
        let taken = match secret.step_of(code, now_s) {
            Some(its) if its <= codes.last_step => return Err("the code was used already"),
            Some(its) if its <= refused_until => return Err("the code is from before the start"),
            Some(its) => its,
            None => {
                codes.wrong += 1;
                return Err("the code is wrong");
            }
        };
        codes.last_step = taken;
        // Nobody waits for a disk to look something up.
        drop(state);
        if taken > step.max(is_kept) { self.keep_ahead(taken) } else { Ok(()) }
    }

    /// Keeps that a code was taken before its time, so that it is not taken again by a start within that time.
    fn keep_ahead(&self, step: u64) -> Result<(), &'static str> {
        if let Some(journal) = self.journal.get() {
            let failed = |_| "a code ahead of the clock needs a state_dir that can be written";
            journal.keep(&format!("ahead {step:016x}"), true).map_err(failed)?;
        }
        let mut state = self.state();
        state.kept_step = state.kept_step.max(step);
        Ok(())
    }

    /// Spends a recovery code, once and for all. `None`: it is none.
    pub(crate) fn spend_recovery(
        &self,
        recovery: &[KeyedHash],
        key: Option<&SiteKey>,
        code: &str,
    ) -> Option<Result<(), &'static str>> {
        let hash = recovery_hash(key?, code).filter(|hash| recovery.contains(hash))?;
        let mark = fingerprint(&hash);
        if !self.state().spent.insert(mark) {
            return Some(Err("the recovery code was used already"));
        }
        let kept = self
            .journal
            .get()
            .is_some_and(|journal| journal.keep(&format!("spent {mark:016x}"), true).is_ok());
        Some(if kept { Ok(()) } else { Err("a recovery code needs a state_dir that can be written") })
    }

    /// Whether this new password of a rotation has been used.
    pub(crate) fn is_rotated(&self, fingerprint: u64) -> bool {
        self.state().rotated.contains(&fingerprint)
    }

    /// Notes the first use of a rotation's new password.
    pub(crate) fn rotate(&self, fingerprint: u64) {
        if self.state().rotated.insert(fingerprint)
            && let Some(journal) = self.journal.get()
        {
            // Lost, the old password is taken a little longer, at most to its end.
            let _ = journal.keep(&format!("rotated {fingerprint:016x}"), false);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Learned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Learned")
    }
}

fn fingerprint(hash: &KeyedHash) -> u64 {
    StoredHash::Keyed(hash.clone()).fingerprint()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::second_factor::SecondFactor;

    #[derive(Default, Clone)]
    struct Lines(Arc<Mutex<String>>);

    impl Journal for Lines {
        fn keep(&self, line: &str, _surely: bool) -> Result<(), String> {
            let mut text = self.0.lock().unwrap();
            text.push_str(line);
            text.push('\n');
            Ok(())
        }
    }

    #[test]
    fn a_code_is_taken_once_and_not_from_before_the_start() {
        let learned = Learned::nothing(999);
        learned.keep_in(Box::new(Lines::default()));
        let secret = TotpSecret::generate().unwrap();
        let take = |at_s: u64, now_s: u64| learned.take_code("a", &secret, &secret.code(at_s), now_s);
        assert_eq!(take(999, 1_000), Err("the code is from before the start"));
        assert_eq!(take(1_030, 1_020), Ok(()), "a clock that is ahead");
        assert_eq!(take(1_030, 1_031), Err("the code was used already"));
        assert_eq!(take(1_000, 1_031), Err("the code was used already"), "nor an earlier one");
        assert_eq!(take(1_060, 1_060), Ok(()));
        assert_eq!(learned.take_code("b", &secret, &secret.code(1_060), 1_060), Ok(()), "each by itself");
    }

    #[test]
    fn a_code_ahead_of_the_clock_is_not_taken_again_after_a_start() {
        let lines = Lines::default();
        let secret = TotpSecret::generate().unwrap();
        let begun = |at_s: u64, kept: bool| {
            let learned = Learned::nothing(at_s);
            if kept {
                learned.read(&lines.0.lock().unwrap());
                learned.keep_in(Box::new(lines.clone()));
            }
            learned
        };
        let take = |learned: &Learned, at_s: u64, now_s: u64| {
            learned.take_code("a", &secret, &secret.code(at_s), now_s)
        };
        assert_eq!(take(&begun(900, true), 1_030, 1_010), Ok(()));
        for again in [begun(1_011, true), begun(1_011, false)] {
            assert_eq!(take(&again, 1_030, 1_012), Err("the code is from before the start"));
            assert_eq!(take(&again, 1_030, 1_030), Err("the code is from before the start"));
            assert_eq!(take(&again, 1_060, 1_050), Ok(()));
        }
        let text = begun(1_011, true).compact(&PasswordFile::default());
        assert_eq!(text, format!("ahead {:016x}\n", 1_030 / STEP_S), "what waits for its time is kept on");
        let far = begun(100, true);
        assert_eq!(take(&far, 160, 160), Ok(()), "of a clock that was wrong");
    }

    #[test]
    fn guessing_codes_ends_until_the_next_one() {
        let learned = Learned::nothing(0);
        let secret = TotpSecret::generate().unwrap();
        for _ in 0..WRONG_MAX {
            assert_eq!(learned.take_code("a", &secret, "x", 1_000), Err("the code is wrong"));
        }
        let right = secret.code(1_000);
        assert!(learned.take_code("a", &secret, &right, 1_000).unwrap_err().contains("too many"));
        assert_eq!(learned.take_code("a", &secret, &right, 1_030), Ok(()), "a clock that is behind");
    }

    #[test]
    fn a_recovery_code_is_spent_for_good() {
        let lines = Lines::default();
        let key = SiteKey::generate().unwrap();
        let (second, codes) = SecondFactor::generate(&key, 0).unwrap();
        let begun = |text: &str| {
            let learned = Learned::nothing(0);
            learned.read(text);
            learned.keep_in(Box::new(lines.clone()));
            learned
        };
        let learned = begun("torn");
        let spend =
            |learned: &Learned| learned.spend_recovery(&second.recovery, Some(&key), codes[3].expose());
        assert_eq!(spend(&learned), Some(Ok(())));
        assert_eq!(spend(&learned), Some(Err("the recovery code was used already")));
        assert_eq!(learned.spend_recovery(&second.recovery, Some(&key), "abcd-efgh-jkmn-pqrs"), None);
        let text = lines.0.lock().unwrap().clone();
        let again = begun(&text);
        assert_eq!(spend(&again), Some(Err("the recovery code was used already")), "over a restart");
        let without = Learned::nothing(0);
        assert!(spend(&without).unwrap().unwrap_err().contains("state_dir"));
        assert_eq!(again.compact(&PasswordFile::default()), "", "of an account that is gone");
    }
}
