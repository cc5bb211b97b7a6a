//! Bits of the disk that change while the broker is off: that is told, of the file where it happened and of no other, and
//! what is lost was there; or nothing is missing.

use motte_broker::recover;
use motte_store::disk::{Disk, SimulatedDisk};
use motte_store::{Journal, Recovery};

use super::World;
use super::disk::OPTIONS;

/// Bits that change in a run, one at a time.
const BITS: usize = 3;
/// Bytes of the smallest record of something that can be lost: a delivery, a Session, a Retained Message.
const RECORD_BYTES: u64 = 13;

/// What is in a journal.
struct Held {
    recovery: Recovery,
    faults: usize,
    /// Sessions, Retained Messages and deliveries.
    counts: [u64; 3],
}

fn held(disk: &SimulatedDisk) -> Option<Held> {
    let (journal, recovery) = Journal::open(disk.killed(), None, OPTIONS).ok()?;
    let found = recover(&journal);
    let counts = [found.sessions.len() as u64, found.retained.len() as u64, found.deliveries];
    Some(Held { recovery, faults: found.faults.len(), counts })
}

impl World {
    /// Bits change, each in a copy of the disk.
    pub(super) fn rot(&mut self) -> Result<(), String> {
        let Some(journal) = self.journal.take() else { return Ok(()) };
        journal.close().map_err(|error| error.to_string())?;
        let whole = held(&self.disk).filter(|held| held.recovery.is_whole() && held.faults == 0);
        let Some(whole) = whole else { return Err("the journal is damaged at the end".into()) };
        let names = self.disk.names().map_err(|error| error.to_string())?;
        for _ in 0..BITS {
            let Some(name) = names.get(self.random.below(names.len())) else { return Ok(()) };
            let length = self.disk.bytes(name).map_or(0, |bytes| bytes.len());
            let (offset, mask) = (self.random.below(length), 1 << self.random.below(8));
            let rotten = self.disk.killed();
            if rotten.flip(name, offset, mask) {
                self.outcome.rotten += 1;
                look_at(&rotten, name, &whole)
                    .map_err(|what| format!("byte {offset} of {name} changed, and {what}"))?;
            }
        }
        Ok(())
    }
}

fn look_at(rotten: &SimulatedDisk, name: &str, whole: &Held) -> Result<(), String> {
    // A version that is not known is an error of its own.
    let Some(held) = held(rotten) else { return Ok(()) };
    let is_told = !held.recovery.is_whole() || held.faults > 0;
    if !is_told && held.counts != whole.counts {
        return Err("what it held is gone without a word".into());
    }
    let damages = &held.recovery.damages;
    if let Some(other) = damages.iter().find(|damage| damage.file != name) {
        return Err(format!("{} is said to be damaged: {}", other.file, other.what));
    }
    let bytes: u64 = damages.iter().map(|damage| u64::from(damage.bytes)).sum();
    let without = held.recovery.without_message + held.recovery.without_session + held.faults as u64;
    let lost: u64 =
        whole.counts.iter().zip(held.counts).map(|(whole, left)| whole.saturating_sub(left)).sum();
    if is_told && held.recovery.missing.is_empty() && lost > bytes / RECORD_BYTES + without {
        return Err(format!("{lost} things are lost with {bytes} bytes"));
    }
    Ok(())
}
