//! Asking again before something of high risk: an account and the code of its second factor, without the password. Who asks has
//! come by a way of its own, such as a user of this machine; this is the second thing that he shows.

use crate::account::Closed;
use crate::second_factor::SecondFactor;
use crate::verdict::Authenticator;

impl Authenticator {
    /// Takes a code of an account, once, at `now_s` in Unix seconds; a recovery code is spent for good.
    ///
    /// # Errors
    /// Why not, for the log and for whoever asks: an operator is told more than a client.
    pub fn step_up(&self, account: &str, code: &str, now_s: u64) -> Result<(), &'static str> {
        let second = self.second_factor(account, now_s)?;
        let recovered = self.learned().spend_recovery(&second.recovery, self.file().key(), code);
        recovered.unwrap_or_else(|| self.learned().take_code(account, &second.secret, code, now_s))
    }

    /// Whether an account, open or closed, has a second factor.
    pub fn has_second_factor(&self, account: &str) -> bool {
        self.file().account(account).is_some_and(|account| account.second.is_some())
    }

    /// Whether an account would give codes by the password file of `next`, at `now_s` in Unix seconds, that it does not give by
    /// this one: those of another second factor, or of an account that was disabled or had expired. A new password opens an
    /// exposed one again and changes nothing about its codes.
    pub fn would_give_other_codes(&self, next: &Self, account: &str, now_s: u64) -> bool {
        let factor = |of: &Self| {
            let account = of.file().account(account)?;
            let is_closed = matches!(account.open(now_s), Err(Closed::Disabled | Closed::Expired));
            account.second.clone().filter(|_| !is_closed)
        };
        let given = factor(next);
        given.is_some() && given != factor(self)
    }

    fn second_factor(&self, account: &str, now_s: u64) -> Result<&SecondFactor, &'static str> {
        let account = self.file().account(account).ok_or("there is no such account")?;
        account.open(now_s).map_err(crate::account::Closed::cause)?;
        account.second.as_ref().ok_or("the account has no second factor")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use motte_seal::StoredHash;

    use super::*;
    use crate::account::{Account, Origin, Password};
    use crate::learned::Learned;
    use crate::password_file::PasswordFile;

    #[test]
    fn other_codes_are_those_of_another_factor_and_of_an_account_that_was_closed() {
        let mut file = PasswordFile::default();
        let key = file.key_or_new().expect("randomness").clone();
        let password = Password::new(StoredHash::Keyed(key.keyed(b"right")), Origin::Generated, 0);
        let factor = || Some(SecondFactor::generate(&key, 0).expect("randomness").0);
        let open = Account { passwords: vec![password], second: factor(), ..Account::default() };
        let disabled = Account { disabled: true, ..open.clone() };
        let expired = Account { expires_s: Some(50), ..open.clone() };
        let ending = Account { expires_s: Some(500), ..open.clone() };
        let exposed = Account { passwords: Vec::new(), ..open.clone() };
        let other = Account { second: factor(), ..open.clone() };
        let of = |account: &Account| {
            let mut file = PasswordFile::default();
            file.insert("alice", account.clone());
            Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)))
        };
        for (old, new, expected) in [
            (&open, &open, false),
            (&open, &other, true),
            (&disabled, &open, true),
            (&expired, &open, true),
            (&expired, &ending, true),
            (&disabled, &other, true),
            (&exposed, &open, false),
            (&open, &ending, false),
            (&open, &disabled, false),
            (&disabled, &expired, false),
        ] {
            let told = of(old).would_give_other_codes(&of(new), "alice", 100);
            assert_eq!(told, expected, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_code_of_an_open_account_is_taken_once_and_nothing_else_is() {
        let mut file = PasswordFile::default();
        let key = file.key_or_new().expect("randomness").clone();
        let (second, recovery) = SecondFactor::generate(&key, 0).expect("randomness");
        let secret = second.secret.clone();
        let password = Password::new(StoredHash::Keyed(key.keyed(b"right")), Origin::Generated, 0);
        let without = Account { passwords: vec![password], ..Account::default() };
        let account = Account { second: Some(second), ..without.clone() };
        file.insert("closed", Account { disabled: true, ..account.clone() });
        file.insert("without", without);
        file.insert("alice", account);
        let authenticator = Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)));
        let now_s = 3_000;
        let code = secret.code(now_s);
        assert_eq!(authenticator.step_up("alice", "000", now_s), Err("the code is wrong"));
        assert_eq!(authenticator.step_up("nobody", &code, now_s), Err("there is no such account"));
        assert_eq!(authenticator.step_up("without", &code, now_s), Err("the account has no second factor"));
        assert!(authenticator.step_up("closed", &code, now_s).is_err());
        assert_eq!(authenticator.step_up("alice", &code, now_s), Ok(()));
        assert_eq!(authenticator.step_up("alice", &code, now_s), Err("the code was used already"));
        let without_disk = authenticator.step_up("alice", recovery[0].expose(), now_s);
        assert_eq!(without_disk, Err("a recovery code needs a state_dir that can be written"));
        assert!(authenticator.has_second_factor("closed") && !authenticator.has_second_factor("without"));
    }
}
