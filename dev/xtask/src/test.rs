//! The one test command: every step in turn, then a plain summary.

use std::process::Stdio;
use std::time::Instant;

use crate::problem::report;
use crate::workspace::{Workspace, cargo};
use crate::{Outcome, floors, instructions, simulate, statements, tidy};

/// How a step ended.
enum End {
    Passed,
    Failed,
    /// Not run, and why.
    Skipped(String),
}

/// The steps so far.
struct Steps<'a> {
    workspace: &'a Workspace,
    quick: bool,
    ends: Vec<(&'static str, End, u64)>,
}

/// Runs every step, even after one failed; true if none did.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> bool {
    let mut steps = Steps { workspace, quick, ends: Vec::new() };
    steps.step("floors", |_| Ok(passed(report("floors", &floors::check(workspace)?))));
    steps.step("tidy", |_| Ok(passed(report("tidy", &tidy::check(workspace)?))));
    steps.step("statements", |_| Ok(passed(report("statements", &statements::check(workspace)?))));
    steps.cargo("format", &["fmt", "--all", "--check"]);
    steps.cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    if workspace.has_cargo("nextest") {
        steps.cargo("tests", &["nextest", "run", "--workspace", "--exclude", "motte-interop"]);
    } else {
        let words = ["test", "--workspace", "--exclude", "motte-interop", "--lib", "--bins", "--tests"];
        steps.cargo("tests", &words);
    }
    steps.cargo("doc tests", &["test", "--workspace", "--doc"]);
    steps.step("simulation", |steps| simulate::test(steps.workspace).map(passed));
    if quick {
        for name in ["interop", "instructions", "licences", "advisories"] {
            steps.ends.push((name, End::Skipped("--quick".to_owned()), 0));
        }
    } else {
        steps.cargo("interop", &["test", "--package", "motte-interop"]);
        steps.step("instructions", Steps::instructions);
        steps.step("licences", Steps::licences);
        steps.step("advisories", Steps::advisories);
    }
    steps.summary()
}

const fn passed(is_in_order: bool) -> End {
    if is_in_order { End::Passed } else { End::Failed }
}

impl Steps<'_> {
    fn step(&mut self, name: &'static str, run: impl FnOnce(&Self) -> Outcome<End>) {
        println!("\n== {name}");
        let start = Instant::now();
        let end = run(self).unwrap_or_else(|error| {
            println!("{name}: {error}");
            End::Failed
        });
        self.ends.push((name, end, start.elapsed().as_secs()));
    }

    fn cargo(&mut self, name: &'static str, words: &[&str]) {
        self.step(name, |steps| steps.run_cargo(words).map(passed));
    }

    fn run_cargo(&self, words: &[&str]) -> Outcome<bool> {
        println!("cargo {}", words.join(" "));
        let mut command = cargo();
        command.args(words).current_dir(&self.workspace.root);
        if self.quick {
            command.env("PROPTEST_CASES", "32");
        }
        Ok(command.status()?.success())
    }

    /// A regression of the hot path that does not depend on time.
    fn instructions(&self) -> Outcome<End> {
        match instructions::not_comparable(self.workspace)? {
            Some(why) => Ok(End::Skipped(why)),
            None => instructions::run(self.workspace, false).map(passed),
        }
    }

    /// Bans, licences and sources need nothing but the tree.
    fn licences(&self) -> Outcome<End> {
        if !self.workspace.has_cargo("deny") {
            return Ok(End::Skipped(
                "cargo-deny is not installed: cargo install cargo-deny --locked".to_owned(),
            ));
        }
        self.run_cargo(&["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
            .map(passed)
    }

    /// Known vulnerabilities need their database, which a closed network cannot fetch.
    fn advisories(&self) -> Outcome<End> {
        if !self.workspace.has_cargo("deny") {
            return Ok(End::Skipped(
                "cargo-deny is not installed: cargo install cargo-deny --locked".to_owned(),
            ));
        }
        if !self.run_cargo(&["deny", "fetch", "db"])? {
            return Ok(End::Skipped("the advisory database could not be fetched".to_owned()));
        }
        self.run_cargo(&["deny", "check", "advisories"]).map(passed)
    }

    /// Prints how each step ended; true if none failed.
    fn summary(&self) -> bool {
        println!("\n== summary");
        let mut failures = 0;
        for (name, end, seconds) in &self.ends {
            match end {
                End::Passed => println!("  passed   {name} ({seconds} s)"),
                End::Skipped(why) => println!("  skipped  {name}: {why}"),
                End::Failed => {
                    failures += 1;
                    println!("  FAILED   {name} ({seconds} s)");
                }
            }
        }
        match failures {
            0 => println!("all steps that ran passed"),
            1 => println!("1 step failed"),
            count => println!("{count} steps failed"),
        }
        failures == 0
    }
}

impl Workspace {
    /// Whether the cargo subcommand `name` is installed.
    fn has_cargo(&self, name: &str) -> bool {
        cargo()
            .args([name, "--version"])
            .current_dir(&self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}
