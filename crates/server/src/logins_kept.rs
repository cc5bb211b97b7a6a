//! Login counters and bans on disk: bans as soon as they change, counters twice a minute, both at the end. A thread of its own
//! writes, so that no worker waits for a disk.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use motte_event::keep;

use crate::inbox::Inbox;
use crate::kept_file::{ATTEMPTS, BANS, KeptFiles};
use crate::logins::Logins;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);
/// After how many looks counters are written.
const COUNTERS_EVERY: u32 = 60;

/// The thread.
#[derive(Debug)]
pub(crate) struct LoginsKept {
    logins: Logins,
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl LoginsKept {
    /// Starts it; without a state directory it only ends bans whose time is over. `inboxes` are told of bans from now on.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn start(logins: Logins, inboxes: &Arc<[Inbox]>) -> io::Result<Self> {
        logins.tell(Arc::clone(inboxes));
        let own = logins.clone();
        // Before the thread runs, so that it sees what changes while it begins.
        let written = logins.changes();
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("motte-logins".into())
            .spawn(move || run(&own, written, &stopped))?;
        Ok(Self { logins, stop, thread })
    }

    /// What it keeps.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Writes what changed and ends.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // If it panicked there is nobody left to tell.
        let _ = self.thread.join();
    }
}

fn run(logins: &Logins, mut written: (u64, u64), stopped: &Receiver<()>) {
    let mut looks = 0;
    loop {
        let last = !matches!(stopped.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
        looks += 1;
        logins.expire();
        let (counters, bans) = logins.changes();
        let Some(files) = logins.files() else {
            if last {
                return;
            }
            continue;
        };
        if bans != written.1 && kept(logins, files, BANS, &logins.encoded_bans()) {
            written.1 = bans;
        }
        if (last || looks >= COUNTERS_EVERY) && counters != written.0 {
            looks = 0;
            if kept(logins, files, ATTEMPTS, &logins.encoded_attempts()) {
                written.0 = counters;
            }
        }
        if last {
            return;
        }
    }
}

fn kept(logins: &Logins, files: &KeptFiles, name: &str, bytes: &[u8]) -> bool {
    match files.write(name, bytes) {
        Ok(()) => true,
        Err(error) => {
            let event = keep::attempts_not_kept(&files.path(name).display().to_string(), &error.to_string());
            logins.log().event(event);
            false
        }
    }
}
