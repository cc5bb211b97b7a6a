//! The developer's verbs: `cargo xtask test` is the one command that says whether the tree is sound.
//!
//! Every verb reads the tree as it lies on disk; none changes it, save `statements --write`. What is built goes to `target`.

mod bench;
mod citation;
mod floors;
mod fuzz;
mod instructions;
mod package;
mod problem;
mod simulate;
mod source;
mod statements;
mod test;
mod tidy;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

use crate::workspace::Workspace;

/// What a verb can fail with: text for the developer.
type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
cargo xtask VERB

  test [--quick]         everything: format, lints, floors, tidy, statements, tests, interop, licences
                         --quick leaves out interop and licences and tries fewer random cases
  floors                 the dependencies of each crate against floors.toml
  tidy                   the style that a test can keep
  statements [--write]   the normative statements of MQTT against code and tests
                         --write renews docs/reference/statements.md
  bench [--rounds N]     figures beside mosquitto and rumqttd (RUMQTTD=PATH), into docs/benchmarks.md
  bench --beside         what others make a client wait, alone; printed
  bench --kept [--rounds N]
                         what is kept on disk alone, beside mosquitto with persistence and a bare fdatasync; printed
  fuzz [--seconds N]     each fuzz target for N seconds (60)
  instructions [--write] instructions of the hot path for a message against what is kept (needs valgrind)
                         --write keeps the new counts
  simulate [--seeds N] [--from S] [--clients N] [--jobs N]
                         the broker core under crashes, failing disks and lost connections; 1,000 seeds if nothing is said
  simulate --seed S [--clients N] [--steps 0-9,17] [--without 3,4] [--tell]
                         one run again, or what is left of it; --tell prints what happens
  simulate --mutations [--write]
                         plants bugs and shows that the simulation finds them
                         --write renews docs/reference/simulation.md
  package [VERSION]      the Debian package, into target/debian; needs cargo-deb and installs it when it is missing
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs one verb; true if it found nothing wrong.
fn run(words: &[&str]) -> Outcome<bool> {
    match words {
        ["test"] => Ok(test::run(&Workspace::load()?, false)),
        ["test", "--quick"] => Ok(test::run(&Workspace::load()?, true)),
        ["floors"] => Ok(problem::report("floors", &floors::check(&Workspace::load()?)?)),
        ["tidy"] => Ok(problem::report("tidy", &tidy::check(&Workspace::load()?)?)),
        ["statements"] => statements::run(&Workspace::load()?, false),
        ["statements", "--write"] => statements::run(&Workspace::load()?, true),
        ["bench"] => bench::run(&Workspace::load()?, bench::ROUNDS_DEFAULT),
        ["bench", "--rounds", rounds] => bench::run(&Workspace::load()?, rounds.parse()?),
        ["bench", "--beside"] => bench::run_beside(&Workspace::load()?),
        // Started by the above, as a process of its own that gives way.
        ["bench", "--storm", port] => bench::storm(port.parse()?),
        ["bench", "--kept"] => bench::run_kept(&Workspace::load()?, bench::ROUNDS_DEFAULT),
        ["bench", "--kept", "--rounds", rounds] => bench::run_kept(&Workspace::load()?, rounds.parse()?),
        ["fuzz"] => fuzz::run(&Workspace::load()?, fuzz::SECONDS_DEFAULT),
        ["fuzz", "--seconds", seconds] => fuzz::run(&Workspace::load()?, seconds.parse()?),
        ["instructions"] => instructions::run(&Workspace::load()?, false),
        ["instructions", "--write"] => instructions::run(&Workspace::load()?, true),
        ["simulate", words @ ..] => simulate::run(&Workspace::load()?, words),
        ["package"] => package::run(&Workspace::load()?, None),
        ["package", version] => package::run(&Workspace::load()?, Some(version)),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(!words.is_empty())
        }
        _ => Err(format!("no such verb or flag: {}\n\n{USAGE}", words.join(" ")).into()),
    }
}
