//! Writing a password file, always in the newest version.

use std::fmt::{Display, Formatter, Result};

use motte_seal::StoredHash;

use super::{HEADER, PasswordFile};
use crate::account::{Account, Password};
use crate::second_factor::SecondFactor;

impl Display for PasswordFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{HEADER}")?;
        writeln!(
            f,
            "# Changed with `motte user`, read anew on reload. A fault anywhere refuses the whole file."
        )?;
        if let Some(key) = &self.key {
            writeln!(f, "key {}", key.text())?;
        }
        for (identity, account) in &self.accounts {
            writeln!(f, "identity {identity}")?;
            write_account(f, account)?;
        }
        Ok(())
    }
}

fn write_account(f: &mut Formatter<'_>, account: &Account) -> Result {
    let Account { created_s, passwords, former, exposed, disabled, expires_s, second } = account;
    if *created_s > 0 {
        writeln!(f, "  created {created_s}")?;
    }
    for password in passwords {
        write_password(f, password)?;
    }
    for hash in former {
        writeln!(f, "  former {hash}")?;
    }
    for fingerprint in exposed {
        writeln!(f, "  exposed {fingerprint:016x}")?;
    }
    if *disabled {
        writeln!(f, "  disabled")?;
    }
    if let Some(expires_s) = expires_s {
        writeln!(f, "  expires {expires_s}")?;
    }
    if let Some(SecondFactor { secret, since_s, recovery }) = second {
        writeln!(f, "  totp {} since={since_s}", secret.text())?;
        for code in recovery {
            writeln!(f, "  recovery {}", StoredHash::Keyed(code.clone()))?;
        }
    }
    Ok(())
}

fn write_password(f: &mut Formatter<'_>, password: &Password) -> Result {
    let Password { hash, origin, created_s, until_s, mark } = password;
    write!(f, "  password {hash} origin={}", origin.name())?;
    if *created_s > 0 {
        write!(f, " created={created_s}")?;
    }
    if let Some(until_s) = until_s {
        write!(f, " until={until_s}")?;
    }
    if let Some(mark) = mark {
        write!(f, " mark={:08x}.{:016x}", mark.key, mark.mark)?;
    }
    writeln!(f)
}
