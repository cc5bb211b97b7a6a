//! Group commit: one thread appends what all workers hand it, syncs once for all that waited, and tells each.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use motte_store::journal::{Located, Statistics};
use motte_store::{Batch, CommitSeq, Disk, Journal, JournalError, PublicationId};

/// How long the thread waits before it tries a failed disk again, or looks whether something is to be compacted.
const PAUSE: Duration = Duration::from_millis(500);
/// Commits after which it looks for something to compact although there is more to commit.
const COMMITS_BETWEEN_LOOKS: u32 = 256;
/// Bytes of segments that are written again in one go, while commits wait.
const COMPACT_BYTES: u64 = 64 * 1024 * 1024;
/// Batches kept for their memory.
const SPARE_MAX: usize = 64;
/// Commits that nobody wants synced after which they are synced all the same.
const COMMITS_UNSYNCED_MAX: u64 = 64;

/// Whose batches stay in order although some are refused: a refused one is tried again by its worker, and what the worker
/// submitted before it heard of the refusal must not be stored in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lane {
    /// The worker.
    pub number: u16,
    /// Completions with [`Committed::Refused`] that the worker had taken when it submitted.
    pub refusals_heard: u64,
}

/// What may wait for the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitterBounds {
    /// Batches.
    pub batches_max: usize,
    /// Bytes of their records; one batch may exceed it alone.
    pub bytes_max: usize,
}

impl Default for CommitterBounds {
    fn default() -> Self {
        Self { batches_max: 4096, bytes_max: 16 * 1024 * 1024 }
    }
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub enum Committed {
    /// It is on disk: acknowledge.
    Durable(CommitSeq),
    /// Nothing of it is stored: answer 0x97 where the protocol has it.
    Refused(Arc<JournalError>),
    /// It may be found after a restart or not: answer nothing and close the connection, so that the client asks again.
    InDoubt(Arc<JournalError>),
}

/// A batch that is done.
#[derive(Debug)]
pub struct Completion {
    /// What the worker called it.
    pub tag: u64,
    /// What became of it.
    pub result: Committed,
    /// The batch, if it was refused: to be tried again.
    pub batch: Option<Batch>,
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submission {
    /// A completion will come. Here is an empty batch to go on with, with memory if there is some.
    Taken(Batch),
    /// As much waits as may. The batch comes back: commit later, or refuse what it stands for.
    Full(Batch),
}

/// A batch that waits.
#[derive(Debug)]
struct Waiting {
    lane: Lane,
    tag: u64,
    batch: Batch,
    is_synced: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    bytes: usize,
    spare: Vec<Batch>,
    is_closing: bool,
}

#[derive(Debug)]
struct Shared<D: Disk> {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// `None` once it was handed back.
    journal: Mutex<Option<Journal<D>>>,
    bounds: CommitterBounds,
}

/// The thread and what it shares. Dropped, it ends the thread after what waits.
#[derive(Debug)]
pub struct Committer<D: Disk> {
    shared: Arc<Shared<D>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Disk> Committer<D> {
    /// Starts the thread. `done` is called on it for each batch, in the order of submission, and must not wait.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(
        journal: Journal<D>,
        bounds: CommitterBounds,
        done: impl FnMut(Completion) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            journal: Mutex::new(Some(journal)),
            bounds,
        });
        let of_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("commit".to_owned()).spawn(move || run(&of_thread, done))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Hands a batch over; never waits for the disk. Batches of a lane are stored in order, or refused. With `is_synced` it is done once it is on disk, else once the system
    /// has it; it is on disk within a second then.
    pub fn submit(&self, lane: Lane, tag: u64, batch: Batch, is_synced: bool) -> Submission {
        let mut queue = self.shared.queue();
        let bounds = self.shared.bounds;
        let is_full = queue.waiting.len() >= bounds.batches_max
            || !queue.waiting.is_empty() && queue.bytes + batch.bytes() > bounds.bytes_max;
        if is_full {
            return Submission::Full(batch);
        }
        queue.bytes += batch.bytes();
        let is_first = queue.waiting.is_empty();
        queue.waiting.push(Waiting { lane, tag, batch, is_synced });
        let spare = queue.spare.pop().unwrap_or_default();
        drop(queue);
        if is_first {
            self.shared.filled.notify_one();
        }
        Submission::Taken(spare)
    }

