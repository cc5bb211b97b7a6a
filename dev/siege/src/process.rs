//! What a process uses, as the kernel counts it.

/// Milliseconds of CPU for one tick of `/proc`: `USER_HZ` is 100 on every Linux.
const TICK_MS: u64 = 10;

/// CPU and memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU in user and kernel mode so far, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
}

impl Usage {
    /// Of a process that runs.
    pub fn of(pid: u32) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        // The name in brackets may hold blanks; user and kernel time are the 12th and 13th word after it.
        let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        Self { cpu_ms: ticks * TICK_MS, rss_kib }
    }
}
