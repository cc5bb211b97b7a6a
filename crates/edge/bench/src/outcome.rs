//! What a run measured, as it is written down.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;
use crate::tally::Times;

/// The version of this format.
pub(crate) const FORMAT: u32 = 1;

/// What a run measured. Everything but the connections of the set-up is of the measured time, without the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this format: 1.
    pub motte_bench: u32,
    /// What was asked.
    pub settings: Settings,
    /// Seconds that were measured.
    pub measured_s: f64,
    /// It was ended before its time.
    pub ended_early: bool,
    /// Messages; none for the shapes `connect` and `idle`.
    pub messages: Option<Messages>,
    /// Connections.
    pub connections: Connections,
    /// What the broker used, where its process is known.
    pub broker: Option<BrokerUse>,
    /// What the generator used.
    pub generator: GeneratorUse,
    /// What a reader has to know before trusting the figures.
    pub notes: Vec<String>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The shape.
    pub shape: Shape,
    /// `3.1.1` or `5`.
    pub protocol: String,
    /// Whether by TLS.
    pub tls: bool,
    /// QoS of publications and subscriptions.
    pub qos: u8,
    /// Bytes of a payload.
    pub size: u32,
    /// Publishers.
    pub publishers: u64,
    /// Subscribers.
    pub subscribers: u64,
    /// Idle connections.
    pub connections: u64,
    /// Topics of each publisher.
    pub topics: u32,
    /// Messages a second in all; none: a closed loop.
    pub rate: Option<u32>,
    /// Connections a second in all.
    pub connect_rate: Option<u32>,
    /// Messages of each publisher, or handshakes in all, on their way at once in a closed loop.
    pub in_flight: u64,
    /// Messages in all, or connections of the shape `connect`, after which it ended; none: it ended by time.
    pub count: Option<u64>,
    /// Threads of the generator.
    pub threads: u32,
    /// Seconds before the measuring.
    pub warmup_s: f64,
}

/// What became of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// Messages sent.
    pub sent: u64,
    /// Deliveries that these should become: each message once for each of its subscribers.
    pub expected: u64,
    /// Deliveries, duplicates left out.
    pub delivered: u64,
    /// Deliveries that did not come.
    pub lost: u64,
    /// Deliveries of what had been delivered.
    pub duplicates: u64,
    /// Deliveries behind a later one of the same publisher and topic.
    pub out_of_order: u64,
    /// Publications that the broker refused.
    pub refused: u64,
    /// Messages that were due by the rate, or asked for by number, and not sent; within a second after the end at the
    /// latest.
    pub unsent: u64,
    /// Messages sent a second.
    pub sent_per_s: f64,
    /// Deliveries a second.
    pub delivered_per_s: f64,
    /// Bytes of payload delivered a second.
    pub delivered_bytes_per_s: f64,
    /// From when a message was due (without a rate: was sent) to its delivery.
    pub latency: Option<Latency>,
}

/// What became of connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections that the broker accepted.
    pub accepted: u64,
    /// Connections that could not be made.
    pub failed: u64,
    /// Connections that ended by themselves.
    pub lost: u64,
    /// Connections accepted a second; of the measured time with the shape `connect`, of the set-up with others.
    pub accepted_per_s: f64,
    /// From when a connection was due (without a rate: was begun) to its CONNACK.
    pub handshake: Option<Latency>,
}

/// What the broker's process used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerUse {
    /// Its number.
    pub pid: u32,
    /// Cores that its threads kept busy.
    pub cpu_cores: f64,
    /// CPU time for each delivery, or for each connection of the shape `connect`, in microseconds.
    pub cpu_us_each: Option<f64>,
    /// Resident memory at the end of the measured time, in bytes.
    pub resident_bytes: u64,
    /// By how much it grew since before the first connection, for each connection held, in bytes.
    pub resident_bytes_per_connection: Option<f64>,
}

/// What the generator used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorUse {
    /// Cores that its threads kept busy.
    pub cpu_cores: f64,
    /// How late messages were sent by the rate: the share of the latency that is the generator's own or comes from a
    /// connection that takes no more.
    pub lag: Option<Latency>,
}

/// Times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The least.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half are no longer.
    pub p50_us: f64,
    /// 90 % are no longer.
    pub p90_us: f64,
    /// 99 % are no longer.
    pub p99_us: f64,
    /// 99.9 % are no longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// How many lie where, without empty ends.
    pub buckets: Vec<Bucket>,
}

/// How many times lie within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Above this, in microseconds.
    pub above_us: f64,
    /// Up to this, in microseconds.
    pub up_to_us: f64,
    /// How many.
    pub count: u64,
}

impl Outcome {
    /// Reads what [`Outcome::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no such result; what is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("motte_bench").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {
                serde_json::from_value(value).map_err(|error| error.to_string())
            }
            Some(format) => Err(format!("its format is {format}, and this program reads {FORMAT}")),
            None => Err("it has no `motte_bench`".into()),
        }
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// Never with what [`crate::run`] gave: every figure can be written.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }
}

