//! One run of `motte bench`, and the median of several.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;
use crate::bench::brokers::{Running, Site, Way};

/// What one run said. What it does not say is not a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// CPU time of the broker for each delivery, or each connection, in microseconds.
    pub(crate) cpu_us: f64,
    /// Deliveries, or connections, a second.
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) lost: f64,
    /// Resident bytes of the broker for each idle connection.
    pub(crate) bytes_each: f64,
}

/// Runs `motte bench` against a broker.
pub(crate) fn run(site: &Site, broker: &Running, way: Way, words: &[&str]) -> Outcome<Figures> {
    let output = command(site.motte(), site, broker, way, words)?.stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("motte bench {} against {}: {said}", words.join(" "), broker.kind.name()).into());
    }
    let told: Value = serde_json::from_slice(&output.stdout)?;
    Ok(Figures::of(&told))
}

/// The command of a run, with its result on standard output.
pub(crate) fn command(
    motte: &Path,
    site: &Site,
    broker: &Running,
    way: Way,
    words: &[&str],
) -> Outcome<Command> {
    let port = broker.port(way).ok_or("the broker has no such listener")?;
    let mut command = Command::new(motte);
    command.args(["bench", "--json", "--quiet", "-V", "3.1.1", "-p", &port.to_string()]);
    command.args(["--pid", &broker.pid().to_string()]);
    if way != Way::Plain {
        command.arg("--ca").arg(site.authority());
    }
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

impl Figures {
    fn of(told: &Value) -> Self {
        let number = |path: &str| told.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let connects = told.pointer("/settings/shape").and_then(Value::as_str) == Some("connect");
        Self {
            cpu_us: number("/broker/cpu_us_each"),
            per_s: number(if connects { "/connections/accepted_per_s" } else { "/messages/delivered_per_s" }),
            p50_us: number("/messages/latency/p50_us"),
            p99_us: number("/messages/latency/p99_us"),
            lost: number("/messages/lost"),
            bytes_each: number("/broker/resident_bytes_per_connection"),
        }
    }

    /// The median of each figure.
    pub(crate) fn median(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure).collect());
        Self {
            cpu_us: of(|one| one.cpu_us),
            per_s: of(|one| one.per_s),
            p50_us: of(|one| one.p50_us),
            p99_us: of(|one| one.p99_us),
            lost: of(|one| one.lost),
            bytes_each: of(|one| one.bytes_each),
        }
    }
}

/// The middle one of those that are numbers.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
