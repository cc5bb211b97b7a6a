//! The Sessions of a shard, by slot and by Client Identifier.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashTable;
use motte_access::{Principal, Standing};
use motte_session::{
    Inbound, Letter as _, Outbound, OutboundAliases, QueueLimits, SessionExpiry, SessionLimits, Will,
};
use motte_topic::{ShareName, TopicFilter};
use motte_wire::{ProtocolVersion, QoS};
use slab::Slab;

use crate::core::keyed_hash;
use crate::input::ConnId;
use crate::input::ShardId;
use crate::publication::{Delivery, Sender};
use crate::retained::RetainedMessage;
use crate::seldom::Seldom;
use crate::timers::MaybeMs;

/// A Session of this shard: its slot, and an epoch that tells apart Sessions that had the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// Place in the table.
    pub slot: u32,
    /// Grows with each new Session of the shard.
    pub epoch: u32,
}

/// How a subscription wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Granted QoS.
    pub qos: QoS,
    /// No Local: nothing that the same client published.
    pub no_local: bool,
    /// Retain As Published: RETAIN is forwarded as it came.
    pub retain_as_published: bool,
    /// Subscription Identifier.
    pub identifier: Option<NonZeroU32>,
}

/// A subscription as its Session keeps it.
#[derive(Debug, Clone)]
pub struct OwnSubscription {
    /// Share Name of a Shared Subscription.
    pub share: Option<ShareName>,
    /// Topic Filter without the share prefix.
    pub filter: TopicFilter,
    /// How.
    pub wish: Wish,
}

/// What a Session takes in all tables together, about.
const SESSION_BYTES: usize = 1_024;
/// What a subscription takes in all tables together beside the text of its filter, about.
const SUBSCRIPTION_BYTES: usize = 256;

impl OwnSubscription {
    /// Bytes it counts for.
    pub fn bytes(&self) -> usize {
        SUBSCRIPTION_BYTES + self.filter.as_str().len()
    }
}

/// A Retained Message that waits to be sent to a new subscription.
#[derive(Debug)]
pub struct PendingRetained {
    /// The message.
    pub message: RetainedMessage,
    /// QoS of the subscription.
    pub qos: QoS,
    /// Its Subscription Identifier.
    pub identifier: Option<NonZeroU32>,
}

/// Deliveries of a Session that wait on disk only, behind those in memory.
#[derive(Debug, Default)]
pub struct Spilled {
    /// Place of the first of them in the Session's queue.
    pub from: u64,
    /// How many there are.
    pub count: usize,
    /// Bytes they count for in the Session's quota; those of an earlier run are not counted.
    pub bytes: usize,
    /// The first of them are being read.
    pub is_loading: bool,
}

/// What a Session keeps in memory.
#[derive(Debug)]
pub struct Session {
    /// Its key.
    pub key: SessionKey,
    /// Who owns it; replaced when the owner connects again.
    pub principal: Arc<Principal>,
    /// The owner's rights under a policy.
    pub standing: Standing,
    /// Limits of the listener it was last used on.
    pub limits: Arc<SessionLimits>,
    /// Version it was last used with.
    pub version: ProtocolVersion,
    /// Its connection, if it has one.
    pub conn: Option<ConnId>,
    /// Largest packet the client takes, in bytes.
    pub maximum_packet_size: u32,
    /// How long it is kept without connection.
    pub expiry: SessionExpiry,
    /// When it ends, in monotonic milliseconds, while it has no connection; `None`: never, or connected.
    pub ends_ms: Option<u64>,
    /// The Will of its connection, or one that waits for its delay.
    pub will: Option<Box<Will>>,
    /// When the Will is to be published, in monotonic milliseconds, once the connection is gone.
    pub will_due_ms: MaybeMs,
    /// Publications to the client.
    pub outbound: Outbound<Delivery>,
    /// QoS 2 publications from the client.
    pub inbound: Inbound,
    /// Subscriptions, in the order they were made.
    pub subscriptions: Vec<OwnSubscription>,
    /// Topic Aliases set towards the client on its present connection.
    pub aliases: OutboundAliases,
    /// Retained Messages that new subscriptions wait for, in the order of sending.
    pub pending_retained: Seldom<PendingRetained>,
    /// Whether it is connected, for the groups it is in; made when the first one is joined.
    pub online: Option<Arc<AtomicBool>>,
    /// Its number where it is kept; 0 if it is not.
    pub number: u64,
    /// The place of the next delivery in its queue where it is kept.
    pub next_seq: u64,
    /// Group whose key seals what belongs to it alone.
    pub group: u32,
    /// Its facts are to be put again at the end of the turn.
    pub is_changed: bool,
    /// Deliveries behind those in memory, which are only where they are kept.
    pub spilled: Option<Box<Spilled>>,
    /// A notice about its full queue was given and the queue has not been empty since.
    pub full_noticed: bool,
    /// A notice about its slow reading was given since its output was last empty.
    pub slow_noticed: bool,
}

