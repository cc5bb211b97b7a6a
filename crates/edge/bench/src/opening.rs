//! Which connections a thread opens, and when.

use crate::job::Job;
use crate::schedule::Schedule;
use crate::shape::Shape;
use crate::shared::Window;

/// Handshakes of all threads under way at once while a run is set up.
const SETTING_UP_MAX: u64 = 64;
/// Connections opened before others have their turn.
const AT_ONCE: u64 = 32;

/// What a connection is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// The publisher of this number.
    Publisher(u64),
    /// The subscriber of this number.
    Subscriber(u64),
    /// The idle connection of this number.
    Bystander(u64),
    /// The visit of this number.
    Visitor(u64),
}

impl Seat {
    /// Its number among all connections of the run.
    pub(crate) fn number(self, job: &Job) -> u64 {
        match self {
            Self::Publisher(number) | Self::Bystander(number) | Self::Visitor(number) => number,
            Self::Subscriber(number) => job.plan.publishers + number,
        }
    }
}

/// The connections that a thread has still to open.
#[derive(Debug)]
pub(crate) struct Opening {
    thread: u64,
    threads: u64,
    publishers: u64,
    others: u64,
    is_idle: bool,
    is_visit: bool,
    schedule: Option<Schedule>,
    /// When the setting up began, in nanoseconds since the start of the run.
    start_ns: u64,
    under_way: u64,
    under_way_max: u64,
    next: u64,
    /// Visits of this thread at most.
    visits: u64,
    /// Since the clock was looked at.
    opened_now: (u64, u64),
}

impl Opening {
    /// What the thread of this number has to open.
    pub(crate) fn new(job: &Job, thread: usize, start_ns: u64) -> Self {
        let plan = &job.plan;
        let (threads, thread) = (job.threads(), u64::try_from(thread).unwrap_or(0));
        // Every n-th of a count belongs to the n-th thread.
        let share = |count: u64| (count + threads - 1).saturating_sub(thread) / threads;
        let is_visit = plan.options.shape == Shape::Connect;
        let schedule = plan.options.connect_rate.map(|rate| Schedule::new(rate.into(), threads));
        let under_way_max = match (is_visit, schedule) {
            (true, Some(_)) => plan.visitors_max(),
            (true, None) => plan.in_flight,
            (false, _) => SETTING_UP_MAX,
        };
        Self {
            thread,
            threads,
            publishers: share(plan.publishers),
            others: share(plan.subscribers + plan.connections),
            is_idle: plan.options.shape == Shape::Idle,
            is_visit,
            schedule,
            start_ns,
            under_way: 0,
            // At least one, so that every thread gets on.
            under_way_max: share(under_way_max).max(1),
            next: 0,
            visits: plan.quota(thread, threads),
            opened_now: (0, 0),
        }
    }

    /// The numbers of this thread's publishers, ascending.
    pub(crate) fn publishers(&self) -> impl Iterator<Item = u64> + use<> {
        let (thread, threads) = (self.thread, self.threads);
        (0..self.publishers).map(move |index| index * threads + thread)
    }

    /// The next connection that is due, and when it was due. `open` counts all that have not ended.
    pub(crate) fn next(&mut self, window: &Window, now_ns: u64, open: usize) -> Option<(Seat, u64)> {
        if self.opened_now.0 != now_ns {
            self.opened_now = (now_ns, 0);
        }
        // Visits that were ended and that the broker has not closed yet hold files too.
        let is_crowded = self.is_visit && u64::try_from(open).unwrap_or(0) >= 2 * self.under_way_max;
        if self.under_way >= self.under_way_max || self.opened_now.1 >= AT_ONCE || is_crowded {
            return None;
        }
        let due_ns = self.due(window)?;
        if due_ns > now_ns {
            return None;
        }
        let place = self.next;
        let nth = |index: u64| index * self.threads + self.thread;
        let seat = if self.is_visit {
            if now_ns >= window.until_ns {
                return None;
            }
            Seat::Visitor(nth(place))
        } else if self.is_idle {
            Seat::Bystander(nth(place))
        } else if place < self.others {
            // Subscribers first: what is published before they stand would be lost.
            Seat::Subscriber(nth(place))
        } else {
            Seat::Publisher(nth(place - self.others))
        };
        self.next += 1;
        self.under_way += 1;
        self.opened_now.1 += 1;
        Some((seat, if self.schedule.is_some() { due_ns } else { now_ns }))
    }

    /// In how many nanoseconds the next one is due, where a rate says so and it is not due already.
    pub(crate) fn next_due(&self, window: &Window, now_ns: u64) -> Option<u64> {
        self.schedule?;
        if self.under_way >= self.under_way_max {
            return None;
        }
        self.due(window).map(|due_ns| due_ns.saturating_sub(now_ns)).filter(|_| now_ns < window.until_ns)
    }

    /// Whether all visits of a count were made, or failed.
    pub(crate) fn is_through(&self) -> bool {
        self.is_visit && self.next >= self.visits && self.under_way == 0
    }

    /// Handshakes that have begun and not ended.
    pub(crate) fn under_way(&self) -> u64 {
        self.under_way
    }

    /// A handshake has ended, well or not.
    pub(crate) fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// When the next one is due; `None`: there is none.
    fn due(&self, window: &Window) -> Option<u64> {
        let last = if self.is_visit { self.visits } else { self.publishers + self.others };
        if self.next >= last {
            return None;
        }
        let start_ns = if self.is_visit { window.from_ns } else { self.start_ns };
        let after_ns = self.schedule.map_or(0, |schedule| schedule.due_ns(self.thread, self.next));
        let due_ns = start_ns.saturating_add(after_ns);
        (due_ns != u64::MAX && (!self.is_visit || due_ns < window.until_ns)).then_some(due_ns)
    }
}
