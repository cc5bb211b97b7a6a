//! How the cost of one subscription and of one Retained Message grows with their number.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// Numbers that are tried.
const COUNTS: [u32; 5] = [10_000, 30_000, 100_000, 300_000, 1_000_000];

/// The cost of one among `count`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
    pub(crate) make_ns: f64,
    pub(crate) first_ns: f64,
    pub(crate) again_ns: f64,
}

/// Both curves.
pub(crate) struct Growth {
    pub(crate) subscriptions: Vec<Cost>,
    pub(crate) retained: Vec<Cost>,
}

/// Runs `motte-grow` with growing numbers.
pub(crate) fn measure(root: &Path) -> Outcome<Growth> {
    let curve = |what: &str| COUNTS.iter().map(|count| one(root, what, *count)).collect::<Outcome<Vec<_>>>();
    Ok(Growth { subscriptions: curve("subscriptions")?, retained: curve("retained")? })
}

fn one(root: &Path, what: &str, count: u32) -> Outcome<Cost> {
    let output =
        Command::new(root.join("target/release/motte-grow")).args([what, &count.to_string()]).output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| told.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let cost = Cost {
        count: number("count"),
        bytes: number("bytes"),
        make_ns: number("make_ns"),
        first_ns: number("first_ns"),
        again_ns: number("again_ns"),
    };
    println!("  {count:>9} {what:<13} {:>6.0} bytes, {:>6.0} ns to make", cost.bytes, cost.make_ns);
    Ok(cost)
}
