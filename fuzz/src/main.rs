//! The runner: `motte-fuzz [--seconds N] [--target T] [--seed S]`, or `motte-fuzz --write-corpora`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use motte_fuzz::{TARGETS, Target, corpus, runner};

const USAGE: &str = "\
motte-fuzz [--seconds N] [--target T] [--seed S]   search for N seconds (60) in each target, or in T alone
motte-fuzz --write-corpora                         write the corpora that the encoders make";

/// An input that takes this long is taken for one without end.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Asked {
    seconds: u64,
    target: Option<String>,
    seed: Option<u64>,
    write_corpora: bool,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = if asked.write_corpora { write_corpora().map(|()| true) } else { search(&asked) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("motte-fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { seconds: 60, target: None, seed: None, write_corpora: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seconds" => asked.seconds = number(value()?)?,
            "--target" => asked.target = Some(value()?),
            "--seed" => asked.seed = Some(number(value()?)?),
            "--write-corpora" => asked.write_corpora = true,
            _ => return Err(format!("{word} is not known")),
        }
    }
    if let Some(name) = &asked.target
        && !TARGETS.iter().any(|target| target.name == name)
    {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        let names = names.join(", ");
        return Err(format!("{name} is no target; there are {names}"));
    }
    Ok(asked)
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether no target crashed.
fn search(asked: &Asked) -> io::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = asked.seed.unwrap_or(now.as_secs());
    let wanted = |target: &&Target| asked.target.as_deref().is_none_or(|name| name == target.name);
    println!("seed {seed}");
    let mut sound = true;
    for target in TARGETS.iter().filter(wanted) {
        let corpus = runner::corpus(&home().join("corpora").join(target.name))?;
        let time = Duration::from_secs(asked.seconds);
        let stuck = |input: &[u8]| stuck(*target, input);
        let outcome = runner::run_watched(*target, &corpus, time, seed, PATIENCE, stuck);
        let millis = outcome.took.as_millis().max(1);
        let per_second = u128::from(outcome.executions) * 1000 / millis;
        println!(
            "{:<13} {:>11} executions from {:>2} inputs, {per_second:>8} per second",
            target.name, outcome.executions, outcome.corpus
        );
        if let Some(found) = outcome.crash {
            sound = false;
            report(*target, found)?;
        }
    }
    Ok(sound)
}

/// Keeps an input that does not come to an end, and ends the process, for nothing else ends it.
fn stuck(target: Target, input: &[u8]) {
    eprintln!("{} has not come to an end in {} s on {} bytes", target.name, PATIENCE.as_secs(), input.len());
    match runner::keep(&home().join("crashes"), target, input) {
        Ok(path) => eprintln!("  kept as {}", path.display()),
        Err(error) => eprintln!("  it could not be kept: {error}\n  it is: {}", input.escape_ascii()),
    }
    std::process::exit(1);
}

fn report(target: Target, found: runner::Crash) -> io::Result<()> {
    let original = found.input.len();
    let small = runner::shrink(target, found);
    let path: PathBuf = runner::keep(&home().join("crashes"), target, &small.input)?;
    let mut error = io::stderr().lock();
    writeln!(error, "{} crashed: {}", target.name, small.message)?;
    writeln!(error, "  {} bytes (of {original}): {}", small.input.len(), small.input.escape_ascii())?;
    writeln!(error, "  kept as {}", path.display())
}

fn write_corpora() -> io::Result<()> {
    for target in TARGETS {
        let directory = home().join("corpora").join(target.name);
        std::fs::create_dir_all(&directory)?;
        let inputs = corpus::of(target.name);
        for (name, bytes) in &inputs {
            std::fs::write(directory.join(name), bytes)?;
        }
        println!("{:<13} {:>2} inputs", target.name, inputs.len());
    }
    Ok(())
}
