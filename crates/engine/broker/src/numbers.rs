//! Numbers of what is kept, each given once in the life of a journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_store::{Disk, Journal, SessionId};

/// Where numbers of what is kept go on: the same for all shards of a process.
#[derive(Debug)]
pub struct Numbers {
    sessions: AtomicU64,
    publications: AtomicU64,
    first_seq: u64,
}

impl Numbers {
    /// Behind those that are in a journal. A run gives less numbers to a commit than the factor between them, so that none
    /// is given twice, also of what is gone.
    pub fn after<D: Disk>(journal: &Journal<D>) -> Arc<Self> {
        let of_commits = (journal.appended().0 + 1) << 24;
        let used = journal.sessions().map(|id| id.0.max(journal.last_delivery(id).unwrap_or(0)));
        let first = used.max().map_or(of_commits, |used| of_commits.max(used + 1));
        Arc::new(Self {
            sessions: AtomicU64::new(first),
            publications: AtomicU64::new(journal.last_publication().map_or(0, |id| id.0 + 1)),
            first_seq: first,
        })
    }

    /// Those of an empty journal.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sessions: AtomicU64::new(1 << 24),
            publications: AtomicU64::new(0),
            first_seq: 1 << 24,
        })
    }

    /// A number that no Session ever had.
    pub fn session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }

    /// The first of a row of message numbers that nobody else gets.
    pub fn publications(&self, count: u64) -> u64 {
        self.publications.fetch_add(count, Ordering::Relaxed)
    }

    /// Where the queues of this run begin.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }
}
