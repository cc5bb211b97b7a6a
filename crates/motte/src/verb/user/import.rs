//! `motte user import`: accounts from a file of somebody else. Whole or nothing: one bad line takes none of them.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;

use motte_identity::{Account, Origin, Password};
use motte_seal::{SecretString, StoredHash};

use crate::accounts::{self, Accounts, Candidate, Rules};
use crate::cli::AccountsArgs;
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::connecting::read;
use crate::verb::user::{RELOAD, place, rules};

/// How lines are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) generated: bool,
    pub(super) weak: bool,
    pub(super) replace: bool,
    pub(super) as_they_are: bool,
}

pub(super) fn import(args: &AccountsArgs, from: &Path, how: How) -> Result<(), Fault> {
    let text = SecretString::new(text(from)?);
    let rules = rules(args)?;
    let mut accounts = Accounts::open(&place(args)?.0, true)?;
    let (mut names, mut foreign) = (HashSet::new(), 0_usize);
    for (index, line) in text.expose().lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, password) = one(&mut accounts, line, how, &rules).map_err(|fault| {
            Fault::new(format!("{}:{}: {fault}\n  nothing was taken", from.display(), index + 1))
        })?;
        names.insert(name);
        foreign += usize::from(matches!(password, StoredHash::Mosquitto(_)));
    }
    let strengthened = if how.as_they_are {
        0
    } else {
        accounts::strengthen(&mut accounts.file, |one| names.contains(one))?
    };
    accounts.save()?;
    eprintln!("took {} accounts; {RELOAD}", names.len());
    if strengthened > 0 {
        eprintln!("{strengthened} weaker hashes were put under Argon2id; their passwords are as before");
    }
    if foreign > 0 && how.as_they_are {
        eprintln!(
            "{foreign} have hashes of mosquitto, which are weaker than Argon2id: `motte user strengthen`"
        );
    }
    Ok(())
}

/// Takes one line; whose it is, and what is kept of its password.
fn one(accounts: &mut Accounts, line: &str, how: How, rules: &Rules) -> Result<(String, StoredHash), Fault> {
    let (identity, secret) = halves(line).ok_or_else(|| {
        Fault::with_remedy("neither `identity,password` nor `identity:hash`", "write one account a line")
    })?;
    let known = accounts.file.account(identity).is_some();
    if known && !how.replace {
        let what = format!("there is an account `{identity}` already");
        return Err(Fault::with_remedy(what, "remove the line, or use --replace"));
    }
    let password = if secret.starts_with('$') {
        let hash = StoredHash::parse(secret).map_err(|error| {
            let remedy = "give $argon2id$, $scram-sha-256$, $6$ or $7$; others, and those with more iterations, have to be set anew";
            Fault::with_remedy(format!("`{identity}` has {error}"), remedy)
        })?;
        if matches!(hash, StoredHash::Keyed(_)) {
            let what = format!("`{identity}` has a hash under the key of another file");
            return Err(Fault::with_remedy(what, "copy that file whole instead"));
        }
        if matches!(hash, StoredHash::Scram(_)) {
            // Who does not exist is answered by the file's key as who does.
            accounts.file.key_or_new().map_err(|error| Fault::new(error.to_string()))?;
        }
        Password::new(hash, Origin::Imported, now_s())
    } else {
        let password = SecretString::new(secret.to_owned());
        let candidate = if how.generated {
            Candidate::generated_elsewhere(password)?
        } else {
            Candidate { password, origin: Origin::Imported, scram_iterations: None }
        };
        if how.weak {
            accounts.keep(identity, &candidate)?
        } else {
            accounts.admit(identity, &candidate, rules)?
        }
    };
    let hash = password.hash.clone();
    if let Some(account) = accounts.file.account_mut(identity) {
        account.set(password);
        return Ok((identity.to_owned(), hash));
    }
    let account = Account { created_s: now_s(), passwords: vec![password], ..Account::default() };
    if accounts.file.insert(identity, account) {
        return Ok((identity.to_owned(), hash));
    }
    let remedy = "use a name without `+`, `#`, control characters and spaces at its ends";
    Err(Fault::with_remedy(format!("`{identity}` cannot be an identity"), remedy))
}

/// Identity and secret: at the first comma, or at a colon with a hash behind it.
fn halves(line: &str) -> Option<(&str, &str)> {
    let halves = match line.split_once(":$") {
        Some((identity, _)) if !identity.contains(',') => line.split_at_checked(identity.len() + 1),
        _ => line.split_once(','),
    };
    let (identity, secret) = halves?;
    let identity = identity.strip_suffix(':').unwrap_or(identity).trim();
    (!identity.is_empty() && !secret.is_empty()).then_some((identity, secret))
}

pub(super) fn text(from: &Path) -> Result<String, Fault> {
    if from != Path::new("-") {
        return read(from);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Fault::new(format!("cannot read standard input: {error}")))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn lines_of_both_kinds_are_split_where_the_identity_ends() {
        for (line, expected) in [
            ("alice,secret", Some(("alice", "secret"))),
            ("alice,se:$cret", Some(("alice", "se:$cret"))),
            ("alice:$6$a$b", Some(("alice", "$6$a$b"))),
            ("spiffe://site/a:$7$1$a$b", Some(("spiffe://site/a", "$7$1$a$b"))),
            ("spiffe://site/a,secret", Some(("spiffe://site/a", "secret"))),
            ("alice:secret", None),
            (",secret", None),
            ("alice,", None),
        ] {
            assert_eq!(halves(line), expected, "{line}");
        }
    }
}
