//! `motte vault shred`: what a device left and what waits for it becomes noise.

use std::collections::BTreeSet;
use std::path::PathBuf;

use motte_disk::Directory;
use motte_disk::backup::copy_vault;
use motte_server::vault::{DEVICE_FACT, VAULT};
use motte_store::journal::Content;
use motte_store::{Batch, BlockCache, Journal, JournalError};
use serde_json::json;

use crate::cli::{KeptArgs, StepUpArgs};
use crate::verb::Fault;
use crate::verb::kept::{Kept, fault};
use crate::verb::vault::running::{self, Hold};

/// What was found of a device.
#[derive(Default)]
struct Found {
    removals: Batch,
    sessions: u64,
    retained: u64,
}

pub(super) fn run(
    (args, step_up): (&KeptArgs, &StepUpArgs),
    device: &str,
    yes: bool,
    copies: &[PathBuf],
) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let hold = Hold::of(&kept, args, step_up)?;
    if let Hold::Running { broker, .. } = &hold {
        return running::shred(broker, &kept, (device, yes), copies, args.json);
    }
    let ring = kept.keys()?;
    let (mut journal, _) = kept.journal(ring)?;
    let group = group_of(&journal, device)?;
    let found = of_device(&journal, device)?;
    if group.is_none() && found.removals.is_empty() {
        let what = format!("nothing is kept of `{device}`");
        return Err(Fault::with_remedy(what, "`motte store export` lists what is kept of whom"));
    }
    if !yes {
        let what = format!(
            "this destroys {} Sessions and {} Retained Messages of `{device}`, for good",
            found.sessions, found.retained
        );
        return Err(Fault::with_remedy(what, "add --yes"));
    }
    // First what needs its keys to be found; run again after a crash, the rest follows.
    journal.append([&found.removals]).map_err(fault)?;
    journal.sync().map_err(fault)?;
    let (keys, file) = destroy(&mut journal, group)?;
    if let Some(file) = &file {
        for vault in std::iter::once(&kept.state.join(VAULT)).chain(copies) {
            copy_vault(file, vault).map_err(fault)?;
        }
    }
    let mut forget = Batch::new();
    forget.remove_fact(&format!("{DEVICE_FACT}{device}"));
    journal.append([&forget]).map_err(fault)?;
    journal.rewrite_keys(&keys).map_err(fault)?;
    while journal.compact(u64::MAX).map_err(fault)?.freed_bytes > 0 {}
    journal.close().map_err(fault)?;
    let Found { sessions, retained, .. } = found;
    if args.json {
        let text =
            json!({ "device": device, "keys": keys.len(), "sessions": sessions, "retained": retained });
        println!("{text}");
        return Ok(());
    }
    println!(
        "destroyed {} keys of `{device}`, with {sessions} Sessions and {retained} Retained Messages",
        keys.len()
    );
    println!("backups beside a copy of the vault that was replaced now do not bring it back;");
    println!(
        "other copies of the vault from before still do, until the key that opens them is destroyed: docs/vault.md"
    );
    Ok(())
}

/// The group of a device's keys, if it has one.
fn group_of(journal: &Journal<Directory>, device: &str) -> Result<Option<u32>, Fault> {
    let fact = journal.fact(&format!("{DEVICE_FACT}{device}"), &mut BlockCache::new()).map_err(fault)?;
    Ok(fact
        .and_then(|value| value.as_slice().try_into().ok())
        .map(u32::from_le_bytes)
        .filter(|group| *group > 0))
}

/// The Sessions and Retained Messages of a device.
fn of_device(journal: &Journal<Directory>, device: &str) -> Result<Found, Fault> {
    let mut found = Found::default();
    let mut published = BTreeSet::new();
    let walked = journal.export::<JournalError>(|exported| {
        match exported.content {
            Content::Session(id, record) if record.principal.identity == device => {
                found.removals.remove_session(id);
                found.sessions += 1;
            }
            Content::Publication(id, message) if message.source.identity == device => {
                published.insert(id);
            }
            Content::Retained(topic, id) if published.contains(&id) => {
                found.removals.remove_retained(&topic);
                found.retained += 1;
            }
            _ => {}
        }
        Ok(())
    });
    walked.map_err(fault)?;
    Ok(found)
}

/// Destroys the keys of a group in the keyring; gives their numbers and the vault without them.
fn destroy(
    journal: &mut Journal<Directory>,
    group: Option<u32>,
) -> Result<(BTreeSet<u32>, Option<Vec<u8>>), Fault> {
    let Some(group) = group else { return Ok((BTreeSet::new(), None)) };
    let done = journal.with_keyring(|ring| {
        let numbers = ring.numbers_of(group).into_iter().collect();
        ring.shred(group);
        ring.encode().map(|file| (numbers, Some(file)))
    });
    done.unwrap_or(Ok((BTreeSet::new(), None))).map_err(fault)
}
