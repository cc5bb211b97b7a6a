//! `motte vault`: the keys that seal what a broker keeps.

pub(crate) mod running;
mod shred;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use motte_disk::backup::{copy_vault, replace};
use motte_roles::{Passphrase, Passphrases, VaultKey, VaultKind, VaultSource, make_key_file};
use motte_seal::SecretString;
use motte_seal::keyring::{KekId, KeyEncryptionKey, KeySource, Keyring, Slot, Vault};
use motte_server::vault::{self, VAULT};
use serde_json::json;

use crate::cli::{KeptArgs, RecoveryAction, StepUpArgs, VaultAction, VaultArgs};
use crate::verb::Fault;
use crate::verb::connecting::prompt;
use crate::verb::kept::{Kept, fault};
use crate::verb::serve::{ask_passphrase, load};
use running::Hold;

pub(crate) fn run(args: &VaultArgs) -> Result<(), Fault> {
    match &args.action {
        VaultAction::Status { kept } => status(kept),
        VaultAction::RotateKek { kept, step_up, new_config } => {
            rotate_kek(kept, step_up, new_config.as_deref())
        }
        VaultAction::RotateDek { kept, step_up, keep_old } => rotate_dek(kept, step_up, *keep_old),
        VaultAction::Shred { kept, step_up, device, yes, copy } => {
            shred::run((kept, step_up), device, *yes, copy)
        }
        VaultAction::Recovery { kept, step_up, action } => recovery(kept, step_up, *action),
        VaultAction::Recover { kept, step_up } => recover(kept, step_up),
        VaultAction::Copy { kept, to } => copy(kept, to),
    }
}

fn status(args: &KeptArgs) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let (path, file) = (kept.state.join(VAULT), kept.vault_there()?);
    let vault = Vault::decode(&file).map_err(|error| fault(format!("{}: {error}", path.display())))?;
    let (keys, shredded) = vault.keys();
    let (generation, slots) = (vault.generation(), vault.slots().to_vec());
    let opens = kept.keys();
    if args.json {
        let slots: Vec<_> = slots
            .iter()
            .map(|slot| json!({ "id": slot.id.to_string(), "source": slot.source.to_string(), "label": slot.label }))
            .collect();
        let text = json!({
            "vault": path.display().to_string(),
            "generation": generation,
            "opened_by": slots,
            "keys": keys,
            "shredded": shredded,
            "groups": opens.as_ref().map(Keyring::groups).ok(),
            "configured_key_opens": opens.is_ok(),
            "fault": opens.as_ref().err().map(ToString::to_string),
        });
        println!("{text:#}");
    } else {
        println!("{}: written {generation} times", path.display());
        for slot in &slots {
            println!("  opened by {}", slot.describe());
        }
        if slots.iter().all(|slot| slot.source != KeySource::Recovery) {
            println!("  no recovery key: `motte vault recovery new` makes one");
        }
        println!("  {keys} data keys, {shredded} shredded");
        match &opens {
            Ok(ring) => println!("  the configured key opens it; {} groups have a key", ring.groups()),
            Err(fault) => println!("  the configured key does not open it:\n{fault}"),
        }
    }
    opens.map(|_| ()).map_err(|_| Fault::told())
}

/// Removes all slots but these.
fn keep_only(ring: &mut Keyring, is_kept: impl Fn(&Slot) -> bool) -> Result<(), Fault> {
    let gone: Vec<KekId> = ring.slots().iter().filter(|slot| !is_kept(slot)).map(|slot| slot.id).collect();
    gone.into_iter().try_for_each(|id| ring.remove_slot(id)).map_err(fault)
}

