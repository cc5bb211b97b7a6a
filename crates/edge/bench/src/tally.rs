//! What one thread counted, and how the counts of all threads become one.

use hdrhistogram::Histogram;

/// The longest time that is told apart, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Times in nanoseconds, to three digits, in constant memory.
#[derive(Debug)]
pub(crate) struct Times(Option<Histogram<u64>>);

impl Times {
    /// None yet.
    pub(crate) fn new() -> Self {
        // These bounds are always accepted; without a histogram nothing is recorded.
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 3).ok())
    }

    /// Takes note of one; longer than an hour counts as an hour.
    pub(crate) fn record(&mut self, ns: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(ns.max(1));
        }
    }

    /// Adds what another thread noted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.0, &other.0) {
            // Both have the same bounds, so that this cannot fail.
            let _ = mine.add(theirs);
        }
    }

    /// The histogram, if anything was noted.
    pub(crate) fn histogram(&self) -> Option<&Histogram<u64>> {
        self.0.as_ref().filter(|histogram| !histogram.is_empty())
    }
}

/// What a thread counted. Messages are those that were due while it was measured, unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Deliveries that these should become.
    pub(crate) expected: u64,
    /// Deliveries, each message counted once for each subscriber.
    pub(crate) delivered: u64,
    /// Deliveries of what had been delivered.
    pub(crate) duplicates: u64,
    /// Deliveries behind a later one of the same publisher and topic.
    pub(crate) late: u64,
    /// Messages that no publisher of this run sent to this subscriber.
    pub(crate) foreign: u64,
    /// Publications that the broker refused.
    pub(crate) refused: u64,
    /// Messages that were due and not sent.
    pub(crate) unsent: u64,
    /// Messages sent within the measured time, by the clock.
    pub(crate) sent_now: u64,
    /// Deliveries that came within the measured time, by the clock, duplicates left out.
    pub(crate) arrived_now: u64,
    /// Their payloads in bytes.
    pub(crate) arrived_bytes: u64,
    /// Publications given up in a closed loop, so that it goes on; deliveries that were awaited for a second.
    pub(crate) given_up: u64,
    /// Connections that the broker accepted.
    pub(crate) accepted: u64,
    /// Connections accepted within the measured time, by the clock.
    pub(crate) accepted_now: u64,
    /// Connections that could not be made.
    pub(crate) failed: u64,
    /// Connections that ended by themselves.
    pub(crate) lost: u64,
    /// Why the first connection failed or was lost.
    pub(crate) first_cause: Option<String>,
    /// From when a message was due to its delivery.
    pub(crate) latency: Times,
    /// From when a message was due to when it was sent.
    pub(crate) lag: Times,
    /// From when a connection was due to its CONNACK.
    pub(crate) handshake: Times,
    /// When the last delivery or visit was counted, in nanoseconds since the start.
    pub(crate) last_ns: u64,
    /// CPU time of the thread while it was measured, in nanoseconds.
    pub(crate) cpu_ns: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            expected: 0,
            delivered: 0,
            duplicates: 0,
            late: 0,
            foreign: 0,
            refused: 0,
            unsent: 0,
            sent_now: 0,
            arrived_now: 0,
            arrived_bytes: 0,
            given_up: 0,
            accepted: 0,
            accepted_now: 0,
            failed: 0,
            lost: 0,
            first_cause: None,
            latency: Times::new(),
            lag: Times::new(),
            handshake: Times::new(),
            last_ns: 0,
            cpu_ns: 0,
        }
    }

    /// Adds what another thread counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.foreign += other.foreign;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.sent_now += other.sent_now;
        self.arrived_now += other.arrived_now;
        self.arrived_bytes += other.arrived_bytes;
        self.given_up += other.given_up;
        self.accepted += other.accepted;
        self.accepted_now += other.accepted_now;
        self.failed += other.failed;
        self.lost += other.lost;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.cpu_ns += other.cpu_ns;
        self.first_cause = self.first_cause.take().or(other.first_cause);
        self.latency.merge(&other.latency);
        self.lag.merge(&other.lag);
        self.handshake.merge(&other.handshake);
    }
}
