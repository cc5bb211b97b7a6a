//! `motte passwd`: the password file.

use std::path::Path;

use motte_identity::PasswordFile;
use motte_seal::{HashParameters, PasswordHash, SecretString};

use crate::cli::{PasswdAction, PasswdArgs};
use crate::state::write_atomic;
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read_secret};

/// Fewest characters of a password that a person chooses.
const LENGTH_MIN: usize = 15;

pub(crate) fn run(args: &PasswdArgs) -> Result<(), Fault> {
    match &args.action {
        PasswdAction::Set { identity, file, password_file, generate } => {
            let password = if *generate {
                SecretString::generate().map_err(|error| Fault::new(format!("no randomness: {error}")))?
            } else {
                chosen(identity, password_file.as_deref())?
            };
            let mut passwords = load(file, true)?;
            let hash = PasswordHash::create(password.expose().as_bytes(), HashParameters::DEFAULT)
                .map_err(|error| Fault::new(error.to_string()))?;
            if !passwords.set(identity, hash) {
                let what = format!("`{identity}` cannot be an identity");
                return Err(Fault::with_remedy(
                    what,
                    "use a name without `:`, `+`, `#` and control characters",
                ));
            }
            write_atomic(file, passwords.to_string().as_bytes(), 0o600)?;
            if *generate {
                println!("{}", password.expose());
            }
            eprintln!("set the password of {identity}; a running broker takes it with a reload (kill -HUP)");
        }
        PasswdAction::Remove { identity, file } => {
            let mut passwords = load(file, false)?;
            if !passwords.remove(identity) {
                let what = format!("there is no identity `{identity}` in {}", file.display());
                return Err(Fault::with_remedy(what, "`motte passwd list` shows those there are"));
            }
            write_atomic(file, passwords.to_string().as_bytes(), 0o600)?;
            eprintln!("removed {identity}; a running broker disconnects it with a reload (kill -HUP)");
        }
        PasswdAction::List { file } => {
            load(file, false)?.identities().for_each(|identity| println!("{identity}"));
        }
    }
    Ok(())
}

fn chosen(identity: &str, from: Option<&Path>) -> Result<SecretString, Fault> {
    let password = match from {
        Some(path) => read_secret(path)?,
        None => {
            let first = prompt(&format!("new password for {identity}: "))?;
            if prompt("the same again: ")?.expose() != first.expose() {
                return Err(Fault::with_remedy("the passwords differ", "try again"));
            }
            first
        }
    };
    let length = password.expose().chars().count();
    if length < LENGTH_MIN {
        let what = format!("a password of {length} characters is too short");
        return Err(Fault::with_remedy(what, "use at least 15 characters, or --generate"));
    }
    if password.expose().to_lowercase().contains(&identity.to_lowercase()) {
        return Err(Fault::with_remedy(
            "the password holds the identity's name",
            "choose another, or --generate",
        ));
    }
    Ok(password)
}

fn load(file: &Path, may_be_missing: bool) -> Result<PasswordFile, Fault> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if may_be_missing && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let what = format!("cannot read {}: {error}", file.display());
            return Err(Fault::with_remedy(what, "name the password file with --file"));
        }
    };
    PasswordFile::parse(&text).map_err(|error| Fault::new(format!("{}: {error}", file.display())))
}
