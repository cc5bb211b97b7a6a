//! `motte passwd`: passwords generated and judged, and the older words for accounts.

use motte_identity::Purpose;
use motte_seal::SecretString;

use crate::accounts::{Candidate, load};
use crate::cli::{AccountsArgs, GenFormat, PasswdAction, PasswdArgs};
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read_secret};
use crate::verb::user::{self, place};

/// Bits of a generated password.
const GENERATED: u32 = 130;

pub(crate) fn run(args: &PasswdArgs) -> Result<(), Fault> {
    let accounts = &args.accounts;
    match &args.action {
        PasswdAction::Gen { entropy: true, .. } => {
            println!("{GENERATED}");
            Ok(())
        }
        PasswdAction::Gen { count, format, identity, .. } => generate(*count, *format, identity),
        PasswdAction::Check { password_file, identity, second_factor } => {
            let password = match password_file {
                Some(path) => read_secret(path)?,
                None => prompt("password to check: ", "--password-file")?,
            };
            let purpose = Purpose { identity: identity.as_deref(), second_factor: *second_factor };
            check(accounts, &password, purpose)
        }
        PasswdAction::Expose { identities, leaked } => user::expose(accounts, identities, leaked.as_deref()),
        PasswdAction::Set { identity, password } => user::set(accounts, identity, password),
        PasswdAction::Remove { identity } => user::delete(accounts, identity),
        PasswdAction::List => {
            let (path, _) = place(accounts)?;
            load(&path, false)?.identities().for_each(|identity| println!("{identity}"));
            Ok(())
        }
    }
}

fn generate(count: u32, format: GenFormat, identity: &str) -> Result<(), Fault> {
    if format == GenFormat::KeepassxcCsv {
        println!("\"Group\",\"Title\",\"Username\",\"Password\",\"URL\",\"Notes\"");
    }
    for number in 1..=count {
        let Candidate { password, .. } = Candidate::generate()?;
        let name = if count == 1 { identity.to_owned() } else { format!("{identity}-{number}") };
        match format {
            GenFormat::Plain => println!("{}", password.expose()),
            GenFormat::KeepassxcCsv => {
                let name = name.replace('"', "\"\"");
                println!("\"MQTT\",\"{name}\",\"{name}\",\"{}\",\"\",\"\"", password.expose());
            }
            GenFormat::Json => {
                println!("{}", serde_json::json!({ "identity": name, "password": password.expose() }));
            }
        }
    }
    Ok(())
}

fn check(accounts: &AccountsArgs, password: &SecretString, purpose: Purpose<'_>) -> Result<(), Fault> {
    let rules = user::rules(accounts)?;
    let weaknesses = rules.policy().weaknesses(password.expose(), purpose);
    let Some(first) = weaknesses.first() else {
        println!("good");
        return Ok(());
    };
    let all: Vec<&str> = weaknesses.iter().map(|weakness| weakness.what.as_str()).collect();
    Err(Fault::with_remedy(format!("this password will not do: {}", all.join("; ")), &first.remedy))
}
