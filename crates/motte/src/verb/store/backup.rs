//! `motte store backup` and `restore`.
//!
//! A backup holds no keys. They are in the one copy of the vault beside all backups, which each backup replaces: what is
//! shredded later is gone from there as well, and no backup brings it back.

use std::path::{Path, PathBuf};

use motte_disk::backup::{self, Manifest};
use motte_seal::keyring::Keyring;
use motte_server::kept_file::FILE_FACT;
use motte_server::vault::{self, VAULT};
use motte_store::Batch;
use serde_json::json;

use crate::cli::KeptArgs;
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::kept::{Kept, Progress, fault, look};

pub(crate) fn back_up(args: &KeptArgs, to: &Path) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let place = to.join(format!("motte-{now}"));
    let mut progress = Progress::new("copying");
    let manifest = backup::back_up(&kept.state, &place, now_s(), &mut |done, all| progress.tell(done, all));
    let manifest = manifest.map_err(fault)?;
    // After the segments: every key that they use is in it by now.
    let vault_copy = to.join(VAULT);
    backup::copy_vault(&kept.vault_there()?, &vault_copy).map_err(fault)?;
    let mut progress = Progress::new("verifying");
    backup::verify(&place, &mut |done, all| progress.tell(done, all)).map_err(fault)?;
    tell(args, &place, &manifest, &vault_copy);
    if !args.json {
        println!("its key is not in it: keep the key file or the recovery key elsewhere");
    }
    Ok(())
}

fn tell(args: &KeptArgs, place: &Path, manifest: &Manifest, vault: &Path) {
    let (files, bytes) = (manifest.files.len(), manifest.bytes());
    let (place, vault) = (place.display().to_string(), vault.display().to_string());
    if args.json {
        println!("{}", json!({ "place": place, "files": files, "bytes": bytes, "vault": vault }));
    } else {
        println!("{place}: {files} files, {bytes} bytes, verified; opened by {vault}");
    }
}

/// The vault that opens a backup: the one named, or the one beside it.
pub(crate) fn vault_beside(from: &Path, named: Option<&Path>) -> Result<(PathBuf, Vec<u8>), Fault> {
    let real = from.canonicalize().unwrap_or_else(|_| from.to_owned());
    let beside = real.parent().unwrap_or(Path::new(".")).join(VAULT);
    let path = named.map_or(beside, Path::to_owned);
    let file = std::fs::read(&path).map_err(|error| {
        let what = format!("cannot read the vault {}: {error}", path.display());
        Fault::with_remedy(what, "name the newest copy of the vault with --vault")
    })?;
    Ok((path, file))
}

/// A backup holds the journal alone: what that says of files beside it is not so where it is restored.
fn forget_files(kept: &Kept, keys: Keyring) -> Result<(), Fault> {
    let (mut journal, _) = kept.journal(keys)?;
    let mut gone = Batch::new();
    journal.fact_names().filter(|name| name.starts_with(FILE_FACT)).for_each(|name| gone.remove_fact(name));
    if !gone.is_empty() {
        journal.append([&gone]).map_err(fault)?;
    }
    journal.close().map(|_| ()).map_err(fault)
}

pub(crate) fn restore(args: &KeptArgs, from: &Path, vault_of: Option<&Path>) -> Result<(), Fault> {
    let kept = Kept::of(args)?;
    let (path, file) = vault_beside(from, vault_of)?;
    // Before anything is written: without its key a backup is of no use.
    let access = kept.access()?;
    vault::open_file(&file, &path, &access).map_err(fault)?;
    let mut progress = Progress::new("restoring");
    let manifest = backup::restore(from, &kept.state, &mut |done, all| progress.tell(done, all));
    let manifest = manifest.map_err(fault)?;
    let vault_file = kept.state.join(VAULT);
    backup::copy_vault(&file, &vault_file).map_err(fault)?;
    let keys = || vault::open_file(&file, &vault_file, &access).map(Some).map_err(fault);
    let (_, recovery) = look(&kept.state, keys)?;
    if !recovery.is_whole() {
        let what = format!("{} was restored and is damaged", kept.state.display());
        return Err(Fault::with_remedy(what, "`motte store check` names what; use another backup"));
    }
    forget_files(&kept, vault::open_file(&file, &vault_file, &access).map_err(fault)?)?;
    tell(args, &kept.state, &manifest, &vault_file);
    Ok(())
}
