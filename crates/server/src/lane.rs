//! Questions that others answer: a lane of threads for each service that is asked over a network. What waits for one
//! service never waits for another, nor for passwords, and no worker waits at all.
//!
//! Threads come as they are needed, up to the questions that may be under way at once, and go when nothing waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::questions::Job;

/// What waits for a thread.
enum Waiting {
    /// For somebody who logs in.
    Login(Job),
    /// For nobody in particular.
    Task(Task),
}

/// Something that is done in a thread of a lane.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    threads: usize,
}

/// The way to the threads of one service; a clone is another way to the same.
#[derive(Clone)]
pub(crate) struct Lane {
    queue: Arc<Mutex<Queue>>,
    threads_max: usize,
    waiting_max: usize,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

impl Lane {
    /// With so many questions under way at once, and so many that wait.
    pub(crate) fn new(threads_max: usize, waiting_max: usize) -> Self {
        Self { queue: Arc::default(), threads_max: threads_max.max(1), waiting_max }
    }

    /// Questions that may wait.
    pub(crate) fn waiting_max(&self) -> u64 {
        self.waiting_max as u64
    }

    /// Asks; gives the job back when too many wait or the system refuses a thread.
    pub(crate) fn ask(&self, job: Job) -> Result<(), Job> {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.waiting.len() >= self.waiting_max {
                return Err(job);
            }
            queue.waiting.push_back(Waiting::Login(job));
            if queue.threads >= self.threads_max {
                return Ok(());
            }
            queue.threads += 1;
        }
        match self.spawn() {
            Some(Waiting::Login(job)) => Err(job),
            Some(Waiting::Task(task)) => {
                // It waits with nobody to do it, until somebody comes for whom the system has a thread.
                self.queue
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .waiting
                    .push_back(Waiting::Task(task));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Does something in a thread; whoever asks for it bounds how much. When the system refuses a thread it is done at once.
    pub(crate) fn run(&self, task: Task) {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back(Waiting::Task(task));
            if queue.threads >= self.threads_max {
                return;
            }
            queue.threads += 1;
        }
        if let Some(Waiting::Task(task)) = self.spawn() {
            task();
        }
    }

    /// Starts a thread that was counted; gives back what waited last when there is none.
    fn spawn(&self) -> Option<Waiting> {
        let own = self.clone();
        let spawned = std::thread::Builder::new().name("motte-question".into()).spawn(move || own.work());
        if spawned.is_ok() {
            return None;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.threads -= 1;
        // With another thread at work it has somebody.
        if queue.threads > 0 { None } else { queue.waiting.pop_back() }
    }

    fn work(&self) {
        loop {
            let next = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(next) = queue.waiting.pop_front() else {
                    queue.threads -= 1;
                    return;
                };
                next
            };
            // A defect below must not take the thread, and the right to it, away from all that come after. Whoever asked
            // is closed by its deadline.
            match next {
                Waiting::Task(task) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(task))),
                // Many give up before their turn in a storm.
                Waiting::Login(job) if job.asker.is_gone() => {}
                Waiting::Login(Job { asker, work, .. }) => {
                    if let Ok(asked) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                        asker.hand_out(asked);
                    }
                }
            }
        }
    }
}
