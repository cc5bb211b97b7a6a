//! Records of durable state, and what carries them over a restart: the journal, which keeps every change as it happens, and
//! the snapshot file of a clean stop.
//!
//! A record holds plain facts: who sent a message, where it goes, what is still open. It holds no decision: whatever is
//! loaded passes the Gate again before it reaches a subscriber. Never here: a clock, a real file, a rule of the protocol.

pub mod disk;
pub mod journal;
pub mod record;
pub mod snapshot;

pub use disk::{Disk, DiskError, DiskFault, DiskFile};
pub use journal::{
    Batch, BlockCache, CommitSeq, Delivery, Group, Journal, JournalError, JournalOptions, NewDelivery,
    PublicationId, Recovery, RetainedPlace, SessionId,
};
pub use record::{
    DeliveryRecord, FlowRecord, PrincipalRecord, Publication, PublicationRecord, SessionRecord,
    SubscriptionRecord, WillRecord,
};
pub use snapshot::{Snapshot, SnapshotError};