const _: () = assert!(size_of::<Session>() <= 384, "what a Session costs in memory");

impl Session {
    /// One that is not connected, subscribed to nothing and not kept.
    pub fn new(
        key: SessionKey,
        (principal, standing): (Arc<Principal>, Standing),
        limits: Arc<SessionLimits>,
        outbound: Outbound<Delivery>,
    ) -> Self {
        Self {
            key,
            principal,
            standing,
            limits,
            version: ProtocolVersion::V5,
            conn: None,
            maximum_packet_size: u32::MAX,
            expiry: SessionExpiry::AtClose,
            ends_ms: None,
            will: None,
            will_due_ms: MaybeMs::NONE,
            outbound,
            inbound: Inbound::default(),
            subscriptions: Vec::new(),
            aliases: OutboundAliases::default(),
            pending_retained: Seldom::default(),
            online: None,
            number: 0,
            next_seq: 0,
            group: 0,
            is_changed: false,
            spilled: None,
            full_noticed: false,
            slow_noticed: false,
        }
    }

    /// The Client Identifier.
    pub fn client_id(&self) -> &str {
        client_id(&self.principal)
    }

    /// Bytes it counts for by itself, without its messages: the table's entry and its subscriptions.
    pub fn own_bytes(&self) -> usize {
        let subscriptions: usize = self.subscriptions.iter().map(OwnSubscription::bytes).sum();
        own_bytes_of(self.client_id()) + subscriptions
    }

    /// Deliveries that wait on disk only.
    pub fn spilled(&self) -> usize {
        self.spilled.as_ref().map_or(0, |spilled| spilled.count)
    }

    /// Whether nothing waits, in memory or on disk.
    pub fn has_no_queue(&self) -> bool {
        self.outbound.queue_len() == 0 && self.spilled() == 0
    }

    /// What more may wait.
    pub fn queue_limits(&self) -> QueueLimits {
        let limits = self.limits.queue();
        let Some(spilled) = &self.spilled else { return limits };
        QueueLimits {
            messages_max: limits.messages_max.saturating_sub(spilled.count),
            bytes_max: limits.bytes_max.saturating_sub(spilled.bytes),
        }
    }

    /// Leaves the newest of those that wait to the disk, where it was put.
    pub fn spill_newest(&mut self) {
        let Some(letter) = self.outbound.take_last_queued() else { return };
        let spilled = self.spilled.get_or_insert_default();
        if spilled.count == 0 {
            spilled.from = letter.seq;
        }
        spilled.count += 1;
        spilled.bytes += letter.bytes();
    }

    /// Keeps the first so many of those that wait in memory; the rest waits on disk.
    pub fn spill_all_but(&mut self, letters: usize) {
        while self.outbound.queue_len() > letters
            && self.outbound.last_queued().is_some_and(|letter| letter.seq != 0)
        {
            let Some(letter) = self.outbound.take_last_queued() else { return };
            let spilled = self.spilled.get_or_insert_default();
            spilled.from = letter.seq;
            spilled.count += 1;
            spilled.bytes += letter.bytes();
        }
    }

    /// Whether deliveries to it and publications from it are kept: it outlives its connection and the process.
    pub fn is_kept(&self) -> bool {
        self.number != 0 && (self.expiry.outlives_connection() || self.spilled.is_some())
    }

    /// How it is named as the sender of a message.
    pub fn sender(&self, shard: ShardId) -> Sender {
        sender(shard, self.key)
    }

