//! The journal in the running process: opened and read at the start, committed to by one thread for all workers, read by
//! each worker when a Session takes what waits for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
}

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

    /// Starts the thread that commits.
    pub(crate) fn start(self, inboxes: Arc<[Inbox]>) -> std::io::Result<Store> {
        let done = move |completion| tell(completion, &inboxes);
        let committer = Committer::start(self.journal, CommitterBounds::default(), done)?;
        let store = Store { committer, path: self.path, devices: Mutex::new(self.devices) };
        store.make_spare();
        Ok(store)
    }
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
    let taken: std::collections::HashSet<u32> = devices.known.values().copied().collect();
    let groups = journal.with_keyring(|ring| ring.group_numbers().collect::<Vec<u32>>()).unwrap_or_default();
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
        let Some(group) = devices.spare.pop() else { return 0 };
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
        self.devices().spare.extend(made.unwrap_or_default());
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
    let first = ring.group_numbers().max().unwrap_or(0).saturating_add(1);
    let made: Vec<u32> =
        (first..first.saturating_add(count)).take_while(|group| ring.add_group(*group).is_ok()).collect();
    let written = Directory::open(path)
        .map_err(vault::VaultFault::from)
        .and_then(|directory| vault::write(&directory, path, ring));
    if written.is_ok() {
        return made;
    }
    for group in made {
        ring.shred(group);
    }
    Vec::new()
}