    /// Where messages are, in the order of their numbers; one that is not there, or not appended yet, is `None`. The
    /// journal is held meanwhile, but not while they are read.
    pub fn locate(&self, ids: &[PublicationId]) -> Vec<Option<Located<D::File>>> {
        self.with_journal(|journal| ids.iter().map(|id| journal.locate(*id)).collect()).unwrap_or_default()
    }

    /// Why nothing durable is taken at the moment, if so.
    pub fn refusal(&self) -> Option<String> {
        self.with_journal(|journal| journal.refusal().map(ToString::to_string)).flatten()
    }

    /// How large the journal is.
    pub fn statistics(&self) -> Statistics {
        self.with_journal(|journal| journal.statistics()).unwrap_or_default()
    }

    /// Runs something on the journal; nothing is appended meanwhile. `None` if the thread ended by a fault of its own.
    pub fn with_journal<T>(&self, run: impl FnOnce(&mut Journal<D>) -> T) -> Option<T> {
        self.shared.journal().as_mut().map(run)
    }

    /// Commits what waits, ends the thread and gives the journal back, to be closed.
    pub fn stop(mut self) -> Option<Journal<D>> {
        self.end();
        self.shared.journal().take()
    }

    fn end(&mut self) {
        self.shared.queue().is_closing = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is one of `done`, and was printed.
            let _ = thread.join();
        }
    }
}