impl Latency {
    /// Of what was noted, if anything was.
    pub(crate) fn of(times: &Times) -> Option<Self> {
        let histogram = times.histogram()?;
        let us = |ns: u64| float(ns) / 1_000.0;
        let at = |share: f64| us(histogram.value_at_quantile(share));
        let mut recorded = histogram
            .iter_recorded()
            .map(|value| (histogram.lowest_equivalent(value.value_iterated_to()), value.count_at_value()))
            .peekable();
        let mut buckets = Vec::new();
        let mut above = 0;
        for up_to in bounds_ns() {
            let mut count = 0;
            while let Some((_, more)) = recorded.next_if(|(value, _)| *value <= up_to) {
                count += more;
            }
            if count > 0 || !buckets.is_empty() {
                buckets.push(Bucket { above_us: us(above), up_to_us: us(up_to), count });
            }
            above = up_to;
            if recorded.peek().is_none() {
                break;
            }
        }
        Some(Self {
            count: histogram.len(),
            min_us: us(histogram.min()),
            mean_us: histogram.mean() / 1_000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(histogram.max()),
            buckets,
        })
    }
}

/// The bounds of buckets, in nanoseconds: 1, 2 and 5 of each power of ten from a microsecond to an hour and more.
fn bounds_ns() -> impl Iterator<Item = u64> {
    (3..13).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)))
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts above 2^53 do not occur, and a figure has few digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A result to try things with.
    pub(crate) fn sample() -> Outcome {
        let mut times = Times::new();
        for n in 1..=1_000_u64 {
            times.record(n * 1_000);
        }
        Outcome {
            motte_bench: FORMAT,
            settings: Settings {
                shape: Shape::Pairs,
                protocol: "5".into(),
                tls: false,
                qos: 0,
                size: 64,
                publishers: 10,
                subscribers: 10,
                connections: 0,
                topics: 1,
                rate: Some(1_000),
                connect_rate: None,
                in_flight: 64,
                count: None,
                threads: 1,
                warmup_s: 1.0,
            },
            measured_s: 1.0,
            ended_early: false,
            messages: Some(Messages {
                sent: 1_000,
                expected: 1_000,
                delivered: 1_000,
                lost: 0,
                duplicates: 0,
                out_of_order: 0,
                refused: 0,
                unsent: 0,
                sent_per_s: 1_000.0,
                delivered_per_s: 1_000.0,
                delivered_bytes_per_s: 64_000.0,
                latency: Latency::of(&times),
            }),
            connections: Connections {
                accepted: 20,
                failed: 0,
                lost: 0,
                accepted_per_s: 4_000.0,
                handshake: Latency::of(&times),
            },
            broker: Some(BrokerUse {
                pid: 7,
                cpu_cores: 0.25,
                cpu_us_each: Some(2.5),
                resident_bytes: 8 << 20,
                resident_bytes_per_connection: Some(2_048.0),
            }),
            generator: GeneratorUse { cpu_cores: 0.1, lag: None },
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn a_result_survives_being_written() {
        let outcome = sample();
        assert_eq!(Outcome::from_json(&outcome.to_json().unwrap()).unwrap(), outcome);
    }

    #[test]
    fn what_is_no_result_is_told() {
        assert!(Outcome::from_json("{}").unwrap_err().contains("motte_bench"));
        assert!(Outcome::from_json("{\"motte_bench\": 9}").unwrap_err().contains("format is 9"));
        assert!(Outcome::from_json("{\"motte_bench\": 1}").unwrap_err().contains("missing field"));
        assert!(Outcome::from_json("nothing").is_err());
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        // A long tail, as latencies have it; numbers by a linear congruential generator.
        let mut state = 1_u64;
        let mut times = Times::new();
        let mut halves = [Times::new(), Times::new()];
        let mut all: Vec<u64> = Vec::new();
        for n in 0..50_000_usize {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ns = 1_000_000_000_000 / (1 + (state >> 40)) + 500;
            all.push(ns);
            times.record(ns);
            halves[n % 2].record(ns);
        }
        all.sort_unstable();
        let latency = Latency::of(&times).unwrap();
        let truth = |per_mille: usize| float(all[(all.len() * per_mille).div_ceil(1_000) - 1]) / 1_000.0;
        for (found, per_mille) in [
            (latency.p50_us, 500),
            (latency.p90_us, 900),
            (latency.p99_us, 990),
            (latency.p999_us, 999),
            (latency.max_us, 1_000),
        ] {
            let wanted = truth(per_mille);
            assert!((found / wanted - 1.0).abs() < 0.001, "{per_mille}: {found} is not {wanted}");
        }
        // Noted by two threads and put together, they are the same.
        let [mut first, second] = halves;
        first.merge(&second);
        assert_eq!(Latency::of(&first).unwrap(), latency);
        for bucket in &latency.buckets {
            let within = all.iter().filter(|ns| {
                let us = float(**ns) / 1_000.0;
                us > bucket.above_us && us <= bucket.up_to_us
            });
            // At a bound, three digits may put a time on the other side.
            let off = within.count().abs_diff(usize::try_from(bucket.count).unwrap());
            assert!(off * 100 <= all.len(), "{bucket:?} is off by {off}");
        }
    }

    #[test]
    fn buckets_hold_everything_once() {
        let latency = sample().messages.unwrap().latency.unwrap();
        assert_eq!(latency.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), latency.count);
        assert!((latency.p50_us - 500.0).abs() < 1.0, "{}", latency.p50_us);
        assert!(latency.buckets.last().unwrap().count > 0);
    }
}
