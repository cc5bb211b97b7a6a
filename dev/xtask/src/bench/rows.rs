//! The table: each work on each broker, round by round, so that what the machine does meanwhile meets all of them.

use crate::Outcome;
use crate::bench::brokers::{Kind, Running, Site, Way};
use crate::bench::figures::{Figures, run};
use crate::bench::offline;

/// How a work is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Messages that flow.
    Flow,
    /// Connections that are made.
    Connect,
    /// Connections that are held; each on a broker that did nothing before.
    Idle,
    /// Messages that wait for a Session and are fetched.
    Offline,
}

/// One work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    way: Way,
    words: &'static str,
    /// What is to be reached: microseconds of CPU, or KiB for idle connections.
    pub(crate) goal: f64,
}

const fn flow(name: &'static str, words: &'static str, goal: f64) -> Work {
    Work { name, method: Method::Flow, way: Way::Plain, words, goal }
}

const WORKS: [Work; 19] = [
    flow("QoS 0, 10 pairs, 64 B", "", 0.30),
    flow("QoS 0, 10 pairs, 1 KiB", "--size 1024", 0.45),
    flow("QoS 0, 50 to 1, 64 B", "--shape fan-in", 0.40),
    flow("QoS 0, 1 to 100, 64 B", "--shape fan-out", 0.25),
    flow("QoS 0, 1 to 100, 1 KiB", "--shape fan-out --size 1024", 0.60),
    flow("QoS 1, 10 pairs", "--qos 1", 0.50),
    flow("QoS 2, 10 pairs", "--qos 2", 0.90),
    flow("QoS 1, 50 to 1", "--shape fan-in --qos 1", 0.55),
    flow("QoS 0 at 5,000/s", "--rate 5000", 12.0),
    flow("QoS 0, 1,000 topics a publisher", "--topics 1000", 0.35),
    Work { way: Way::Hybrid, ..flow("TLS, QoS 0, 10 pairs, 64 B", "", 0.40) },
    Work { way: Way::Hybrid, ..flow("TLS, QoS 0, 10 pairs, 1 KiB", "--size 1024", 0.95) },
    Work { method: Method::Connect, ..flow("connect, plain", "--shape connect", 30.0) },
    Work {
        method: Method::Connect,
        way: Way::Classical,
        ..flow("connect, TLS, X25519", "--shape connect", 200.0)
    },
    Work {
        method: Method::Connect,
        way: Way::Hybrid,
        ..flow("connect, TLS, X25519MLKEM768", "--shape connect", 300.0)
    },
    Work { method: Method::Idle, ..flow("idle connection, plain", "--shape idle --connections 8000", 1.0) },
    Work {
        method: Method::Idle,
        way: Way::Hybrid,
        ..flow("idle connection, TLS", "--shape idle --connections 4000", 8.0)
    },
    Work {
        method: Method::Idle,
        ..flow("idle connection, 15,000 of them", "--shape idle --connections 15000", 1.0)
    },
    Work { method: Method::Offline, ..flow("offline queue, QoS 1, 20,000 x 64 B, in memory", "", 1.5) },
];

/// A work with what each broker came to.
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) by_broker: Vec<(Kind, Figures)>,
}

/// Measures every work on every broker.
pub(crate) fn measure(site: &Site, rounds: usize) -> Outcome<Vec<Row>> {
    let brokers = site.start_all()?;
    let mut samples: Vec<Vec<Vec<Figures>>> = vec![vec![Vec::new(); brokers.len()]; WORKS.len()];
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for (work, samples) in WORKS.iter().zip(&mut samples) {
            // Memory is no matter of the moment: once is enough.
            if work.method == Method::Idle && round > 1 {
                continue;
            }
            for (broker, samples) in brokers.iter().zip(samples) {
                if let Some(figures) = once(site, broker, work)? {
                    println!(
                        "  {:<48} {:<18} {:>9.2} us {:>9.1} KiB each",
                        work.name,
                        broker.kind.name(),
                        figures.cpu_us,
                        figures.bytes_each / 1_024.0
                    );
                    samples.push(figures);
                }
            }
        }
    }
    let rows = WORKS.iter().zip(samples).map(|(work, samples)| {
        let by_broker = brokers.iter().zip(samples);
        let told = by_broker.filter(|(_, samples)| !samples.is_empty());
        Row {
            work: *work,
            by_broker: told.map(|(broker, samples)| (broker.kind, Figures::median(&samples))).collect(),
        }
    });
    Ok(rows.collect())
}

/// One run; `None` where the broker has no such listener.
fn once(site: &Site, broker: &Running, work: &Work) -> Outcome<Option<Figures>> {
    // mosquitto chooses the group itself, and its OpenSSL knows no hybrid one.
    let way =
        if broker.kind == Kind::Mosquitto && work.way == Way::Hybrid { Way::Classical } else { work.way };
    if broker.port(way).is_none() {
        return Ok(None);
    }
    let mut words: Vec<&str> = work.words.split_whitespace().collect();
    match work.method {
        Method::Flow | Method::Connect => {
            words.extend(["--seconds", "1", "--warmup", "0.3"]);
            match run(site, broker, way, &words) {
                Ok(figures) => Ok(Some(figures)),
                Err(error) if matches!(broker.kind, Kind::Motte(_)) => Err(error),
                Err(error) => {
                    // A peer that gives up on a loaded machine is missing in this round; the others are not lost for it.
                    println!("  {}: {error}", work.name);
                    Ok(None)
                }
            }
        }
        Method::Idle => {
            let fresh = site.start(broker.kind)?;
            words.extend(["--seconds", "1", "--warmup", "0"]);
            match run(site, &fresh, way, &words) {
                Ok(figures) => Ok(Some(figures)),
                Err(error) => {
                    // Some brokers do not hold so many; that is a figure too.
                    println!("  {}: {error}", work.name);
                    Ok(None)
                }
            }
        }
        Method::Offline => match offline::measure(broker) {
            Ok(figures) => Ok(Some(figures)),
            Err(error) => {
                println!("  {} on {}: {error}", work.name, broker.kind.name());
                Ok(None)
            }
        },
    }
}
