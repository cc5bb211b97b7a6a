//! TLS handshakes in threads of their own: their cryptography takes as long as some hundred messages, and nobody's messages
//! wait for it.
//!
//! A worker lends the stream for one step, as far as the peer's bytes go, and gets it back as a letter. It is the worker that
//! watches the socket and the time. What waits here is bounded by the connections there are: each waits at most once.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use motte_broker::ConnId;
use motte_roles::{ANSWER_DEADLINE, KeyClient};
use motte_transport::{Progress, Refusal, Stream};

use crate::inbox::{Inbox, Letter};

/// One step of a handshake.
pub(crate) struct Job {
    /// Whose it is.
    pub(crate) conn: ConnId,
    /// Gone when nobody waits for it any more.
    pub(crate) wanted: Weak<()>,
    /// The lent stream.
    pub(crate) stream: Stream,
    /// Where it goes back to.
    pub(crate) inbox: Inbox,
    /// Since when it waits.
    pub(crate) since: Instant,
}

/// A stream that comes back, and how far it got.
pub(crate) struct Stepped {
    pub(crate) conn: ConnId,
    pub(crate) stream: Stream,
    pub(crate) outcome: Result<Progress, Refusal>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    over: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

/// The way to the threads; they end when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Handshakes {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.more.notify_all();
    }
}

impl Handshakes {
    /// Starts the threads, at least one. Where keys are in a process of their own, a thread may have to wait for it, so there
    /// are at least two.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(crate) fn start(threads: usize, keys: Option<&KeyClient>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        for number in 0..threads.max(if keys.is_some() { 2 } else { 1 }) {
            let (shared, keys) = (Arc::clone(&shared), keys.cloned());
            let thread = std::thread::Builder::new().name(format!("motte-handshake-{number}"));
            drop(thread.spawn(move || run(&shared, keys.as_ref()))?);
        }
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Takes a step of a handshake, after those that wait already.
    pub(crate) fn step(&self, job: Job) {
        let shared = &self.handle.shared;
        shared.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.push_back(job);
        shared.more.notify_one();
    }
}

fn run(shared: &Shared, keys: Option<&KeyClient>) {
    crate::priority::give_way();
    while let Some(Job { conn, wanted, mut stream, inbox, since }) = next(shared) {
        let outcome = if wanted.strong_count() == 0 {
            // Its deadline may have come in a storm; then the time is for those that still wait.
            Err(Refusal::Gone)
        } else if keys.is_some_and(|keys| !keys.wait_attached(since + ANSWER_DEADLINE)) {
            // Everybody who came while the key process was away has waited as long, not one after the other.
            Err(Refusal::Unsigned("the key process did not come back in time".to_owned()))
        } else {
            // A defect below must not take the thread away from all that come after.
            let step = std::panic::AssertUnwindSafe(|| stream.advance());
            std::panic::catch_unwind(step).unwrap_or(Err(Refusal::Gone))
        };
        inbox.put(Letter::Stepped(Box::new(Stepped { conn, stream, outcome })));
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            return Some(job);
        }
        if queue.over {
            return None;
        }
        queue = shared.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}
