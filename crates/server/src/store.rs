//! The journal in the running process: opened and read at the start, committed to by one thread for all workers, read by
//! each worker when a Session takes what waits for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use motte_access::Principal;
use motte_broker::{
    CommitResult, LoadRequest, Loaded, Numbers, Recovered, ShardId, adopt_snapshot, note_homes, recover,
};
use motte_config::Config;
use motte_disk::{Committed, Committer, CommitterBounds, Completion, Directory, Lane, Submission};
use motte_event::{Event, keep};
use motte_seal::keyring::Keyring;
use motte_store::{
    Batch, BlockCache, Delivery, Journal, JournalError, JournalOptions, PublicationRecord, SessionId,
};

use crate::inbox::{Inbox, Letter};
use crate::kept_file::FILE_FACT;
use crate::state::StateDirectory;
use crate::vault::{self, DEVICE_FACT};

/// Bits of a tag below those of its shard.
const TAG_BITS: u32 = 48;
/// Keys that are made at once for devices that will come, so that none waits for the vault to be written.
const SPARE_GROUPS: u32 = 1_024;

/// A journal that was opened and read.
pub(crate) struct OpenedStore {
    journal: Journal<Directory>,
    path: PathBuf,
    devices: Devices,
    /// What is in it for the shards.
    pub(crate) recovered: Recovered,
    /// Where numbers go on.
    pub(crate) numbers: Arc<Numbers>,
    /// What is worth telling.
    pub(crate) events: Vec<Event>,
}

/// Groups of keys by device.
#[derive(Debug, Default)]
struct Devices {
    known: HashMap<Arc<str>, u32>,
    /// Groups with a key and without a device.
    spare: Vec<u32>,
    /// When keys could not be made last, because the vault was not written.
    failed: Option<Instant>,
}

/// After this time it is tried again to make keys that could not be made.
const SPARE_AGAIN: Duration = Duration::from_secs(10);

/// What keeps the journal from being used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct StoreFault {
    /// The state directory.
    path: PathBuf,
    /// Why.
    cause: Box<JournalError>,
}

impl OpenedStore {
    /// Opens the journal of a state directory with the keys of its vault, and reads it. A snapshot of an earlier version is
    /// taken into it first.
    pub(crate) fn open(
        config: &Config,
        state: &StateDirectory,
        keyring: Keyring,
    ) -> Result<Self, crate::StartError> {
        let path = state.path().to_owned();
        let fault = |cause: JournalError| StoreFault { path: path.clone(), cause: Box::new(cause) };
        let begin = std::time::Instant::now();
        let directory = Directory::open(&path).map_err(|cause| fault(cause.into()))?;
        let opened = Journal::open(directory, Some(keyring), JournalOptions::default());
        let (mut journal, recovery) = opened.map_err(fault)?;
        let numbers = Numbers::after(&journal);
        let mut events = damages(&recovery);
        if let Some(snapshot) = state.load()? {
            adopt_snapshot(&snapshot, &mut journal, &numbers).map_err(fault)?;
            state.forget_snapshot()?;
            let (sessions, retained) = (snapshot.sessions.len() as u64, snapshot.retained.len() as u64);
            events.push(keep::snapshot_loaded(sessions, retained, &state.snapshot().display().to_string()));
        }
        let recovered = recover(&journal);
        let devices = devices(&mut journal);
        let file = path.display().to_string();
        events.extend(recovered.faults.iter().map(|what| keep::store_damaged(&file, what)));
        events.push(keep::store_opened(
            recovered.sessions.len() as u64,
            recovered.deliveries,
            recovered.retained.len() as u64,
            config.durability().name(),
            u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        ));
        Ok(Self { journal, path, devices, recovered, numbers, events })
    }

    /// The key by which identifiers are spread over this many shards: that of the last run, if there is one.
    pub(crate) fn home_key(&mut self, fresh: [u64; 2], shards: u16) -> Result<[u64; 2], StoreFault> {
        let known = self.recovered.homes;
        let key = known.map_or(fresh, |(key, _)| key);
        if known != Some((key, shards)) {
            let noted = note_homes(&mut self.journal, key, shards);
            noted.map_err(|cause| StoreFault { path: self.path.clone(), cause: Box::new(cause) })?;
        }
        Ok(key)
    }

    /// Which writing of each small file of the state directory is the last one.
    pub(crate) fn files(&self) -> BTreeMap<String, u64> {
        files_of(&self.journal)
    }

    /// Starts the thread that commits.
    pub(crate) fn start(self, inboxes: Arc<[Inbox]>) -> std::io::Result<Store> {
        let done = move |completion| tell(completion, &inboxes);
        let committer = Committer::start(self.journal, CommitterBounds::default(), done)?;
        let store = Store { committer, path: self.path, devices: Mutex::new(self.devices) };
        store.make_spare();
        Ok(store)
    }
}