impl<D: Disk> Drop for Committer<D> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<D: Disk> Shared<D> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal<D>>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, once something does or the pause is over; `None` when the thread is to end.
    fn take(&self, into: &mut Vec<Waiting>) -> Option<()> {
        let mut queue = self.queue();
        for Waiting { mut batch, .. } in into.drain(..) {
            batch.clear();
            if queue.spare.len() < SPARE_MAX {
                queue.spare.push(batch);
            }
        }
        if queue.waiting.is_empty() && !queue.is_closing {
            queue = self.filled.wait_timeout(queue, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.waiting.is_empty() && queue.is_closing {
            return None;
        }
        std::mem::swap(&mut queue.waiting, into);
        queue.bytes = 0;
        Some(())
    }
}

/// The thread.
fn run<D: Disk>(shared: &Shared<D>, mut done: impl FnMut(Completion)) {
    let (mut taken, mut refusals) = (Vec::new(), Refusals::default());
    let mut commits = 0;
    // While the disk refuses: when it was tried last.
    let mut tried: Option<Instant> = None;
    while shared.take(&mut taken).is_some() {
        let is_idle = taken.is_empty();
        let mut is_refusing = false;
        if is_idle {
            sync_rest(shared);
        } else {
            is_refusing = commit(shared, &mut taken, &mut refusals, &mut done);
            commits += 1;
        }
        // What is refused meanwhile does not put off the next attempt.
        let is_due = is_refusing && tried.get_or_insert_with(Instant::now).elapsed() >= PAUSE;
        if is_idle || is_due || commits >= COMMITS_BETWEEN_LOOKS {
            (commits, tried) = (0, None);
            tidy(shared);
        }
    }
}

/// Syncs what nobody waited for.
fn sync_rest<D: Disk>(shared: &Shared<D>) {
    let mut guard = shared.journal();
    let Some(journal) = guard.as_mut().filter(|journal| journal.durable() < journal.appended()) else {
        return;
    };
    let pending = journal.begin_sync();
    drop(guard);
    let synced = pending.run();
    if let Some(journal) = shared.journal().as_mut() {
        // Nobody was promised more than that the system has it; whoever commits next hears of a failure.
        let _ = journal.finish_sync(&pending, synced);
    }
}

/// Commits all batches with one sync, if one of them wants it, and tells each what became of it. Says whether the journal
/// takes nothing more until it is mended.
fn commit<D: Disk>(
    shared: &Shared<D>,
    taken: &mut [Waiting],
    refusals: &mut Refusals,
    done: &mut impl FnMut(Completion),
) -> bool {
    let mut guard = shared.journal();
    let Some(journal) = guard.as_mut() else { return false };
    let results = append(journal, taken, refusals);
    let is_long_ago = journal.appended().0 - journal.durable().0 >= COMMITS_UNSYNCED_MAX;
    let is_synced = is_long_ago || taken.iter().any(|waiting| waiting.is_synced);
    let pending = journal.begin_sync();
    drop(guard);
    let has_some = is_synced && results.iter().any(Result::is_ok);
    let synced = if has_some { pending.run() } else { Ok(()) };
    let mut guard = shared.journal();
    let Some(journal) = guard.as_mut() else { return false };
    let synced = if has_some {
        journal.finish_sync(&pending, synced).map_err(Arc::new)
    } else {
        Ok(journal.durable())
    };
    let is_refusing = journal.refusal().is_some();
    drop(guard);
    for (waiting, appended) in taken.iter_mut().zip(results) {
        let is_refused = appended.is_err();
        let result = match (appended, &synced) {
            (Err(error), _) => Committed::Refused(error),
            (Ok(commit), Ok(_)) => Committed::Durable(commit),
            (Ok(_), Err(error)) => Committed::InDoubt(Arc::clone(error)),
        };
        let batch = is_refused.then(|| std::mem::take(&mut waiting.batch));
        done(Completion { tag: waiting.tag, result, batch });
    }
    is_refusing
}

/// Appends all batches as one commit, or each alone if one of them cannot be.
fn append<D: Disk>(
    journal: &mut Journal<D>,
    taken: &[Waiting],
    refusals: &mut Refusals,
) -> Vec<Result<CommitSeq, Arc<JournalError>>> {
    if taken.iter().all(|waiting| refusals.are_heard(waiting.lane)) {
        match journal.append(taken.iter().map(|waiting| &waiting.batch)) {
            Ok(commit) => return vec![Ok(commit); taken.len()],
            Err(error @ (JournalError::Disk(_) | JournalError::Refusing(_) | JournalError::InDoubt(_))) => {
                for waiting in taken {
                    refusals.count(waiting.lane);
                }
                let error = Arc::new(error);
                return vec![Err(error); taken.len()];
            }
            // One of them is wrong, which is no reason to refuse the others.
            Err(_) => {}
        }
    }
    let one = |waiting: &Waiting| {
        let appended = if refusals.are_heard(waiting.lane) {
            journal.append([&waiting.batch])
        } else {
            Err(JournalError::OutOfTurn)
        };
        appended.map_err(|error| {
            refusals.count(waiting.lane);
            Arc::new(error)
        })
    };
    taken.iter().map(one).collect()
}

/// Batches refused so far, by lane.
#[derive(Debug, Default)]
struct Refusals(HashMap<u16, u64>);

impl Refusals {
    /// Whether the worker knew of all refusals when it submitted.
    fn are_heard(&self, lane: Lane) -> bool {
        self.0.get(&lane.number).is_none_or(|refused| lane.refusals_heard >= *refused)
    }

    fn count(&mut self, lane: Lane) {
        *self.0.entry(lane.number).or_default() += 1;
    }
}

/// What is done when there is time: trying a failed disk again, giving room back.
fn tidy<D: Disk>(shared: &Shared<D>) {
    let mut guard = shared.journal();
    let Some(journal) = guard.as_mut() else { return };
    if journal.refusal().is_some() {
        // It says itself why not, to whoever commits next.
        let _ = journal.mend();
    } else if journal.wants_compaction() {
        // What fails here is told to whoever commits next, too.
        let _ = journal.compact(COMPACT_BYTES);
    }
}
