//! The vault of a running broker: what opens it, and work on its keys, one piece at a time in a thread of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use motte_event::{Event, vault};
use motte_roles::{CoreAnswer, VaultStatus, VaultWork, slots_said};

use super::Control;
use crate::store::Store;

/// Time for the disk to take what the end of Sessions makes it write.
const KEPT_WITHIN: Duration = Duration::from_secs(20);
/// Rest between two looks, and between two segments, in which others get at the journal.
const REST: Duration = Duration::from_millis(5);
/// Slots that are taken in one exchange: with the new key beside the old one, and without it.
const STEPS_MAX: u32 = 4;
/// Said while the broker ends, and where nothing is kept.
const NOTHING: &str = "nothing is kept here, or the broker stops";

impl Control {
    pub(super) fn vault(&self) -> CoreAnswer {
        let facts = self.store().and_then(|store| store.vault_facts());
        let work = self.facts().work.clone();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let vault = facts.map(|facts| VaultStatus {
            generation: facts.generation,
            opened_by: facts.opened_by,
            keys: number(facts.keys),
            shredded: number(facts.shredded),
            groups: number(facts.groups),
            work,
        });
        CoreAnswer::Vault { vault }
    }

    pub(super) fn rotate_data_keys(&self, keep_old: bool) -> CoreAnswer {
        self.begin("exchange the data keys", move |control| control.rotate(keep_old))
    }

    pub(super) fn shred(&self, device: String) -> CoreAnswer {
        let what = format!("shred {device}");
        self.begin(&what, move |control| control.shred_all_of(&device))
    }

    pub(super) fn vault_slots(&self, slots: &str, proof: &str) -> CoreAnswer {
        let Some(store) = self.store() else { return refused(NOTHING) };
        let (Some(slots), Some(proof)) = (bytes(slots), bytes(proof)) else {
            return refused("these are no slots of a vault");
        };
        // Whatever comes of it, nothing that was said of this number holds again.
        let Some((challenge, step)) = self.facts().challenge.take() else {
            return refused("no exchange of slots has begun, or it is over\n  remedy: run the verb again");
        };
        match store.set_slots(&slots, &slots_said(&challenge, step, &slots), &proof) {
            Ok(()) => {
                let next = step + 1;
                self.facts().challenge = Some((challenge, next)).filter(|_| next < STEPS_MAX);
                CoreAnswer::Done
            }
            Err(cause) => CoreAnswer::Refused { cause },
        }
    }

    /// Begins an exchange of slots, in place of one that may be under way.
    pub(super) fn begin_slots(&self) -> CoreAnswer {
        let mut challenge = [0; 32];
        if let Err(error) = getrandom::fill(&mut challenge) {
            return refused(&format!("the system has no random bytes: {error}"));
        }
        self.facts().challenge = Some((challenge, 0));
        let challenge = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
        CoreAnswer::VaultChallenge { challenge }
    }

    /// Begins a piece of work in a thread of its own, unless there is one under way.
    fn begin(
        &self,
        what: &str,
        run: impl FnOnce(&Self) -> Result<(String, Event), String> + Send + 'static,
    ) -> CoreAnswer {
        let mut facts = self.facts();
        let under_way = facts.work.as_ref().filter(|work| work.outcome.is_none());
        if let Some(work) = under_way {
            let cause =
                format!("there is work on the vault already: {}\n  remedy: wait until it is done", work.what);
            return CoreAnswer::Refused { cause };
        }
        let number = facts.work.as_ref().map_or(1, |work| work.number + 1);
        let (what, control) = (what.to_owned(), self.clone());
        let begun = VaultWork {
            number,
            what: what.clone(),
            done_bytes: 0,
            all_bytes: 0,
            outcome: None,
            failed: false,
        };
        facts.work = Some(begun);
        drop(facts);
        let thread = std::thread::Builder::new().name("motte-vault".into()).spawn(move || {
            let outcome = run(&control);
            let failed = outcome.is_err();
            let (outcome, event) = match outcome {
                Ok(done) => done,
                Err(cause) => (cause.clone(), vault::work_failed(&what, &cause)),
            };
            control.tell(event);
            if let Some(work) = &mut control.facts().work {
                (work.outcome, work.failed) = (Some(outcome), failed);
            }
        });
        match thread {
            Ok(_) => CoreAnswer::Done,
            Err(error) => {
                self.facts().work = None;
                refused(&format!("no thread for it: {error}"))
            }
        }
    }

    /// The store, unless the broker stops.
    fn store(&self) -> Option<Arc<Store>> {
        self.facts().store.upgrade()
    }

