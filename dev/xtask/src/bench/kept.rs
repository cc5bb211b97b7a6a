//! What it costs to keep things on a disk: a queue for a client that is away, stored and drained, and how long one publication takes
//! to be acknowledged at a low rate, beside a bare write of the same size with `fdatasync` on the same disk. By turns with
//! mosquitto with persistence, which writes its memory down now and then and promises nothing about a power cut.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::bench::brokers::{Kind, Running, Site, Way};
use crate::bench::figures::median;
use crate::bench::offline::{self, MESSAGES, TOPIC};
use crate::bench::raw::{Client, publish};

/// Publishers that store at once where it is several.
const PUBLISHERS: u32 = 4;
/// Publications at a low rate.
const ALONE: u16 = 100;
/// Time between two of them.
const REST: Duration = Duration::from_millis(10);
/// Bytes of the bare write: about what the broker appends for a publication of 64 bytes.
const BARE_BYTES: usize = 512;
/// What a hundred stored messages of 64 bytes come to on disk, about.
const HUNDRED_BYTES: usize = 20_000;
/// Bare writes of that size: as many as there are syncs for the messages of one publisher.
const HUNDREDS: u32 = MESSAGES / 100;

/// What one round on one broker came to.
#[derive(Debug, Clone, Copy)]
struct Round {
    cpu_us: f64,
    least_us: f64,
    stored_per_s: f64,
    stored_by_several_per_s: f64,
    drained_per_s: f64,
    kept_us: (f64, f64),
    not_kept_us: (f64, f64),
    bare_us: (f64, f64),
}

/// Medians of a broker.
pub(crate) struct Kept {
    kind: Kind,
    rounds: Vec<Round>,
}

/// Measures all brokers that keep something, by turns.
pub(crate) fn measure(site: &Site, rounds: usize) -> Outcome<Vec<Kept>> {
    let peers = site.peers().into_iter().map(|peer| peer.kind).filter(|kind| *kind == Kind::Mosquitto);
    let kinds: Vec<Kind> = [Kind::Motte(1), Kind::Motte(2)].into_iter().chain(peers).collect();
    let mut all: Vec<Kept> = kinds.into_iter().map(|kind| Kept { kind, rounds: Vec::new() }).collect();
    for round in 1..=rounds {
        println!("what is kept, round {round} of {rounds}");
        for kept in &mut all {
            // Each round on an empty disk.
            let broker = site.start_kept(kept.kind)?;
            let figures = once(site, &broker)?;
            println!(
                "  {:<18} {:>6.2} us ({:.2} for bare writes), stored {:.0}/s, by {PUBLISHERS} {:.0}/s, drained {:.0}/s, PUBACK {:.0} us, bare {:.0} us",
                kept.kind.name(),
                figures.cpu_us,
                figures.least_us,
                figures.stored_per_s,
                figures.stored_by_several_per_s,
                figures.drained_per_s,
                figures.kept_us.0,
                figures.bare_us.0
            );
            kept.rounds.push(figures);
        }
    }
    Ok(all)
}

fn once(site: &Site, broker: &Running) -> Outcome<Round> {
    let port = broker.port(Way::Plain).ok_or("no plain listener")?;
    let before = offline::cpu_of_all(broker.pid())?;
    offline::leave(port)?;
    let stored_s = offline::store(port, 1)?;
    let drained_s = offline::drain(port)?;
    let spent_ns = offline::cpu_of_all(broker.pid())?.saturating_sub(before);
    offline::leave(port)?;
    let several_s = offline::store(port, PUBLISHERS)?;
    offline::drain(port)?;
    offline::leave(port)?;
    let (kept_us, bare_us) = alone(site, port, TOPIC)?;
    offline::forget(port)?;
    // Nobody who is away hears of this topic, so that nothing is kept.
    let (not_kept_us, _) = alone(site, port, "motte-bench/nobody")?;
    let messages = f64::from(MESSAGES);
    let least_us = least(site)?;
    Ok(Round {
        least_us,
        cpu_us: f64::from(u32::try_from(spent_ns / 1_000)?) / messages,
        stored_per_s: messages / stored_s,
        stored_by_several_per_s: messages / several_s,
        drained_per_s: messages / drained_s,
        kept_us,
        not_kept_us,
        bare_us,
    })
}