    /// The subscription with this name.
    pub fn subscription(&self, share: Option<&ShareName>, filter: &TopicFilter) -> Option<usize> {
        self.subscriptions.iter().position(|own| own.filter == *filter && own.share.as_ref() == share)
    }

    /// Tells the groups whether the Session is connected.
    pub fn set_online(&self, online: bool) {
        if let Some(flag) = &self.online {
            flag.store(online, Ordering::Relaxed);
        }
    }

    /// The flag that groups look at.
    pub fn online_flag(&mut self) -> Arc<AtomicBool> {
        let connected = self.conn.is_some();
        Arc::clone(self.online.get_or_insert_with(|| Arc::new(AtomicBool::new(connected))))
    }
}

/// Bytes that a Session without subscriptions counts for.
pub fn own_bytes_of(client_id: &str) -> usize {
    SESSION_BYTES + client_id.len()
}

/// The Client Identifier of a principal; empty for others than clients.
pub fn client_id(principal: &Principal) -> &str {
    match principal {
        Principal::Client(client) => &client.client_id,
        Principal::Bridge { .. }
        | Principal::Operator { .. }
        | Principal::Node { .. }
        | Principal::System => "",
    }
}

/// The name of a Session as the sender of a message; never 0.
pub fn sender(shard: ShardId, key: SessionKey) -> Sender {
    // Slots stay below 2^24 (fewer connections fit in memory), epochs count Sessions made.
    Sender((u64::from(shard.0) + 1) << 56 | u64::from(key.epoch & 0x00ff_ffff) << 32 | u64::from(key.slot))
}

/// All Sessions of a shard.
#[derive(Debug)]
pub struct Sessions {
    /// Boxed, so that a growing table moves pointers and leaves little behind.
    slots: Slab<Box<Session>>,
    /// Slots by Client Identifier, which stands in the Session.
    by_client_id: HashTable<u32>,
    hash_key: [u64; 2],
    epoch: u32,
}

impl Sessions {
    /// An empty table; the key makes places in it unforeseeable.
    pub fn new(hash_key: [u64; 2]) -> Self {
        Self { slots: Slab::new(), by_client_id: HashTable::new(), hash_key, epoch: 0 }
    }

    /// The Session in a slot, when it still is the one of this epoch.
    pub fn by_key(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slots
            .get_mut(key.slot as usize)
            .map(|session| &mut **session)
            .filter(|session| session.key == key)
    }

    /// The Session in a slot.
    pub fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize).map(|session| &**session)
    }

    /// The Session in a slot, to change.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize).map(|session| &mut **session)
    }

    /// The slot of a client's Session.
    pub fn find(&self, client_id: &str) -> Option<u32> {
        let hash = keyed_hash(client_id, self.hash_key);
        let same = |slot: &u32| self.get(*slot).is_some_and(|session| session.client_id() == client_id);
        self.by_client_id.find(hash, same).copied()
    }

    /// Puts a new Session into the table; `make` gets its key.
    pub fn insert(&mut self, make: impl FnOnce(SessionKey) -> Session) -> &mut Session {
        self.epoch = self.epoch.wrapping_add(1);
        let Self { slots, by_client_id, hash_key, epoch } = self;
        let slot = u32::try_from(slots.vacant_key()).unwrap_or(u32::MAX);
        let session = make(SessionKey { slot, epoch: *epoch });
        let hash_of = |session: &Session| keyed_hash(session.client_id(), *hash_key);
        let hash = hash_of(&session);
        let known = |slot: &u32| slots.get(*slot as usize).map_or(0, |session| hash_of(session));
        by_client_id.insert_unique(hash, slot, known);
        slots.vacant_entry().insert(Box::new(session))
    }

    /// Takes a Session out of the table.
    pub fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let hash_key = self.hash_key;
        let hash = keyed_hash(self.by_key(key)?.client_id(), hash_key);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |slot| *slot == key.slot) {
            entry.remove();
        }
        self.slots.try_remove(key.slot as usize).map(|session| *session)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().map(|(_, session)| &**session)
    }

    /// The keys of all of them.
    pub fn keys(&self) -> Vec<SessionKey> {
        self.iter().map(|session| session.key).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
}
