//! An account: what is known of one identity that has a password.

use crate::second_factor::SecondFactor;
use motte_seal::{HashError, HashParameters, PasswordHash, SiteKey, StoredHash};

/// Former passwords that an account remembers at most.
pub const FORMER_MAX: usize = 24;
/// Exposed passwords that an account remembers at most; the oldest go.
pub const EXPOSED_MAX: usize = 16;

/// Where a password came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A person chose it.
    Person,
    /// It was generated, with 112 bits or more.
    Generated,
    /// Its hash was taken over from elsewhere.
    Imported,
}

impl Origin {
    /// Its name in files and lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Person, Self::Generated, Self::Imported].into_iter().find(|origin| origin.name() == name)
    }
}

/// How passwords age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ageing {
    /// Seconds after which a password is to be changed.
    pub max_age_s: u64,
    /// Seconds after that during which it is still taken.
    pub grace_s: u64,
}

/// By what a password that is used twice is recognised: the key it was made under, and the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReuseMark {
    /// [`SiteKey::id`] of the key.
    pub key: u32,
    /// [`SiteKey::reuse_mark`].
    pub mark: u64,
}

/// One password of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// What is kept of it.
    pub hash: StoredHash,
    /// Where it came from.
    pub origin: Origin,
    /// When it was set, in Unix seconds; 0: not known.
    pub created_s: u64,
    /// When it ends, in Unix seconds: the old one of a rotation.
    pub until_s: Option<u64>,
    /// By what its use by another account is recognised.
    pub mark: Option<ReuseMark>,
}

impl Password {
    /// One that lasts, with nothing more known.
    pub fn new(hash: StoredHash, origin: Origin, created_s: u64) -> Self {
        Self { hash, origin, created_s, until_s: None, mark: None }
    }

    /// Whether it has not ended, by itself or by its age.
    pub fn is_current(&self, now_s: u64, ageing: Option<Ageing>) -> bool {
        let ended = |end_s: Option<u64>| end_s.is_some_and(|end_s| now_s >= end_s);
        !ended(self.until_s) && !ended(self.ends_s(ageing))
    }

    /// Days until it has ended by its age, once it is old enough to be warned about.
    pub fn ageing_days(&self, now_s: u64, ageing: Option<Ageing>) -> Option<u64> {
        let ends_s = self.ends_s(ageing)?;
        let old = now_s >= ends_s.saturating_sub(ageing?.grace_s);
        old.then(|| ends_s.saturating_sub(now_s) / 86_400)
    }

    /// When it ends by its age: a generated one never, nor one of which nobody knows when it was set.
    fn ends_s(&self, ageing: Option<Ageing>) -> Option<u64> {
        let ageing = ageing.filter(|_| self.created_s > 0 && self.origin != Origin::Generated)?;
        Some(self.created_s.saturating_add(ageing.max_age_s).saturating_add(ageing.grace_s))
    }
}

/// What is known of one identity that has a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// When it was made, in Unix seconds; 0: not known.
    pub created_s: u64,
    /// The password; while it is rotated a second one, the old, which has an end. None after an exposure.
    pub passwords: Vec<Password>,
    /// Passwords it had, the newest first; at most [`FORMER_MAX`].
    pub former: Vec<StoredHash>,
    /// Fingerprints of passwords that became known to others; at most [`EXPOSED_MAX`].
    pub exposed: Vec<u64>,
    /// It may not come in.
    pub disabled: bool,
    /// When the account ends, in Unix seconds.
    pub expires_s: Option<u64>,
    /// What it must give beside its password.
    pub second: Option<SecondFactor>,
}

/// Why an account may not come in whatever it presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was disabled.
    Disabled,
    /// It has ended.
    Expired,
    /// Its password became known to others and has not been changed.
    Exposed,
}

impl Closed {
    /// As the log says it.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Disabled => "the identity is disabled",
            Self::Expired => "the identity has expired",
            Self::Exposed => "its password was exposed and has not been changed",
        }
    }
}

