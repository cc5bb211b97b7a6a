//! Queues larger than memory: many Sessions that wait for the same messages, what the broker takes for them, and how long it
//! takes to start again with them after it was killed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::Outcome;
use crate::bench::brokers::{Kind, Running, Site, Way};
use crate::bench::offline;
use crate::bench::raw::{Client, puback, publish};

/// What is measured: Sessions, and messages that wait for each.
const SIZES: [(u32, u32); 2] = [(100, 10_000), (1_000, 10_000)];
const TOPIC: &str = "motte-bench/queues";
/// Publications on their way to the broker.
const IN_FLIGHT: u32 = 100;
/// Whose queue is fetched at the end.
const FETCHED: &str = "motte-bench-queue-0";

/// What one size came to.
pub(crate) struct Queues {
    sessions: u32,
    messages: u32,
    stored_s: f64,
    cpu_us: f64,
    peak_mib: f64,
    disk_mib: f64,
    start_s: f64,
    fetched_s: f64,
}

/// Measures each size once, on a broker with one worker.
pub(crate) fn measure(site: &Site) -> Outcome<Vec<Queues>> {
    SIZES.into_iter().map(|(sessions, messages)| once(site, sessions, messages)).collect()
}

fn once(site: &Site, sessions: u32, messages: u32) -> Outcome<Queues> {
    println!("{sessions} Sessions for which {messages} messages wait");
    let broker = site.start_kept(Kind::Motte(1))?;
    let port = broker.port(Way::Plain).ok_or("no plain listener")?;
    for number in 0..sessions {
        let mut away = Client::connect(port, &format!("motte-bench-queue-{number}"), false)?;
        away.subscribe(&[TOPIC.to_owned()], 1)?;
        away.disconnect()?;
    }
    let before = offline::cpu_of_all(broker.pid())?;
    let begun = Instant::now();
    store(port, messages)?;
    let stored_s = begun.elapsed().as_secs_f64();
    let spent_ns = offline::cpu_of_all(broker.pid())?.saturating_sub(before);
    let peak_mib = peak_mib(&broker)?;
    let disk_mib = mib_of(&site.directory().join("kept"))?;
    broker.kill()?;

    let begun = Instant::now();
    let again = site.start_again(Kind::Motte(1))?;
    let port = again.port(Way::Plain).ok_or("no plain listener")?;
    let mut back = Client::connect(port, FETCHED, false)?;
    let start_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    fetch(&mut back, messages)?;
    let fetched_s = begun.elapsed().as_secs_f64();
    let deliveries = f64::from(sessions) * f64::from(messages);
    let cpu_us = f64::from(u32::try_from(spent_ns / 1_000)?) / deliveries;
    let peak_mib = peak_mib.max(self::peak_mib(&again)?);
    println!(
        "  {peak_mib:.0} MiB, {disk_mib:.0} MiB on disk, {cpu_us:.2} us each, started again in {start_s:.2} s"
    );
    Ok(Queues { sessions, messages, stored_s, cpu_us, peak_mib, disk_mib, start_s, fetched_s })
}

fn store(port: u16, messages: u32) -> Outcome<()> {
    let mut publisher = Client::connect(port, "motte-bench-sender", true)?;
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < messages {
        while sent < messages && sent - acknowledged < IN_FLIGHT {
            publisher.send(&publish(TOPIC, u16::try_from(sent % 60_000 + 1)?, &[7; 64]))?;
            sent += 1;
        }
        publisher.packet()?;
        acknowledged += 1;
    }
    publisher.disconnect()
}

fn fetch(back: &mut Client, messages: u32) -> Outcome<()> {
    let mut fetched = 0;
    while fetched < messages {
        let (first, body) = back.packet()?;
        if first >> 4 == 3 {
            back.send(&puback(&body).ok_or("a PUBLISH without identifier")?)?;
            fetched += 1;
        }
    }
    Ok(())
}

/// The most that all processes of a broker took, in MiB.
fn peak_mib(broker: &Running) -> Outcome<f64> {
    let mut kib = 0;
    for pid in broker.pids()? {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        kib += line.split_whitespace().next().ok_or("no VmHWM")?.parse::<u32>()?;
    }
    Ok(f64::from(kib) / 1_024.0)
}

fn mib_of(directory: &Path) -> Outcome<f64> {
    let mut mib = 0.0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let data = entry.metadata()?;
        mib += if data.is_dir() {
            mib_of(&entry.path())?
        } else {
            f64::from(u32::try_from(data.len() / 1_024)?) / 1_024.0
        };
    }
    Ok(mib)
}

/// The section of the page.
pub(crate) fn section(all: &[Queues]) -> Outcome<String> {
    let mut page = String::from(
        "## Queues larger than memory\n\nOne publisher with a hundred in flight, messages of 64 bytes with QoS 1, Sessions that are away and subscribe to its topic; sealed, with a sync\nbefore each acknowledgement. A delivery is a message that waits for a Session. Memory is the peak of each process of the broker added\nup, also during the start; what they share counts for each. Then it was killed (`kill -9`) and started anew: the time until a Session that was kept has its CONNACK. Measured once.\n\n| Sessions | messages for each | stored | CPU, a delivery | memory | on disk | start after the kill | one queue fetched |\n|---|---|---|---|---|---|---|---|\n",
    );
    for one in all {
        writeln!(
            page,
            "| {} | {} | {:.1} s | {:.2} us | {:.0} MiB | {:.0} MiB | {:.2} s | {:.2} s |",
            one.sessions,
            one.messages,
            one.stored_s,
            one.cpu_us,
            one.peak_mib,
            one.disk_mib,
            one.start_s,
            one.fetched_s
        )?;
    }
    page.push('\n');
    Ok(page)
}
