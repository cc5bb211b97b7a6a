//! The password file: identities and what is kept of their passwords. A fault anywhere refuses the whole file, so that a
//! bad line can never become a user without a password.
//!
//! Version 2 begins with `motte-credentials 2`. `identity NAME` begins an account; what follows, a word and its value a
//! line, belongs to it. Version 1 had no first line and `identity:hash` on every other one; it is still read.

mod reading;
mod writing;

use std::collections::BTreeMap;

use motte_seal::{HashParameters, PasswordHash, SiteKey, StoredHash};

use crate::account::{Account, Password};
use crate::certificate::is_name;

/// The first line.
const HEADER: &str = "motte-credentials 2";

/// Identities and what is kept of their passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordFile {
    /// For hashes of generated passwords; made with the first of them.
    key: Option<SiteKey>,
    accounts: BTreeMap<String, Account>,
    /// Whether it was read from version 1.
    old: bool,
}

/// A fault in a password file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}; {remedy}")]
pub struct PasswordFileError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong. Never holds the hash.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl PasswordFile {
    /// Reads a file's text, of either version. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, PasswordFileError> {
        reading::parse(text)
    }

    /// Gives an identity this password, and makes its account if there is none. `false`: the name is not permitted.
    pub fn set(&mut self, identity: &str, hash: PasswordHash) -> bool {
        let password = Password::new(hash.into(), crate::account::Origin::Person, 0);
        match self.account_mut(identity) {
            Some(account) => account.set(password),
            None => {
                return self.insert(identity, Account { passwords: vec![password], ..Account::default() });
            }
        }
        true
    }

    /// Makes an account. `false`: the name is not permitted, or there already.
    pub fn insert(&mut self, identity: &str, account: Account) -> bool {
        let permitted = is_account_name(identity) && !self.accounts.contains_key(identity);
        if permitted {
            self.accounts.insert(identity.to_owned(), account);
        }
        permitted
    }

    /// Removes an identity.
    pub fn remove(&mut self, identity: &str) -> Option<Account> {
        self.accounts.remove(identity)
    }

    /// An account, to change it.
    pub fn account_mut(&mut self, identity: &str) -> Option<&mut Account> {
        self.accounts.get_mut(identity)
    }

    /// All accounts, to change them.
    pub fn accounts_mut(&mut self) -> impl Iterator<Item = (&str, &mut Account)> {
        self.accounts.iter_mut().map(|(identity, account)| (identity.as_str(), account))
    }

    /// The key for hashes of generated passwords, made if there is none.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn key_or_new(&mut self) -> Result<&SiteKey, motte_seal::HashError> {
        let key = match self.key.take() {
            Some(key) => key,
            None => SiteKey::generate()?,
        };
        Ok(self.key.insert(key))
    }

    /// An account.
    pub fn account(&self, identity: &str) -> Option<&Account> {
        self.accounts.get(identity)
    }

    /// All accounts with their identities, in the order of names.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> + Clone {
        self.accounts.iter().map(|(identity, account)| (identity.as_str(), account))
    }

    /// The identities.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// The key for hashes of generated passwords.
    pub fn key(&self) -> Option<&SiteKey> {
        self.key.as_ref()
    }

    /// Whether it was read from version 1, which says less.
    pub fn is_old(&self) -> bool {
        self.old
    }

    /// The most work that a wrong password makes for any account, and no less than for one Argon2id hash of today's
    /// parameters. Every refusal costs as much, so that none tells whether the name exists.
    pub fn work_max(&self) -> u64 {
        let most = self.accounts.values().map(Account::work).max().unwrap_or(0);
        most.max(HashParameters::DEFAULT.work())
    }

    /// The most memory that one check needs, in KiB, and whose password it is.
    pub fn memory_kib_max(&self) -> (u32, &str) {
        let needs = |(identity, account): (&'_ String, &'_ Account)| {
            let most = account.passwords.iter().map(|password| password.hash.memory_kib()).max().unwrap_or(0);
            (most, identity.clone())
        };
        let greediest = self.accounts.iter().map(needs).max_by_key(|(most, _)| *most);
        let usual = HashParameters::DEFAULT.memory_kib;
        match greediest {
            Some((most, identity)) if most > usual => {
                let name = self.accounts.get_key_value(&identity).map_or("", |(name, _)| name.as_str());
                (most, name)
            }
            Some(_) | None => (usual, ""),
        }
    }
}

/// Whether an account may have this name: it must stand on a line of its own.
fn is_account_name(name: &str) -> bool {
    is_name(name) && name.trim() == name
}

impl PasswordFile {
    /// The hash of an identity's first password.
    pub fn hash(&self, identity: &str) -> Option<&StoredHash> {
        Some(&self.account(identity)?.passwords.first()?.hash)
    }
}

#[cfg(test)]
mod tests;