fn rotate_kek(args: &KeptArgs, step_up: &StepUpArgs, new_config: Option<&Path>) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let hold = Hold::of(&kept, args, step_up)?;
    let mut ring = kept.keys()?;
    let file = kept.config.store_key_file();
    let (made, in_place) = match (new_config, &file) {
        (None, Some(file)) => (new_file(file)?, Some(file)),
        (None, None) => {
            let what = "the key of this vault is in no file that could be given a new content";
            let remedy =
                "write a configuration whose [store.key] names the new key, and name it with --new-config";
            return Err(Fault::with_remedy(what, remedy));
        }
        (Some(config), _) => (configured(config)?, None),
    };
    let slot = slot_of(&made, &ring, in_place.map(AsRef::as_ref))?;
    let id = slot.id;
    // Both open it until the new one is where it is looked for.
    ring.put_slot(slot).map_err(fault)?;
    hold.write(&kept, &mut ring)?;
    if let Some(file) = in_place {
        // The old key is overwritten, for it opens every older copy of the vault.
        replace(&beside(file), file).map_err(fault)?;
    }
    keep_only(&mut ring, |slot| slot.id == id || slot.source == KeySource::Recovery)?;
    hold.write(&kept, &mut ring)?;
    let described = ring.slots().iter().find(|slot| slot.id == id).map(Slot::describe).unwrap_or_default();
    if args.json {
        println!("{}", json!({ "opened_by": described }));
        return Ok(());
    }
    println!("the vault is opened by {described} now, and by the former key no more");
    println!(
        "copies of the vault from before still open with the former key: replace them with `motte vault copy`"
    );
    Ok(())
}

/// Where a new key file is until it takes the old one's place.
fn beside(file: &Path) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// A new key, in a file beside the old one.
fn new_file(file: &Path) -> Result<VaultKey, Fault> {
    let next = beside(file);
    // Of a rotation that was cut short; nothing was sealed with it alone.
    let _ = std::fs::remove_file(&next);
    make_key_file(&next).map_err(|error| {
        let what = format!("cannot make {}: {error}", next.display());
        Fault::with_remedy(what, "run this as the user that may write there")
    })?;
    VaultKey::read(&VaultSource::file(next), None).map_err(Fault::new)
}

/// The key that a configuration names; a key file is made if it is not there.
fn configured(config: &Path) -> Result<VaultKey, Fault> {
    let config = load(config)?;
    if let Some(file) = config.store_key_file().filter(|file| !file.exists()) {
        make_key_file(&file).map_err(|error| fault(format!("cannot make {}: {error}", file.display())))?;
    }
    let source = Passphrases::new(Some(ask_passphrase())).vault(&config).map_err(Fault::new)?;
    let source =
        source.ok_or_else(|| Fault::new("this configuration has no state directory and names no key"))?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    VaultKey::read(&source, credentials.as_deref()).map_err(Fault::new)
}

/// The slot of a key; `path` is its label where the file will have another name.
fn slot_of(key: &VaultKey, ring: &Keyring, path: Option<&Path>) -> Result<Slot, Fault> {
    let slots = key.wrap(ring.master()).map_err(Fault::new)?;
    let mut slot = slots.into_iter().next().ok_or_else(|| Fault::new("the key made no slot"))?;
    if let Some(path) = path {
        slot.label = path.display().to_string().chars().take(60).collect();
    }
    Ok(slot)
}

fn rotate_dek(args: &KeptArgs, step_up: &StepUpArgs, keep_old: bool) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let hold = Hold::of(&kept, args, step_up)?;
    if let Hold::Running { broker, .. } = &hold {
        return running::rotate_dek(broker, keep_old, args.json);
    }
    let mut ring = kept.keys()?;
    let groups: Vec<u32> = ring.group_numbers().collect();
    for group in groups {
        ring.rotate_dek(group).map_err(fault)?;
    }
    let old: BTreeSet<u32> = ring.retired().collect();
    // The new keys are in the vault before anything is sealed with them.
    hold.write(&kept, &mut ring)?;
    let (mut journal, _) = kept.journal(ring)?;
    let done = journal.rewrite_keys(&old).map_err(fault)?;
    if !keep_old {
        let file = journal.with_keyring(|ring| {
            for number in &old {
                ring.forget(*number);
            }
            ring.encode()
        });
        if let Some(file) = file {
            copy_vault(&file.map_err(fault)?, &kept.state.join(VAULT)).map_err(fault)?;
        }
    }
    journal.close().map_err(fault)?;
    if args.json {
        println!(
            "{}",
            json!({ "exchanged": old.len(), "rewritten_bytes": done.copied_bytes, "kept_old": keep_old })
        );
        return Ok(());
    }
    println!("exchanged the data keys; wrote {} bytes again", done.copied_bytes);
    if keep_old {
        println!("the vault still opens what the {} former keys sealed", old.len());
    } else {
        println!(
            "the former keys are gone: backups from before are opened by their own copy of the vault only"
        );
    }
    Ok(())
}

