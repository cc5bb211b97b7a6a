//! Runs seeds until one breaks a promise, and shows the smallest scenario that does. `cargo xtask simulate` calls it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use motte_sim::{Outcome, Scenario, Setup, Violation, numbers, ranges, replay, shrink};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(5);

const USAGE: &str = "\
simulate [--seeds N] [--from S] [--clients N] [--jobs N] [--no-shrink]
simulate --seed S [--clients N] [--steps 0-9,17] [--without 3,4] [--tell]
";

/// What is asked for.
#[derive(Debug, Default)]
struct Wanted {
    seeds: Option<u64>,
    from: u64,
    clients: Option<usize>,
    jobs: Option<usize>,
    seed: Option<u64>,
    steps: Option<Vec<usize>>,
    without: Vec<usize>,
    no_shrink: bool,
    tell: bool,
}

impl Wanted {
    fn parse(words: &[String]) -> Option<Self> {
        let mut wanted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--no-shrink" || word == "--tell" {
                wanted.no_shrink |= word == "--no-shrink";
                wanted.tell |= word == "--tell";
                continue;
            }
            let value = words.next()?;
            match word.as_str() {
                "--seeds" => wanted.seeds = Some(value.parse().ok()?),
                "--from" => wanted.from = value.parse().ok()?,
                "--clients" => wanted.clients = Some(value.parse().ok()?),
                "--jobs" => wanted.jobs = Some(value.parse().ok()?),
                "--seed" => wanted.seed = Some(value.parse().ok()?),
                "--steps" => wanted.steps = Some(numbers(value)?),
                "--without" => wanted.without = numbers(value)?,
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let mut setup = Setup::of(seed);
        if let Some(clients) = self.clients {
            // As much for each client as in a small run.
            setup = Setup { clients: clients.max(1), steps: setup.steps.max(clients * 20), ..setup };
        }
        let mut scenario = Scenario::whole(setup);
        if let Some(steps) = &self.steps {
            scenario.steps.clone_from(steps);
        }
        scenario.absent.extend(self.without.iter().copied());
        scenario
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(wanted) = Wanted::parse(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_sound = match wanted.seed {
        Some(seed) => replayed(&Scenario { is_told: wanted.tell, ..wanted.scenario(seed) }),
        None => searched(&wanted),
    };
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replayed(scenario: &Scenario) -> bool {
    match replay(scenario) {
        Ok(outcome) => {
            println!("{outcome:?}\nno promise was broken");
            true
        }
        Err(violation) => {
            println!("step {}: {}", violation.step, violation.what);
            false
        }
    }
}

/// What all threads share.
struct Search {
    next: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
    sum: Mutex<Outcome>,
    /// The broken promise of the smallest seed so far.
    found: Mutex<Option<(u64, Violation)>>,
}

fn searched(wanted: &Wanted) -> bool {
    let seeds = wanted.seeds.unwrap_or(1_000);
    let jobs = wanted.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let search = Search {
        next: AtomicU64::new(wanted.from),
        done: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        sum: Mutex::new(Outcome::default()),
        found: Mutex::new(None),
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..jobs).map(|_| scope.spawn(|| work(&search, wanted, wanted.from + seeds))).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::park_timeout(Duration::from_millis(20));
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                tell(&search, seeds, start);
            }
        }
    });
    tell(&search, seeds, start);
    let found = search.found.lock().ok().and_then(|mut found| found.take());
    let Some((seed, violation)) = found else {
        if let Ok(sum) = search.sum.lock() {
            println!("{sum:?}");
        }
        return true;
    };
    broken(wanted, seed, violation);
    false
}

fn work(search: &Search, wanted: &Wanted, end: u64) {
    while !search.is_over.load(Ordering::Relaxed) {
        let seed = search.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        match replay(&wanted.scenario(seed)) {
            Ok(outcome) => {
                search.done.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut sum) = search.sum.lock() {
                    sum.add(&outcome);
                }
            }
            Err(violation) => {
                search.is_over.store(true, Ordering::Relaxed);
                if let Ok(mut found) = search.found.lock()
                    && found.as_ref().is_none_or(|(other, _)| seed < *other)
                {
                    *found = Some((seed, violation));
                }
            }
        }
    }
}

fn tell(search: &Search, seeds: u64, start: Instant) {
    let done = search.done.load(Ordering::Relaxed);
    let (ms, steps) =
        (start.elapsed().as_millis().max(1), search.sum.lock().map_or(0, |sum| sum.steps as u128));
    println!(
        "{done} of {seeds} seeds, {} seeds/s, {} steps/s, {}.{} s",
        u128::from(done) * 1_000 / ms,
        steps * 1_000 / ms,
        ms / 1_000,
        ms / 100 % 10
    );
}

fn broken(wanted: &Wanted, seed: u64, violation: Violation) {
    println!("seed {seed}, step {}: {}", violation.step, violation.what);
    if wanted.no_shrink {
        return;
    }
    println!("making it smaller");
    let (scenario, violation) = shrink(&wanted.scenario(seed), violation);
    let absent: Vec<usize> = scenario.absent.iter().copied().collect();
    println!(
        "{} steps of {} clients: step {}: {}",
        scenario.steps.len(),
        scenario.setup.clients - absent.len(),
        violation.step,
        violation.what
    );
    let clients = wanted.clients.map_or_else(String::new, |clients| format!(" --clients {clients}"));
    let without = if absent.is_empty() { String::new() } else { format!(" --without {}", ranges(&absent)) };
    println!(
        "again: cargo xtask simulate --seed {seed}{clients} --steps {}{without}",
        ranges(&scenario.steps)
    );
}
