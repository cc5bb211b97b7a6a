//! Key files: read, opened, and refused with the file's name and the remedy.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_seal::SecretString;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SigningKey;

use crate::key::{PASSPHRASE_BYTES_MAX, Passphrase, Source};
use crate::token::{SCHEME, token_key};

/// Files larger than this are not what they are said to be.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The key of a source, ready to sign; `credentials` is the directory that systemd gave, if it did.
///
/// # Errors
/// What is wrong, with the file or token and the remedy.
pub fn read_key(source: &Source, credentials: Option<&Path>) -> Result<Arc<dyn SigningKey>, String> {
    let path = &source.path;
    if let Some(token) = path.to_str().filter(|text| text.starts_with(SCHEME)) {
        return token_key(token, passphrase(source, credentials)?.as_deref());
    }
    if let Some(fault) = key_file_fault(path) {
        return Err(fault);
    }
    let pem = SecretString::new(read_text(path, "key file")?);
    let passphrase = passphrase(source, credentials)?;
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let der = motte_pki::private_key(pem.expose(), passphrase.as_deref()).map_err(|error| fault(&error))?;
    aws_lc_rs::sign::any_supported_type(&der).map_err(|error| fault(&error))
}

fn passphrase(source: &Source, credentials: Option<&Path>) -> Result<Option<Arc<SecretString>>, String> {
    match &source.passphrase {
        Passphrase::None => Ok(None),
        Passphrase::Known(known) => Ok(Some(Arc::clone(known))),
        Passphrase::Credential(name) => passphrase_from(&credential(name, credentials)?).map(Some),
        Passphrase::File(file) => match key_file_fault(file) {
            Some(fault) => Err(fault),
            None => passphrase_from(file).map(Some),
        },
    }
}

/// What is wrong with a key file's permissions, with the command that mends it; `None`: nothing.
pub fn key_file_fault(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("{path} can be read by others (mode {mode:04o})\n  remedy: chmod 600 {path}")
    })
}

/// What is wrong with the permissions of a file whose readers learn secrets, and whose writers decide who comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFault {
    /// Others than its owner can change it.
    Writable(String),
    /// Others can read it, or somebody else owns it.
    Readable(String),
}

/// What is wrong with a password file's permissions, with the command that mends it; `None`: nothing. A group may read it: that
/// is how root keeps the file and the broker reads it. `own` is the user of this process.
pub fn password_file_fault(file: &File, path: &Path, own: u32) -> Option<FileFault> {
    let facts = file.metadata().ok()?;
    let (mode, path) = (facts.mode() & 0o777, path.display());
    let told = |what: &str, remedy: &str| format!("{path} {what} (mode {mode:04o})\n  remedy: {remedy}");
    if mode & 0o022 != 0 {
        let what = "can be changed by others, who could let themselves in";
        return Some(FileFault::Writable(told(what, &format!("chmod go-w {path}"))));
    }
    if facts.uid() != 0 && facts.uid() != own {
        let what = "belongs to another user, who could let himself in";
        return Some(FileFault::Readable(told(what, &format!("chown root {path}"))));
    }
    let what = "can be read by others, who could guess its passwords and make its codes";
    (mode & 0o007 != 0).then(|| FileFault::Readable(told(what, &format!("chmod o= {path}"))))
}

/// The text of a file, within bounds; `what` it is, for people.
///
/// # Errors
/// What is wrong, with the file and the remedy.
pub fn read_text(path: &Path, what: &str) -> Result<String, String> {
    read_open(File::open(path), path, what)
}

/// As [`read_text`], of a file that somebody else has opened, or has not.
///
/// # Errors
/// What the system said, and what to do.
pub fn read_open(opened: io::Result<File>, path: &Path, what: &str) -> Result<String, String> {
    let read = || -> io::Result<String> {
        let mut file = opened?;
        let length = file.metadata()?.len();
        if length > FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "{length} bytes are more than this file can sensibly have"
            )));
        }
        let mut text = String::new();
        // What grows while it is read is no file of a configuration.
        file.by_ref().take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "create it, or correct the path in the configuration",
            io::ErrorKind::PermissionDenied => "let the user that runs motte read it",
            io::ErrorKind::InvalidData => "it must be UTF-8 text",
            _ => "see what the system says",
        };
        format!("cannot read the {what} {}: {error}\n  remedy: {remedy}", path.display())
    })
}

/// Where systemd puts a credential. The environment names the directory; the secret itself is never in it.
pub(crate) fn credential(name: &str, directory: Option<&Path>) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!(
            "`{name}` is not the name of a systemd credential\n  remedy: write the name given in LoadCredential="
        ));
    }
    let directory = directory.ok_or_else(|| {
        format!("systemd gave no credentials, and the configuration names the credential `{name}`\n  remedy: add LoadCredentialEncrypted={name}:… to the unit")
    })?;
    Ok(directory.join(name))
}

/// The passphrase in a file, without its line end.
pub(crate) fn passphrase_from(path: &Path) -> Result<Arc<SecretString>, String> {
    let fault = |error: io::Error| format!("cannot read the passphrase from {}: {error}", path.display());
    let mut text = String::new();
    let most = u64::try_from(PASSPHRASE_BYTES_MAX).unwrap_or(u64::MAX);
    File::open(path).map_err(fault)?.take(most).read_to_string(&mut text).map_err(fault)?;
    // The copy with the line end is a secret as well and is wiped with its wrapper.
    let whole = SecretString::new(text);
    Ok(Arc::new(SecretString::new(whole.expose().trim_end_matches(['\r', '\n']).to_owned())))
}
