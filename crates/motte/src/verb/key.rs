//! `motte key`: private keys in files, encrypted unless it is said otherwise.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use motte_pki::{PemError, encrypted, new_key, private_key};
use motte_seal::SecretString;

use crate::cli::{KeyAction, KeyArgs};
use crate::state::write_atomic;
use crate::verb::Fault;
use crate::verb::connecting::{prompt, read, read_secret};

/// Shortest passphrase of a key, in characters: whoever has the file can guess without end.
const PASSPHRASE_MIN: usize = 15;

pub(crate) fn run(args: &KeyArgs) -> Result<(), Fault> {
    match &args.action {
        KeyAction::New { file, passphrase_file, plain, .. } => new(file, passphrase_file.as_deref(), *plain),
        KeyAction::Passwd { file, old_passphrase_file, passphrase_file } => {
            passwd(file, old_passphrase_file.as_deref(), passphrase_file.as_deref())
        }
        KeyAction::Check { file, passphrase_file } => check(file, passphrase_file.as_deref()),
    }
}

fn new(file: &Path, passphrase_file: Option<&Path>, is_plain: bool) -> Result<(), Fault> {
    if file.exists() {
        let what = format!("{} is there already, and a key is never overwritten", file.display());
        return Err(Fault::with_remedy(what, "choose another name, or move the old key away"));
    }
    let plain = new_key().map_err(|error| Fault::new(format!("cannot make a key: {error}")))?;
    let pem = if is_plain {
        plain
    } else {
        let key = private_key(plain.expose(), None).map_err(|error| about(file, &error))?;
        encrypted(&key, &chosen(passphrase_file)?).map_err(|error| about(file, &error))?
    };
    write_atomic(file, pem.expose().as_bytes(), 0o600)?;
    println!(
        "made {}: ECDSA P-256, {}",
        file.display(),
        if is_plain { "NOT encrypted" } else { "encrypted" }
    );
    println!("  next: openssl req -new -key {} -subj /CN=NAME -out request.pem", file.display());
    Ok(())
}

fn passwd(file: &Path, old: Option<&Path>, passphrase_file: Option<&Path>) -> Result<(), Fault> {
    let pem = SecretString::new(read(file)?);
    let old = opens(file, &pem, old, "--old-passphrase-file")?;
    let key = private_key(pem.expose(), old.as_ref()).map_err(|error| about(file, &error))?;
    let new = encrypted(&key, &chosen(passphrase_file)?).map_err(|error| about(file, &error))?;
    write_atomic(file, new.expose().as_bytes(), 0o600)?;
    println!("{} is encrypted under the new passphrase", file.display());
    println!("  copies and backups of the file from before still open with what they opened with");
    Ok(())
}

fn check(file: &Path, passphrase_file: Option<&Path>) -> Result<(), Fault> {
    let pem = SecretString::new(read(file)?);
    let is_encrypted = opens(file, &pem, passphrase_file, "--passphrase-file")?.is_some();
    println!("{}", file.display());
    println!("  encrypted  {}", if is_encrypted { "yes, and opens" } else { "no" });
    let data = std::fs::metadata(file)
        .map_err(|error| Fault::new(format!("cannot look at {}: {error}", file.display())))?;
    let mode = data.permissions().mode() & 0o777;
    println!("  mode       {mode:04o}, owner {}", data.uid());
    if mode & 0o077 != 0 {
        let what = format!("{} can be used by others than its owner: mode {mode:04o}", file.display());
        return Err(Fault::with_remedy(what, &format!("chmod 0600 {}", file.display())));
    }
    if !is_encrypted {
        let what = format!("{} is not encrypted: whoever copies the file has the key", file.display());
        return Err(Fault::with_remedy(what, &format!("motte key passwd {}", file.display())));
    }
    Ok(())
}

/// Opens the key, asking for its passphrase only if it has one; gives that.
fn opens(
    file: &Path,
    pem: &SecretString,
    from: Option<&Path>,
    option: &str,
) -> Result<Option<SecretString>, Fault> {
    match private_key(pem.expose(), None) {
        Ok(_) => Ok(None),
        Err(PemError::PassphraseMissing) => {
            let passphrase = match from {
                Some(path) => read_secret(path)?,
                None => prompt(&format!("passphrase of {}: ", file.display()), option)?,
            };
            private_key(pem.expose(), Some(&passphrase)).map_err(|error| about(file, &error))?;
            Ok(Some(passphrase))
        }
        Err(error) => Err(about(file, &error)),
    }
}

/// A new passphrase, from its file or asked for twice.
fn chosen(from: Option<&Path>) -> Result<SecretString, Fault> {
    let passphrase = match from {
        Some(path) => read_secret(path)?,
        None => {
            let first = prompt("new passphrase: ", "--passphrase-file")?;
            let again = prompt("once more: ", "--passphrase-file")?;
            if first.expose() != again.expose() {
                return Err(Fault::with_remedy("the passphrases differ", "type the same twice"));
            }
            first
        }
    };
    if passphrase.expose().chars().count() < PASSPHRASE_MIN {
        let what = format!("the passphrase has less than {PASSPHRASE_MIN} characters");
        return Err(Fault::with_remedy(what, "take a longer one: `motte passwd gen` makes one"));
    }
    Ok(passphrase)
}

fn about(file: &Path, error: &PemError) -> Fault {
    Fault::new(format!("{}: {error}", file.display()))
}
