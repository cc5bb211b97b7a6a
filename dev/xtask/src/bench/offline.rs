//! Messages for a Session whose client is away: stored by one publisher with a hundred in flight, then fetched.

use std::time::Instant;

use crate::Outcome;
use crate::bench::brokers::{Running, Way};
use crate::bench::figures::Figures;
use crate::bench::raw::{Client, puback, publish};

pub(crate) const MESSAGES: u32 = 20_000;
const IN_FLIGHT: u32 = 100;
pub(crate) const TOPIC: &str = "motte-bench/offline";

/// Stores and fetches; CPU of the broker for both, per message.
pub(crate) fn measure(broker: &Running) -> Outcome<Figures> {
    let port = broker.port(Way::Plain).ok_or("no plain listener")?;
    leave(port)?;
    let before = cpu_of_all(broker.pid())?;
    let stored = store(port, 1)?;
    drain(port)?;
    let spent_ns = cpu_of_all(broker.pid())?.saturating_sub(before);
    forget(port)?;
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

/// Leaves a Session behind that waits for messages, without what an earlier round left.
pub(crate) fn leave(port: u16) -> Outcome<()> {
    forget(port)?;
    let mut away = Client::connect(port, "motte-bench-away", false)?;
    away.subscribe(&[TOPIC.to_owned()], 1)?;
    away.disconnect()
}

/// Ends that Session.
pub(crate) fn forget(port: u16) -> Outcome<()> {
    Client::connect(port, "motte-bench-away", true)?.disconnect()
}

/// Has so many publishers send all messages together, each with a hundred in flight; the time it took, in seconds.
pub(crate) fn store(port: u16, publishers: u32) -> Outcome<f64> {
    let begun = Instant::now();
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let own = |number| {
            scope.spawn(move || send(port, number, MESSAGES / publishers).map_err(|error| error.to_string()))
        };
        let threads: Vec<_> = (0..publishers).map(own).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a publisher panicked".into())))
            .collect()
    });
    results.into_iter().collect::<Result<Vec<()>, String>>()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn send(port: u16, number: u32, messages: u32) -> Outcome<()> {
    let mut publisher = Client::connect(port, &format!("motte-bench-sender-{number}"), true)?;
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < messages {
        let mut bytes = Vec::new();
        while sent < messages && sent - acknowledged < IN_FLIGHT {
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
    publisher.disconnect()
}

/// Fetches them; the time it took, in seconds.
pub(crate) fn drain(port: u16) -> Outcome<f64> {
    let begun = Instant::now();
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
    back.disconnect()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// CPU time of a process and of those that it started, in nanoseconds.
pub(crate) fn cpu_of_all(pid: u32) -> Outcome<u64> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut all = cpu_ns(pid)?;
    for child in children.split_whitespace() {
        all += cpu_ns(child.parse()?)?;
    }
    Ok(all)
}

/// CPU time of all threads of a process, in nanoseconds.
pub(crate) fn cpu_ns(pid: u32) -> Outcome<u64> {
    let mut all = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let told = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        all += told.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(all)
}
