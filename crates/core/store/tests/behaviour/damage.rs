//! Bytes that are not what was written: a named error or a report, never a panic, never a silent loss; and what someone
//! with the disk but without the keys tries.

use motte_store::disk::SimulatedDisk;
use motte_store::journal::{Journal, JournalError, JournalOptions, Recovery};
use motte_store::{Batch, BlockCache, Disk, Group, Publication, PublicationId, SessionId};

use crate::model::{open_vault, vault};
use crate::workload::{Model, Random, Sizes, differences, observe, publication, session};

const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 4096, reserve_bytes: 0 };
const SIZES: Sizes = Sizes { payload_max: 100, groups: 1 };
/// Magic, flags, length, key, commit, durable and checksum.
const BLOCK_HEADER: usize = 28;

type Opened = Result<(Journal<SimulatedDisk>, Recovery), JournalError>;

fn open(disk: &SimulatedDisk, vault: Option<&[u8]>) -> Opened {
    Journal::open(disk.clone(), vault.map(open_vault), OPTIONS)
}

/// A disk after some commits, and what is on it. Closed, nothing is uncertain; else the last sync is.
fn filled(vault: Option<&[u8]>, is_closed: bool) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = open(&disk, vault).unwrap();
    let (mut model, mut random) = (Model::default(), Random::new(5));
    for _ in 0..40 {
        let batch = model.step(&mut random, SIZES);
        journal.append([&batch]).unwrap();
        journal.sync().unwrap();
    }
    if is_closed {
        journal.close().unwrap();
    }
    (disk.killed(), model)
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    let mut names: Vec<String> =
        disk.names().unwrap().into_iter().filter(|name| name.contains(".seg")).collect();
    names.sort();
    names
}

fn is_told(recovery: &Recovery) -> bool {
    !recovery.is_whole() || recovery.cut.is_some()
}

/// Whether nothing was written from here on but zeros ahead.
fn is_room(bytes: &[u8], offset: usize) -> bool {
    bytes[offset..].iter().all(|byte| *byte == 0)
}

fn each_flipped_byte_is_told(vault: Option<&[u8]>, is_closed: bool) {
    let (disk, model) = filled(vault, is_closed);
    let names = segments(&disk);
    assert!(names.len() > 2);
    for name in names {
        let bytes = disk.bytes(&name).unwrap();
        for offset in 0..bytes.len() {
            let copy = disk.killed();
            assert!(copy.flip(&name, offset, 0x10));
            match open(&copy, vault) {
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok((journal, recovery)) => {
                    let found = std::panic::catch_unwind(|| observe(&journal, SIZES));
                    let is_same = found.is_ok_and(|found| found == model.in_force());
                    let is_known = is_told(&recovery) || is_same && is_room(&bytes, offset);
                    assert!(is_known, "{name} byte {offset}: not a word, same: {is_same}");
                    // The mark of a clean stop itself may be taken for a torn end: it holds nothing.
                    let is_loss_cut = is_closed && recovery.cut.is_some() && !is_same;
                    assert!(!is_loss_cut, "{name} byte {offset}: damage taken for a torn end");
                }
            }
        }
    }
}

#[test]
fn each_flipped_byte_is_told_after_a_clean_stop() {
    each_flipped_byte_is_told(None, true);
}

#[test]
fn each_flipped_byte_is_told_after_a_kill() {
    each_flipped_byte_is_told(None, false);
}

#[test]
fn each_flipped_byte_is_told_when_sealed() {
    each_flipped_byte_is_told(Some(&vault()), true);
}

#[test]
fn each_length_a_file_can_be_cut_to_is_told() {
    let (disk, _) = filled(None, true);
    for name in segments(&disk) {
        let bytes = disk.bytes(&name).unwrap();
        for length in 0..bytes.len() {
            let copy = disk.killed();
            copy.put(&name, &bytes[..length]);
            let Ok((_, recovery)) = open(&copy, None) else { continue };
            // Cut between two commits, the newest segment looks as if those behind had never been.
            let is_newest = Some(&name) == segments(&disk).last();
            assert!(is_told(&recovery) || is_newest || is_room(&bytes, length), "{name} cut to {length}");
        }
    }
}

