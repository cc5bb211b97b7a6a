//! What the process counts, and how Prometheus reads it.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use motte_broker::Counters;

/// What one worker counts beyond its broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Connections taken from the listeners.
    pub(crate) accepted: u64,
    /// Connections turned away because a bound was reached or their address is not let in.
    pub(crate) turned_away: u64,
    /// Logins that were refused without a check, because too many failed.
    pub(crate) logins_held: u64,
    /// Connections and logins that were turned away because of a ban.
    pub(crate) banned: u64,
    /// Handshakes of the transport that failed.
    pub(crate) handshakes_failed: u64,
    /// Connections whose CONNECT did not come in time.
    pub(crate) connect_timeouts: u64,
    /// Bytes written to clients, before TLS.
    pub(crate) bytes_sent: u64,
    /// Bytes that wait to be written.
    pub(crate) backlog_bytes: u64,
    /// Turns of the loop.
    pub(crate) turns: u64,
}

/// A worker's figures after a turn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) broker: Counters,
    pub(crate) tally: Tally,
}

/// The figures of all workers.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    workers: Arc<[Mutex<Report>]>,
}

impl Reports {
    /// Zeros for a number of workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Mutex::default()).collect() }
    }

    /// A worker's figures as they are now.
    pub(crate) fn publish(&self, worker: usize, report: Report) {
        if let Some(place) = self.workers.get(worker) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = report;
        }
    }

    /// The sum over all workers.
    pub(crate) fn sum(&self) -> Report {
        let mut sum = Report::default();
        for worker in self.workers.iter() {
            let report = *worker.lock().unwrap_or_else(PoisonError::into_inner);
            add_counters(&mut sum.broker, &report.broker);
            add_tally(&mut sum.tally, &report.tally);
        }
        sum
    }
}

/// Facts that no worker counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessFacts {
    pub(crate) uptime_s: u64,
    pub(crate) memory_used: u64,
    pub(crate) retained_messages: u64,
    pub(crate) retained_bytes: u64,
}

macro_rules! figures {
    ($($kind:ident $name:literal $help:literal: $($path:ident).+;)*) => {
        /// One figure of the exposition.
        struct Figure {
            name: &'static str,
            kind: &'static str,
            help: &'static str,
            of: fn(&Report) -> u64,
        }
        const FIGURES: &[Figure] = &[$(Figure {
            name: $name, kind: stringify!($kind), help: $help, of: |report| report.$($path).+,
        }),*];
    };
}

figures! {
    gauge "motte_connections" "Connections now.": broker.connections;
    gauge "motte_sessions" "Sessions now, connected or not.": broker.sessions;
    gauge "motte_subscriptions" "Subscriptions now.": broker.subscriptions;
    gauge "motte_deliveries_queued" "Deliveries that were put in a queue, in all.": broker.deliveries_queued;
    counter "motte_connects_accepted_total" "Clients accepted.": broker.connects_accepted;
    counter "motte_connects_refused_total" "CONNECT packets refused.": broker.connects_refused;
    counter "motte_packets_received_total" "Control Packets received.": broker.packets_received;
    counter "motte_bytes_received_total" "Bytes of Control Packets received.": broker.bytes_received;
    counter "motte_publications_received_total" "PUBLISH packets received.": broker.publications_received;
    counter "motte_publications_denied_total" "PUBLISH packets denied by policy.": broker.publications_denied;
    counter "motte_deliveries_sent_total" "PUBLISH packets sent.": broker.deliveries_sent;
    counter "motte_dropped_slow_total" "QoS 0 deliveries dropped: the client reads too slowly.": broker.dropped_slow;
    counter "motte_dropped_full_total" "Deliveries dropped: the queue of the Session is full.": broker.dropped_full;
    counter "motte_dropped_expired_total" "Deliveries dropped: the message expired.": broker.dropped_expired;
    counter "motte_dropped_large_total" "Deliveries dropped: larger than the client takes.": broker.dropped_large;
    counter "motte_deliveries_denied_total" "Deliveries not made: the client may not receive.": broker.denied_deliveries;
    counter "motte_subscriptions_denied_total" "Subscriptions denied by policy.": broker.subscriptions_denied;
    counter "motte_let_pass_total" "Decisions that only a permissive role made a permission of.": broker.let_pass;
    counter "motte_wills_published_total" "Wills published.": broker.wills_published;
    counter "motte_takeovers_total" "Sessions taken over by a newer connection.": broker.takeovers;
    counter "motte_protocol_errors_total" "Malformed packets and protocol errors.": broker.protocol_errors;
    counter "motte_accepted_total" "Connections taken from listeners.": tally.accepted;
    counter "motte_turned_away_total" "Connections turned away at the door.": tally.turned_away;
    counter "motte_logins_held_total" "Logins refused without a check, because too many failed.": tally.logins_held;
    counter "motte_banned_total" "Connections and logins turned away because of a ban.": tally.banned;
    counter "motte_handshakes_failed_total" "TLS, WebSocket and PROXY handshakes that failed.": tally.handshakes_failed;
    counter "motte_connect_timeouts_total" "Connections closed because CONNECT came too late.": tally.connect_timeouts;
    counter "motte_bytes_sent_total" "Bytes written to clients.": tally.bytes_sent;
    gauge "motte_backlog_bytes" "Bytes waiting to be written to clients.": tally.backlog_bytes;
    counter "motte_turns_total" "Turns of the workers' loops.": tally.turns;
}

