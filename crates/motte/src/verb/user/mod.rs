//! `motte user`: accounts with passwords.

mod import;
mod show;
mod totp;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use motte_config::{PasswordProfile, Passwords};
use motte_identity::{Account, Origin};
use motte_seal::{HashParameters, ScramKeys, SecretString};

use crate::accounts::{self, Accounts, Candidate, Rules};
use crate::cli::{AccountsArgs, NewPasswordArgs, ProfileArg, UserAction, UserArgs};
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read_secret};
use crate::verb::serve::load as load_config;

/// What is said after every change.
const RELOAD: &str = "a running broker takes it with a reload (kill -HUP)";

pub(crate) fn run(args: &UserArgs) -> Result<(), Fault> {
    let accounts = &args.accounts;
    match &args.action {
        UserAction::Add { identity, password, expires } => add(accounts, identity, password, *expires),
        UserAction::Passwd { identity, password } => passwd(accounts, identity, password),
        UserAction::Rotate { identity, password, grace } => rotate(accounts, identity, password, *grace),
        UserAction::Strengthen => strengthen(accounts),
        UserAction::Disable { identity } => close(accounts, identity, true),
        UserAction::Enable { identity } => close(accounts, identity, false),
        UserAction::Delete { identity } => delete(accounts, identity),
        UserAction::Expose { identities, leaked } => expose(accounts, identities, leaked.as_deref()),
        UserAction::Totp { action } => totp::run(accounts, action),
        UserAction::List { json } => show::list(accounts, *json),
        UserAction::Show { identity } => show::show(accounts, identity),
        UserAction::Import { from, generated, weak, replace, as_they_are } => {
            let (generated, weak, replace) = (*generated, *weak, *replace);
            let how = import::How { generated, weak, replace, as_they_are: *as_they_are };
            import::import(accounts, from, how)
        }
    }
}

/// The password file and what passwords must be there.
pub(crate) fn place(args: &AccountsArgs) -> Result<(PathBuf, Passwords), Fault> {
    let Some(path) = &args.config else { return Ok((args.file.clone(), Passwords::default())) };
    let config = load_config(path)?;
    let file = config.password_file.ok_or_else(|| {
        let what = format!("{} names no password file", path.display());
        Fault::with_remedy(what, "write password_file = \"passwords\" in [auth]")
    })?;
    Ok((file, config.passwords))
}

/// The rules for chosen passwords.
pub(crate) fn rules(args: &AccountsArgs) -> Result<Rules, Fault> {
    let (_, passwords) = place(args)?;
    let profile = args.profile.map(|profile| match profile {
        ProfileArg::Nist => PasswordProfile::Nist,
        ProfileArg::Classic => PasswordProfile::CLASSIC,
    });
    Rules::of(&passwords, profile)
}

/// Sets a password, and makes the account if there is none.
pub(crate) fn set(args: &AccountsArgs, identity: &str, new: &NewPasswordArgs) -> Result<(), Fault> {
    let known = open(args, true)?.file.account(identity).is_some();
    if known { passwd(args, identity, new) } else { add(args, identity, new, None) }
}

/// Removes an account.
pub(crate) fn delete(args: &AccountsArgs, identity: &str) -> Result<(), Fault> {
    let mut accounts = open(args, false)?;
    if accounts.file.remove(identity).is_none() {
        return Err(unknown(identity));
    }
    accounts.save()?;
    eprintln!("removed {identity}; {RELOAD} and disconnects it");
    Ok(())
}

/// Takes passwords away that others know.
pub(crate) fn expose(args: &AccountsArgs, named: &[String], leaked: Option<&Path>) -> Result<(), Fault> {
    let mut accounts = open(args, false)?;
    let mut identities = named.to_vec();
    if let Some(path) = leaked {
        let passwords = SecretString::new(import::text(path)?);
        for password in passwords.expose().lines().filter(|line| !line.is_empty()) {
            identities.extend(accounts.having(password)?);
        }
        if identities.is_empty() {
            eprintln!("nobody has one of these passwords, but for imported hashes, which cannot be compared");
            return Ok(());
        }
    }
    identities.sort_unstable();
    identities.dedup();
    for identity in &identities {
        accounts.file.account_mut(identity).ok_or_else(|| unknown(identity))?.expose();
    }
    accounts.save()?;
    let all = identities.join(", ");
    eprintln!("nobody comes in as {all} until there is another password: `motte user passwd`");
    eprintln!("{RELOAD} and disconnects who came in with the old one");
    Ok(())
}

