//! The machine: routing, Retained Messages, Shared Subscriptions, the table of Sessions, Wills and admission.
//!
//! [`Broker`] is one shard. It takes an [`Input`] with the time and answers through [`Effects`]; it opens no socket, reads
//! no clock and starts no thread, so that a seed replays it. What shards share is in [`Exchange`].
//!
//! The way of a message: `publishing` (or `ending` for Wills, `Input::Inject` for the rest) → `admit`, the one caller of
//! the Gate → `route` → `deliver` → `sending` → `shape` → `output`.

mod acks;
mod administering;
mod admit;
mod broker;
mod connack;
mod connecting;
mod connections;
mod core;
mod counters;
mod credential;
mod deliver;
mod durable;
mod effect;
mod ending;
mod exchange;
mod input;
mod memory;
mod notice;
mod numbers;
mod output;
mod payload;
mod principals;
mod publication;
mod publishing;
mod reauthenticating;
mod recovering;
mod reloading;
mod restoring;
mod retained;
mod retaining;
mod route;
mod seldom;
mod sending;
mod sessions;
mod shape;
mod shared;
mod subscribing;
mod subscriptions;
mod timers;
mod transit;

pub use administering::ClientFacts;
pub use broker::Broker;
pub use core::{Settings, home};
pub use counters::Counters;
pub use deliver::Home;
pub use effect::{Effects, LoadRequest, Question};
pub use exchange::{Exchange, SHARDS_MAX, ShardMask, ShardMessage};
pub use input::{
    ADVICE_MAX, Arrival, CloseCause, CommitResult, ConnId, Expelled, Handover, Input, LimitsOf, Link, Loaded,
    Now, Reload, ShardId, StillValid, Verdict,
};
pub use memory::{Memory, Pressure};
pub use numbers::Numbers;
pub use output::{Output, SHARED_BYTES_MIN};
pub use payload::Payload;
pub use publication::{
    Delivery, Publication, Reception, Sender, StoredPublication, SubscriptionRequest, WillRequest,
    seconds_left,
};
pub use recovering::{KeptSession, Recovered, adopt_snapshot, note_homes, recover};
pub use restoring::{Restored, stored_from};
pub use retained::{Retained, RetainedChange, RetainedFull, RetainedLimits, RetainedMessage};
pub use sessions::SessionKey;
pub use shared::{Attempt, GroupKey};
pub use transit::Transit;
