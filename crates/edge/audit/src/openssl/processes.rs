//! Which processes use a library: what the kernel says in `/proc/PID/maps`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, read_dir, read_link};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::library::is_library;
use crate::tree::below;

/// Processes that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// Bytes of the maps of one process that are read.
const MAPS_BYTES_MAX: u64 = 32 * 1_024 * 1_024;
/// Bytes of a process's name; the kernel keeps 15.
const NAME_BYTES_MAX: u64 = 64;
/// What the kernel writes behind the path of a file that is gone.
const DELETED: &[u8] = b" (deleted)";

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)
    }
}

/// Who uses what.
#[derive(Debug, Default)]
pub(crate) struct Users {
    /// By the path of the library, below the root.
    pub(crate) current: BTreeMap<PathBuf, BTreeSet<Process>>,
    /// By the path that it had before it was replaced or removed.
    pub(crate) deleted: BTreeMap<PathBuf, BTreeSet<Process>>,
    /// Processes of another mount namespace, whose paths mean other files.
    pub(crate) elsewhere: BTreeSet<Process>,
    /// How many processes could not be looked at.
    pub(crate) unread: usize,
}

/// The libraries of OpenSSL in the maps of a process: path below the root, and whether the file is gone.
pub fn mapped(maps: &[u8]) -> BTreeSet<(PathBuf, bool)> {
    let mut found = BTreeSet::new();
    for line in maps.split(|byte| *byte == b'\n') {
        // Five fields without a slash come before the path of a file: addresses, rights, offset, device, inode.
        let Some(at) = line.iter().position(|byte| *byte == b'/') else { continue };
        let path = line.get(at..).unwrap_or_default();
        let (path, is_deleted) = path.strip_suffix(DELETED).map_or((path, false), |path| (path, true));
        let path = below(path);
        if path.file_name().is_some_and(is_library) {
            found.insert((path, is_deleted));
        }
    }
    found
}

/// Looks at every process below `proc`.
pub(crate) fn users(proc: &Path) -> std::io::Result<Users> {
    let own = read_link(proc.join("self/ns/mnt")).ok();
    let mut users = Users::default();
    let is_pid = |name: &OsStr| name.to_str().and_then(|name| name.parse::<u32>().ok());
    let entries = read_dir(proc)?.flatten();
    let pids: BTreeSet<u32> =
        entries.filter_map(|entry| is_pid(&entry.file_name())).take(PROCESSES_MAX).collect();
    for pid in pids {
        let folder = proc.join(pid.to_string());
        let maps = match read(&folder.join("maps"), MAPS_BYTES_MAX) {
            Ok(maps) => maps,
            // It ended meanwhile.
            Err(error) if is_gone(&error) => continue,
            Err(_) => {
                users.unread += 1;
                continue;
            }
        };
        let found = mapped(&maps);
        if found.is_empty() {
            continue;
        }
        let name = read(&folder.join("comm"), NAME_BYTES_MAX).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).trim_end().to_owned();
        let process = Process { name, pid };
        let namespace = read_link(folder.join("ns/mnt")).ok();
        if own.is_some() && namespace.is_some() && own != namespace {
            users.elsewhere.insert(process);
            continue;
        }
        for (path, is_deleted) in found {
            let paths = if is_deleted { &mut users.deleted } else { &mut users.current };
            paths.entry(path).or_default().insert(process.clone());
        }
    }
    Ok(users)
}

fn is_gone(error: &std::io::Error) -> bool {
    let no_process = Some(rustix::io::Errno::SRCH.raw_os_error());
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == no_process
}

fn read(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_tell_libraries_and_which_are_gone() {
        let maps = b"7f00-7f01 r-xp 00000000 08:01 42    /usr/lib/x86_64-linux-gnu/libssl.so.3\n\
            7f02-7f03 r--p 00000000 08:01 43    /usr/lib/x86_64-linux-gnu/libcrypto.so.3 (deleted)\n\
            7f04-7f05 r--p 00000000 08:01 44    /usr/lib/a b/libc.so.6\n7f06-7f07 rw-p 00000000 00:00 0\n7f08 [heap]\ngarbage\n/";
        let found = mapped(maps);
        let folder = Path::new("usr/lib/x86_64-linux-gnu");
        assert_eq!(
            found,
            BTreeSet::from([(folder.join("libssl.so.3"), false), (folder.join("libcrypto.so.3"), true)])
        );
    }
}
