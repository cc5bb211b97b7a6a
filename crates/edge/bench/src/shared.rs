//! What the threads of a run share: the clock, the phases, and who may send more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mio::Waker;

use crate::fault::Fault;
use crate::schedule::SECOND_NS;

/// How far ahead the measuring is ended, in nanoseconds: longer than any turn of a thread.
const CUT_AHEAD_NS: u64 = SECOND_NS / 10;

/// When messages flow and when they are measured, in nanoseconds since the start; `u64::MAX`: not yet known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "names of times end with their unit")]
pub(crate) struct Window {
    /// Messages flow from here on.
    pub(crate) from_ns: u64,
    /// They are measured from here on.
    pub(crate) measure_ns: u64,
    /// Until here.
    pub(crate) until_ns: u64,
}

impl Window {
    /// Whether this moment is measured.
    pub(crate) fn measures(&self, ns: u64) -> bool {
        ns >= self.measure_ns && ns < self.until_ns
    }
}

/// What one thread tells the others; only that thread writes it. Aligned so that no two share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lane {
    /// Connections that are ready for their part.
    pub(crate) ready: AtomicU64,
    /// Messages sent, warm-up and all.
    pub(crate) sent: AtomicU64,
    /// Deliveries that these should become.
    pub(crate) expected: AtomicU64,
    /// Deliveries, without duplicates.
    pub(crate) delivered: AtomicU64,
    /// Connections accepted.
    pub(crate) accepted: AtomicU64,
    /// Connections that were ready and ended by themselves.
    pub(crate) gone: AtomicU64,
    /// The thread sends no more messages.
    pub(crate) stopped: AtomicBool,
}

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    epoch: Instant,
    from_ns: AtomicU64,
    measure_ns: AtomicU64,
    until_ns: AtomicU64,
    finished: AtomicBool,
    fault: Mutex<Option<Fault>>,
    wakers: Vec<Waker>,
    /// One for each thread.
    pub(crate) lanes: Vec<Lane>,
    /// For each publisher, how many deliveries came of what it sent. Counted in a closed loop only.
    pub(crate) credits: Vec<AtomicU64>,
}

impl Shared {
    /// For as many threads as there are wakers.
    pub(crate) fn new(wakers: Vec<Waker>, publishers: u64) -> Self {
        let lanes = wakers.iter().map(|_| Lane::default()).collect();
        Self {
            epoch: Instant::now(),
            from_ns: AtomicU64::new(u64::MAX),
            measure_ns: AtomicU64::new(u64::MAX),
            until_ns: AtomicU64::new(u64::MAX),
            finished: AtomicBool::new(false),
            fault: Mutex::new(None),
            wakers,
            lanes,
            credits: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Lets messages flow. The start is written last, so that who sees it sees the rest.
    pub(crate) fn begin(&self, window: Window) {
        self.measure_ns.store(window.measure_ns, Ordering::Relaxed);
        self.until_ns.store(window.until_ns, Ordering::Relaxed);
        self.from_ns.store(window.from_ns, Ordering::Release);
        self.wake_all();
    }

    /// Ends the measuring a moment ahead, and says when, in nanoseconds since the start. Ahead, because a thread that has
    /// not seen it yet would count as sent what others do not count as delivered.
    pub(crate) fn cut(&self) -> u64 {
        let until_ns = self.now_ns().saturating_add(CUT_AHEAD_NS);
        let until_ns = self.until_ns.fetch_min(until_ns, Ordering::Relaxed).min(until_ns);
        self.wake_all();
        until_ns
    }

    /// The phases as they stand.
    pub(crate) fn window(&self) -> Window {
        let from_ns = self.from_ns.load(Ordering::Acquire);
        Window {
            from_ns,
            measure_ns: self.measure_ns.load(Ordering::Relaxed),
            until_ns: self.until_ns.load(Ordering::Relaxed),
        }
    }

    /// Ends every thread.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether every thread is to end.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Ends the run because of a fault; the first one is kept.
    pub(crate) fn abort(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        self.finish();
    }

    /// Why the run was aborted.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Wakes one thread.
    pub(crate) fn wake(&self, thread: usize) {
        if let Some(waker) = self.wakers.get(thread) {
            // A thread that cannot be woken looks by itself a moment later.
            let _ = waker.wake();
        }
    }

    /// The sum of one figure over all threads.
    pub(crate) fn total(&self, figure: impl Fn(&Lane) -> &AtomicU64) -> u64 {
        self.lanes.iter().map(|lane| figure(lane).load(Ordering::Relaxed)).sum()
    }

    /// Whether every thread sends no more.
    pub(crate) fn all_stopped(&self) -> bool {
        self.lanes.iter().all(|lane| lane.stopped.load(Ordering::Acquire))
    }

    fn wake_all(&self) {
        for thread in 0..self.wakers.len() {
            self.wake(thread);
        }
    }
}
