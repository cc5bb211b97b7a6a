//! Instructions of the hot path for each delivered message, counted by callgrind and compared with what is kept: a check of
//! speed that does not depend on time or on what else the machine does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use crate::Outcome;
use crate::workspace::{Workspace, cargo};

/// Where the counts are kept.
const KEPT: &str = "dev/hot/instructions.toml";
/// More than this much above what is kept is a regression, in percent.
const TOLERANCE_PERCENT: u64 = 5;
/// Messages of the two runs; the difference is what is counted, so that setting up costs nothing.
const MESSAGES: (u32, u32) = (2_000, 12_000);

const WORKS: [&str; 6] = ["qos0", "qos0-1k", "qos0-topics", "qos0-fanout", "qos1", "qos2"];

/// Why there is nothing to compare here, if so.
pub(crate) fn not_comparable(workspace: &Workspace) -> Outcome<Option<String>> {
    if !has_valgrind() {
        return Ok(Some("valgrind is not installed: apt-get install valgrind".to_owned()));
    }
    let (kept, now) = (Kept::read(workspace)?.compiler, compiler()?);
    Ok((kept != now).then(|| format!("counted with {kept}, this is {now}")))
}

/// Counts and compares; with `write` keeps the new counts. True when nothing got slower.
pub(crate) fn run(workspace: &Workspace, write: bool) -> Outcome<bool> {
    if !has_valgrind() {
        return Err("valgrind is not installed: apt-get install valgrind".into());
    }
    let built = cargo()
        .args(["build", "--quiet", "--release", "--package", "motte-hot"])
        .current_dir(&workspace.root)
        .status()?;
    if !built.success() {
        return Err("motte-hot does not build".into());
    }
    let kept = Kept::read(workspace)?.counts;
    let mut text = format!(
        "# Instructions for one delivered message, by `cargo xtask instructions --write`. Another compiler counts differently.\ncompiler = \"{}\"\n\n[counts]\n",
        compiler()?
    );
    let mut sound = true;
    println!("{:<12} {:>12} {:>12}", "work", "kept", "now");
    for work in WORKS {
        let (first, last) = (count(workspace, work, MESSAGES.0)?, count(workspace, work, MESSAGES.1)?);
        let (instructions, messages) = (last.0.saturating_sub(first.0), last.1.saturating_sub(first.1));
        let now = instructions / messages.max(1);
        let before = kept.get(work).copied();
        let slower = before.is_some_and(|before| now * 100 > before * (100 + TOLERANCE_PERCENT));
        let told = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        println!("{work:<12} {told:>12} {now:>12}{}", if slower { "  slower" } else { "" });
        sound &= !slower && (write || before.is_some());
        writeln!(text, "{work} = {now}")?;
    }
    if write {
        std::fs::write(workspace.root.join(KEPT), text)?;
        println!("wrote {KEPT}");
        return Ok(true);
    }
    if !sound {
        println!(
            "remedy: find what the message does more than before, or keep the new counts with --write and say why"
        );
    }
    Ok(sound)
}

/// What is kept.
#[derive(Default, serde::Deserialize)]
struct Kept {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

impl Kept {
    fn read(workspace: &Workspace) -> Outcome<Self> {
        match std::fs::read_to_string(workspace.root.join(KEPT)) {
            Ok(text) => Ok(toml::from_str(&text)?),
            Err(_) => Ok(Self::default()),
        }
    }
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

fn compiler() -> Outcome<String> {
    let told = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

/// Instructions of a whole run, and messages delivered in it.
fn count(workspace: &Workspace, work: &str, messages: u32) -> Outcome<(u64, u64)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(workspace.root.join("target/release/motte-hot"))
        .args([work, &messages.to_string()])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected =
        told.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    let instructions = collected.and_then(|count| count.parse().ok());
    let delivered = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    match (instructions, delivered) {
        (Some(instructions), Some(delivered)) => Ok((instructions, delivered)),
        _ => Err(format!("valgrind did not count {work}:\n{told}").into()),
    }
}
