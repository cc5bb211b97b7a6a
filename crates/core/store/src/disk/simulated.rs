//! A disk in memory that forgets, tears and fails as told, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, DiskFault, DiskFile};

/// A device writes these whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Bytes all files may have together; `None`: no limit.
    pub capacity_bytes: Option<u64>,
    /// Writes that succeed before all fail as those of a broken device do; `None`: none fails.
    pub writes_until_fault: Option<u32>,
    /// Syncs that succeed before all fail, each forgetting what it should have kept; `None`: none fails.
    pub syncs_until_fault: Option<u32>,
}

/// A directory in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, usize>,
    /// Names as they are after a power cut, if nothing of `pending` was kept.
    names_kept: BTreeMap<String, usize>,
    pending: Vec<NameChange>,
    files: Vec<Content>,
    faults: DiskFaults,
    bytes_written: u64,
    syncs: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    kept: Vec<u8>,
    /// Written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
}

/// A file of a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
    name: String,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, number) => {
                names.insert(name.clone(), *number);
            }
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl SimulatedDisk {
    /// An empty one on which nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
    }

    /// The power is cut. What was synced stays; of the rest `random` decides: each write since is kept, lost or torn at
    /// sectors, changes of names are kept up to some point. Numbers of `random` are any 64 bits. The result is another
    /// disk, on which nothing fails.
    #[must_use]
    pub fn power_cut(&self, random: &mut dyn FnMut() -> u64) -> Self {
        let state = self.lock();
        let mut names = state.names_kept.clone();
        let kept = usize::try_from(random() % (state.pending.len() as u64 + 1)).unwrap_or(0);
        state.pending.iter().take(kept).for_each(|change| change.apply(&mut names));
        let files = state.files.iter().map(|content| Content::after_power_cut(content, random)).collect();
        drop(state);
        let state = State { names_kept: names.clone(), names, files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The process ends, the system goes on: all that was written is there. The result is another disk, on which
    /// nothing fails.
    #[must_use]
    pub fn killed(&self) -> Self {
        let state = self.lock();
        let whole = |content: &Content| Content {
            now: content.now.clone(),
            kept: content.now.clone(),
            pending: Vec::new(),
        };
        let files = state.files.iter().map(whole).collect();
        let (names, names_kept) = (state.names.clone(), state.names.clone());
        drop(state);
        Self { state: Arc::new(Mutex::new(State { names, names_kept, files, ..State::default() })) }
    }

    /// Inverts bits of one byte of a file, on the medium and in what is read; false if there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(number) = state.names.get(name).copied() else { return false };
        let Some(content) = state.files.get_mut(number) else { return false };
        let Some(byte) = content.now.get_mut(offset) else { return false };
        *byte ^= mask;
        if let Some(byte) = content.kept.get_mut(offset) {
            *byte ^= mask;
        }
        true
    }

    /// All bytes of a file; `None` if there is no such file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let number = state.names.get(name)?;
        state.files.get(*number).map(|content| content.now.clone())
    }

    /// Puts a file in place of another or where none was, synced.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.lock();
        let number = state.files.len();
        state.files.push(Content { now: bytes.to_vec(), kept: bytes.to_vec(), pending: Vec::new() });
        state.names.insert(name.to_owned(), number);
        state.names_kept.insert(name.to_owned(), number);
    }

    /// Bytes in all files that have a name.
    pub fn bytes_used(&self) -> u64 {
        self.lock().used()
    }

    /// Bytes written since the disk was made.
    pub fn bytes_written(&self) -> u64 {
        self.lock().bytes_written
    }

    /// Successful syncs of files since the disk was made.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> u64 {
        let length = |number: &usize| self.files.get(*number).map_or(0, |content| content.now.len() as u64);
        self.names.values().map(length).sum()
    }
}

impl Content {
    fn after_power_cut(&self, random: &mut dyn FnMut() -> u64) -> Self {
        let mut kept = self.kept.clone();
        for (offset, bytes) in &self.pending {
            match random() % 4 {
                0 => {}
                1 => put(&mut kept, *offset, bytes),
                2 => {
                    let length = random() % (bytes.len() as u64 + 1);
                    let part = bytes.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
                    put(&mut kept, *offset, part);
                }
                _ => {
                    for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if random() & 1 == 0 {
                            put(&mut kept, offset + number * SECTOR_BYTES, sector);
                        }
                    }
                }
            }
        }
        Self { now: kept.clone(), kept, pending: Vec::new() }
    }
}