#[test]
fn zeros_behind_the_last_commit_are_room_and_zeros_before_it_are_damage() {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = open(&disk, None).unwrap();
    let mut ends = Vec::new();
    for number in 1..=3 {
        let mut batch = Batch::new();
        batch.put_session(Group::COMMON, SessionId(number), &session(number, 1));
        journal.append([&batch]).unwrap();
        journal.sync().unwrap();
        let bytes = disk.bytes(segments(&disk).last().unwrap()).unwrap();
        ends.push(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    let name = segments(&disk).pop().unwrap();
    let bytes = disk.bytes(&name).unwrap();
    assert!(bytes.len() > ends[2], "there is room ahead");
    let with_zeros = |from: usize, to: usize| {
        let (copy, mut bytes) = (disk.killed(), bytes.clone());
        bytes[from..to].fill(0);
        copy.put(&name, &bytes);
        open(&copy, None).unwrap().1
    };
    let (whole, last, middle) =
        (with_zeros(ends[2], bytes.len()), with_zeros(ends[1], bytes.len()), with_zeros(ends[0], ends[1]));
    assert!(whole.is_whole() && whole.cut.is_none() && whole.records == 3, "{whole:?}");
    // The last commit may never have been: it looks as if the power had gone before it.
    assert!(last.is_whole() && last.cut.is_none() && last.records == 2, "{last:?}");
    assert_eq!((middle.damages.len(), middle.records), (1, 2), "{middle:?}");
}

#[test]
fn damage_in_one_place_leaves_the_rest() {
    let disk = SimulatedDisk::new();
    let (mut journal, _) = open(&disk, None).unwrap();
    for number in 1..=50 {
        let mut batch = Batch::new();
        batch.put_session(Group::COMMON, SessionId(number), &session(number, 1));
        journal.append([&batch]).unwrap();
    }
    journal.close().unwrap();
    let name = segments(&disk)[1].clone();
    assert!(disk.flip(&name, 700, 1));
    let (journal, recovery) = open(&disk, None).unwrap();
    assert_eq!(recovery.damages.len(), 1, "{recovery:?}");
    assert_eq!(recovery.damages[0].file, name);
    assert_eq!(journal.sessions().count(), 49);
    // It is told again at each start, until someone does something about it.
    drop(journal);
    assert_eq!(open(&disk.killed(), None).unwrap().1.damages.len(), 1);
}

#[test]
fn a_missing_segment_is_named_and_one_that_was_compacted_away_does_not_come_back() {
    let (disk, model) = filled(None, true);
    let first = segments(&disk)[0].clone();
    let bytes = disk.bytes(&first).unwrap();
    let without = disk.killed();
    without.remove(&first).unwrap();
    let (_, recovery) = open(&without, None).unwrap();
    assert_eq!(recovery.missing, std::slice::from_ref(&first));

    let (mut journal, _) = open(&disk, None).unwrap();
    while segments(&disk).contains(&first) {
        let mut batch = Batch::new();
        batch.put_fact("filler", &[7; 3000]);
        journal.append([&batch]).unwrap();
        batch.clear();
        batch.remove_fact("filler");
        journal.append([&batch]).unwrap();
        journal.compact(u64::MAX).unwrap();
        for session in journal.sessions().collect::<Vec<_>>() {
            let mut batch = Batch::new();
            batch.put_session(Group::COMMON, session, &crate::workload::session(session.0, 2));
            journal.append([&batch]).unwrap();
        }
        for name in journal.retained().map(|(topic, _)| topic.to_owned()).collect::<Vec<_>>() {
            let mut batch = Batch::new();
            batch.remove_retained(&name);
            journal.append([&batch]).unwrap();
        }
    }
    journal.close().unwrap();
    let after = disk.killed();
    let wanted = observe(&open(&after.killed(), None).unwrap().0, SIZES);
    after.put(&first, &bytes);
    let (journal, recovery) = open(&after, None).unwrap();
    assert_eq!((recovery.stale, recovery.missing.len()), (vec![first.clone()], 0));
    assert_eq!(differences(&observe(&journal, SIZES), &wanted), [""; 0]);
    assert_ne!(wanted, model.in_force());
    assert!(!segments(&after).contains(&first));
}

/// Where the blocks of a file are, and how long each is.
fn blocks(bytes: &[u8], trailer: usize) -> Vec<(usize, usize)> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = number(12);
    let mut found = Vec::new();
    while at < bytes.len() {
        let length = BLOCK_HEADER + number(at + 4) + trailer;
        found.push((at, length));
        at += length;
    }
    found
}

/// Makes the checksum of a block's header fit its place, as anyone can.
fn forge_header(segment: u32, offset: usize, block: &mut [u8]) {
    let place = [segment.to_le_bytes(), u32::try_from(offset).unwrap().to_le_bytes()].concat();
    let checksum = crc32fast::hash(&[&place, &block[..BLOCK_HEADER - 4]].concat());
    block[BLOCK_HEADER - 4..BLOCK_HEADER].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_sealed_block_that_is_moved_or_replayed_is_refused() {
    let vault = vault();
    let disk = SimulatedDisk::new();
    let (mut journal, _) = open(&disk, Some(&vault)).unwrap();
    for number in 0..20_u32 {
        let mut batch = Batch::new();
        batch.put_fact("balance", &number.to_le_bytes());
        journal.append([&batch]).unwrap();
        journal.sync().unwrap();
    }
    journal.close().unwrap();
    let name = segments(&disk).pop().unwrap();
    let bytes = disk.bytes(&name).unwrap();
    let all = blocks(&bytes, 16);
    let ((from, length), (to, same)) = (all[2], all[15]);
    assert_eq!(length, same);
    let mut replayed = bytes.clone();
    let mut block = bytes[from..from + length].to_vec();
    forge_header(1, to, &mut block);
    replayed[to..to + length].copy_from_slice(&block);
    disk.put(&name, &replayed);
    let (journal, recovery) = open(&disk, Some(&vault)).unwrap();
    assert_eq!(recovery.damages.len(), 1, "{recovery:?}");
    assert_eq!(journal.fact("balance", &mut BlockCache::new()).unwrap().unwrap(), 19_u32.to_le_bytes());
}

#[test]
fn a_sealed_segment_under_another_number_is_refused() {
    let vault = vault();
    let (disk, _) = filled(Some(&vault), true);
    let names = segments(&disk);
    let mut bytes = disk.bytes(&names[0]).unwrap();
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let number = u32::from_str_radix(&names[1][8..16], 16).unwrap();
    bytes[16..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..length - 4]);
    bytes[length - 4..length].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&names[1], &bytes);
    let (_, recovery) = open(&disk, Some(&vault)).unwrap();
    assert_eq!(recovery.damages[0].what, "its header is not what was sealed");
}