/// Which writing of each small file of a state directory its journal knows of.
pub fn files_of(journal: &Journal<Directory>) -> BTreeMap<String, u64> {
    let mut cache = BlockCache::new();
    let number = |name: &str| {
        let value = journal.fact(name, &mut cache).ok().flatten()?;
        let file = name.strip_prefix(FILE_FACT)?;
        Some((file.to_owned(), u64::from_le_bytes(*value.first_chunk()?)))
    };
    journal.fact_names().filter(|name| name.starts_with(FILE_FACT)).filter_map(number).collect()
}

fn damages(recovery: &motte_store::Recovery) -> Vec<Event> {
    let damaged = recovery.damages.iter().map(|damage| {
        let what = format!("{} bytes at byte {}: {}", damage.bytes, damage.offset, damage.what);
        keep::store_damaged(&damage.file, &what)
    });
    damaged.chain(recovery.missing.iter().map(|file| keep::store_damaged(file, "it is missing"))).collect()
}

/// The devices that have a group of keys, and the groups that wait for one.
fn devices(journal: &mut Journal<Directory>) -> Devices {
    let mut devices = Devices::default();
    let mut cache = BlockCache::new();
    let names: Vec<String> = journal.fact_names().map(str::to_owned).collect();
    for name in names {
        let Some(device) = name.strip_prefix(DEVICE_FACT) else { continue };
        let value = journal.fact(&name, &mut cache).ok().flatten();
        if let Some(group) = value.as_deref().and_then(|value| value.first_chunk()) {
            devices.known.insert(Arc::from(device), u32::from_le_bytes(*group));
        }
    }
    let mut taken: HashSet<u32> = devices.known.values().copied().collect();
    let keys = journal.keys_in_use();
    let groups = journal.with_keyring(|ring| {
        // The fact that says whose it is may not have reached the disk with what its key sealed: nobody else gets it.
        taken.extend(keys.iter().filter_map(|key| ring.group(*key)));
        ring.group_numbers().collect::<Vec<u32>>()
    });
    let groups = groups.unwrap_or_default();
    devices.known.retain(|_, group| groups.contains(group));
    devices.spare = groups.into_iter().filter(|group| *group != 0 && !taken.contains(group)).collect();
    devices
}

/// Tells a worker what became of its batch.
fn tell(completion: Completion, inboxes: &[Inbox]) {
    let Completion { tag, result, batch } = completion;
    let shard = usize::try_from(tag >> TAG_BITS).unwrap_or(0);
    let result = match result {
        Committed::Durable(_) => CommitResult::Durable,
        Committed::Refused(error) => {
            CommitResult::Refused { batch: batch.unwrap_or_default(), cause: error.to_string() }
        }
        Committed::InDoubt(error) => CommitResult::InDoubt { cause: error.to_string() },
    };
    if let Some(inbox) = inboxes.get(shard) {
        inbox.put(Letter::Committed { tag: tag & ((1 << TAG_BITS) - 1), result });
    }
}

/// The journal while the workers run.
#[derive(Debug)]
pub(crate) struct Store {
    committer: Committer<Directory>,
    path: PathBuf,
    devices: Mutex<Devices>,
}

impl Store {
    /// Hands a shard's batch over.
    pub(crate) fn submit(
        &self,
        shard: ShardId,
        refusals_heard: u64,
        (tag, batch, is_synced): (u64, Batch, bool),
    ) -> Result<Batch, Batch> {
        let lane = Lane { number: shard.0, refusals_heard };
        match self.committer.submit(lane, u64::from(shard.0) << TAG_BITS | tag, batch, is_synced) {
            Submission::Taken(empty) => Ok(empty),
            Submission::Full(batch) => Err(batch),
        }
    }

    /// Reads deliveries of a Session.
    pub(crate) fn load(&self, request: LoadRequest, cache: &mut BlockCache) -> Vec<Loaded> {
        let LoadRequest { number, from, max, .. } = request;
        let found = self.committer.with_journal(|journal| {
            let deliveries = journal.deliveries(SessionId(number), from, max).unwrap_or_default();
            let place = |delivery: &Delivery| delivery.publication.and_then(|id| journal.locate(id));
            deliveries.into_iter().map(|delivery| (place(&delivery), delivery)).collect::<Vec<_>>()
        });
        let mut last: Option<(motte_store::PublicationId, Arc<PublicationRecord>)> = None;
        let read = found.unwrap_or_default().into_iter().map(|(place, delivery)| {
            let known = last.as_ref().filter(|(id, _)| Some(*id) == delivery.publication);
            let message = match known {
                Some((_, message)) => Some(Arc::clone(message)),
                None => place.and_then(|place| place.publication(cache).ok()).map(Arc::new),
            };
            last = delivery.publication.zip(message.clone());
            Loaded { delivery, message }
        });
        read.collect()
    }

    /// The thread that commits, for those who work on the keys.
    pub(crate) fn committer(&self) -> &Committer<Directory> {
        &self.committer
    }

    /// The state directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The group of keys of a device, if it has one.
    pub(crate) fn group_of(&self, device: &str) -> Option<u32> {
        self.devices().known.get(device).copied()
    }

