//! A result as text for people.

use crate::histogram;
use crate::outcome::{BrokerUse, Connections, Latency, Messages, Outcome, Settings};
use crate::run::{Phase, Progress};
use crate::words::{bytes, count, counted, digits, left, time};

/// Columns of the first word of a line.
const HEAD: usize = 13;

/// A result as text of several lines, each with its end.
pub fn report(outcome: &Outcome) -> String {
    let mut lines = vec![
        format!("{}; {} measured", describe(&outcome.settings), time(outcome.measured_s * 1e6)),
        String::new(),
    ];
    if let Some(messages) = &outcome.messages {
        lines.extend(messages_lines(messages));
    }
    lines.extend(connections_lines(&outcome.connections, outcome.messages.is_some()));
    if let Some(broker) = &outcome.broker {
        lines.push(broker_line(broker, outcome.messages.is_some()));
    }
    let mut generator = format!("{} cores busy", digits(outcome.generator.cpu_cores));
    if let Some(lag) = &outcome.generator.lag {
        generator.push_str(&format!(", sent late by p50 {}, p99 {}", time(lag.p50_us), time(lag.p99_us)));
    }
    lines.push(head("generator", &generator));
    let settings = &outcome.settings;
    let begin = |rate: Option<u32>, otherwise| if rate.is_some() { "due" } else { otherwise };
    let (from, to, times) = match &outcome.messages {
        Some(messages) => (begin(settings.rate, "sent"), "delivered", messages.latency.as_ref()),
        None => (begin(settings.connect_rate, "begun"), "CONNACK", outcome.connections.handshake.as_ref()),
    };
    if let Some(times) = times {
        lines.push(String::new());
        lines.push(format!("from {from} to {to}, {}", count(times.count)));
        lines.extend(histogram::lines(times));
    }
    if !outcome.notes.is_empty() {
        lines.push(String::new());
        lines.extend(outcome.notes.iter().map(|note| format!("note: {note}")));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How far a run is, as one short line.
pub fn progress(progress: &Progress) -> String {
    let what = match progress.phase {
        Phase::SettingUp => "connecting",
        Phase::WarmingUp => "warming up",
        Phase::Measuring => "measuring",
        Phase::Draining => "awaiting the last messages",
    };
    if progress.has_messages && progress.phase != Phase::SettingUp {
        format!("{what}: {} sent/s, {} delivered/s", count(progress.sent), count(progress.delivered))
    } else {
        let connections = counted(progress.connections, "connection", "connections");
        format!("{what}: {connections}, {}/s", count(progress.accepted))
    }
}

/// What was asked, on one line.
pub(crate) fn describe(settings: &Settings) -> String {
    let mut parts = vec![
        settings.shape.name().to_owned(),
        format!("MQTT {} over {}", settings.protocol, if settings.tls { "TLS" } else { "TCP" }),
    ];
    if settings.shape.has_messages() {
        parts.push(format!("QoS {}", settings.qos));
        parts.push(format!("{} bytes", count(settings.size.into())));
        parts.push(counted(settings.publishers, "publisher", "publishers"));
        parts.push(counted(settings.subscribers, "subscriber", "subscribers"));
        if settings.topics > 1 {
            parts.push(format!("{} topics each", settings.topics));
        }
        parts.push(match settings.rate {
            Some(rate) => format!("{} messages/s", count(rate.into())),
            None => format!("closed loop of {}", settings.in_flight),
        });
    } else if settings.connections > 0 {
        parts.push(counted(settings.connections, "connection", "connections"));
    } else if settings.connect_rate.is_none() {
        parts.push(format!("{} at once", settings.in_flight));
    }
    if let Some(rate) = settings.connect_rate {
        parts.push(format!("{} connections/s", count(rate.into())));
    }
    if let Some(all) = settings.count {
        let what = if settings.shape.has_messages() { "messages" } else { "connections" };
        parts.push(format!("{} {what} in all", count(all)));
    }
    parts.join(", ")
}

fn messages_lines(messages: &Messages) -> Vec<String> {
    let mut lines = vec![
        head("sent", &format!("{} ({}/s)", count(messages.sent), digits(messages.sent_per_s))),
        head(
            "delivered",
            &format!(
                "{} of {} ({}/s, {}/s)",
                count(messages.delivered),
                count(messages.expected),
                digits(messages.delivered_per_s),
                bytes(messages.delivered_bytes_per_s)
            ),
        ),
        head(
            "",
            &format!(
                "{} lost, {}, {} out of order",
                count(messages.lost),
                counted(messages.duplicates, "duplicate", "duplicates"),
                count(messages.out_of_order)
            ),
        ),
    ];
    if let Some(latency) = &messages.latency {
        lines.push(head("latency", &percentiles(latency)));
    }
    lines
}

/// The rate is left out where connections only prepare for messages: few of them say nothing about a broker.
fn connections_lines(connections: &Connections, is_messages: bool) -> Vec<String> {
    let rate =
        if is_messages { String::new() } else { format!(" ({}/s)", digits(connections.accepted_per_s)) };
    let mut first = format!(
        "{} accepted{rate}, {} failed, {} lost",
        count(connections.accepted),
        count(connections.failed),
        count(connections.lost)
    );
    let mut lines = Vec::new();
    if let Some(handshake) = &connections.handshake {
        lines.push(head("handshake", &percentiles(handshake)));
    } else {
        first.push_str(", no handshake measured");
    }
    lines.insert(0, head("connections", &first));
    lines
}

fn broker_line(broker: &BrokerUse, is_messages: bool) -> String {
    let mut text = format!("{} cores busy", digits(broker.cpu_cores));
    if let Some(each) = broker.cpu_us_each {
        let what = if is_messages { "delivery" } else { "connection" };
        text.push_str(&format!(", {} for each {what}", time(each)));
    }
    text.push_str(&format!(", {} resident", bytes(crate::outcome::float(broker.resident_bytes))));
    if let Some(each) = broker.resident_bytes_per_connection {
        text.push_str(&format!(", {} for each connection", bytes(each)));
    }
    head("broker", &text)
}

fn percentiles(latency: &Latency) -> String {
    format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
        time(latency.p50_us),
        time(latency.p90_us),
        time(latency.p99_us),
        time(latency.p999_us),
        time(latency.max_us)
    )
}

fn head(word: &str, text: &str) -> String {
    format!("{}{text}", left(word, HEAD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::sample;

    #[test]
    fn progress_tells_what_counts_in_each_phase() {
        let step = Progress {
            phase: Phase::SettingUp,
            has_messages: true,
            connections: 1,
            sent: 2_000,
            delivered: 0,
            accepted: 3,
        };
        assert_eq!(progress(&step), "connecting: 1 connection, 3/s");
        let step = Progress { phase: Phase::Measuring, ..step };
        assert_eq!(progress(&step), "measuring: 2,000 sent/s, 0 delivered/s");
        assert_eq!(progress(&Progress { sent: 0, ..step }), "measuring: 0 sent/s, 0 delivered/s");
        assert_eq!(progress(&Progress { has_messages: false, ..step }), "measuring: 1 connection, 3/s");
    }

    #[test]
    fn a_report_says_what_was_asked_and_what_came_of_it() {
        let text = report(&sample());
        for part in [
            "pairs, MQTT 5 over TCP, QoS 0, 64 bytes, 10 publishers, 10 subscribers, 1,000 messages/s; 1.00 s measured\n",
            "sent         1,000 (1,000/s)\n",
            "delivered    1,000 of 1,000 (1,000/s, 62.5 KiB/s)\n             0 lost, 0 duplicates, 0 out of order\n",
            "latency      p50 500 µs, p90 900 µs, p99 990 µs, p99.9 999 µs, max 1.00 ms\n",
            "broker       0.25 cores busy, 2.50 µs for each delivery, 8.00 MiB resident, 2.00 KiB for each connection\n",
            "note: a note\n",
        ] {
            assert!(text.contains(part), "{part}\n--\n{text}");
        }
        assert!(text.lines().all(|line| !line.ends_with(' ')));
    }
}
