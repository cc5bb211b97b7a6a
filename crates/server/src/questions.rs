//! Slow questions: password hashes cost memory and time on purpose, so a few threads of their own compute them, and only
//! so many may wait. The memory of all checks together is bounded as well.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use motte_broker::{ConnId, Verdict};
use motte_config::Config;
use motte_event::gate;
use motte_wire::ReasonCode;

use crate::asking::{Asked, Work};
use crate::inbox::{Inbox, Letter};
use crate::log::Log;

/// A question with everything that answers it.
pub(crate) struct Job {
    /// Who asks.
    pub(crate) asker: Asker,
    /// Memory that it takes, in KiB.
    pub(crate) memory_kib: u32,
    /// What computes it.
    pub(crate) work: Work,
}

/// A connection that waits for a verdict, and the ways to those who find it.
pub(crate) struct Asker {
    /// Whose answer it is.
    pub(crate) conn: ConnId,
    /// Gone when nobody waits for the answer any more.
    pub(crate) wanted: Weak<u64>,
    /// Where the answer goes.
    pub(crate) inbox: Inbox,
    /// Who checks passwords.
    pub(crate) questions: Questions,
    /// The log.
    pub(crate) log: Log,
}

impl Asker {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.wanted.strong_count() == 0
    }

    /// Passes an answer on to the worker, or a question to who finds it out. With too many that wait the answer is to come
    /// another time.
    pub(crate) fn hand_out(self, asked: Asked) {
        let (refused, waiting_max, cause) = match asked {
            Asked::Known(verdict) => return self.inbox.put(Letter::Verdict(self.conn, verdict)),
            Asked::Slow { memory_kib, work } => {
                let questions = self.questions.clone();
                let refused = questions.ask(Job { asker: self, memory_kib, work });
                (refused, questions.waiting_max(), "too many passwords wait to be checked")
            }
            Asked::Remote(lane, work) => {
                let refused = lane.ask(Job { asker: self, memory_kib: 0, work });
                (refused, lane.waiting_max(), "too many questions wait for the service")
            }
        };
        if let Err(Job { asker, .. }) = refused {
            asker.log.event(gate::login_queue_full(waiting_max));
            let (reason, cause) = (ReasonCode::SERVER_BUSY, cause.to_owned());
            asker.inbox.put(Letter::Verdict(asker.conn, Verdict::Refused { reason, cause }));
        }
    }
}

/// The way to the threads; they end when all handles are gone.
#[derive(Clone)]
pub(crate) struct Questions {
    sender: SyncSender<Job>,
    waiting_max: usize,
}

impl Questions {
    /// As configured.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn of(config: &Config) -> std::io::Result<Self> {
        let memory_kib = config.hash_memory_mib.saturating_mul(1_024);
        Self::start(usize::from(config.hash_threads), config.hash_queue as usize, memory_kib)
    }

    /// Starts `threads` threads with room for `waiting_max` questions, which together take no more than `memory_kib_max`.
    ///
    /// # Errors
    /// When the system refuses another thread.
    fn start(threads: usize, waiting_max: usize, memory_kib_max: u32) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(waiting_max.max(1));
        let receiver = Arc::new(Mutex::new(receiver));
        let memory = Arc::new(Memory {
            all_kib: memory_kib_max,
            free_kib: Mutex::new(memory_kib_max),
            freed: Condvar::new(),
        });
        let spawn = |number| {
            let (receiver, memory) = (Arc::clone(&receiver), Arc::clone(&memory));
            std::thread::Builder::new()
                .name(format!("motte-password-{number}"))
                .spawn(move || answer(&receiver, &memory))
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

/// The memory that checks may take together.
struct Memory {
    all_kib: u32,
    free_kib: Mutex<u32>,
    freed: Condvar,
}

impl Memory {
    /// Does `work` once so much is free. What asks for more than there is waits until nothing else is done.
    fn with<T>(&self, needed_kib: u32, work: impl FnOnce() -> T) -> T {
        let taken = needed_kib.min(self.all_kib);
        let free = self.free_kib.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.freed.wait_while(free, |free| *free < taken).unwrap_or_else(PoisonError::into_inner);
        *free -= taken;
        drop(free);
        let done = work();
        *self.free_kib.lock().unwrap_or_else(PoisonError::into_inner) += taken;
        self.freed.notify_all();
        done
    }
}

fn answer(receiver: &Mutex<Receiver<Job>>, memory: &Memory) {
    crate::priority::give_way();
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { asker, memory_kib, work }) = next else { return };
        // In a storm of logins many give up before their turn; checking their passwords all the same would make the next
        // ones late as well.
        if !asker.is_gone() {
            // A defect below must not take the thread, or the memory, away from all that come after. Whoever asked is
            // closed by its deadline.
            let work = std::panic::AssertUnwindSafe(work);
            if let Ok(asked) = memory.with(memory_kib, || std::panic::catch_unwind(work)) {
                asker.hand_out(asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn checks_take_no_more_memory_together_than_they_may() {
        let memory = Memory { all_kib: 100, free_kib: Mutex::new(100), freed: Condvar::new() };
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for needed in [60, 40, 60, 30, 500, 10, 60] {
                let (memory, now, most) = (&memory, &now, &most);
                scope.spawn(move || {
                    memory.with(needed, || {
                        let taken = needed.min(100);
                        most.fetch_max(now.fetch_add(taken, Ordering::SeqCst) + taken, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(taken, Ordering::SeqCst);
                    });
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
        assert_eq!(*memory.free_kib.lock().unwrap(), 100);
    }
}
