//! The snapshot: every Session and Retained Message at the moment of a clean stop.

use crate::record::{PublicationRecord, SessionRecord};

/// Everything that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Unix milliseconds when it was taken.
    pub taken_at_ms: u64,
    /// Each message once, however many deliveries refer to it.
    pub publications: Vec<PublicationRecord>,
    /// Sessions.
    pub sessions: Vec<SessionRecord>,
    /// Retained Messages, as indexes into `publications`.
    pub retained: Vec<u32>,
}

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {}
