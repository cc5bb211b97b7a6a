//! `motte user list` and `show`: what is known of accounts, never what is kept of a password.

use motte_identity::{Account, Password};
use motte_seal::HashParameters;
use serde_json::{Value, json};

use crate::accounts::load;
use crate::cli::AccountsArgs;
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::user::{place, unknown};

pub(super) fn list(args: &AccountsArgs, as_json: bool) -> Result<(), Fault> {
    let file = load(&place(args)?.0, false)?;
    if as_json {
        let all: Vec<Value> = file.accounts().map(|(identity, account)| facts(identity, account)).collect();
        println!("{}", Value::Array(all));
        return Ok(());
    }
    let longest = file.identities().map(|identity| identity.chars().count()).max().unwrap_or(0).clamp(8, 40);
    println!("{:longest$}  state     password", "identity");
    for (identity, account) in file.accounts() {
        let mut passwords: Vec<String> = account.passwords.iter().map(line).collect();
        passwords.extend(account.second.iter().map(|_| "second factor".to_owned()));
        println!("{identity:longest$}  {:8}  {}", state(account), passwords.join("; "));
    }
    if file.is_old() {
        eprintln!("the file is of version 1; the next change writes it in version 2");
    }
    Ok(())
}

pub(super) fn show(args: &AccountsArgs, identity: &str) -> Result<(), Fault> {
    let file = load(&place(args)?.0, false)?;
    let account = file.account(identity).ok_or_else(|| unknown(identity))?;
    println!("identity  {identity}");
    println!("state     {}", state(account));
    if account.created_s > 0 {
        println!("made      {}", time(account.created_s));
    }
    if let Some(expires_s) = account.expires_s {
        println!("ends      {}", time(expires_s));
    }
    for password in &account.passwords {
        println!("password  {}", line(password));
    }
    if let Some(second) = &account.second {
        println!("second    codes since {}, {} recovery codes", time(second.since_s), second.recovery.len());
    }
    println!("former    {}, of which exposed {}", account.former.len(), account.exposed.len());
    Ok(())
}

/// A moment, in UTC.
pub(super) fn time(unix_s: u64) -> String {
    let at = i64::try_from(unix_s).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or_else(|| "at a time that no calendar has".to_owned(), |at| at.to_string())
}

fn state(account: &Account) -> &'static str {
    match account.open(now_s()) {
        Ok(()) => "open",
        Err(motte_identity::Closed::Disabled) => "disabled",
        Err(motte_identity::Closed::Expired) => "expired",
        Err(motte_identity::Closed::Exposed) => "exposed",
    }
}

fn line(password: &Password) -> String {
    let Password { hash, origin, created_s, until_s, .. } = password;
    let mut text = format!("{} ({})", origin.name(), hash.class());
    if *created_s > 0 {
        text.push_str(&format!(", set {}", time(*created_s)));
    }
    if let Some(until_s) = until_s {
        text.push_str(&format!(", ends {}", time(*until_s)));
    }
    if hash.is_weak(HashParameters::DEFAULT) {
        text.push_str(", weaker than it should be: motte user strengthen");
    }
    text
}

fn facts(identity: &str, account: &Account) -> Value {
    let passwords: Vec<Value> = account
        .passwords
        .iter()
        .map(|Password { hash, origin, created_s, until_s, .. }| {
            json!({
                "class": hash.class(),
                "origin": origin.name(),
                "created_s": created_s,
                "until_s": until_s,
                "weak": hash.is_weak(HashParameters::DEFAULT),
            })
        })
        .collect();
    json!({
        "identity": identity,
        "state": state(account),
        "created_s": account.created_s,
        "expires_s": account.expires_s,
        "exposed": account.exposed.len(),
        "second_factor": account.second.is_some(),
        "passwords": passwords,
    })
}
