//! The slow question: is this the password? It goes to another thread and back.
//!
//! A refusal costs the same work whoever is refused: what the checks of an account have not used of it is spent on nothing.
//! So neither an unknown name, nor a closed account, nor one with a cheap or a keyed hash can be told from a wrong
//! password by the time of the answer.

use std::sync::Arc;

use motte_access::Methods;
use motte_seal::{SecretString, SiteKey, StoredHash, spend};

use crate::learned::Learned;
use crate::password_file::PasswordFile;
use crate::second_factor::{SecondFactor, split};
use crate::verdict::Credentials;

/// What every refusal costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefusalCost {
    work: u64,
    memory_kib: u32,
}

impl RefusalCost {
    /// As much as the most costly account of the file.
    pub(crate) fn of(file: &PasswordFile) -> Self {
        Self { work: file.work_max(), memory_kib: file.memory_kib_max().0 }
    }
}

/// Is this the password? Holds all it needs, so that it can go to another thread.
#[derive(Debug)]
pub struct PasswordQuestion {
    pub(crate) credentials: Credentials,
    pub(crate) identity: String,
    /// What the certificate has proved already.
    pub(crate) proved: Methods,
    /// What the password may fit; without a second factor keyed hashes were compared before.
    pub(crate) candidates: Vec<StoredHash>,
    /// Why there is no candidate.
    pub(crate) closed: Option<&'static str>,
    /// The new one of two passwords.
    pub(crate) rotating: Option<u64>,
    /// What must be given beside the password.
    pub(crate) second: Option<SecondFactor>,
    pub(crate) key: Option<SiteKey>,
    pub(crate) now_s: u64,
    pub(crate) learned: Arc<Learned>,
    pub(crate) refusal: RefusalCost,
}

/// The answer.
#[derive(Debug)]
pub struct PasswordAnswer {
    pub(crate) credentials: Credentials,
    pub(crate) identity: String,
    pub(crate) proved: Methods,
    /// The fingerprint of the hash that fits, or why none does, for the log.
    pub(crate) outcome: Result<u64, &'static str>,
}

impl PasswordQuestion {
    /// Memory that the answer takes at most, in KiB.
    pub fn memory_kib(&self) -> u32 {
        self.refusal.memory_kib
    }

    /// What a refusal still costs when so much was spent on checks.
    pub(crate) fn rest(&self, spent: u64) -> u64 {
        self.refusal.work.saturating_sub(spent)
    }

    /// Checks the password. Slow by design.
    pub fn answer(mut self) -> PasswordAnswer {
        let mut spent = 0;
        let mut outcome = Err(self.closed.unwrap_or("the password is wrong"));
        let mut proved = self.proved.and(Methods::PASSWORD);
        if let Some(presented) = self.credentials.password.take() {
            let (password, code) = match &self.second {
                Some(_) => split(&presented),
                None => (presented, None),
            };
            for hash in &self.candidates {
                spent += hash.work();
                if hash.verify(password.expose(), self.key.as_ref()) {
                    outcome = Ok(hash.fingerprint());
                    break;
                }
            }
            if let (Ok(_), Some(second)) = (outcome, &self.second) {
                proved = proved.and(Methods::TOTP);
                if let Err(cause) = self.second_factor(second, code.as_ref()) {
                    outcome = Err(cause);
                }
            }
        }
        match outcome {
            Ok(credential) if self.rotating == Some(credential) => self.learned.rotate(credential),
            Ok(_) => {}
            Err(_) => spend(self.rest(spent), self.refusal.memory_kib),
        }
        let Self { credentials, identity, .. } = self;
        PasswordAnswer { credentials, identity, proved, outcome }
    }

    /// Whether the code is right and new; asked only once the password is right.
    fn second_factor(&self, second: &SecondFactor, code: Option<&SecretString>) -> Result<(), &'static str> {
        let Some(code) = code else { return Err("the code is missing: password:code") };
        let recovered = self.learned.spend_recovery(&second.recovery, self.key.as_ref(), code.expose());
        recovered.unwrap_or_else(|| {
            self.learned.take_code(&self.identity, &second.secret, code.expose(), self.now_s)
        })
    }
}
