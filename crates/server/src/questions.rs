//! Slow questions: password hashes cost memory and time on purpose, so a few threads of their own compute them, and only
//! so many may wait.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use motte_broker::{ConnId, Verdict};

use crate::inbox::{Inbox, Letter};

/// A question with everything that answers it.
pub(crate) struct Job {
    /// Whose answer it is.
    pub(crate) conn: ConnId,
    /// Gone when nobody waits for the answer any more.
    pub(crate) wanted: Weak<u64>,
    /// Where the answer goes.
    pub(crate) inbox: Inbox,
    /// What computes it.
    pub(crate) work: Box<dyn FnOnce() -> Verdict + Send>,
}

/// The way to the threads; they end when all handles are gone.
#[derive(Clone)]
pub(crate) struct Questions {
    sender: SyncSender<Job>,
    waiting_max: usize,
}

impl Questions {
    /// Starts `threads` threads with room for `waiting_max` questions.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn start(threads: usize, waiting_max: usize) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(waiting_max.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        let spawn = |number| {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("motte-password-{number}"))
                .spawn(move || answer(&receiver))
        };
        for thread in (0..threads.max(1)).map(spawn) {
            drop(thread?);
        }
        Ok(Self { sender, waiting_max })
    }

    /// Questions that may wait.
    pub(crate) fn waiting_max(&self) -> u64 {
        self.waiting_max as u64
    }

    /// Asks; gives the job back when too many wait.
    pub(crate) fn ask(&self, job: Job) -> Result<(), Job> {
        self.sender.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }
}

fn answer(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { conn, wanted, inbox, work }) = next else { return };
        // In a storm of logins many give up before their turn; checking their passwords all the same would make the next
        // ones late as well.
        if wanted.strong_count() > 0 {
            inbox.put(Letter::Verdict(conn, work()));
        }
    }
}
