//! `cargo xtask bench`: what the broker costs beside its peers, in one interleaved run, written to docs/benchmarks.md.
//!
//! Generator and brokers share the machine, so CPU time for each delivery is the figure, and ratios to a peer of the same run
//! are what may be quoted. Nothing here is a test: no check depends on time.

mod brokers;
mod fairness;
mod figures;
mod growth;
mod kept;
mod offline;
mod page;
mod plot;
mod queues;
mod raw;
mod rows;

use crate::Outcome;
use crate::workspace::{Workspace, cargo};

/// Rounds of each row; medians of at least five are told.
pub(crate) const ROUNDS_DEFAULT: usize = 5;

/// Rounds of each trouble; a round is a broker of its own and two runs.
const FAIRNESS_ROUNDS: usize = 3;

/// Measures everything and writes the page.
pub(crate) fn run(workspace: &Workspace, rounds: usize) -> Outcome<bool> {
    let root = &workspace.root;
    build(workspace, &["motte", "motte-hot"])?;
    let site = brokers::Site::new(root)?;
    let rows = rows::measure(&site, rounds)?;
    let kept = kept::measure(&site, rounds)?;
    let queues = queues::measure(&site)?;
    let fairness = fairness::measure(&site, rounds.min(FAIRNESS_ROUNDS))?;
    let growth = growth::measure(root)?;
    page::write(root, &page::Measured { rounds, peers: site.peers(), rows, kept, queues, fairness, growth })?;
    println!("wrote docs/benchmarks.md and docs/plots");
    Ok(true)
}

/// Measures what is kept on disk alone, and prints its section of the page.
pub(crate) fn run_kept(workspace: &Workspace, rounds: usize) -> Outcome<bool> {
    build(workspace, &["motte"])?;
    let site = brokers::Site::new(&workspace.root)?;
    let (kept, queues) = (kept::measure(&site, rounds)?, queues::measure(&site)?);
    print!("{}{}", kept::section(&kept)?, queues::section(&queues)?);
    Ok(true)
}

/// Measures what others make a client wait, and prints its section of the page.
pub(crate) fn run_beside(workspace: &Workspace) -> Outcome<bool> {
    build(workspace, &["motte"])?;
    let site = brokers::Site::new(&workspace.root)?;
    print!("{}", page::beside(&fairness::measure(&site, FAIRNESS_ROUNDS)?)?);
    Ok(true)
}

/// Makes many subscriptions, and holds them until it is ended.
pub(crate) fn storm(port: u16) -> Outcome<bool> {
    fairness::storm(port)?;
    Ok(true)
}

fn build(workspace: &Workspace, packages: &[&str]) -> Outcome<()> {
    for package in packages {
        let built = cargo()
            .args(["build", "--release", "--package", package])
            .current_dir(&workspace.root)
            .status()?;
        if !built.success() {
            return Err(format!("{package} does not build").into());
        }
    }
    Ok(())
}