/// The text exposition, format 0.0.4.
pub(crate) fn exposition(report: &Report, facts: &ProcessFacts) -> String {
    let mut text = String::with_capacity(6 * 1024);
    for figure in FIGURES {
        line(&mut text, figure.name, figure.kind, figure.help, (figure.of)(report));
    }
    line(&mut text, "motte_uptime_seconds", "gauge", "Seconds since the start.", facts.uptime_s);
    line(
        &mut text,
        "motte_memory_used_bytes",
        "gauge",
        "Bytes of waiting and retained messages.",
        facts.memory_used,
    );
    line(&mut text, "motte_retained_messages", "gauge", "Retained Messages now.", facts.retained_messages);
    line(&mut text, "motte_retained_bytes", "gauge", "Bytes of Retained Messages.", facts.retained_bytes);
    text
}

fn line(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

fn add_counters(sum: &mut Counters, one: &Counters) {
    sum.connects_accepted += one.connects_accepted;
    sum.connects_refused += one.connects_refused;
    sum.packets_received += one.packets_received;
    sum.bytes_received += one.bytes_received;
    sum.publications_received += one.publications_received;
    sum.publications_denied += one.publications_denied;
    sum.deliveries_sent += one.deliveries_sent;
    sum.deliveries_queued += one.deliveries_queued;
    sum.dropped_slow += one.dropped_slow;
    sum.dropped_full += one.dropped_full;
    sum.dropped_expired += one.dropped_expired;
    sum.dropped_large += one.dropped_large;
    sum.denied_deliveries += one.denied_deliveries;
    sum.subscriptions_denied += one.subscriptions_denied;
    sum.let_pass += one.let_pass;
    sum.wills_published += one.wills_published;
    sum.takeovers += one.takeovers;
    sum.protocol_errors += one.protocol_errors;
    sum.connections += one.connections;
    sum.sessions += one.sessions;
    sum.subscriptions += one.subscriptions;
}

fn add_tally(sum: &mut Tally, one: &Tally) {
    sum.accepted += one.accepted;
    sum.turned_away += one.turned_away;
    sum.logins_held += one.logins_held;
    sum.banned += one.banned;
    sum.handshakes_failed += one.handshakes_failed;
    sum.connect_timeouts += one.connect_timeouts;
    sum.bytes_sent += one.bytes_sent;
    sum.backlog_bytes += one.backlog_bytes;
    sum.turns += one.turns;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_every_figure_has_help_type_and_value() {
        let reports = Reports::new(2);
        for worker in 0..2 {
            let broker = Counters { connections: 2, ..Counters::default() };
            let tally = Tally { bytes_sent: 5, ..Tally::default() };
            reports.publish(worker, Report { broker, tally });
        }
        let text = exposition(&reports.sum(), &ProcessFacts { uptime_s: 7, ..ProcessFacts::default() });
        assert!(text.contains("\nmotte_connections 4\n") || text.contains("motte_connections 4\n"));
        assert!(text.contains("# TYPE motte_bytes_sent_total counter\nmotte_bytes_sent_total 10\n"));
        assert!(text.ends_with("motte_retained_bytes 0\n"));
        assert_eq!(text.lines().count(), 3 * (FIGURES.len() + 4));
    }
}
