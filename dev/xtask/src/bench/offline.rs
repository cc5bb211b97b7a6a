//! Messages for a Session whose client is away: stored by one publisher with a hundred in flight, then fetched.

use std::time::Instant;

use crate::Outcome;
use crate::bench::brokers::{Running, Way};
use crate::bench::figures::Figures;
use crate::bench::raw::{Client, puback, publish};

const MESSAGES: u32 = 20_000;
const IN_FLIGHT: u32 = 100;
const TOPIC: &str = "motte-bench/offline";

/// Stores and fetches; CPU of the broker for both, per message.
pub(crate) fn measure(broker: &Running) -> Outcome<Figures> {
    let port = broker.port(Way::Plain).ok_or("no plain listener")?;
    // What an earlier round left is not wanted.
    Client::connect(port, "motte-bench-away", true)?.disconnect()?;
    let mut away = Client::connect(port, "motte-bench-away", false)?;
    away.subscribe(&[TOPIC.to_owned()], 1)?;
    away.disconnect()?;
    let mut publisher = Client::connect(port, "motte-bench-sender", true)?;
    let before = cpu_of_all(broker.pid())?;
    let begun = Instant::now();
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < MESSAGES {
        let mut bytes = Vec::new();
        while sent < MESSAGES && sent - acknowledged < IN_FLIGHT {
            let id = u16::try_from(sent % 60_000 + 1)?;
            bytes.extend(publish(TOPIC, id, &[7; 64]));
            sent += 1;
        }
        publisher.send(&bytes)?;
        publisher.packet()?;
        acknowledged += 1;
        while publisher.has_packet() {
            publisher.packet()?;
            acknowledged += 1;
        }
    }
    let stored = begun.elapsed().as_secs_f64();
    let mut back = Client::connect(port, "motte-bench-away", false)?;
    let mut fetched = 0;
    while fetched < MESSAGES {
        let mut answers = Vec::new();
        let (first, body) = back.packet()?;
        let mut next = Some((first, body));
        while let Some((first, body)) = next {
            if first >> 4 == 3 {
                answers.extend(puback(&body).ok_or("a PUBLISH without identifier")?);
                fetched += 1;
            }
            next = if back.has_packet() { Some(back.packet()?) } else { None };
        }
        back.send(&answers)?;
    }
    let spent_ns = cpu_of_all(broker.pid())?.saturating_sub(before);
    back.disconnect()?;
    Client::connect(port, "motte-bench-away", true)?.disconnect()?;
    publisher.disconnect()?;
    let total = f64::from(u32::try_from(spent_ns / 1_000)?);
    Ok(Figures {
        cpu_us: total / f64::from(MESSAGES),
        per_s: f64::from(MESSAGES) / stored,
        p50_us: f64::NAN,
        p99_us: f64::NAN,
        lost: 0.0,
        bytes_each: f64::NAN,
    })
}

/// CPU time of a process and of those that it started, in nanoseconds.
fn cpu_of_all(pid: u32) -> Outcome<u64> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut all = cpu_ns(pid)?;
    for child in children.split_whitespace() {
        all += cpu_ns(child.parse()?)?;
    }
    Ok(all)
}

/// CPU time of all threads of a process, in nanoseconds.
fn cpu_ns(pid: u32) -> Outcome<u64> {
    let mut all = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let told = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        all += told.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(all)
}
