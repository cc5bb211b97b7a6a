//! What the journal costs on a real disk, beside a bare write and sync of the same disk: `motte-store-figures [DIRECTORY]
//! [MESSAGES]`. Run it from a release build on the disk that is meant, not on one in memory.
#![expect(clippy::expect_used, reason = "a fault here is one of this program or its disk, and ends it")]

mod measure;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::measure::{Clock, Row};

const MESSAGES_DEFAULT: u64 = 1_000_000;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let directory = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let messages = words.next().map_or(Some(MESSAGES_DEFAULT), |text| text.parse().ok());
    let Some(messages) = messages else {
        eprintln!("motte-store-figures [DIRECTORY] [MESSAGES]");
        return ExitCode::from(2);
    };
    println!("bare write + fdatasync of 4 KiB: {:.0} us", bare(&directory));
    let (memory, bytes, seconds, again) = measure::fan_out(&directory);
    println!(
        "1,000 sessions x 10,000 messages: {} MiB in memory, {} MiB on disk, stored in {seconds:.2} s, recovered in \
         {again:.2} s",
        memory >> 20,
        bytes >> 20
    );
    for is_sealed in [false, true, false, true] {
        let name = if is_sealed { "sealed" } else { "plain" };
        let row = measure::drained(&directory, messages, is_sealed);
        print_row(name, &row);
    }
    for is_sealed in [false, true] {
        let name = if is_sealed { "sealed" } else { "plain" };
        let (seconds, bytes) = measure::recovery(&directory, messages, is_sealed);
        println!(
            "{name}: recovery of {messages} queued messages {seconds:.2} s, {} MiB on disk",
            bytes >> 20
        );
        let (per_second, latency) = measure::committer(&directory, messages.min(400_000), is_sealed);
        println!(
            "{name}: group commit, 4 workers of 100 in flight: {per_second:.0} messages/s; alone {latency:.0} us"
        );
    }
    ExitCode::SUCCESS
}

fn print_row(name: &str, row: &Row) {
    println!(
        "{name}: {:.0} messages/s stored and drained, {:.3} us CPU each (store {:.3}, drain {:.3}), write amplification \
         {:.2}, {} MiB at most, {} KiB after drain",
        row.per_second,
        row.cpu_us,
        row.store_us,
        row.drain_us,
        row.amplification,
        row.peak_bytes >> 20,
        row.end_bytes >> 10
    );
}

/// Microseconds of a write of 4 KiB at the end of a file and its sync, the median of 200.
fn bare(directory: &Path) -> f64 {
    use std::io::Write as _;
    let folder = tempfile::tempdir_in(directory).expect("a directory");
    let mut file = std::fs::File::create(folder.path().join("bare")).expect("a file");
    let block = [7; 4096];
    let mut times: Vec<f64> = (0..200)
        .map(|_| {
            let clock = Clock::start();
            file.write_all(&block).and_then(|()| file.sync_data()).expect("a write and a sync");
            clock.seconds() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
