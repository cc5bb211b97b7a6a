//! The keys of the journal while it is written: exchanged, destroyed, and what they sealed written again, a segment at a time, so
//! that commits go on in between.

use std::collections::BTreeSet;
use std::path::Path;

use motte_seal::SecretBytes;
use motte_seal::keyring::{Keyring, Slot};
use motte_store::Journal;

use crate::store::Store;
use crate::vault::{self, VaultFault};

/// What is to be told of an open vault.
pub(crate) struct VaultFacts {
    pub(crate) generation: u64,
    pub(crate) opened_by: Vec<String>,
    pub(crate) keys: usize,
    pub(crate) shredded: usize,
    pub(crate) groups: usize,
}

impl Store {
    /// The vault as it is; `None` if the journal ended by a fault of its own.
    pub(crate) fn vault_facts(&self) -> Option<VaultFacts> {
        let look = |ring: &Keyring| {
            let (keys, shredded) = ring.counts();
            VaultFacts {
                generation: ring.generation(),
                opened_by: ring.slots().iter().map(Slot::describe).collect(),
                keys,
                shredded,
                groups: ring.groups(),
            }
        };
        self.committer().with_journal(|journal| journal.look_at_keyring(look)).flatten()
    }

    /// Gives a group a new key, or all of them; gives the numbers of the keys that only open from now on.
    pub(crate) fn rotate_keys(&self, only: Option<u32>) -> Result<BTreeSet<u32>, String> {
        self.with_ring(|ring, path| {
            let groups: Vec<u32> = match only {
                Some(group) => vec![group],
                None => ring.group_numbers().collect(),
            };
            let mut made = Vec::with_capacity(groups.len());
            let rotated = groups.iter().try_for_each(|group| {
                made.push(ring.rotate_dek(*group)?);
                Ok(())
            });
            let rotated = rotated.map_err(|error: motte_seal::keyring::VaultError| error.to_string());
            let written = rotated.and_then(|()| vault::write_over(path, ring).map_err(told));
            if let Err(error) = written {
                ring.take_back(&made);
                return Err(error);
            }
            Ok(ring.retired().filter(|number| only.is_none() || ring.group(*number) == only).collect())
        })
    }

    /// Begins to write segments again that hold something sealed with these keys; gives their bytes.
    pub(crate) fn begin_rewrite(&self, keys: &BTreeSet<u32>) -> Result<u64, String> {
        self.with_journal(|journal| journal.begin_rewrite(keys).map_err(|error| error.to_string()))
    }

    /// Goes on with it; gives the bytes of the segment that is done, `None` at the end.
    pub(crate) fn rewrite_next(&self, keys: &BTreeSet<u32>) -> Result<Option<u64>, String> {
        self.with_journal(|journal| journal.rewrite_next(keys).map_err(|error| error.to_string()))
    }

    /// Forgets keys that nothing is sealed with any more.
    pub(crate) fn forget_keys(&self, keys: &BTreeSet<u32>) -> Result<(), String> {
        self.with_ring(|ring, path| {
            for number in keys {
                ring.forget(*number);
            }
            vault::write_over(path, ring).map_err(told)
        })
    }

    /// Destroys the keys of a group that a newer one took the place of.
    pub(crate) fn shred_retired(&self, group: u32) -> Result<BTreeSet<u32>, String> {
        self.with_ring(|ring, path| {
            // Those of an earlier attempt too: what they sealed may still lie about.
            let numbers = ring.numbers_of(group).into_iter();
            let retired = numbers.filter(|number| ring.current(group) != Some(*number)).collect();
            ring.shred_retired(group);
            vault::write_over(path, ring).map_err(told).map(|()| retired)
        })
    }

    /// Takes other ways to open the vault, from somebody who proves by what he `said` of them that he has opened it.
    pub(crate) fn set_slots(&self, slots: &[u8], said: &[u8], proof: &[u8]) -> Result<(), String> {
        let taken = Slot::decode_all(slots).map_err(|error| error.to_string())?;
        self.with_ring(|ring, path| {
            let wanted = ring.proof(said).map_err(|error| error.to_string())?;
            if !SecretBytes::new(wanted.to_vec()).matches(proof) {
                let what = "whoever made these slots has not opened this vault\n  remedy: name the state directory of this broker";
                return Err(what.to_owned());
            }
            let former = ring.slots().to_vec();
            ring.set_slots(taken).map_err(|error| error.to_string())?;
            let written = vault::write_over(path, ring).map_err(told);
            if written.is_err() {
                // There was one at least.
                let _ = ring.set_slots(former);
            }
            written
        })
    }

    fn with_journal<T>(
        &self,
        run: impl FnOnce(&mut Journal<motte_disk::Directory>) -> Result<T, String>,
    ) -> Result<T, String> {
        self.committer().with_journal(run).unwrap_or_else(|| Err("the journal has ended".to_owned()))
    }

    fn with_ring<T>(&self, run: impl FnOnce(&mut Keyring, &Path) -> Result<T, String>) -> Result<T, String> {
        let path = self.path().to_owned();
        self.with_journal(|journal| {
            let done = journal.with_keyring(|ring| run(ring, &path));
            done.unwrap_or_else(|| Err("nothing is sealed here".to_owned()))
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(fault: VaultFault) -> String {
    fault.to_string()
}