/// Writes into a file's bytes; a gap is zeros.
fn put(bytes: &mut Vec<u8>, offset: usize, part: &[u8]) {
    let end = offset + part.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(part);
    }
}

fn error(fault: DiskFault, what: &'static str, name: &str) -> DiskError {
    DiskError { fault, what, name: name.to_owned(), detail: format!("simulated {fault:?}") }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn create(&self, name: &str) -> Result<SimulatedFile, DiskError> {
        let mut state = self.lock();
        if state.names.contains_key(name) {
            return Err(error(DiskFault::Exists, "create", name));
        }
        let number = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), number);
        state.pending.push(NameChange::Create(name.to_owned(), number));
        Ok(SimulatedFile { disk: self.clone(), number, name: name.to_owned() })
    }

    fn open(&self, name: &str) -> Result<SimulatedFile, DiskError> {
        let number = *self.lock().names.get(name).ok_or_else(|| error(DiskFault::NotFound, "open", name))?;
        Ok(SimulatedFile { disk: self.clone(), number, name: name.to_owned() })
    }

    fn names(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.lock();
        let number = state.names.remove(from).ok_or_else(|| error(DiskFault::NotFound, "rename", from))?;
        state.names.insert(to.to_owned(), number);
        state.pending.push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.names.remove(name).ok_or_else(|| error(DiskFault::NotFound, "remove", name))?;
        state.pending.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        let mut state = self.lock();
        state.names_kept = state.names.clone();
        state.pending.clear();
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.disk.lock();
        let used = state.used();
        let offset = usize::try_from(offset).map_err(|_| error(DiskFault::Full, "write", &self.name))?;
        let mut fault = None;
        if let Some(left) = &mut state.faults.writes_until_fault {
            if *left == 0 {
                fault = Some(DiskFault::Device);
            }
            *left = left.saturating_sub(1);
        }
        let room = state.faults.capacity_bytes.map(|capacity| capacity.saturating_sub(used));
        let Some(content) = state.files.get_mut(self.number) else {
            return Err(error(DiskFault::NotFound, "write", &self.name));
        };
        let grows = (offset + bytes.len()).saturating_sub(content.now.len()) as u64;
        let written = match (room, fault) {
            (Some(room), _) if grows > room => {
                fault = Some(DiskFault::Full);
                let missing = usize::try_from(grows - room).unwrap_or(usize::MAX);
                bytes.get(..bytes.len().saturating_sub(missing)).unwrap_or_default()
            }
            (_, Some(_)) => bytes.get(..bytes.len() / 2).unwrap_or_default(),
            (_, None) => bytes,
        };
        put(&mut content.now, offset, written);
        content.pending.push((offset, written.to_vec()));
        state.bytes_written += written.len() as u64;
        fault.map_or(Ok(()), |fault| Err(error(fault, "write", &self.name)))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let state = self.disk.lock();
        let content =
            state.files.get(self.number).ok_or_else(|| error(DiskFault::NotFound, "read", &self.name))?;
        let rest =
            usize::try_from(offset).ok().and_then(|offset| content.now.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            into.copy_from_slice(from);
        }
        Ok(count)
    }

    fn length(&self) -> Result<u64, DiskError> {
        Ok(self.disk.lock().files.get(self.number).map_or(0, |content| content.now.len() as u64))
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.disk.lock();
        let mut fails = false;
        if let Some(left) = &mut state.faults.syncs_until_fault {
            fails = *left == 0;
            *left = left.saturating_sub(1);
        }
        let Some(content) = state.files.get_mut(self.number) else {
            return Err(error(DiskFault::NotFound, "sync", &self.name));
        };
        if fails {
            // As a kernel does: the pages are dropped and nobody asks again.
            content.pending.clear();
            return Err(error(DiskFault::Device, "sync", &self.name));
        }
        // Only what is pending reaches the medium: what a failed sync dropped stays lost.
        for (offset, bytes) in std::mem::take(&mut content.pending) {
            put(&mut content.kept, offset, &bytes);
        }
        state.syncs += 1;
        Ok(())
    }
}
