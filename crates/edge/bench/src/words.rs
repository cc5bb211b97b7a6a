//! Figures in words.

/// A time in microseconds, in the unit that reads best.
pub(crate) fn time(us: f64) -> String {
    if us < 1_000.0 {
        format!("{} µs", digits(us))
    } else if us < 1_000_000.0 {
        format!("{} ms", digits(us / 1_000.0))
    } else {
        format!("{} s", digits(us / 1_000_000.0))
    }
}

/// Bytes, in the unit that reads best.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = [(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{} {unit}", digits(bytes / size)),
        None => format!("{} B", digits(bytes)),
    }
}

/// A number with three digits that count, or all before the point.
pub(crate) fn digits(number: f64) -> String {
    if number >= 100.0 || number == 0.0 {
        thousands(&format!("{number:.0}"))
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

/// A count.
pub(crate) fn count(number: u64) -> String {
    thousands(&number.to_string())
}

/// A count with its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A text, filled with spaces on the left.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.chars().count())))
}

/// A text, filled with spaces on the right.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

fn thousands(whole: &str) -> String {
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [0.25, 48.0, 999.4, 1_234.0, 2_500_000.0].map(time),
            ["0.25 µs", "48.0 µs", "999 µs", "1.23 ms", "2.50 s"]
        );
        assert_eq!([17.0, 2_048.0, 8_388_608.0].map(bytes), ["17.0 B", "2.00 KiB", "8.00 MiB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "topic", "topics"), "1 topic");
    }
}
