//! What a process of this machine used, with those that it started, read from `/proc`. A broker may be several processes.

use std::io;
use std::path::Path;

use crate::fault::Fault;

/// What the broker used until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all threads that live, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory in bytes; what processes share is counted in each.
    pub(crate) resident_bytes: u64,
}

/// Processes below one that are looked at; a broker has a few.
const PROCESSES_MAX: usize = 64;

/// Reads what a process and those below it used.
///
/// # Errors
/// There is no such process, or `/proc` does not show it.
pub(crate) fn usage(pid: u32) -> Result<Usage, Fault> {
    let (mut used, mut below) =
        read(&Path::new("/proc").join(pid.to_string())).map_err(|cause| Fault::Process { pid, cause })?;
    for _ in 0..PROCESSES_MAX {
        let Some(child) = below.pop() else { break };
        // One may end between the listing and the reading.
        if let Ok((more, next)) = read(&Path::new("/proc").join(child)) {
            used.cpu_ns += more.cpu_ns;
            used.resident_bytes += more.resident_bytes;
            below.extend(next);
        }
    }
    Ok(used)
}

/// CPU time of the calling thread in nanoseconds; 0 where the system does not say.
pub(crate) fn own_cpu_ns() -> u64 {
    thread_cpu_ns(Path::new("/proc/thread-self")).unwrap_or(0)
}

/// What one process used, and those that it started.
fn read(process: &Path) -> io::Result<(Usage, Vec<String>)> {
    let (mut cpu_ns, mut children) = (0, Vec::new());
    for thread in std::fs::read_dir(process.join("task"))? {
        let thread = thread?.path();
        // A thread may end between the listing and the reading.
        cpu_ns += thread_cpu_ns(&thread).unwrap_or(0);
        let started = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
        children.extend(started.split_ascii_whitespace().map(str::to_owned));
    }
    let status = std::fs::read_to_string(process.join("status"))?;
    let resident_bytes = resident_bytes(&status)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS in its status"))?;
    Ok((Usage { cpu_ns, resident_bytes }, children))
}

fn thread_cpu_ns(thread: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0);
    }

    #[test]
    fn those_that_it_started_count() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (alone, children) = read(Path::new("/proc/self")).unwrap();
        assert!(children.contains(&child.id().to_string()), "{children:?}");
        assert!(usage(std::process::id()).unwrap().resident_bytes > alone.resident_bytes);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let text = usage(u32::MAX).unwrap_err().to_string();
        assert!(text.contains("4294967295") && text.contains("--pid"), "{text}");
    }

    #[test]
    fn memory_is_read_from_the_status() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    12 kB\nThreads:\t1\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
