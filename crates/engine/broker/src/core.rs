//! What a shard knows apart from its connections, so that a packet may borrow from a connection while it is handled.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use motte_access::{CompiledPolicy, Standing};
use motte_store::{PrincipalRecord, RetainedPlace};

use crate::admit::Admit;
use crate::counters::Counters;
use crate::durable::Durable;
use crate::exchange::Exchange;
use crate::input::ShardId;
use crate::memory::Ledger;
use crate::numbers::Numbers;
use crate::route::Routes;
use crate::sessions::Sessions;
use crate::shape::Shapes;
use crate::subscriptions::Subscriptions;
use crate::timers::Timers;

/// How a shard is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This shard.
    pub shard: ShardId,
    /// How many shards there are, 1 to [`crate::SHARDS_MAX`].
    pub shards: u16,
    /// The key under which Client Identifiers are spread over shards; random, the same for all shards.
    pub home_key: [u64; 2],
    /// The policy.
    pub policy: Arc<CompiledPolicy>,
    /// What the shards share.
    pub exchange: Exchange,
    /// Whether a publication that matched nobody is acknowledged with 0x10 (5.0 section 3.4.2.1) or with 0x00.
    pub report_no_subscribers: bool,
    /// Where the numbers of what is kept go on; `None` if nothing is kept.
    pub numbers: Option<Arc<Numbers>>,
}

/// The shard that keeps a client's Session. Keyed, so that nobody outside can aim at one shard.
pub fn home(client_id: &str, key: [u64; 2], shards: u16) -> ShardId {
    if shards <= 1 {
        return ShardId(0);
    }
    ShardId(u16::try_from(keyed_hash(client_id, key) % u64::from(shards)).unwrap_or(0))
}

/// A hash that nobody outside can foresee, so that nobody can choose names that collide.
pub(crate) fn keyed_hash(text: &str, key: [u64; 2]) -> u64 {
    let [first, last] = key;
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(first);
    hasher.write(text.as_bytes());
    hasher.write_u64(last);
    hasher.finish()
}

/// The shard's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) home_key: [u64; 2],
    pub(crate) report_no_subscribers: bool,
    pub(crate) admit: Admit,
    pub(crate) exchange: Exchange,
    pub(crate) sessions: Sessions,
    pub(crate) ledger: Ledger,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) routes: Routes,
    pub(crate) shapes: Shapes,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    pub(crate) durable: Durable,
    /// Who the message that was read last came from, and that client's rights: queues hold many of one client.
    pub(crate) restored_source: Option<(Arc<PrincipalRecord>, Standing)>,
    /// The first own change of a Retained Message that the other shards believe to be on its way.
    pub(crate) retained_first: Option<RetainedPlace>,
    /// Scratch for the forwarded properties of the PUBLISH at hand.
    pub(crate) forwarded: Vec<u8>,
    pub(crate) stopping: bool,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            shard: settings.shard,
            shards: settings.shards,
            home_key: settings.home_key,
            report_no_subscribers: settings.report_no_subscribers,
            admit: Admit::new(settings.policy),
            exchange: settings.exchange,
            sessions: Sessions::new(settings.home_key),
            ledger: Ledger::default(),
            subscriptions: Subscriptions::new(),
            routes: Routes::new(settings.home_key),
            shapes: Shapes::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            durable: Durable::new(settings.numbers),
            restored_source: None,
            retained_first: None,
            forwarded: Vec::new(),
            stopping: false,
        }
    }

    /// The shard that keeps this client's Session.
    pub(crate) fn home(&self, client_id: &str) -> ShardId {
        home(client_id, self.home_key, self.shards)
    }
}
