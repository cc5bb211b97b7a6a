//! What the shards of a process share: who is interested in what, the groups of Shared Subscriptions, and the Retained
//! Messages.
//!
//! The locks here are short, never held across a call into another module, and off the path of a message: a publication
//! reads one atomic generation, and takes a read lock only when its topic's route must be built anew. With one shard
//! nothing is contended.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use motte_access::{Authorized, Methods, Principal};
use motte_topic::{FilterSet, TopicFilter, TopicRef};
use rustc_hash::FxHashMap;

use crate::input::ShardId;
use crate::memory::{Memory, difference};
use crate::publication::StoredPublication;
use crate::retained::{Retained, RetainedLimits};
use crate::sessions::SessionKey;
use crate::shared::{Attempt, Group, GroupKey, Member};
use crate::transit::Transit;

/// Most shards in a process: one bit each in a mask.
pub const SHARDS_MAX: u16 = 64;

/// A set of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardMask(u64);

impl ShardMask {
    /// The shards in it.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = u16::try_from(left.trailing_zeros()).ok().filter(|shard| *shard < SHARDS_MAX)?;
            left &= left - 1;
            Some(ShardId(shard))
        })
    }

    /// Whether a shard is in it.
    pub fn has(self, shard: ShardId) -> bool {
        self.0 & Self::bit(shard) != 0
    }

    /// Whether it is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Without one shard.
    #[must_use]
    pub fn without(self, shard: ShardId) -> Self {
        Self(self.0 & !Self::bit(shard))
    }

    fn bit(shard: ShardId) -> u64 {
        1_u64.checked_shl(u32::from(shard.0)).unwrap_or(0)
    }
}

/// What one shard sends to another.
#[derive(Debug)]
pub enum ShardMessage {
    /// A permitted publication; the receiving shard decides for its own recipients.
    Publish {
        /// The message.
        publication: Arc<Authorized<StoredPublication>>,
        /// The queue it waits in meanwhile, if it has to be kept.
        transit: Option<Transit>,
    },
    /// A permitted publication for a member of a group on the receiving shard.
    Shared {
        /// The message.
        publication: Arc<Authorized<StoredPublication>>,
        /// The group.
        key: Arc<GroupKey>,
        /// The chosen Session.
        session: SessionKey,
        /// How far the search has come, should this member not take it.
        attempt: Attempt,
        /// The queue it waits in meanwhile, if it has to be kept.
        transit: Option<Transit>,
    },
}

impl ShardMessage {
    /// Whether it waits in a kept queue meanwhile.
    pub(crate) fn is_kept(&self) -> bool {
        let (Self::Publish { transit, .. } | Self::Shared { transit, .. }) = self;
        transit.is_some()
    }
}

/// What a topic leads to beyond the own shard's subscriptions.
#[derive(Debug, Default)]
pub struct Beyond {
    /// Shards with subscriptions that match.
    pub shards: ShardMask,
    /// Those among them where a Session that is kept has one with QoS 1 or 2.
    pub kept: ShardMask,
    /// Groups whose filter matches.
    pub groups: Vec<Arc<Group>>,
}

/// The shards that want a filter.
#[derive(Debug, Clone, Copy, Default)]
struct Interest {
    shards: ShardMask,
    kept: ShardMask,
}

#[derive(Debug)]
struct State {
    generation: AtomicU64,
    interest: RwLock<FilterSet<Interest>>,
    groups: RwLock<FilterSet<Vec<Arc<Group>>>>,
    retained: RwLock<Retained>,
    memory: Memory,
    /// Sessions by identity, over all shards; touched when a Session begins or ends.
    sessions: Mutex<FxHashMap<Arc<str>, u32>>,
}

/// The shared state; a clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Exchange {
    state: Arc<State>,
}

impl Exchange {
    /// Empty, with the bounds of the process. `memory_bytes_max` is the budget of everything that waits.
    pub fn new(retained: RetainedLimits, memory_bytes_max: u64) -> Self {
        Self {
            state: Arc::new(State {
                generation: AtomicU64::new(1),
                interest: RwLock::new(FilterSet::new()),
                groups: RwLock::new(FilterSet::new()),
                retained: RwLock::new(Retained::new(retained)),
                memory: Memory::new(memory_bytes_max),
                sessions: Mutex::default(),
            }),
        }
    }

    /// Grows whenever interest or groups change; a route is good as long as it stays.
    pub fn generation(&self) -> u64 {
        self.state.generation.load(Ordering::Acquire)
    }

    /// The budget of the process.
    pub fn memory(&self) -> &Memory {
        &self.state.memory
    }

    /// Sessions of a principal's identity; 0 for those who prove none.
    pub fn sessions_of(&self, principal: &Principal) -> u32 {
        identity(principal).and_then(|name| self.sessions().get(name).copied()).unwrap_or(0)
    }

    /// A Session of a principal's identity begins, or comes back from a record.
    pub fn session_begins(&self, principal: &Principal) {
        if let Some(name) = identity(principal) {
            *self.sessions().entry(Arc::clone(name)).or_default() += 1;
        }
    }