fn recovery(args: &KeptArgs, step_up: &StepUpArgs, action: RecoveryAction) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let hold = Hold::of(&kept, args, step_up)?;
    let mut ring = kept.keys()?;
    let is_new = matches!(action, RecoveryAction::New);
    let (key, text) = KeyEncryptionKey::recovery().map_err(fault)?;
    if is_new {
        ring.put_slot(Slot::wrap(&key, "", ring.master()).map_err(fault)?).map_err(fault)?;
    }
    keep_only(&mut ring, |slot| slot.source != KeySource::Recovery || is_new && slot.id == key.id())?;
    hold.write(&kept, &mut ring)?;
    match (is_new, args.json) {
        (true, true) => println!("{}", json!({ "recovery_key": text.expose(), "id": key.id().to_string() })),
        (true, false) => {
            println!("recovery key {}, shown only now:\n\n    {}\n", key.id(), text.expose());
            println!(
                "write it down and keep it away from this machine; a former one opens older copies only"
            );
        }
        (false, true) => println!("{}", json!({ "recovery_key": null })),
        (false, false) => println!("no recovery key opens the vault any more"),
    }
    Ok(())
}

fn recover(args: &KeptArgs, step_up: &StepUpArgs) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let hold = Hold::of(&kept, args, step_up)?;
    let path = kept.state.join(VAULT);
    let file = kept.vault_there()?;
    let ring = if args.recovery_file.is_some() {
        kept.keys()
    } else {
        let text: SecretString = prompt("recovery key: ", "--recovery-file")?;
        let source = VaultSource { kind: VaultKind::Recovery, secret: Passphrase::Known(Arc::new(text)) };
        let key = VaultKey::read(&source, None).map_err(Fault::new)?;
        vault::open_file(&file, &path, &vault::VaultAccess::Here(key)).map_err(fault)
    };
    let mut ring = ring?;
    let key_file = kept.config.store_key_file();
    if let Some(file) = key_file.as_ref().filter(|file| !file.exists()) {
        make_key_file(file).map_err(|error| fault(format!("cannot make {}: {error}", file.display())))?;
    }
    let source = Passphrases::new(Some(ask_passphrase())).vault(&kept.config).map_err(Fault::new)?;
    let source = source.ok_or_else(|| Fault::new("nothing says where the key of the vault is"))?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let key = VaultKey::read(&source, credentials.as_deref()).map_err(Fault::new)?;
    let slot = slot_of(&key, &ring, None)?;
    let id = slot.id;
    ring.put_slot(slot).map_err(fault)?;
    keep_only(&mut ring, |slot| slot.id == id || slot.source == KeySource::Recovery)?;
    hold.write(&kept, &mut ring)?;
    let described = ring.slots().iter().find(|slot| slot.id == id).map(Slot::describe).unwrap_or_default();
    if args.json {
        println!("{}", json!({ "opened_by": described }));
    } else {
        println!("the vault is opened by {described} now; the recovery key still opens it");
        println!(
            "whoever saw the recovery key while it was typed: `motte vault recovery new` makes another one"
        );
    }
    Ok(())
}

fn copy(args: &KeptArgs, to: &Path) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let file = kept.vault_there()?;
    Vault::decode(&file).map_err(fault)?;
    copy_vault(&file, to).map_err(fault)?;
    if args.json {
        println!("{}", json!({ "copy": to.display().to_string() }));
    } else {
        println!("{} is a copy of the vault as it is now", to.display());
    }
    Ok(())
}
