//! What the broker learns from logins and must not forget: which code was used, which recovery code is spent, which rotated
//! password was taken into use. The password file is not written for it; what has to outlive the process goes to a journal
//! that the caller keeps.
//!
//! Codes are in memory only: after a start, codes of a time before it are refused, so none can be used twice over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use motte_seal::{KeyedHash, SiteKey, StoredHash};

use crate::password_file::PasswordFile;
use crate::second_factor::{STEP_S, TotpSecret, recovery_hash};

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
        spent.chain(state.rotated.iter().map(|one| format!("rotated {one:016x}\n"))).collect()
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
        let codes = state.codes.entry(identity.to_owned()).or_default();
        let step = now_s / STEP_S;
        if codes.wrong_step != step {
            (codes.wrong_step, codes.wrong) = (step, 0);
        }
        if codes.wrong >= WRONG_MAX {
            return Err("too many wrong codes; the next one is taken");
        }
        match secret.step_of(code, now_s) {
            Some(its) if its <= codes.last_step => Err("the code was used already"),
            Some(its) if its <= self.begun_step => Err("the code is from before the start"),
            Some(its) => {
                codes.last_step = its;
                Ok(())
            }
            None => {
                codes.wrong += 1;
                Err("the code is wrong")
            }
        }
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

    /// PRACTICES.md, table (a), row 16.
    #[test]
    fn a_code_is_taken_once_and_not_from_before_the_start() {
        let learned = Learned::nothing(999);
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
