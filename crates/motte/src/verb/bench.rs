//! `motte bench`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use motte_bench::{Options, Outcome, Plan, Progress, Shape, Target};
use motte_wire::ProtocolVersion;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::{BenchArgs, ShapeArg};
use crate::verb::Fault;
use crate::verb::connecting::{check_clear, password, port, qos, read, tls};

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

pub(crate) fn run(args: &BenchArgs) -> Result<(), Fault> {
    if let [first, second] = args.compare.as_slice() {
        return compare(first, second);
    }
    let plan = plan(args)?;
    let target = target(args)?;
    let stop = interruption()?;
    let is_terminal = std::io::stderr().is_terminal();
    let mut watch = |progress: &Progress| {
        let line = motte_bench::progress(progress);
        match is_terminal {
            _ if args.quiet => {}
            true => show(&format!("\r\x1b[K{line}")),
            false => show(&format!("{line}\n")),
        }
    };
    let outcome = motte_bench::run(plan, target, &stop, &mut watch);
    if is_terminal && !args.quiet {
        show("\r\x1b[K");
    }
    let outcome = outcome.map_err(|fault| Fault::new(fault.to_string()))?;
    let text = if args.json {
        outcome.to_json().map(|line| format!("{line}\n")).map_err(Fault::new)?
    } else {
        motte_bench::report(&outcome)
    };
    print(&text)
}

fn compare(first: &Path, second: &Path) -> Result<(), Fault> {
    let load = |path: &Path| {
        Outcome::from_json(&read(path)?).map_err(|error| {
            let what = format!("{} is no result of `motte bench --json`: {error}", path.display());
            Fault::with_remedy(what, "give two files that `motte bench --json > FILE` wrote")
        })
    };
    let (a, b) = (load(first)?, load(second)?);
    let names = (first.display().to_string(), second.display().to_string());
    print(&motte_bench::compare((&names.0, &a), (&names.1, &b)))
}

fn plan(args: &BenchArgs) -> Result<Plan, Fault> {
    let protocol = match args.protocol.as_str() {
        "3.1.1" | "311" | "4" => ProtocolVersion::V311,
        "5" | "5.0" => ProtocolVersion::V5,
        other => {
            return Err(Fault::with_remedy(format!("the bench speaks no MQTT {other}"), "use 3.1.1 or 5"));
        }
    };
    let options = Options {
        shape: if args.connect.is_some() { Shape::Connect } else { shape(args.shape) },
        publishers: args.publishers,
        subscribers: args.subscribers,
        connections: args.connections,
        topics: args.topics,
        prefix: args.prefix.clone(),
        qos: qos(args.qos),
        size: args.size,
        rate: args.rate,
        connect_rate: args.connect_rate,
        in_flight: args.in_flight,
        count: args.connect.or(args.messages),
        measured: seconds("--seconds", args.seconds)?,
        warmup: seconds("--warmup", args.warmup)?,
        threads: args.threads,
        protocol,
        pid: args.pid,
    };
    options.check().map_err(|error| Fault::new(error.to_string()))
}

fn shape(shape: ShapeArg) -> Shape {
    match shape {
        ShapeArg::Pairs => Shape::Pairs,
        ShapeArg::FanIn => Shape::FanIn,
        ShapeArg::FanOut => Shape::FanOut,
        ShapeArg::Mixed => Shape::Mixed,
        ShapeArg::Connect => Shape::Connect,
        ShapeArg::Idle => Shape::Idle,
    }
}

fn seconds(option: &str, number: f64) -> Result<Duration, Fault> {
    Duration::try_from_secs_f64(number).map_err(|_| {
        Fault::with_remedy(format!("{option} {number} is no time"), "give seconds; fractions are permitted")
    })
}

fn target(args: &BenchArgs) -> Result<Target, Fault> {
    let credential = &args.credential;
    let tls = tls(credential)?;
    check_clear(&args.host, tls.as_ref(), credential)?;
    // An identity may use Client Identifiers that begin with its own name.
    let client_id = match credential.identity.as_ref().or(credential.user.as_ref()) {
        Some(name) => format!("{name}-bench"),
        None => "bench".to_owned(),
    };
    Ok(Target {
        host: args.host.clone(),
        port: port(args.port, tls.as_ref()),
        tls,
        user_name: credential.user.clone(),
        password: password(credential)?,
        client_id,
        is_own: args.i_own_this_target,
    })
}

/// Becomes true with the first SIGINT or SIGTERM; a second one ends the program at once.
fn interruption() -> Result<Arc<AtomicBool>, Fault> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Fault::new(format!("the system refuses to report signals: {error}")))?;
    }
    Ok(stop)
}

/// Shows how far it is; on a terminal each line takes the place of the one before.
fn show(text: &str) {
    let mut out = std::io::stderr().lock();
    // Progress is a courtesy: a terminal that is gone does not end the run.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Fault::new(format!("cannot write: {error}")))
}
