//! Who waits for whom when the cores are busy: threads that compute much give way to the workers.

use rustix::process::setpriority_process;

/// How much, as the system counts niceness.
const NICENESS: i32 = 5;

/// Has the calling thread give way to the workers. Refused: then it and messages have the same right to the cores.
pub(crate) fn give_way() {
    let _ = setpriority_process(None, NICENESS);
}