#[test]
fn a_journal_asks_for_the_keys_it_was_sealed_with() {
    let (own, other) = (vault(), vault());
    let (disk, _) = filled(Some(&own), true);
    let wanted = open(&disk, None).unwrap_err();
    assert!(matches!(wanted, JournalError::KeyWanted { key: 1, .. }), "{wanted}");
    let damaged = open(&disk, Some(&other)).unwrap().1;
    assert!(damaged.damages.iter().all(|damage| damage.what == "its header is not what was sealed"));
    let (plain, _) = filled(None, true);
    assert!(matches!(open(&plain, Some(&own)), Err(JournalError::NotSealed { .. })));
}

fn store_for(journal: &mut Journal<SimulatedDisk>, group: Group, number: u64) {
    let mut batch = Batch::new();
    batch.put_session(group, SessionId(number), &session(number, 1));
    let record = publication(number, SIZES);
    batch.put_publication(group, PublicationId(number), &Publication::from(&record));
    batch.put_retained(&format!("device/{number}"), PublicationId(number));
    journal.append([&batch]).unwrap();
}

#[test]
fn what_a_shredded_group_had_is_noise_and_the_rest_is_served() {
    let vault = vault();
    let disk = SimulatedDisk::new();
    let (mut journal, _) = open(&disk, Some(&vault)).unwrap();
    (1..=10).for_each(|number| store_for(&mut journal, Group(u32::try_from(number % 2).unwrap()), number));
    journal.sync().unwrap();
    let vault = journal
        .with_keyring(|ring| {
            assert_eq!(ring.shred(1), 1);
            ring.encode().unwrap()
        })
        .unwrap();
    let cache = &mut BlockCache::new();
    assert!(matches!(journal.read(PublicationId(1), cache), Err(JournalError::Shredded { .. })));
    assert!(journal.read(PublicationId(2), cache).unwrap().is_some());
    let mut batch = Batch::new();
    batch.put_session(Group(1), SessionId(1), &session(1, 2));
    assert!(matches!(journal.append([&batch]), Err(JournalError::UnknownGroup(Group(1)))));
    journal.close().unwrap();
    let (journal, recovery) = open(&disk, Some(&vault)).unwrap();
    assert!(
        recovery.is_whole() && recovery.shredded_blocks == 5 && recovery.without_message == 5,
        "{recovery:?}"
    );
    assert_eq!(journal.sessions().count(), 5);
    assert_eq!(journal.retained().count(), 5);
}

