//! `motte store`: what a broker keeps, checked, measured, copied and moved.

mod backup;
mod check;
mod transfer;

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{KeptArgs, StoreAction, StoreArgs};
use crate::verb::Fault;
use crate::verb::kept::{Kept, fault, look};

/// Runs a verb; exit code 1 says that damage was found.
pub(crate) fn run(args: &StoreArgs) -> Result<ExitCode, Fault> {
    let done = match &args.action {
        StoreAction::Check { kept, backup, vault } => {
            return check::run(kept, backup.as_deref(), vault.as_deref());
        }
        StoreAction::Stats { kept } => stats(kept),
        StoreAction::Compact { kept } => compact(kept),
        StoreAction::Export { kept, plaintext_to } => transfer::export(kept, plaintext_to),
        StoreAction::Import { kept, from } => transfer::import(kept, from),
        StoreAction::Backup { kept, to } => backup::back_up(kept, to),
        StoreAction::Restore { kept, backup, vault } => backup::restore(kept, backup, vault.as_deref()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, to: u64) -> f64 {
    (of as f64 / to.max(1) as f64 * 100.0).round() / 100.0
}

fn stats(args: &KeptArgs) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let (journal, recovery) = look(&kept.state, || kept.keys().map(Some))?;
    let sizes = journal.statistics();
    let free = rustix::fs::statvfs(&kept.state).map(|fs| fs.f_bavail * fs.f_frsize).unwrap_or_default();
    let amplification = ratio(sizes.bytes, sizes.needed_bytes);
    if args.json {
        let text = json!({
            "state": kept.state.display().to_string(),
            "segments": sizes.segments,
            "bytes": sizes.bytes,
            "needed_bytes": sizes.needed_bytes,
            "space_amplification": amplification,
            "sessions": sizes.sessions,
            "deliveries": sizes.deliveries,
            "retained": sizes.retained,
            "records": recovery.records,
            "free_bytes": free,
            "whole": recovery.is_whole(),
        });
        println!("{text:#}");
        return Ok(());
    }
    println!("{}", kept.state.display());
    println!("  sessions    {:>14}", sizes.sessions);
    println!("  deliveries  {:>14}", sizes.deliveries);
    println!("  retained    {:>14}", sizes.retained);
    println!("  segments    {:>14}", sizes.segments);
    println!("  bytes       {:>14}   of these needed: {}", sizes.bytes, sizes.needed_bytes);
    println!("  on disk for a byte that is needed: {amplification}");
    println!("  free        {free:>14}");
    if !recovery.is_whole() {
        println!("  something is damaged: `motte store check` names it");
    }
    Ok(())
}

fn compact(args: &KeptArgs) -> Result<(), Fault> {
    let kept = Kept::there(args)?;
    let _lock = kept.lock()?;
    let (mut journal, _) = kept.journal(kept.keys()?)?;
    let before = journal.statistics().bytes;
    while journal.compact(u64::MAX).map_err(fault)?.freed_bytes > 0 {}
    let after = journal.statistics();
    journal.close().map_err(fault)?;
    let freed = before.saturating_sub(after.bytes);
    if args.json {
        println!("{}", json!({ "freed_bytes": freed, "bytes": after.bytes, "segments": after.segments }));
    } else {
        println!("freed {freed} bytes; {} are left in {} segments", after.bytes, after.segments);
    }
    Ok(())
}
