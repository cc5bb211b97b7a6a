//! Random changes, syncs, compactions, kills and power cuts against the model: what was synced is there, what was removed
//! and synced is not, and a commit is there whole or not at all.

use std::collections::VecDeque;

use motte_seal::SecretBytes;
use motte_seal::keyring::{KeyEncryptionKey, Keyring, Vault};
use motte_store::disk::{DiskFaults, SimulatedDisk};
use motte_store::journal::{Journal, JournalOptions};

use crate::workload::{Model, Random, Sizes, differences, observe};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 12 * 1024, reserve_bytes: 4096 };
const GROUPS: u32 = 3;

pub fn kek() -> KeyEncryptionKey {
    KeyEncryptionKey::from_key_file(&SecretBytes::new(vec![7; 32])).unwrap()
}

/// A vault with keys for some groups.
pub fn vault() -> Vec<u8> {
    let mut ring = Keyring::create(&kek(), "test").unwrap();
    (0..GROUPS).for_each(|group| assert!(ring.add_group(group).is_ok()));
    ring.encode().unwrap()
}

pub fn open_vault(vault: &[u8]) -> Keyring {
    Vault::decode(vault).unwrap().open(&kek()).unwrap()
}

/// One life of a disk after the other.
struct World {
    random: Random,
    sizes: Sizes,
    vault: Option<Vec<u8>>,
    disk: SimulatedDisk,
    journal: Option<Journal<SimulatedDisk>>,
    /// States after each commit since the last that is on disk, oldest first, with the commit's number.
    states: VecDeque<(u64, Model)>,
    /// Whether a failure may have left commits that nobody was told of.
    in_doubt: bool,
}

