//! `motte status`: how a broker is.

use std::fmt::Write as _;

use motte_event::escaped;
use motte_roles::{CoreAnswer, CoreRequest, Processes, Status, SupervisorAnswer, SupervisorRequest};
use serde_json::json;

use super::{Broker, lines, time};
use crate::cli::StatusArgs;
use crate::verb::Fault;
use crate::verb::vault::running;

pub(crate) fn run(args: &StatusArgs) -> Result<(), Fault> {
    let broker = Broker::find(&args.socket)?;
    let SupervisorAnswer::Processes { processes } = broker.supervisor(SupervisorRequest::Processes)? else {
        return Err(broker.nonsense());
    };
    let CoreAnswer::Status { status } = broker.core(CoreRequest::Status)? else {
        return Err(broker.nonsense());
    };
    let vault = running::status(&broker)?;
    if args.json {
        let mut all = to_json(&status, &processes);
        if let Some(all) = all.as_object_mut() {
            all.insert("vault".to_owned(), vault.as_ref().map(running::as_json).into());
        }
        println!("{all:#}");
    } else {
        print!("{}", to_text(&status, &processes));
        print!("{}", vault.as_ref().map(running::describe).unwrap_or_default());
    }
    Ok(())
}

fn to_json(status: &Status, processes: &Processes) -> serde_json::Value {
    let per_s = |per_ks: u64| f64::from(u32::try_from(per_ks).unwrap_or(u32::MAX)) / 1_000.0;
    json!({
        "version": status.version,
        "uptime_s": status.uptime_s,
        "workers": status.workers,
        "processes": processes.processes.iter().map(|one| json!({
            "role": one.role,
            "pid": one.pid,
            "resident_bytes": one.resident_bytes,
            "restarts": one.restarts,
            "sandbox": one.sandbox,
        })).collect::<Vec<_>>(),
        "listeners": status.listeners.iter().map(|one| json!({
            "name": one.name,
            "kind": one.kind,
            "addresses": one.addresses,
            "connections": one.connections,
        })).collect::<Vec<_>>(),
        "connections": status.connections,
        "sessions": status.sessions,
        "subscriptions": status.subscriptions,
        "retained": { "messages": status.retained_messages, "bytes": status.retained_bytes },
        "memory": { "used_bytes": status.memory_used_bytes, "max_bytes": status.memory_max_bytes },
        "waiting_to_be_written_bytes": status.backlog_bytes,
        "messages": {
            "received": status.received,
            "sent": status.sent,
            "queued": status.queued,
            "dropped": status.dropped,
            "denied": status.denied,
            "received_per_s": per_s(status.received_per_ks),
            "sent_per_s": per_s(status.sent_per_ks),
        },
        "policy": {
            "generation": status.policy.generation,
            "loaded_unix_ms": status.policy.loaded_unix_ms,
            "by": status.policy.by,
        },
        "reload": status.reload.as_ref().map(|reload| json!({
            "unix_ms": reload.unix_ms,
            "by": reload.by,
            "fault": reload.fault,
        })),
        "certificates": status.certificates.iter().map(|one| json!({
            "file": one.file,
            "not_after_unix_s": one.not_after_unix_s,
        })).collect::<Vec<_>>(),
    })
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const MIB: u64 = 1_024 * 1_024;
    match count {
        0..1_024 => format!("{count} B"),
        1_024..MIB => format!("{}.{} KiB", count / 1_024, count % 1_024 * 10 / 1_024),
        _ => format!("{}.{} MiB", count / MIB, count % MIB * 10 / MIB),
    }
}

fn to_text(status: &Status, processes: &Processes) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(&mut out, status, processes);
    out
}

fn write_text(out: &mut String, status: &Status, processes: &Processes) -> std::fmt::Result {
    writeln!(
        out,
        "motte {}, up {} s, {} workers",
        escaped(&status.version),
        status.uptime_s,
        status.workers
    )?;
    writeln!(out, "\nprocess     pid      memory       started again  sandbox")?;
    for one in &processes.processes {
        let (role, memory) = (escaped(&one.role), one.resident_bytes);
        let memory = if memory == 0 { "not visible".to_owned() } else { bytes(memory) };
        writeln!(
            out,
            "{role:<10}  {:<7}  {memory:<11}  {:<13}  {}",
            one.pid,
            one.restarts,
            escaped(&one.sandbox)
        )?;
    }
    writeln!(out, "\nlistener    kind   connections  addresses")?;
    for one in &status.listeners {
        let (name, kind, addresses) =
            (escaped(&one.name), escaped(&one.kind), escaped(&one.addresses.join(" ")));
        writeln!(out, "{name:<10}  {kind:<5}  {:<11}  {addresses}", one.connections)?;
    }
    write_figures(out, status)?;
    write_rules(out, status)
}

/// What the broker holds and moves.
fn write_figures(out: &mut String, status: &Status) -> std::fmt::Result {
    let memory = bytes(status.memory_used_bytes);
    writeln!(
        out,
        "\nconnections {}, Sessions {}, subscriptions {}",
        status.connections, status.sessions, status.subscriptions
    )?;
    writeln!(out, "Retained Messages {} ({})", status.retained_messages, bytes(status.retained_bytes))?;
    writeln!(
        out,
        "waiting and retained messages have {memory} of {}; to be written: {}",
        bytes(status.memory_max_bytes),
        bytes(status.backlog_bytes)
    )?;
    let per_s = |per_ks: u64| format!("{}.{}", per_ks / 1_000, per_ks % 1_000 / 100);
    writeln!(
        out,
        "messages in {} ({}/s), out {} ({}/s); queued {}, dropped {}, denied {}",
        status.received,
        per_s(status.received_per_ks),
        status.sent,
        per_s(status.sent_per_ks),
        status.queued,
        status.dropped,
        status.denied
    )?;
    Ok(())
}

/// By which rules.
fn write_rules(out: &mut String, status: &Status) -> std::fmt::Result {
    writeln!(
        out,
        "\npolicy {} since {}, by {}",
        status.policy.generation,
        time(status.policy.loaded_unix_ms),
        escaped(&status.policy.by)
    )?;
    match &status.reload {
        None => {}
        Some(reload) => {
            let (at, by) = (time(reload.unix_ms), escaped(&reload.by));
            match &reload.fault {
                None => writeln!(out, "last reload at {at}, by {by}: in force")?,
                Some(fault) => writeln!(out, "last reload at {at}, by {by}: refused\n{}", lines(fault))?,
            }
        }
    }
    for one in &status.certificates {
        writeln!(
            out,
            "certificate {} until {}",
            escaped(&one.file),
            time(one.not_after_unix_s.saturating_mul(1_000))
        )?;
    }
    Ok(())
}