    /// A Session of a principal's identity is over.
    pub fn session_ended(&self, principal: &Principal) {
        let Some(name) = identity(principal) else { return };
        let mut sessions = self.sessions();
        if let Some(count) = sessions.get_mut(name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sessions.remove(name);
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, FxHashMap<Arc<str>, u32>> {
        self.state.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody on `shard` who is kept has a subscription with this filter.
    pub fn keeps(&self, shard: ShardId, filter: &TopicFilter) -> bool {
        read(&self.state.interest).get(filter).is_some_and(|at_filter| at_filter.kept.has(shard))
    }

    /// `shard` has its first subscription with this filter, or the first that is kept.
    pub fn add_interest(&self, shard: ShardId, filter: &TopicFilter, is_kept: bool) {
        let mut interest = write(&self.state.interest);
        let at_filter = interest.entry_or_insert_with(filter, Interest::default);
        at_filter.shards.0 |= ShardMask::bit(shard);
        if is_kept {
            at_filter.kept.0 |= ShardMask::bit(shard);
        }
        drop(interest);
        self.changed();
    }

    /// `shard` has no subscription with this filter any more.
    pub fn remove_interest(&self, shard: ShardId, filter: &TopicFilter) {
        let mut interest = write(&self.state.interest);
        let left = interest.get_mut(filter).is_some_and(|at_filter| {
            at_filter.shards = at_filter.shards.without(shard);
            at_filter.kept = at_filter.kept.without(shard);
            !at_filter.shards.is_empty()
        });
        if !left {
            interest.remove(filter);
        }
        drop(interest);
        self.changed();
    }

    /// A Session joins a group, or joins it again with other options.
    pub fn join(&self, key: &GroupKey, member: Member) {
        let mut groups = write(&self.state.groups);
        let at_filter = groups.entry_or_insert_with(&key.filter, Vec::new);
        match at_filter.iter_mut().find(|group| group.key.share == key.share) {
            Some(group) => *group = Arc::new(group.with(member)),
            None => at_filter.push(Arc::new(Group::new(Arc::new(key.clone()), member))),
        }
        drop(groups);
        self.changed();
    }

    /// A Session leaves a group.
    pub fn leave(&self, key: &GroupKey, shard: ShardId, session: SessionKey) {
        let mut groups = write(&self.state.groups);
        let Some(at_filter) = groups.get_mut(&key.filter) else { return };
        at_filter.retain_mut(|group| {
            if group.key.share != key.share {
                return true;
            }
            match group.without(shard, session) {
                Some(rest) => {
                    *group = Arc::new(rest);
                    true
                }
                None => false,
            }
        });
        if at_filter.is_empty() {
            groups.remove(&key.filter);
        }
        drop(groups);
        self.changed();
    }

    /// The group as it stands now.
    pub fn group(&self, key: &GroupKey) -> Option<Arc<Group>> {
        let groups = read(&self.state.groups);
        groups.get(&key.filter)?.iter().find(|group| group.key.share == key.share).cloned()
    }

    /// What `topic` leads to.
    pub fn beyond(&self, topic: TopicRef<'_>) -> Beyond {
        let mut beyond = Beyond::default();
        read(&self.state.interest).for_each_match(topic, |at_filter| {
            beyond.shards.0 |= at_filter.shards.0;
            beyond.kept.0 |= at_filter.kept.0;
        });
        read(&self.state.groups).for_each_match(topic, |groups| beyond.groups.extend(groups.iter().cloned()));
        beyond
    }

    /// The Retained Messages, to read.
    pub fn retained(&self) -> RwLockReadGuard<'_, Retained> {
        read(&self.state.retained)
    }

    /// The Retained Messages, to change.
    pub fn retained_mut(&self) -> RetainedMut<'_> {
        let retained = write(&self.state.retained);
        RetainedMut { before: retained.bytes(), retained, memory: &self.state.memory }
    }

    fn changed(&self) {
        self.state.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// The Retained Messages while they are changed; what they hold is counted in the budget when that is over.
#[derive(Debug)]
pub struct RetainedMut<'e> {
    retained: RwLockWriteGuard<'e, Retained>,
    before: usize,
    memory: &'e Memory,
}

impl Deref for RetainedMut<'_> {
    type Target = Retained;

    fn deref(&self) -> &Retained {
        &self.retained
    }
}

impl DerefMut for RetainedMut<'_> {
    fn deref_mut(&mut self) -> &mut Retained {
        &mut self.retained
    }
}

impl Drop for RetainedMut<'_> {
    fn drop(&mut self) {
        self.memory.add(difference(self.before, self.retained.bytes()));
    }
}

/// The identity that a client has proved.
fn identity(principal: &Principal) -> Option<&Arc<str>> {
    match principal {
        Principal::Client(client) if !client.methods.has(Methods::ANONYMOUS) => Some(&client.identity),
        _ => None,
    }
}

/// A lock whose holder panicked protects data that is changed in single steps only, so it is still whole.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