impl Account {
    /// Whether it may come in at all.
    ///
    /// # Errors
    /// Why not.
    pub fn open(&self, now_s: u64) -> Result<(), Closed> {
        if self.disabled {
            return Err(Closed::Disabled);
        }
        if self.expires_s.is_some_and(|expires_s| now_s >= expires_s) {
            return Err(Closed::Expired);
        }
        if self.passwords.is_empty() {
            return Err(Closed::Exposed);
        }
        Ok(())
    }

    /// Whether others know its password, and it has no other yet.
    pub fn is_exposed(&self) -> bool {
        self.passwords.is_empty()
    }

    /// Gives it a password in place of those it has.
    pub fn set(&mut self, password: Password) {
        let old = std::mem::replace(&mut self.passwords, vec![password]);
        self.remember(old);
    }

    /// Gives it a new password; the present one goes on until `until_s`.
    pub fn rotate(&mut self, password: Password, until_s: u64) {
        let mut old = std::mem::replace(&mut self.passwords, vec![password]);
        let kept = (!old.is_empty()).then(|| old.remove(0));
        self.remember(old);
        if let Some(mut kept) = kept {
            kept.until_s = Some(kept.until_s.map_or(until_s, |end_s| end_s.min(until_s)));
            self.passwords.push(kept);
        }
    }

    /// Takes every password away: others know them. Who came in with one goes at the next reload.
    pub fn expose(&mut self) {
        let old = std::mem::take(&mut self.passwords);
        let known = old.iter().map(|password| password.hash.fingerprint());
        self.exposed = known.chain(self.exposed.iter().copied()).collect();
        self.exposed.truncate(EXPOSED_MAX);
        self.remember(old);
    }

    /// Whether it has this password, had it among its last `former`, or lost it to others. As slow as one check for each.
    pub fn knows(&self, password: &[u8], former: usize, key: Option<&SiteKey>) -> bool {
        let present = self.passwords.iter().map(|password| &password.hash);
        let remembered = self.former.iter().enumerate().filter_map(|(index, hash)| {
            (index < former || self.exposed.contains(&hash.fingerprint())).then_some(hash)
        });
        present.chain(remembered).any(|hash| hash.verify(password, key))
    }

    /// Puts hashes that are weaker than these parameters under Argon2id; how many. The same passwords fit them, but whoever is
    /// in by one has to log in anew. As slow as hashing each.
    ///
    /// The new password of a rotation is left as it is: by its hash it is known whether it was used.
    ///
    /// # Errors
    /// [`HashError`]; what was done before it stays done.
    pub fn strengthen(&mut self, parameters: HashParameters) -> Result<usize, HashError> {
        let mut done = 0;
        let rotating = usize::from(self.passwords.len() > 1);
        for password in self.passwords.iter_mut().skip(rotating) {
            if let Some(stronger) = password.hash.strengthened(parameters)? {
                password.hash = stronger;
                done += 1;
            }
        }
        for hash in &mut self.former {
            let Some(stronger) = hash.strengthened(parameters)? else { continue };
            let (old, new) = (hash.fingerprint(), stronger.fingerprint());
            self.exposed.iter_mut().filter(|one| **one == old).for_each(|one| *one = new);
            *hash = stronger;
            done += 1;
        }
        Ok(done)
    }

    /// Work of all the checks that one wrong password makes.
    pub(crate) fn work(&self) -> u64 {
        self.passwords.iter().map(|password| password.hash.work()).sum()
    }

    fn remember(&mut self, old: Vec<Password>) {
        let mut former: Vec<StoredHash> = old.into_iter().map(|password| password.hash).collect();
        former.append(&mut self.former);
        former.truncate(FORMER_MAX);
        self.former = former;
    }
}

impl From<PasswordHash> for Account {
    /// With this password and nothing else known.
    fn from(hash: PasswordHash) -> Self {
        Self { passwords: vec![Password::new(hash.into(), Origin::Person, 0)], ..Self::default() }
    }
}