/// PUBLISH to PUBACK, one at a time with rests, each beside a bare write: the middle and the 99th of a hundred of both.
fn alone(site: &Site, port: u16, topic: &str) -> Outcome<((f64, f64), (f64, f64))> {
    let mut publisher = Client::connect(port, "motte-bench-alone", true)?;
    let path = site.directory().join("bare");
    let mut file = File::create(&path)?;
    let (mut acknowledged, mut bare) = (Vec::new(), Vec::new());
    for id in 1..=ALONE {
        std::thread::park_timeout(REST);
        let begun = Instant::now();
        publisher.send(&publish(topic, id, &[7; 64]))?;
        publisher.packet()?;
        acknowledged.push(begun.elapsed().as_secs_f64() * 1e6);
        std::thread::park_timeout(REST);
        let begun = Instant::now();
        file.write_all(&[7; BARE_BYTES])?;
        file.sync_data()?;
        bare.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    publisher.disconnect()?;
    std::fs::remove_file(path)?;
    Ok((spread(acknowledged), spread(bare)))
}

/// CPU of nothing but `write` and `fdatasync` of a hundred messages at a time over zeros, for each message.
fn least(site: &Site) -> Outcome<f64> {
    let path = site.directory().join("least");
    let mut file = File::create(&path)?;
    let bytes = vec![7; HUNDRED_BYTES];
    for _ in 0..HUNDREDS {
        file.write_all(&vec![0; HUNDRED_BYTES])?;
    }
    file.sync_all()?;
    file.rewind()?;
    let before = offline::cpu_ns(std::process::id())?;
    for _ in 0..HUNDREDS {
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    let spent_ns = offline::cpu_ns(std::process::id())?.saturating_sub(before);
    std::fs::remove_file(path)?;
    Ok(f64::from(u32::try_from(spent_ns / 1_000)?) / f64::from(MESSAGES))
}

/// The middle one and the 99th of a hundred.
fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |of_hundred: usize| values.get(values.len() * of_hundred / 100).copied().unwrap_or(f64::NAN);
    (at(50), at(99))
}

impl Kept {
    fn median(&self, figure: fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }
}

/// The section of the page.
pub(crate) fn section(all: &[Kept]) -> Outcome<String> {
    let mut page = format!(
        "## What is kept on disk\n\nMotte with a state directory: sealed, `durability = \"disk\"`. mosquitto with `persistence true`: it answers from memory and writes all of that down\nevery half hour. Each round begins with nothing kept. Stored: {MESSAGES} messages of 64 bytes with QoS 1 for one client that is away, each publisher\nwith a hundred in flight; CPU is for a message stored by one publisher and drained; the least\nof it is what `write` and `fdatasync` of a hundred messages at a time take, for each message, in a program that does nothing else. PUBACK: one publication at a time, {} ms after the\none before, beside `write` and `fdatasync` of {BARE_BYTES} bytes at the end of a file on the same disk at the same time.\n\n| | CPU | the least | stored by 1 | stored by {PUBLISHERS} | drained | PUBACK, kept: p50, p99 | bare write: p50, p99 | PUBACK, nothing kept: p50 |\n|---|---|---|---|---|---|---|---|---|\n",
        2 * REST.as_millis()
    );
    for kept in all {
        writeln!(
            page,
            "| {} | {:.2} us | {:.2} us | {:.0}/s | {:.0}/s | {:.0}/s | {:.0} us, {:.0} us | {:.0} us, {:.0} us | {:.0} us |",
            kept.kind.name(),
            kept.median(|one| one.cpu_us),
            kept.median(|one| one.least_us),
            kept.median(|one| one.stored_per_s),
            kept.median(|one| one.stored_by_several_per_s),
            kept.median(|one| one.drained_per_s),
            kept.median(|one| one.kept_us.0),
            kept.median(|one| one.kept_us.1),
            kept.median(|one| one.bare_us.0),
            kept.median(|one| one.bare_us.1),
            kept.median(|one| one.not_kept_us.0)
        )?;
    }
    page.push('\n');
    Ok(page)
}
