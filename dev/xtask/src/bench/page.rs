//! docs/benchmarks.md: the figures with what they were measured on, and the plots beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::bench::brokers::{Kind, Peer};
use crate::bench::fairness::Beside;
use crate::bench::figures::Figures;
use crate::bench::growth::{Cost, Growth};
use crate::bench::kept::{self, Kept};
use crate::bench::plot::{Line, draw};
use crate::bench::queues::{self, Queues};
use crate::bench::rows::{Method, Row};

/// Everything that was measured.
pub(crate) struct Measured {
    pub(crate) rounds: usize,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rows: Vec<Row>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) queues: Vec<Queues>,
    pub(crate) fairness: Vec<Beside>,
    pub(crate) growth: Growth,
}

const COLUMNS: [Kind; 4] = [Kind::Motte(1), Kind::Motte(2), Kind::Mosquitto, Kind::Rumqttd];
/// The part of the page that is written by hand, kept from run to run.
const NOTES: &str = "## Notes";

/// Writes the page and the plots.
pub(crate) fn write(root: &Path, measured: &Measured) -> Outcome<()> {
    let path = root.join("docs/benchmarks.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let notes = before.find(NOTES).and_then(|at| before.get(at..)).unwrap_or_default();
    let mut page = head(measured)?;
    table(&mut page, &measured.rows)?;
    page.push_str(&kept::section(&measured.kept)?);
    page.push_str(&queues::section(&measured.queues)?);
    fairness(&mut page, &measured.fairness)?;
    growth(&mut page, &measured.growth)?;
    instructions(&mut page, root)?;
    page.push_str(notes);
    fs::write(path, page)?;
    let plots = root.join("docs/plots");
    fs::create_dir_all(&plots)?;
    let Growth { subscriptions, retained } = &measured.growth;
    fs::write(plots.join("bytes.svg"), bytes_plot(subscriptions, retained))?;
    fs::write(
        plots.join("subscriptions.svg"),
        time_plot("Time for one of many subscriptions", "route a new topic", "route it again", subscriptions),
    )?;
    fs::write(
        plots.join("retained.svg"),
        time_plot(
            "Time for one of many Retained Messages",
            "SUBSCRIBE that finds one by #",
            "by +",
            retained,
        ),
    )?;
    Ok(())
}

fn head(measured: &Measured) -> Outcome<String> {
    let mut page = format!(
        "# Benchmarks\n\nMeasured on {} by `cargo xtask bench` on {}, with {}.\nGenerator (`motte bench`) and brokers share the machine and its loopback; rounds are interleaved, the figures are medians of\n{} rounds. CPU is the broker's own, of all its threads, for each delivered message: it is the figure to compare, and the ratio in one\nrun is what may be quoted, since absolute figures drift by a third with what else the machine does.\n\nMotte decides every publication and delivery by a policy; its TLS is 1.3. The peers run open: ",
        date()?,
        machine()?,
        version("rustc", "--version")?,
        measured.rounds
    );
    let peers: Vec<String> =
        measured.peers.iter().map(|peer| format!("{} {}", peer.kind.name(), peer.version)).collect();
    writeln!(page, "{}.\n", if peers.is_empty() { "none was found".to_owned() } else { peers.join(", ") })?;
    Ok(page)
}

fn table(page: &mut String, rows: &[Row]) -> Outcome<()> {
    page.push_str("| work | goal | Motte, 1 worker | Motte, 2 workers | mosquitto | rumqttd | mosquitto / Motte |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let of = |kind: Kind| row.by_broker.iter().find(|(of, _)| *of == kind).map(|(_, figures)| figures);
        let unit = if row.work.method == Method::Idle { "KiB" } else { "us" };
        write!(page, "| {} | {} {unit} |", row.work.name, row.work.goal)?;
        for kind in COLUMNS {
            match of(kind) {
                Some(figures) => write!(page, " {} |", cell(row.work.method, figures))?,
                None => page.push_str(" - |"),
            }
        }
        let value = |figures: &Figures| {
            if row.work.method == Method::Idle { figures.bytes_each } else { figures.cpu_us }
        };
        match (of(Kind::Mosquitto), of(Kind::Motte(1))) {
            (Some(peer), Some(own)) => writeln!(page, " {:.1} |", value(peer) / value(own))?,
            _ => page.push_str(" - |\n"),
        }
    }
    page.push_str("\nOffline: CPU for a message stored and fetched, and how many a second one publisher stored with a hundred in flight.\n\n");
    Ok(())
}

fn cell(method: Method, figures: &Figures) -> String {
    let Figures { cpu_us, per_s, p50_us, lost, bytes_each, .. } = figures;
    let rate =
        if *per_s >= 1e6 { format!("{:.1} M/s", per_s / 1e6) } else { format!("{:.0} k/s", per_s / 1e3) };
    match method {
        Method::Idle => format!("{:.2} KiB", bytes_each / 1_024.0),
        Method::Connect => format!("{cpu_us:.0} us, {per_s:.0}/s"),
        Method::Offline => format!("{cpu_us:.2} us, {rate}"),
        Method::Flow => {
            let lost = if *lost > 0.0 { format!(", {lost:.0} lost") } else { String::new() };
            let latency = if *per_s < 10_000.0 { format!("p50 {p50_us:.0} us") } else { rate };
            format!("{cpu_us:.2} us, {latency}{lost}")
        }
    }
}

/// What others make a client wait.
pub(crate) fn beside(all: &[Beside]) -> Outcome<String> {
    let mut page = String::new();
    fairness(&mut page, all)?;
    Ok(page)
}

fn fairness(page: &mut String, all: &[Beside]) -> Outcome<()> {
    page.push_str("## What others make a client wait\n\nTwo pairs at 1,000 messages a second in all, on a broker with one worker: alone, and beside trouble. Broker, pair and what makes\nthe trouble share the cores; the latter stands for clients elsewhere and runs when a core is idle.\n\n| beside | p50 alone | p50 | p99 alone | p99 | p99 ratio |\n|---|---|---|---|---|---|\n");
    for Beside { trouble, alone, disturbed } in all {
        writeln!(
            page,
            "| {trouble} | {:.0} us | {:.0} us | {:.0} us | {:.0} us | {:.1} |",
            alone.p50_us,
            disturbed.p50_us,
            alone.p99_us,
            disturbed.p99_us,
            disturbed.p99_us / alone.p99_us
        )?;
    }
    page.push('\n');
    Ok(())
}

fn growth(page: &mut String, growth: &Growth) -> Outcome<()> {
    page.push_str("## How it grows\n\nOne shard without sockets (`motte-grow`). Subscriptions: a hundred a client, seven of ten ending in `+`, two in `#`. Retained\nMessages: 64 bytes of payload, looked up by a SUBSCRIBE whose wildcard matches one of them.\n\n| | number | bytes each | to make | first use | again |\n|---|---|---|---|---|---|\n");
    for (name, curve) in [("subscription", &growth.subscriptions), ("Retained Message", &growth.retained)] {
        for Cost { count, bytes, make_ns, first_ns, again_ns } in curve {
            writeln!(
                page,
                "| {name} | {count:.0} | {bytes:.0} | {:.2} us | {:.2} us | {:.2} us |",
                make_ns / 1e3,
                first_ns / 1e3,
                again_ns / 1e3
            )?;
        }
    }
    page.push_str("\n![bytes](plots/bytes.svg)\n![subscriptions](plots/subscriptions.svg)\n![retained](plots/retained.svg)\n\n");
    Ok(())
}

fn instructions(page: &mut String, root: &Path) -> Outcome<()> {
    let kept = fs::read_to_string(root.join("dev/hot/instructions.toml"))?;
    let table: toml::Table = toml::from_str(&kept)?;
    page.push_str("## Instructions of the hot path\n\nCounted by callgrind from the bytes of a packet to the output of a subscriber, for each delivered message; `cargo xtask instructions`\nfails when one rises by more than 5 %.\n\n| work | instructions |\n|---|---|\n");
    for (work, count) in table.get("counts").and_then(toml::Value::as_table).into_iter().flatten() {
        writeln!(page, "| {work} | {count} |")?;
    }
    page.push('\n');
    Ok(())
}

fn bytes_plot(subscriptions: &[Cost], retained: &[Cost]) -> String {
    let points = |curve: &[Cost]| curve.iter().map(|cost| (cost.count, cost.bytes)).collect();
    draw(
        "Memory for each",
        "bytes",
        &[
            Line { name: "subscription", colour: "#3b82c4", points: points(subscriptions) },
            Line { name: "Retained Message", colour: "#c4763b", points: points(retained) },
        ],
    )
}

fn time_plot(title: &str, first: &str, again: &str, curve: &[Cost]) -> String {
    let points = |of: fn(&Cost) -> f64| curve.iter().map(|cost| (cost.count, of(cost))).collect();
    draw(
        title,
        "ns",
        &[
            Line { name: "make", colour: "#3b82c4", points: points(|cost| cost.make_ns) },
            Line { name: first, colour: "#c4763b", points: points(|cost| cost.first_ns) },
            Line { name: again, colour: "#4a9d5b", points: points(|cost| cost.again_ns) },
        ],
    )
}

fn date() -> Outcome<String> {
    version("date", "+%Y-%m-%d")
}

/// Cores, model and kernel.
fn machine() -> Outcome<String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    Ok(format!("{cores} cores of {model}, Linux {}", version("uname", "-r")?))
}

fn version(program: &str, flag: &str) -> Outcome<String> {
    let output = Command::new(program).arg(flag).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
