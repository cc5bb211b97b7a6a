//! The Sessions of a shard, by slot and by Client Identifier.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use motte_access::{Principal, Standing};
use motte_session::{Inbound, Outbound, OutboundAliases, SessionExpiry, SessionLimits, Will};
use motte_topic::{ShareName, TopicFilter};
use motte_wire::{ProtocolVersion, QoS};
use rustc_hash::FxHashMap;
use slab::Slab;

use crate::input::ConnId;
use crate::input::ShardId;
use crate::publication::{Delivery, Sender};
use crate::retained::RetainedMessage;

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
    pub will_due_ms: Option<u64>,
    /// Publications to the client.
    pub outbound: Outbound<Delivery>,
    /// QoS 2 publications from the client.
    pub inbound: Inbound,
    /// Subscriptions, in the order they were made.
    pub subscriptions: Vec<OwnSubscription>,
    /// Topic Aliases set towards the client on its present connection.
    pub aliases: OutboundAliases,
    /// Retained Messages that new subscriptions wait for, newest last in reverse order of sending.
    pub pending_retained: Vec<PendingRetained>,
    /// Whether it is connected, for the groups it is in; made when the first one is joined.
    pub online: Option<Arc<AtomicBool>>,
    /// A notice about its full queue was given and the queue has not been empty since.
    pub full_noticed: bool,
    /// A notice about its slow reading was given since its output was last empty.
    pub slow_noticed: bool,
}

impl Session {
    /// The Client Identifier.
    pub fn client_id(&self) -> &str {
        client_id(&self.principal)
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
#[derive(Debug, Default)]
pub struct Sessions {
    slots: Slab<Session>,
    by_client_id: FxHashMap<Arc<str>, u32>,
    epoch: u32,
}

impl Sessions {
    /// The Session in a slot, when it still is the one of this epoch.
    pub fn by_key(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slots.get_mut(key.slot as usize).filter(|session| session.key == key)
    }

    /// The Session in a slot.
    pub fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize)
    }

    /// The Session in a slot, to change.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)
    }

    /// The slot of a client's Session.
    pub fn find(&self, client_id: &str) -> Option<u32> {
        self.by_client_id.get(client_id).copied()
    }

    /// Puts a new Session into the table; `make` gets its key.
    pub fn insert(&mut self, client_id: Arc<str>, make: impl FnOnce(SessionKey) -> Session) -> &mut Session {
        self.epoch = self.epoch.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let slot = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        self.by_client_id.insert(client_id, slot);
        entry.insert(make(SessionKey { slot, epoch: self.epoch }))
    }

    /// Takes a Session out of the table.
    pub fn remove(&mut self, key: SessionKey) -> Option<Session> {
        self.by_key(key)?;
        let session = self.slots.try_remove(key.slot as usize)?;
        if self.find(session.client_id()) == Some(key.slot) {
            self.by_client_id.remove(session.client_id());
        }
        Some(session)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().map(|(_, session)| session)
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