#[test]
fn a_data_key_is_exchanged_and_forgotten_when_nothing_is_sealed_with_it() {
    let vault = vault();
    let (disk, model) = filled(Some(&vault), true);
    let (mut journal, _) = open(&disk, Some(&vault)).unwrap();
    let retired: std::collections::BTreeSet<u32> = journal
        .with_keyring(|ring| {
            ring.rotate_dek(0).unwrap();
            ring.retired().collect()
        })
        .unwrap();
    journal.rewrite_keys(&retired).unwrap();
    let vault = journal
        .with_keyring(|ring| {
            assert!(retired.iter().all(|number| ring.forget(*number)));
            ring.encode().unwrap()
        })
        .unwrap();
    assert_eq!(differences(&observe(&journal, SIZES), &model.in_force()), [""; 0]);
    journal.close().unwrap();
    let (journal, recovery) = open(&disk, Some(&vault)).unwrap();
    assert!(recovery.is_whole(), "{recovery:?}");
    assert_eq!(differences(&observe(&journal, SIZES), &model.in_force()), [""; 0]);
}

#[test]
fn a_data_key_is_exchanged_a_segment_at_a_time_beside_the_traffic_and_a_crash_anywhere_loses_nothing() {
    let vault = vault();
    // Cut short after so many segments; the last time it comes to its end.
    for steps in [0, 1, 2, u64::MAX] {
        let (disk, mut model) = filled(Some(&vault), true);
        let mut random = Random::new(steps);
        let (mut journal, _) = open(&disk, Some(&vault)).unwrap();
        for _ in 0..80 {
            journal.append([&model.step(&mut random, SIZES)]).unwrap();
        }
        let (retired, both) = journal
            .with_keyring(|ring| {
                ring.rotate_dek(0).unwrap();
                (ring.retired().collect::<std::collections::BTreeSet<u32>>(), ring.encode().unwrap())
            })
            .unwrap();
        let all = journal.begin_rewrite(&retired).unwrap();
        let (mut done, mut number) = (0, 0);
        while number < steps {
            let Some(bytes) = journal.rewrite_next(&retired).unwrap() else { break };
            done += bytes;
            number += 1;
            journal.append([&model.step(&mut random, SIZES)]).unwrap();
            journal.sync().unwrap();
        }
        let is_done = steps == u64::MAX;
        assert!(!is_done || done == all && number > 2, "{done} of {all}");
        let forget = |ring: &mut motte_seal::keyring::Keyring| {
            assert!(retired.iter().all(|number| ring.forget(*number)));
            ring.encode().unwrap()
        };
        let vault = if is_done { journal.with_keyring(forget).unwrap() } else { both };
        drop(journal);
        let disk = disk.power_cut(&mut || random.bits());
        let (journal, recovery) = open(&disk, Some(&vault)).unwrap();
        assert!(recovery.is_whole(), "{steps}: {recovery:?}");
        assert_eq!(differences(&observe(&journal, SIZES), &model.in_force()), [""; 0]);
        assert!(steps == 0 || number > 0);
    }
}
