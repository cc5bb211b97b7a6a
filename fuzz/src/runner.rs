//! Running a target: its corpus first, then changes of it for as long as it has.

use std::cell::Cell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::mutate::mutate;
use crate::random::Random;
use crate::targets::Target;

/// Runs between two looks at the clock.
const BATCH: u32 = 256;

/// An input of a few kilobytes that takes longer than this is a fault of its own.
const SLOW: Duration = Duration::from_secs(2);

/// What came of running a target.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How often it ran.
    pub executions: u64,
    /// For how long.
    pub took: Duration,
    /// Inputs in its corpus.
    pub corpus: usize,
    /// The input that made it panic, and what it said.
    pub crash: Option<Crash>,
}

/// An input for which an invariant does not hold.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The bytes.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// The files of a corpus in the order of their names.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub fn corpus(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    paths.iter().filter(|path| path.is_file()).map(fs::read).collect()
}

/// The input at hand, as the watch sees it.
#[derive(Debug, Default)]
struct AtHand {
    input: Vec<u8>,
    since: Option<Instant>,
    over: bool,
}

/// As [`run`], and calls `stuck` with an input that has taken longer than `patience`: a loop without end cannot be ended
/// from inside. `stuck` is called once for such an input, from another thread, while the target still runs.
pub fn run_watched(
    target: Target,
    corpus: &[Vec<u8>],
    time: Duration,
    seed: u64,
    patience: Duration,
    stuck: impl Fn(&[u8]) + Sync,
) -> Outcome {
    let at_hand = Mutex::new(AtHand::default());
    let changed = Condvar::new();
    let lock = || at_hand.lock().unwrap_or_else(PoisonError::into_inner);
    let watch = || {
        let mut held = lock();
        while !held.over {
            held = changed.wait_timeout(held, patience / 4).unwrap_or_else(PoisonError::into_inner).0;
            if held.since.is_some_and(|since| since.elapsed() > patience) {
                held.since = None;
                stuck(&held.input);
            }
        }
    };
    let note = |input: Option<&[u8]>| {
        let mut held = lock();
        held.since = input.map(|input| {
            held.input.clear();
            held.input.extend_from_slice(input);
            Instant::now()
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(watch);
        let outcome = search(target, corpus, time, seed, &note);
        lock().over = true;
        changed.notify_all();
        outcome
    })
}

/// Runs the corpus as it is, then changes of it until `time` is over or one crashes.
pub fn run(target: Target, corpus: &[Vec<u8>], time: Duration, seed: u64) -> Outcome {
    search(target, corpus, time, seed, &|_| {})
}

fn search(
    target: Target,
    corpus: &[Vec<u8>],
    time: Duration,
    seed: u64,
    note: &impl Fn(Option<&[u8]>),
) -> Outcome {
    let start = Instant::now();
    let mut outcome = Outcome { executions: 0, took: Duration::ZERO, corpus: corpus.len(), crash: None };
    for input in corpus {
        outcome.executions += 1;
        note(Some(input));
        outcome.crash = crash(target, input);
        if outcome.crash.is_some() {
            outcome.took = start.elapsed();
            return outcome;
        }
    }
    let mut random = Random::new(seed);
    let empty = Vec::new();
    let mut input = Vec::new();
    'time: while start.elapsed() < time {
        for _ in 0..BATCH {
            // Half of the inputs change the one before, so that changes add up.
            if random.below(2) == 0 || input.is_empty() {
                input.clone_from(corpus.get(random.below(corpus.len())).unwrap_or(&empty));
            }
            let other = corpus.get(random.below(corpus.len())).unwrap_or(&empty);
            mutate(&mut input, other, &mut random);
            outcome.executions += 1;
            note(Some(&input));
            outcome.crash = crash(target, &input);
            if outcome.crash.is_some() {
                break 'time;
            }
        }
    }
    note(None);
    outcome.took = start.elapsed();
    outcome
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target on one input; a panic and a very long time are crashes.
pub fn crash(target: Target, input: &[u8]) -> Option<Crash> {
    static HOOK: Once = Once::new();
    // What a caught panic says is in the report; printing each of them would drown it while a crash is made smaller.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let start = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = start.elapsed();
    QUIET.set(false);
    let Err(payload) = result else {
        let message = format!("took {} ms on {} bytes", took.as_millis(), input.len());
        return (took > SLOW).then(|| Crash { input: input.to_vec(), message });
    };
    let message = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned());
    Some(Crash { input: input.to_vec(), message })
}

/// A shorter input that still crashes: takes out parts, halves first and single bytes last.
pub fn shrink(target: Target, found: Crash) -> Crash {
    let mut smallest = found;
    let mut size = smallest.input.len();
    while size > 0 {
        let mut at = 0;
        while at < smallest.input.len() {
            let end = (at + size).min(smallest.input.len());
            let mut shorter = smallest.input.clone();
            shorter.drain(at..end);
            match crash(target, &shorter) {
                Some(still) => smallest = still,
                None => at += size,
            }
        }
        size /= 2;
    }
    smallest
}

/// Keeps a crashing input in `directory`, under a name that its bytes give it.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn keep(directory: &Path, target: Target, input: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("{}-{:08x}", target.name, crc32fast::hash(input)));
    fs::write(&path, input)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragile(data: &[u8]) {
        assert!(!data.windows(2).any(|pair| pair == b"+#"), "two wildcards");
    }

    const FRAGILE: Target = Target { name: "fragile", run: fragile };

    #[test]
    fn a_crash_is_found_made_small_and_kept() {
        let corpus = [b"a/+/b".to_vec(), b"a/#".to_vec()];
        let outcome = run(FRAGILE, &corpus, Duration::from_secs(20), 1);
        let found = outcome.crash.unwrap();
        assert_eq!(found.message, "two wildcards");
        let small = shrink(FRAGILE, found);
        assert_eq!(small.input, b"+#");
        let directory = tempfile::tempdir().unwrap();
        let path = keep(&directory.path().join("crashes"), FRAGILE, &small.input).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"+#");
    }

    static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn endless(data: &[u8]) {
        let (released, changed) = &RELEASED;
        let mut held = released.lock().unwrap();
        while data == b"loop" && !*held {
            held = changed.wait(held).unwrap();
        }
    }

    #[test]
    fn an_input_without_end_is_reported_while_it_runs() {
        let target = Target { name: "endless", run: endless };
        let reported = Mutex::new(Vec::new());
        let stuck = |input: &[u8]| {
            reported.lock().unwrap().push(input.to_vec());
            *RELEASED.0.lock().unwrap() = true;
            RELEASED.1.notify_all();
        };
        let corpus = [b"fine".to_vec(), b"loop".to_vec()];
        run_watched(target, &corpus, Duration::ZERO, 1, Duration::from_millis(20), stuck);
        assert_eq!(*reported.lock().unwrap(), [b"loop".to_vec()]);
    }

    #[test]
    fn a_crash_in_the_corpus_is_found_at_once() {
        let outcome = run(FRAGILE, &[b"x".to_vec(), b"+#".to_vec()], Duration::ZERO, 1);
        assert_eq!((outcome.executions, outcome.crash.is_some()), (2, true));
    }

    #[test]
    fn one_seed_gives_one_search() {
        let of = |seed| run(FRAGILE, &[b"+ #".to_vec()], Duration::from_secs(20), seed);
        assert_eq!(of(5).executions, of(5).executions);
    }
}