    /// Runs a step on the store, which nobody holds between two of them.
    fn step<T>(&self, run: impl FnOnce(&Store) -> Result<T, String>) -> Result<T, String> {
        run(&*self.store().ok_or_else(|| NOTHING.to_owned())?)
    }

    fn rotate(&self, keep_old: bool) -> Result<(String, Event), String> {
        let old = self.step(|store| store.rotate_keys(None))?;
        let bytes = self.rewrite(&old)?;
        if !keep_old {
            self.step(|store| store.forget_keys(&old))?;
        }
        let outcome = format!("exchanged {} data keys; wrote {bytes} bytes of segments again", old.len());
        Ok((outcome, vault::keys_rotated(old.len() as u64, bytes)))
    }

    /// Writes everything again that these keys sealed; gives the bytes of the segments.
    fn rewrite(&self, keys: &BTreeSet<u32>) -> Result<u64, String> {
        let all = self.step(|store| store.begin_rewrite(keys))?;
        let mut done = 0;
        loop {
            if let Some(work) = &mut self.facts().work {
                (work.done_bytes, work.all_bytes) = (done, all);
            }
            match self.step(|store| store.rewrite_next(keys))? {
                Some(bytes) => done += bytes,
                None => return Ok(done),
            }
            std::thread::park_timeout(REST);
        }
    }

    /// Ends what there is of a device and destroys the keys that sealed it. From the first step on, what is kept of it anew is
    /// sealed with another key, so that nothing is lost of a device that comes back meanwhile.
    fn shred_all_of(&self, device: &str) -> Result<(String, Event), String> {
        let group = self.step(|store| Ok(store.group_of(device)))?;
        if let Some(group) = group {
            self.step(|store| store.rotate_keys(Some(group)))?;
        }
        let of_device = device.to_owned();
        let ended = self.visit(move |worker| {
            let now = worker.world.now;
            let ended = worker.broker.forget(&of_device, now, &mut worker.world);
            (ended, worker.shard(), worker.broker.kept_mark())
        });
        let ended = ended.ok_or("the workers did not answer in time; ask again")?;
        self.until_kept(ended.iter().map(|(_, shard, mark)| (shard.0, *mark)).collect())?;
        // After what any worker had under way.
        let of_device = device.to_owned();
        let removed = self.visit(move |worker| {
            let is_first = worker.shard().0 == 0;
            let removed = if is_first { worker.broker.forget_retained(&of_device) } else { 0 };
            (removed, worker.shard(), worker.broker.kept_mark())
        });
        let removed = removed.ok_or("the workers did not answer in time; ask again")?;
        self.until_kept(removed.iter().map(|(_, shard, mark)| (shard.0, *mark)).collect())?;
        let sessions: usize = ended.iter().map(|(sessions, ..)| sessions).sum();
        let retained: usize = removed.iter().map(|(retained, ..)| retained).sum();
        let keys = match group {
            Some(group) => self.step(|store| store.shred_retired(group))?,
            None => BTreeSet::new(),
        };
        if keys.is_empty() && sessions == 0 && retained == 0 {
            let remedy = "`motte store export` lists what is kept of whom";
            return Err(format!("nothing is kept of `{device}`\n  remedy: {remedy}"));
        }
        self.rewrite(&keys)?;
        let outcome = format!(
            "destroyed {} keys of `{device}`, with {sessions} Sessions and {retained} Retained Messages",
            keys.len()
        );
        let event = vault::shredded(device, keys.len() as u64, sessions as u64, retained as u64);
        Ok((outcome, event))
    }

    /// Waits until everything before these marks, by shard, is on the disk.
    fn until_kept(&self, marks: Vec<(u16, u64)>) -> Result<(), String> {
        let (marks, until) = (Arc::new(marks), Instant::now() + KEPT_WITHIN);
        loop {
            let asked = Arc::clone(&marks);
            let kept = self.visit(move |worker| {
                let own = asked.iter().find(|(shard, _)| *shard == worker.shard().0);
                own.is_none_or(|(_, mark)| worker.broker.is_kept(*mark))
            });
            if kept.is_some_and(|kept| kept.into_iter().all(|kept| kept)) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(
                    "the disk does not take that the Sessions ended; ask again when it does".to_owned()
                );
            }
            std::thread::park_timeout(REST);
        }
    }
}

fn refused(cause: &str) -> CoreAnswer {
    CoreAnswer::Refused { cause: cause.to_owned() }
}

/// Bytes in hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}
