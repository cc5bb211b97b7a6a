//! What a process gives up with one call each: memory dumps, limits, new privileges.

use std::fs;
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread;

use crate::error::ConfineError;

/// Limits that become 0: no core files, no message queues of the kernel, no real-time priority, no nicer than now.
const TO_ZERO: [Resource; 4] = [Resource::Core, Resource::Msgqueue, Resource::Rtprio, Resource::Nice];

/// Refuses a process that has threads already.
///
/// # Errors
/// [`ConfineError::Threads`], or [`ConfineError::Unreadable`] without `/proc`.
pub(crate) fn alone() -> Result<(), ConfineError> {
    let path = PathBuf::from("/proc/self/task");
    let threads = fs::read_dir(&path).map(Iterator::count);
    match threads {
        Ok(0 | 1) => Ok(()),
        Ok(threads) => Err(ConfineError::Threads(threads)),
        Err(source) => Err(ConfineError::Unreadable { path, source }),
    }
}

/// No dumps of memory, by the kernel or by others of the same user: `/proc/PID/mem` and ptrace are closed to them.
///
/// # Errors
/// [`ConfineError::Step`].
pub(crate) fn no_dumps() -> Result<(), ConfineError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| ConfineError::step("dumpable flag", error))
}

/// Lowers limits, soft and hard; that of open files to what it is now. `tasks_max` is RLIMIT_NPROC: it counts the threads of
/// all processes of the user.
///
/// # Errors
/// [`ConfineError::Step`].
pub(crate) fn lower_limits(tasks_max: Option<u64>) -> Result<(), ConfineError> {
    let zero = TO_ZERO.iter().map(|resource| (*resource, 0));
    for (resource, most) in zero.chain(tasks_max.map(|most| (Resource::Nproc, most))) {
        // A limit that is lower already stays: raising it is neither ours to do nor permitted.
        let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| ConfineError::step("limits", format!("{resource:?}: {error}")))?;
    }
    // Raised to what the process needs before; from here on it only gets lower.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.current, maximum: files.current })
        .map_err(|error| ConfineError::step("limits", format!("open files: {error}")))
}

/// No execve brings privileges any more. Landlock and seccomp ask for it.
///
/// # Errors
/// [`ConfineError::Step`].
pub(crate) fn no_new_privileges() -> Result<(), ConfineError> {
    thread::set_no_new_privs(true).map_err(|error| ConfineError::step("no_new_privs", error))
}
