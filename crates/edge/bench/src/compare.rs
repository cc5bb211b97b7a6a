//! Two results side by side.

use crate::outcome::{BrokerUse, Latency, Messages, Outcome, float};
use crate::report::describe;
use crate::words::{bytes, digits, left, right, time};

/// A figure of one result, and how it is written.
type Figure = (&'static str, Option<f64>, fn(f64) -> String);

/// A table of both results, with the second divided by the first, as text of several lines.
pub fn compare(first: (&str, &Outcome), second: (&str, &Outcome)) -> String {
    let ((first_name, first), (second_name, second)) = (first, second);
    let mut lines = Vec::new();
    let [a, b] = [first, second].map(|outcome| describe(&outcome.settings));
    if a == b {
        lines.push(a);
    } else {
        lines.push(format!("A: {a}"));
        lines.push(format!("B: {b}"));
        lines.push("note: the settings differ, so the ratios compare more than the brokers".to_owned());
    }
    lines.push(format!("A is {first_name}, B is {second_name}"));
    lines.push(String::new());
    let rows: Vec<[String; 4]> = std::iter::once(["", "A", "B", "B/A"].map(str::to_owned))
        .chain(figures(first).into_iter().zip(figures(second)).filter_map(row))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for [name, a, b, ratio] in &rows {
        let [w0, w1, w2, w3] = widths;
        lines.push(format!("{}  {}  {}  {}", left(name, w0), right(a, w1), right(b, w2), right(ratio, w3)));
    }
    for (letter, outcome) in [("A", first), ("B", second)] {
        lines.extend(outcome.notes.iter().map(|note| format!("note on {letter}: {note}")));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A row, where at least one of both has the figure.
fn row((a, b): (Figure, Figure)) -> Option<[String; 4]> {
    let (name, a, write) = a;
    let b = b.1;
    if a.is_none() && b.is_none() {
        return None;
    }
    let ratio = match (a, b) {
        (Some(a), Some(b)) if a > 0.0 => format!("{:.2}", b / a),
        (Some(_), Some(_)) | (None, _) | (_, None) => "-".to_owned(),
    };
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), write);
    Some([name.to_owned(), cell(a), cell(b), ratio])
}

/// All figures of a result, in the same order for every result.
fn figures(outcome: &Outcome) -> Vec<Figure> {
    let messages = |figure: fn(&Messages) -> f64| outcome.messages.as_ref().map(figure);
    let broker = |figure: fn(&BrokerUse) -> Option<f64>| outcome.broker.as_ref().and_then(figure);
    let latency = |figure: fn(&Latency) -> f64| {
        outcome.messages.as_ref().and_then(|messages| messages.latency.as_ref()).map(figure)
    };
    // Those that only prepare for messages say nothing about a broker.
    let accepted_per_s = outcome.messages.is_none().then_some(outcome.connections.accepted_per_s);
    let handshake = |figure: fn(&Latency) -> f64| outcome.connections.handshake.as_ref().map(figure);
    vec![
        ("messages sent/s", messages(|m| m.sent_per_s), digits),
        ("messages delivered/s", messages(|m| m.delivered_per_s), digits),
        ("lost", messages(|m| float(m.lost)), digits),
        ("duplicates", messages(|m| float(m.duplicates)), digits),
        ("not sent", messages(|m| float(m.unsent)), digits),
        ("latency p50", latency(|l| l.p50_us), time),
        ("latency p90", latency(|l| l.p90_us), time),
        ("latency p99", latency(|l| l.p99_us), time),
        ("latency p99.9", latency(|l| l.p999_us), time),
        ("latency max", latency(|l| l.max_us), time),
        ("connections/s", accepted_per_s, digits),
        ("handshake p50", handshake(|l| l.p50_us), time),
        ("handshake p99", handshake(|l| l.p99_us), time),
        ("broker cores", broker(|b| Some(b.cpu_cores)), digits),
        ("broker CPU for each", broker(|b| b.cpu_us_each), time),
        ("broker resident", broker(|b| Some(float(b.resident_bytes))), bytes),
        ("resident for each connection", broker(|b| b.resident_bytes_per_connection), bytes),
        ("generator cores", Some(outcome.generator.cpu_cores), digits),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::sample;

    #[test]
    fn both_stand_side_by_side_with_their_ratio() {
        let a = sample();
        let mut b = sample();
        b.messages.as_mut().unwrap().delivered_per_s = 500.0;
        let text = compare(("a.json", &a), ("b.json", &b));
        let line = text.lines().find(|line| line.starts_with("messages delivered/s")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells, ["messages", "delivered/s", "1,000", "500", "0.50"]);
        assert!(text.contains("A is a.json, B is b.json") && !text.contains("the settings differ"), "{text}");
        // Nothing can be divided by nothing.
        let line = text.lines().find(|line| line.starts_with("lost")).unwrap();
        assert!(line.ends_with('-'), "{line}");
    }

    #[test]
    fn figures_that_one_lacks_and_settings_that_differ_show() {
        let a = sample();
        let mut b = sample();
        b.broker = None;
        b.settings.qos = 1;
        let text = compare(("a", &a), ("b", &b));
        assert!(text.contains("the settings differ"), "{text}");
        let line = text.lines().find(|line| line.starts_with("broker cores")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["broker", "cores", "0.25", "-", "-"]);
    }
}
