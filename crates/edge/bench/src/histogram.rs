//! A histogram as lines of text.

use crate::outcome::{Bucket, Latency, float};
use crate::words::{count, left, right, time};

/// Columns of the longest bar.
const BAR_COLUMNS: u64 = 40;
/// Parts of a column, each an eighth wider.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// One line for each bucket: bounds, bar, share and count, each in its column.
pub(crate) fn lines(latency: &Latency) -> Vec<String> {
    let most = latency.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0);
    let bounds: Vec<(String, String)> =
        latency.buckets.iter().map(|bucket| (time_of(bucket.above_us), time_of(bucket.up_to_us))).collect();
    let width = |text: fn(&(String, String)) -> &String| {
        bounds.iter().map(|pair| text(pair).chars().count()).max().unwrap_or(0)
    };
    let (above_width, up_to_width) = (width(|pair| &pair.0), width(|pair| &pair.1));
    let count_width = count(most).len();
    let columns = usize::try_from(BAR_COLUMNS).unwrap_or(40);
    let line = |(bucket, (above, up_to)): (&Bucket, &(String, String))| {
        let share = 100.0 * float(bucket.count) / float(latency.count.max(1));
        format!(
            "{} to {}  {} {} %  {}",
            right(above, above_width),
            right(up_to, up_to_width),
            left(&bar(bucket.count, most), columns),
            right(&format!("{share:.2}"), 6),
            right(&count(bucket.count), count_width)
        )
    };
    latency.buckets.iter().zip(&bounds).map(line).collect()
}

/// A bar of eighths of a column; what is not nothing shows at least one eighth.
fn bar(count: u64, most: u64) -> String {
    let eighths = u128::from(count) * u128::from(BAR_COLUMNS) * 8 / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or(0).max(usize::from(count > 0));
    let part = EIGHTHS.get(eighths % 8).copied().unwrap_or("");
    format!("{}{part}", "█".repeat(eighths / 8))
}

/// A bound, which is a whole number of some unit.
fn time_of(us: f64) -> String {
    let text = time(us);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(counts: &[(f64, f64, u64)]) -> Latency {
        let buckets: Vec<Bucket> = counts
            .iter()
            .map(|(above_us, up_to_us, count)| Bucket {
                above_us: *above_us,
                up_to_us: *up_to_us,
                count: *count,
            })
            .collect();
        let count = buckets.iter().map(|bucket| bucket.count).sum();
        let zero = 0.0;
        Latency {
            count,
            min_us: zero,
            mean_us: zero,
            p50_us: zero,
            p90_us: zero,
            p99_us: zero,
            p999_us: zero,
            max_us: zero,
            buckets,
        }
    }

    #[test]
    fn bars_and_figures_stand_in_columns() {
        let text = lines(&latency(&[
            (20.0, 50.0, 4_000),
            (50.0, 100.0, 1_000),
            (500.0, 1_000.0, 0),
            (1_000.0, 2_000.0, 1),
        ]));
        let expected = [
            " 20 µs to  50 µs  ████████████████████████████████████████  79.98 %  4,000",
            " 50 µs to 100 µs  ██████████                                20.00 %  1,000",
            "500 µs to   1 ms                                             0.00 %      0",
            "  1 ms to   2 ms  ▏                                          0.02 %      1",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_draws_nothing() {
        assert!(lines(&latency(&[])).is_empty());
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(5, 8 * BAR_COLUMNS), "▋");
        assert_eq!(bar(9, 8 * BAR_COLUMNS), "█▏");
    }
}
