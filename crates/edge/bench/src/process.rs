//! What a process of this machine used, read from `/proc`.

use std::io;
use std::path::Path;

use crate::fault::Fault;

/// What the broker used until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all threads that live, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Resident memory in bytes.
    pub(crate) resident_bytes: u64,
}

/// Reads what a process used.
///
/// # Errors
/// There is no such process, or `/proc` does not show it.
pub(crate) fn usage(pid: u32) -> Result<Usage, Fault> {
    read(&Path::new("/proc").join(pid.to_string())).map_err(|cause| Fault::Process { pid, cause })
}

/// CPU time of the calling thread in nanoseconds; 0 where the system does not say.
pub(crate) fn own_cpu_ns() -> u64 {
    thread_cpu_ns(Path::new("/proc/thread-self")).unwrap_or(0)
}

fn read(process: &Path) -> io::Result<Usage> {
    let mut cpu_ns = 0;
    for thread in std::fs::read_dir(process.join("task"))? {
        // A thread may end between the listing and the reading.
        cpu_ns += thread_cpu_ns(&thread?.path()).unwrap_or(0);
    }
    let status = std::fs::read_to_string(process.join("status"))?;
    let resident_bytes = resident_bytes(&status)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS in its status"))?;
    Ok(Usage { cpu_ns, resident_bytes })
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
