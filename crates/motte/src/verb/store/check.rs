//! `motte store check`: every segment is read and opened, and what is wrong is named with file and offset.

use std::path::Path;
use std::process::ExitCode;

use motte_disk::backup;
use motte_server::kept_file::check_files;
use motte_server::{files_of, vault};
use motte_store::journal::Recovery;
use serde_json::json;

use crate::cli::KeptArgs;
use crate::verb::Fault;
use crate::verb::kept::{Kept, Progress, fault, look};
use crate::verb::store::backup::vault_beside;

/// Small files with what is wrong with each.
type Files = [(&'static str, String)];

pub(crate) fn run(args: &KeptArgs, from: Option<&Path>, vault_of: Option<&Path>) -> Result<ExitCode, Fault> {
    let (place, recovery, files) = match from {
        Some(from) => {
            let mut progress = Progress::new("verifying");
            backup::verify(from, &mut |done, all| progress.tell(done, all)).map_err(fault)?;
            let kept = Kept::of(args)?;
            let (path, file) = vault_beside(from, vault_of)?;
            let keys = || vault::open_file(&file, &path, &kept.access()?).map(Some).map_err(fault);
            (from.to_owned(), look(from, keys)?.1, Vec::new())
        }
        None => {
            let kept = Kept::there(args)?;
            let (journal, recovery) = look(&kept.state, || kept.keys().map(Some))?;
            // After the journal: a file may be newer than it says.
            let files = check_files(&kept.state, &kept.keys()?, &files_of(&journal)).map_err(fault)?;
            (kept.state, recovery, files)
        }
    };
    if args.json {
        println!("{:#}", as_json(&place, &recovery, &files));
    } else {
        print(&place, &recovery, &files);
    }
    Ok(if recovery.is_whole() && files.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_json(place: &Path, recovery: &Recovery, files: &Files) -> serde_json::Value {
    let damages: Vec<_> = recovery
        .damages
        .iter()
        .map(|damage| {
            json!({ "file": damage.file, "offset": damage.offset, "bytes": damage.bytes, "what": damage.what })
        })
        .collect();
    let cut = recovery.cut.as_ref();
    json!({
        "state": place.display().to_string(),
        "whole": recovery.is_whole() && files.is_empty(),
        "files": files.iter().map(|(file, what)| json!({ "file": file, "what": what })).collect::<Vec<_>>(),
        "segments": recovery.segments,
        "bytes": recovery.bytes,
        "records": recovery.records,
        "damages": damages,
        "missing": recovery.missing,
        "stale": recovery.stale,
        "torn_end": cut.map(|cut| json!({ "file": cut.file, "offset": cut.offset, "bytes": cut.bytes })),
        "shredded_blocks": recovery.shredded_blocks,
        "without_message": recovery.without_message,
        "without_session": recovery.without_session,
    })
}

fn print(place: &Path, recovery: &Recovery, files: &Files) {
    let Recovery { segments, bytes, records, .. } = recovery;
    println!("{}: {segments} segments, {bytes} bytes, {records} records", place.display());
    for damage in &recovery.damages {
        let (from, to) = (damage.offset, u64::from(damage.offset) + u64::from(damage.bytes));
        println!("damaged  {} bytes {from} to {to}: {}", damage.file, damage.what);
    }
    for (file, what) in files {
        println!("damaged  {file}: {what}");
    }
    for file in &recovery.missing {
        println!("missing  {file}");
    }
    for file in &recovery.stale {
        println!("  {file} was compacted away; the next start removes it");
    }
    if let Some(cut) = &recovery.cut {
        println!(
            "  {} ends torn at byte {} ({} bytes): what was being written when the process ended, or is being written now",
            cut.file, cut.offset, cut.bytes
        );
    }
    if recovery.shredded_blocks > 0 {
        println!("  {} blocks were sealed with keys that were shredded", recovery.shredded_blocks);
    }
    if recovery.without_message > 0 {
        println!("  {} deliveries and Retained Messages have no message any more", recovery.without_message);
    }
    if recovery.without_session > 0 {
        println!("  {} deliveries are of Sessions whose facts are lost", recovery.without_session);
    }
    if recovery.is_whole() && files.is_empty() {
        println!("good");
    } else {
        println!("the rest can be read; look at the device, then restore a backup or let the loss be");
    }
}