fn add(
    args: &AccountsArgs,
    identity: &str,
    new: &NewPasswordArgs,
    expires: Option<jiff::civil::Date>,
) -> Result<(), Fault> {
    let rules = rules(args)?;
    let expires_s = expires.map(|day| day.to_zoned(TimeZone::UTC).map(|at| at.timestamp().as_second()));
    let expires_s = expires_s.transpose().map_err(|error| Fault::new(error.to_string()))?;
    let expires_s = expires_s.map(|at| u64::try_from(at).unwrap_or_default());
    if expires_s.is_some_and(|expires_s| expires_s <= now_s()) {
        let what = format!("`{identity}` would have expired before it can come in");
        return Err(Fault::with_remedy(what, "give --expires a day that is still to come (UTC)"));
    }
    let candidate = candidate(identity, new)?;
    let mut accounts = open(args, true)?;
    if accounts.file.account(identity).is_some() {
        let what = format!("there is an account `{identity}` already");
        return Err(Fault::with_remedy(what, "give it another password with `motte user passwd`"));
    }
    let password = accounts.admit(identity, &candidate, &rules)?;
    let account = Account { created_s: now_s(), passwords: vec![password], expires_s, ..Account::default() };
    if !accounts.file.insert(identity, account) {
        let what = format!("`{identity}` cannot be an identity");
        let remedy = "use a name without `+`, `#`, control characters and spaces at its ends";
        return Err(Fault::with_remedy(what, remedy));
    }
    accounts.save()?;
    said(&candidate, &format!("made the account {identity}"));
    Ok(())
}

fn passwd(args: &AccountsArgs, identity: &str, new: &NewPasswordArgs) -> Result<(), Fault> {
    change(args, identity, new, Account::set)
}

fn rotate(args: &AccountsArgs, identity: &str, new: &NewPasswordArgs, grace_s: u64) -> Result<(), Fault> {
    let until_s = now_s().saturating_add(grace_s);
    change(args, identity, new, |account, password| account.rotate(password, until_s))?;
    eprintln!("the password it had ends {}", show::time(until_s));
    Ok(())
}

fn change(
    args: &AccountsArgs,
    identity: &str,
    new: &NewPasswordArgs,
    take: impl FnOnce(&mut Account, motte_identity::Password),
) -> Result<(), Fault> {
    let rules = rules(args)?;
    if open(args, false)?.file.account(identity).is_none() {
        return Err(unknown(identity));
    }
    let candidate = candidate(identity, new)?;
    let mut accounts = open(args, false)?;
    let password = accounts.admit(identity, &candidate, &rules)?;
    take(accounts.file.account_mut(identity).ok_or_else(|| unknown(identity))?, password);
    accounts.save()?;
    said(&candidate, &format!("changed the password of {identity}"));
    Ok(())
}

fn strengthen(args: &AccountsArgs) -> Result<(), Fault> {
    let mut accounts = open(args, false)?;
    let done = accounts::strengthen(&mut accounts.file, |_| true)?;
    if done > 0 {
        accounts.save()?;
    }
    let weak = |password: &motte_identity::Password| password.hash.is_weak(HashParameters::DEFAULT);
    let left = accounts.file.accounts().filter(|(_, account)| account.passwords.iter().any(weak)).count();
    eprintln!("put {done} hashes under Argon2id; {RELOAD}, and who is connected by one of them logs in anew");
    if left > 0 {
        eprintln!("{left} accounts are being rotated and were left; do it again when that is over");
    }
    Ok(())
}

fn close(args: &AccountsArgs, identity: &str, disabled: bool) -> Result<(), Fault> {
    let mut accounts = open(args, false)?;
    accounts.file.account_mut(identity).ok_or_else(|| unknown(identity))?.disabled = disabled;
    accounts.save()?;
    eprintln!("{} {identity}; {RELOAD}", if disabled { "disabled" } else { "enabled" });
    Ok(())
}

fn open(args: &AccountsArgs, may_be_missing: bool) -> Result<Accounts, Fault> {
    Accounts::open(&place(args)?.0, may_be_missing)
}

/// The new password, asked for or made. Nothing is locked while a person thinks.
fn candidate(identity: &str, new: &NewPasswordArgs) -> Result<Candidate, Fault> {
    let mut candidate = given(identity, new)?;
    let usual = match candidate.origin {
        Origin::Generated => ScramKeys::ITERATIONS_MIN,
        Origin::Person | Origin::Imported => ScramKeys::ITERATIONS_CHOSEN,
    };
    candidate.scram_iterations = new.scram.then(|| new.iterations.unwrap_or(usual));
    Ok(candidate)
}

fn given(identity: &str, new: &NewPasswordArgs) -> Result<Candidate, Fault> {
    if new.generate {
        return Candidate::generate();
    }
    let password = match &new.password_file {
        Some(path) => read_secret(path)?,
        None => {
            let first = prompt(&format!("new password for {identity}: "), "--password-file")?;
            if prompt("the same again: ", "--password-file")?.expose() != first.expose() {
                return Err(Fault::with_remedy("the passwords differ", "try again"));
            }
            first
        }
    };
    if new.generated {
        Candidate::generated_elsewhere(password)
    } else {
        Ok(Candidate { password, origin: Origin::Person, scram_iterations: None })
    }
}

fn said(candidate: &Candidate, what: &str) {
    if candidate.origin == Origin::Generated {
        println!("{}", candidate.password.expose());
    }
    eprintln!("{what}; {RELOAD}");
}

fn unknown(identity: &str) -> Fault {
    let what = format!("there is no account `{identity}`");
    Fault::with_remedy(what, "`motte user list` shows those there are, `motte user add` makes one")
}
