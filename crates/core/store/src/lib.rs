//! Records of durable state, and the snapshot file that carries them over a restart.
//!
//! A record holds plain facts: who sent a message, where it goes, what is still open. It holds no decision: whatever is
//! loaded passes the Gate again before it reaches a subscriber.

pub mod record;
pub mod snapshot;

pub use record::{
    DeliveryRecord, FlowRecord, PrincipalRecord, PublicationRecord, SessionRecord, SubscriptionRecord,
    WillRecord,
};
pub use snapshot::{Snapshot, SnapshotError};
