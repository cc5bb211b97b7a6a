//! Reading a password file of either version.

use motte_seal::{SiteKey, StoredHash};

use super::{HEADER, PasswordFile, PasswordFileError, is_account_name};
use crate::account::{Account, EXPOSED_MAX, FORMER_MAX, Origin, Password, ReuseMark};
use crate::second_factor::{RECOVERY_CODES, SecondFactor, TotpSecret};

/// What to do about a line that is wrong.
const WRITE_IT: &str = "write the account with `motte user`";
const RESTORE: &str =
    "restore the file from a copy, or delete the account and make it anew with `motte user`";

/// A fault without its line.
type Fault = (String, &'static str);

pub(super) fn parse(text: &str) -> Result<PasswordFile, PasswordFileError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .peekable();
    let mut file = PasswordFile::default();
    let Some((_, first)) = lines.peek() else { return Ok(file) };
    let now = first.starts_with("motte-credentials ");
    if now {
        let Some((line, first)) = lines.next() else { return Ok(file) };
        if first.trim_end() != HEADER {
            let what = format!("`{}` is a version that is not known", first.trim_end());
            let remedy = "use the motte that wrote it, or a newer one";
            return Err(PasswordFileError { line, what, remedy });
        }
    }
    file.old = !now;
    let mut account: Option<(String, Account)> = None;
    let mut last = 0;
    for (line, text) in lines {
        last = line;
        let done = if now { file.line(text, &mut account) } else { file.old_line(text) };
        done.map_err(|(what, remedy)| PasswordFileError { line, what, remedy })?;
    }
    file.finish(&mut account).map_err(|(what, remedy)| PasswordFileError { line: last, what, remedy })?;
    Ok(file)
}

impl PasswordFile {
    /// A line of version 1.
    fn old_line(&mut self, line: &str) -> Result<(), Fault> {
        let Some((identity, hash)) = line.split_once(':') else {
            return Err(("no `:` between identity and hash".into(), WRITE_IT));
        };
        check_name(identity)?;
        let hash = hash_of(identity, hash)?;
        let account =
            Account { passwords: vec![Password::new(hash, Origin::Person, 0)], ..Account::default() };
        if self.insert(identity, account) { Ok(()) } else { Err(twice(identity)) }
    }

    /// A line of version 2.
    fn line(&mut self, line: &str, open: &mut Option<(String, Account)>) -> Result<(), Fault> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let rest = rest.trim_start();
        match (word, open) {
            ("identity", open) => {
                self.finish(open)?;
                check_name(rest)?;
                if self.account(rest).is_some() {
                    return Err(twice(rest));
                }
                *open = Some((rest.to_owned(), Account::default()));
                Ok(())
            }
            ("key", None) if self.key.is_none() => {
                let key =
                    SiteKey::parse(rest).ok_or(("the key is not 43 characters of base64".into(), RESTORE))?;
                self.key = Some(key);
                Ok(())
            }
            (word, Some((identity, account))) => attribute(account, identity, word, rest),
            (word, None) => Err((format!("`{word}` before the first `identity`"), RESTORE)),
        }
    }

    /// Ends the account that is open.
    fn finish(&mut self, open: &mut Option<(String, Account)>) -> Result<(), Fault> {
        let Some((identity, account)) = open.take() else { return Ok(()) };
        let keyed = |password: &Password| matches!(password.hash, StoredHash::Keyed(_));
        let scram = |hash: &StoredHash| matches!(hash, StoredHash::Scram(_));
        // Without a key who does not exist could be told from who does.
        if self.key.is_none() && account.passwords.iter().any(|password| scram(&password.hash)) {
            return Err((format!("`{identity}` has SCRAM keys, and the file has no key"), RESTORE));
        }
        let recovers = account.second.as_ref().is_some_and(|second| !second.recovery.is_empty());
        if self.key.is_none() && (recovers || account.passwords.iter().any(keyed)) {
            return Err((format!("`{identity}` has a keyed hash, and the file has no key"), RESTORE));
        }
        // Without a password it must say why: nobody forgets one by mistake.
        if account.passwords.is_empty() && account.exposed.is_empty() {
            return Err((format!("`{identity}` has no password"), WRITE_IT));
        }
        self.accounts.insert(identity, account);
        Ok(())
    }
}