    /// Notes which writing of a small file is the last one. It is on disk with what is committed next, or within a second.
    pub(crate) fn note_file(&self, name: &str, number: u64) {
        let mut facts = Batch::new();
        facts.put_fact(&format!("{FILE_FACT}{name}"), &number.to_le_bytes());
        // Refused: then an older copy of this file is known one writing later.
        let _ = self.committer.with_journal(|journal| journal.append([&facts]));
    }

    /// The group of keys of whoever this is, with the fact that says so if it is new; group 0 for those who have proved no
    /// identity of their own.
    pub(crate) fn group(&self, principal: &Principal, facts: &mut Batch) -> u32 {
        let Principal::Client(client) = principal else { return 0 };
        if client.methods.has(motte_access::Methods::ANONYMOUS) {
            return 0;
        }
        let mut devices = self.devices();
        if let Some(group) = devices.known.get(&client.identity) {
            return *group;
        }
        let Some(group) = devices.spare.pop() else {
            let is_due = devices.failed.is_none_or(|failed| failed.elapsed() >= SPARE_AGAIN);
            drop(devices);
            if is_due {
                self.make_spare();
            }
            let is_empty = self.devices().spare.is_empty();
            return if is_empty { 0 } else { self.group(principal, facts) };
        };
        devices.known.insert(Arc::clone(&client.identity), group);
        let is_short = devices.spare.len() < SPARE_GROUPS as usize / 4;
        drop(devices);
        facts.put_fact(&format!("{DEVICE_FACT}{}", client.identity), &group.to_le_bytes());
        if is_short {
            self.make_spare();
        }
        group
    }

    /// Makes keys for devices that will come, and writes the vault.
    fn make_spare(&self) {
        let missing =
            SPARE_GROUPS.saturating_sub(u32::try_from(self.devices().spare.len()).unwrap_or(u32::MAX));
        if missing < SPARE_GROUPS / 2 {
            return;
        }
        let path = &self.path;
        let made = self.committer.with_journal(|journal| {
            journal.with_keyring(|ring| add_groups(ring, missing, path)).unwrap_or_default()
        });
        let made = made.unwrap_or_default();
        let mut devices = self.devices();
        devices.failed = made.is_empty().then(Instant::now);
        devices.spare.extend(made);
    }

    fn devices(&self) -> std::sync::MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what waits and ends the journal, so that the next start knows that nothing is missing.
    pub(crate) fn stop(self) -> Result<(), JournalError> {
        match self.committer.stop() {
            Some(journal) => journal.close().map(|_| ()),
            None => Ok(()),
        }
    }
}

/// New groups that are in the vault on disk; none if it could not be written: what would be sealed with them is sealed with
/// the common key.
fn add_groups(ring: &mut Keyring, count: u32, path: &Path) -> Vec<u32> {
    // Behind those that were shredded, too, of which a fact may still speak.
    let first = ring.last_group().saturating_add(1);
    let groups = first..first.saturating_add(count);
    let made: Vec<(u32, u32)> =
        groups.map_while(|group| ring.add_group(group).ok().map(|key| (group, key))).collect();
    let written = Directory::open(path)
        .map_err(vault::VaultFault::from)
        .and_then(|directory| vault::write(&directory, path, ring));
    if written.is_ok() {
        return made.into_iter().map(|(group, _)| group).collect();
    }
    ring.take_back(&made.into_iter().map(|(_, key)| key).collect::<Vec<u32>>());
    Vec::new()
}

#[cfg(test)]
mod tests {
    use motte_store::{Group, PrincipalRecord, Publication, PublicationId};

    use super::*;

    #[test]
    fn a_group_whose_key_sealed_something_is_not_given_to_another_device() {
        let directory = tempfile::tempdir().unwrap();
        let mut ring = Keyring::closed().unwrap();
        ring.add_group(1).unwrap();
        ring.add_group(2).unwrap();
        let disk = Directory::open(directory.path()).unwrap();
        let (mut journal, _) = Journal::open(disk, Some(ring), JournalOptions::default()).unwrap();
        let (mut batch, source) = (Batch::new(), PrincipalRecord::default());
        let message = Publication {
            topic: "a",
            payload: b"b",
            qos: 1,
            retain: true,
            forwarded: &[],
            expires_at_ms: None,
            source: &source,
        };
        batch.put_publication(Group(1), PublicationId(1), &message);
        batch.put_retained("a", PublicationId(1));
        journal.append([&batch]).unwrap();
        assert_eq!(devices(&mut journal).spare, [2]);
    }

    #[test]
    fn groups_that_could_not_be_written_leave_nothing_and_no_number_is_taken_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut ring = Keyring::closed().unwrap();
        let before = ring.counts();
        std::fs::create_dir_all(directory.path().join(vault::VAULT)).unwrap();
        assert!(add_groups(&mut ring, 3, directory.path()).is_empty(), "a directory is in the way");
        assert_eq!((ring.counts(), ring.groups()), (before, 1));
        std::fs::remove_dir(directory.path().join(vault::VAULT)).unwrap();
        assert_eq!(add_groups(&mut ring, 3, directory.path()), [1, 2, 3]);
        ring.shred(3);
        assert_eq!(add_groups(&mut ring, 2, directory.path()), [4, 5]);
    }
}
