//! What reaches a worker from other threads: letters in batches, one wake-up a batch.
//!
//! An inbox has no hard end, because what is in it was accepted and must not be lost; it is bounded by its senders, who
//! read nothing from their own connections while it holds more than [`CONGESTED`] letters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Token, Waker};
use motte_broker::{CommitResult, ConnId, ShardMessage, Verdict};
use motte_identity::bans::BanSubject;

use crate::handshakes::Stepped;
use crate::moving::Moved;
use crate::ocsp::Distrusted;
use crate::rules::Rules;
use crate::shutdown::Step;
use crate::worker::Worker;

/// Letters in an inbox above which its senders pause reading.
pub(crate) const CONGESTED: usize = 16_384;

/// The token of a worker's inbox in its event queue.
pub(crate) const INBOX_TOKEN: Token = Token(0);

/// One thing for a worker.
pub(crate) enum Letter {
    /// From another shard.
    Shard(ShardMessage),
    /// A connection whose Session lives here.
    Moved(Box<Moved>),
    /// A stream that was lent for a step of its handshake.
    Stepped(Box<Stepped>),
    /// The answer to a slow question.
    Verdict(ConnId, Verdict),
    /// What became of a batch that was to be kept.
    Committed {
        /// Its tag.
        tag: u64,
        /// What became of it.
        result: CommitResult,
    },
    /// New rules.
    Reload(Arc<Rules>),
    /// Somebody is banned.
    Banned(Arc<BanSubject>),
    /// A certificate may not be used any more.
    Distrusted(Arc<Distrusted>),
    /// A step of the clean stop.
    Stop(Step),
    /// Something that is asked of the worker between two of its turns' steps.
    Visit(Visit),
}

/// What is done with a worker, in its own thread. It must not wait for anything.
pub(crate) type Visit = Box<dyn FnOnce(&mut Worker) + Send>;

struct State {
    letters: Mutex<Vec<Letter>>,
    length: AtomicUsize,
    held_back_until_ms: AtomicU64,
    waker: Waker,
}

/// A worker's inbox; a clone is another way to the same.
#[derive(Clone)]
pub(crate) struct Inbox {
    state: Arc<State>,
}

impl Inbox {
    /// An empty inbox that wakes the owner of `waker`.
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            state: Arc::new(State {
                letters: Mutex::new(Vec::new()),
                length: AtomicUsize::new(0),
                held_back_until_ms: AtomicU64::new(0),
                waker,
            }),
        }
    }

    /// Puts one letter in and wakes the worker.
    pub(crate) fn put(&self, letter: Letter) {
        self.put_all(&mut vec![letter]);
    }

    /// Puts a batch in and wakes the worker, unless it is awake for letters already there.
    pub(crate) fn put_all(&self, batch: &mut Vec<Letter>) {
        if batch.is_empty() {
            return;
        }
        let mut letters = self.state.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = letters.is_empty();
        letters.append(batch);
        self.state.length.store(letters.len(), Ordering::Relaxed);
        drop(letters);
        if was_empty {
            // Failing to wake means that the process has no descriptors left to be woken with; the worker looks into its
            // inbox at every turn anyway.
            let _ = self.state.waker.wake();
        }
    }

    /// Takes everything out, leaving `empty` in its place for reuse.
    pub(crate) fn take(&self, empty: Vec<Letter>) -> Vec<Letter> {
        if self.state.length.load(Ordering::Relaxed) == 0 {
            return empty;
        }
        let mut letters = self.state.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.length.store(0, Ordering::Relaxed);
        std::mem::replace(&mut *letters, empty)
    }

    /// Asks those who send here to rest: somebody here is behind but fast.
    pub(crate) fn hold_back_until(&self, at_ms: u64) {
        self.state.held_back_until_ms.store(at_ms, Ordering::Relaxed);
    }

    /// Whether they were asked to.
    pub(crate) fn holds_back(&self, now_ms: u64) -> bool {
        now_ms < self.state.held_back_until_ms.load(Ordering::Relaxed)
    }

    /// Whether its owner is far behind.
    pub(crate) fn is_congested(&self) -> bool {
        self.state.length.load(Ordering::Relaxed) > CONGESTED
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("length", &self.state.length).finish_non_exhaustive()
    }
}
