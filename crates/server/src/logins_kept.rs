//! Login counters and bans on disk: bans as soon as they change, counters twice a minute, both at the end. A thread of its own
//! writes, so that no worker waits for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use motte_event::keep;

use crate::inbox::Inbox;
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
        let (stop, stopped) = sync_channel(1);
        let thread =
            std::thread::Builder::new().name("motte-logins".into()).spawn(move || run(&own, &stopped))?;
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

fn run(logins: &Logins, stopped: &Receiver<()>) {
    let mut written = logins.changes();
    let mut looks = 0;
    loop {
        let last = !matches!(stopped.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
        looks += 1;
        logins.expire();
        let (counters, bans) = logins.changes();
        let Some((counters_file, bans_file)) = logins.files() else {
            if last {
                return;
            }
            continue;
        };
        if bans != written.1 && kept(logins, bans_file, &logins.encoded_bans()) {
            written.1 = bans;
        }
        if (last || looks >= COUNTERS_EVERY) && counters != written.0 {
            looks = 0;
            if kept(logins, counters_file, &logins.encoded_attempts()) {
                written.0 = counters;
            }
        }
        if last {
            return;
        }
    }
}

fn kept(logins: &Logins, file: &Path, bytes: &[u8]) -> bool {
    match write_whole(file, bytes) {
        Ok(()) => true,
        Err(error) => {
            let event = keep::attempts_not_kept(&file.display().to_string(), &error.to_string());
            logins.log().event(event);
            false
        }
    }
}

/// Puts a file in place of the last one: whole or not at all.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut open = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    std::fs::rename(&new, file)?;
    file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