impl World {
    fn new(seed: u64, is_sealed: bool) -> Self {
        let mut random = Random::new(seed);
        let payload_max = random.pick(&[40, 600, 3000, 30_000]).unwrap();
        let sizes = Sizes { payload_max, groups: if is_sealed { GROUPS } else { 1 } };
        let mut world = Self {
            random,
            sizes,
            vault: is_sealed.then(vault),
            disk: SimulatedDisk::new(),
            journal: None,
            states: VecDeque::from([(0, Model::default())]),
            in_doubt: false,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let keyring = self.vault.as_deref().map(open_vault);
        let (journal, recovery) = Journal::open(self.disk.clone(), keyring, OPTIONS).unwrap();
        assert!(recovery.is_whole(), "{recovery:?}");
        assert_eq!((recovery.without_message, recovery.without_session), (0, 0), "{recovery:?}");
        let found = observe(&journal, self.sizes);
        let at = self.states.iter().rposition(|(_, state)| state.in_force() == found);
        let Some(at) = at else {
            for (seq, state) in &self.states {
                println!("differs from {seq} by {:#?}", differences(&found, &state.in_force()));
            }
            panic!("what is in force is none of {} states", self.states.len());
        };
        // Numbers go on from the newest, whichever state it was.
        let newest = &self.states.back().unwrap().1;
        let (publications, seqs, sessions) = (newest.next_publication, newest.next_seq, newest.next_session);
        let state = Model {
            next_publication: publications,
            next_seq: seqs,
            next_session: sessions,
            ..self.states[at].1.clone()
        };
        self.states = VecDeque::from([(journal.appended().0, state)]);
        self.in_doubt = false;
        self.journal = Some(journal);
    }

    fn state(&self) -> &Model {
        &self.states.back().unwrap().1
    }

    fn append(&mut self) {
        let mut model = self.state().clone();
        let batches: Vec<_> =
            (0..=self.random.below(2)).map(|_| model.step(&mut self.random, self.sizes)).collect();
        let journal = self.journal.as_mut().unwrap();
        match journal.append(&batches) {
            Ok(commit) => self.states.push_back((commit.0, model)),
            Err(_) => {
                // Whole on the disk by chance, it may be found after a crash; in force it is not.
                self.in_doubt = true;
                let known = self.state().clone();
                let counted = Model {
                    next_publication: model.next_publication,
                    next_seq: model.next_seq,
                    next_session: model.next_session,
                    ..known
                };
                let seq = self.states.back().unwrap().0;
                self.states.push_back((seq, model));
                self.states.push_back((seq, counted));
            }
        }
    }

    fn durable(&mut self) {
        let durable = self.journal.as_ref().unwrap().durable().0;
        if self.in_doubt {
            return;
        }
        while self.states.len() > 1 && self.states[1].0 <= durable {
            self.states.pop_front();
        }
    }

    fn sync(&mut self) {
        let journal = self.journal.as_mut().unwrap();
        match journal.sync() {
            Ok(commit) => {
                assert_eq!(commit, journal.appended());
                let last = self.states.pop_back().unwrap();
                self.states = VecDeque::from([last]);
                self.in_doubt = false;
            }
            Err(_) => self.in_doubt = true,
        }
    }

    fn check(&mut self) {
        let found = observe(self.journal.as_ref().unwrap(), self.sizes);
        assert_eq!(differences(&found, &self.state().in_force()), [""; 0]);
    }

    fn crash(&mut self) {
        self.journal = None;
        let random = &mut self.random;
        self.disk = match random.below(3) {
            0 => self.disk.killed(),
            _ => self.disk.power_cut(&mut || random.bits()),
        };
        self.open();
    }

    fn close(&mut self) {
        self.disk.set_faults(DiskFaults::default());
        self.journal.take().unwrap().close().unwrap();
        let last = self.states.pop_back().unwrap();
        self.states = VecDeque::from([last]);
        self.disk = self.disk.killed();
        self.open();
    }

    fn fault(&mut self) {
        let random = &mut self.random;
        let mut faults = DiskFaults::default();
        match random.below(3) {
            0 => faults.capacity_bytes = Some(self.disk.bytes_used() + random.below(6000)),
            1 => faults.writes_until_fault = u32::try_from(random.below(6)).ok(),
            _ => faults.syncs_until_fault = u32::try_from(random.below(4)).ok(),
        }
        self.disk.set_faults(faults);
    }

    fn step(&mut self, with_faults: bool) {
        match self.random.below(100) {
            0..=54 => self.append(),
            55..=79 => self.sync(),
            80..=84 => {
                let max = self.random.below(60_000);
                let _ = self.journal.as_mut().unwrap().compact(max);
                self.durable();
            }
            85..=89 => self.check(),
            90..=92 if with_faults => self.fault(),
            93..=95 if with_faults => {
                self.disk.set_faults(DiskFaults::default());
                let journal = self.journal.as_mut().unwrap();
                journal.mend().unwrap();
                assert!(journal.refusal().is_none());
            }
            96 => self.close(),
            97..=99 => self.crash(),
            _ => self.durable(),
        }
    }
}

fn run(seeds: std::ops::Range<u64>, is_sealed: bool, with_faults: bool) {
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, is_sealed);
            for _ in 0..120 {
                world.step(with_faults);
            }
            world.crash();
        });
        assert!(result.is_ok(), "seed {seed}, sealed {is_sealed}, faults {with_faults}");
    }
}

/// How many seeds: so many `MOTTE_STORE_SEEDS`, or the usual number, a tenth of it without optimization.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("MOTTE_STORE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(if cfg!(debug_assertions) { usual / 10 } else { usual })
}

#[test]
fn what_was_synced_is_there_after_a_crash() {
    run(seeds(1500), false, false);
}

#[test]
fn what_was_synced_is_there_after_a_crash_of_a_failing_disk() {
    run(seeds(1500), false, true);
}

#[test]
fn what_was_synced_is_there_after_a_crash_when_sealed() {
    run(seeds(300), true, false);
}

#[test]
fn what_was_synced_is_there_after_a_crash_of_a_failing_disk_when_sealed() {
    run(seeds(300), true, true);
}