fn attribute(account: &mut Account, identity: &str, word: &str, rest: &str) -> Result<(), Fault> {
    let number =
        || rest.parse::<u64>().map_err(|_| (format!("`{word}` of `{identity}` is not a number"), RESTORE));
    let many = || (format!("`{identity}` has more `{word}` lines than can be"), RESTORE);
    match word {
        "created" => account.created_s = number()?,
        "expires" => account.expires_s = Some(number()?),
        "disabled" if rest.is_empty() => account.disabled = true,
        "password" if account.passwords.len() >= 2 => return Err(many()),
        "password" => account.passwords.push(password(identity, rest)?),
        "former" if account.former.len() >= FORMER_MAX => return Err(many()),
        "former" => account.former.push(hash_of(identity, rest)?),
        "exposed" if account.exposed.len() >= EXPOSED_MAX => return Err(many()),
        "exposed" => {
            let fault = || (format!("`exposed` of `{identity}` is not 16 hexadecimal digits"), RESTORE);
            account.exposed.push(hex(rest, 16).ok_or_else(fault)?);
        }
        "totp" if account.second.is_some() => return Err(many()),
        "totp" => account.second = Some(totp(identity, rest)?),
        "recovery" => recovery(account, identity, rest)?,
        other => {
            let remedy = "use the motte that wrote it, or restore the file from a copy";
            return Err((format!("`{other}` of `{identity}` is not known"), remedy));
        }
    }
    Ok(())
}

/// `SECRET since=…`.
fn totp(identity: &str, text: &str) -> Result<SecondFactor, Fault> {
    let fault = || (format!("`totp` of `{identity}` is not a secret in base32 and `since=`"), RESTORE);
    let (secret, since_s) = text.split_once(" since=").ok_or_else(fault)?;
    let secret = TotpSecret::parse(secret).ok_or_else(fault)?;
    Ok(SecondFactor { secret, since_s: since_s.parse().map_err(|_| fault())?, recovery: Vec::new() })
}

/// A recovery code's hash, which belongs to the `totp` before it.
fn recovery(account: &mut Account, identity: &str, text: &str) -> Result<(), Fault> {
    let fault = |what: &str| (format!("`recovery` of `{identity}` {what}"), RESTORE);
    let StoredHash::Keyed(hash) = hash_of(identity, text)? else { return Err(fault("is no keyed hash")) };
    let second = account.second.as_mut().ok_or_else(|| fault("stands before `totp`"))?;
    if second.recovery.len() >= RECOVERY_CODES {
        return Err(fault("is one more than there can be"));
    }
    second.recovery.push(hash);
    Ok(())
}

/// `HASH origin=… created=… until=… mark=…`.
fn password(identity: &str, text: &str) -> Result<Password, Fault> {
    let mut words = text.split(' ');
    let hash = hash_of(identity, words.next().unwrap_or_default())?;
    let mut password = Password::new(hash, Origin::Person, 0);
    let mut origin = None;
    for word in words {
        let fault = || (format!("a password of `{identity}` has `{word}`, which is not known"), RESTORE);
        let (key, value) = word.split_once('=').ok_or_else(fault)?;
        match key {
            "origin" => origin = Some(Origin::parse(value).ok_or_else(fault)?),
            "created" => password.created_s = value.parse().map_err(|_| fault())?,
            "until" => password.until_s = Some(value.parse().map_err(|_| fault())?),
            "mark" => {
                let (key, mark) = value.split_once('.').ok_or_else(fault)?;
                let key = hex(key, 8).and_then(|key| u32::try_from(key).ok()).ok_or_else(fault)?;
                password.mark = Some(ReuseMark { key, mark: hex(mark, 16).ok_or_else(fault)? });
            }
            _ => return Err(fault()),
        }
    }
    password.origin = origin.ok_or((format!("a password of `{identity}` has no origin"), RESTORE))?;
    Ok(password)
}

fn hash_of(identity: &str, text: &str) -> Result<StoredHash, Fault> {
    StoredHash::parse(text).map_err(|error| (format!("`{identity}` has {error}"), WRITE_IT))
}

fn check_name(identity: &str) -> Result<(), Fault> {
    if is_account_name(identity) {
        return Ok(());
    }
    let remedy = "use a name without `+`, `#` and control characters";
    Err(("the identity is empty or not permitted".into(), remedy))
}

fn twice(identity: &str) -> Fault {
    (format!("`{identity}` stands twice"), "remove one of the accounts")
}

/// A number in so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let fits = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    fits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}
