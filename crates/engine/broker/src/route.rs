//! Routes: where a topic leads, decided once and kept until subscriptions or policy change.
//!
//! A recipient is in a route only with the proof that it may receive from the topic, so that delivering a message asks
//! nothing more than whether the route is still good.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::FixedState;
use motte_access::{Authorized, PolicyGeneration};
use motte_topic::{TopicName, TopicRef};
use motte_wire::QoS;
use rustc_hash::FxHashMap;

use crate::admit::Admit;
use crate::exchange::{Exchange, ShardMask};
use crate::input::ShardId;
use crate::publication::{Publication, Reception};
use crate::sessions::Sessions;
use crate::shared::Group;
use crate::subscriptions::Subscriptions;

/// Most topics whose route is kept; beyond it the cache starts anew, which costs a rebuild for each topic in use.
const ROUTES_MAX: usize = 65_536;
/// Most recipients in all routes together, for the same reason: a topic that everybody gets must not be kept many times.
const RECIPIENTS_MAX: usize = 1_000_000;

/// One Session that gets a topic's messages.
#[derive(Debug)]
pub struct Recipient {
    /// The proof; it names the Session and the topic.
    pub seat: Authorized<Reception>,
    /// Highest QoS of its matching subscriptions.
    pub qos: QoS,
    /// One of its matching subscriptions wants RETAIN as published.
    pub retain_as_published: bool,
    /// One of its matching subscriptions wants nothing of its own.
    pub no_local: bool,
    /// Subscription Identifiers of its matching subscriptions.
    pub identifiers: Option<Box<[NonZeroU32]>>,
}

impl Recipient {
    /// Slot of the Session.
    pub fn session(&self) -> u32 {
        self.seat.get().session
    }
}

/// Where a topic leads.
#[derive(Debug)]
pub struct Route {
    /// The topic.
    pub topic: TopicName,
    /// Sessions of this shard.
    pub recipients: Vec<Recipient>,
    /// Other shards with matching subscriptions.
    pub remote: ShardMask,
    /// Those among them where it is kept for somebody.
    pub kept: ShardMask,
    /// Groups.
    pub groups: Vec<Arc<Group>>,
    /// Recipients that matched and were denied.
    pub denied: u32,
    validity: Validity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    local: u64,
    exchange: u64,
    policy: PolicyGeneration,
}

/// What a route is made from.
pub struct Sources<'a> {
    /// This shard.
    pub shard: ShardId,
    /// Its subscriptions.
    pub subscriptions: &'a Subscriptions,
    /// Its Sessions, whose rights are asked about.
    pub sessions: &'a mut Sessions,
    /// What lies beyond.
    pub exchange: &'a Exchange,
    /// Who decides.
    pub admit: &'a Admit,
}

impl Sources<'_> {
    fn validity(&self) -> Validity {
        Validity {
            local: self.subscriptions.generation(),
            exchange: self.exchange.generation(),
            policy: self.admit.generation(),
        }
    }
}

/// The routes of a shard, by topic.
#[derive(Debug)]
pub struct Routes {
    /// Hashed with a seed: topics are chosen by publishers.
    by_topic: HashMap<TopicName, u32, FixedState>,
    made: Vec<Route>,
    recipients: usize,
}

impl Routes {
    /// No routes yet; the key makes places in the table unforeseeable.
    pub fn new([seed, _]: [u64; 2]) -> Self {
        Self { by_topic: HashMap::with_hasher(FixedState::with_seed(seed)), made: Vec::new(), recipients: 0 }
    }

    /// The number of a topic's route, if it has one. It is looked at first whether it is the one that it may be.
    #[inline]
    pub fn find(&self, topic: TopicRef<'_>, perhaps: Option<u32>) -> Option<u32> {
        if let Some(number) = perhaps
            && let Some(route) = self.made.get(number as usize)
            && route.topic.as_str() == topic.as_str()
        {
            return Some(number);
        }
        self.by_topic.get(topic.as_str()).copied()
    }

    /// The route for a permitted publication, made or mended if need be.
    ///
    /// Only a publication that was decided leads anywhere: this is the one way from a message to its recipients. `perhaps` is
    /// the number that [`Self::find`] gave for its topic, to save looking for it twice.
    pub fn route(
        &mut self,
        publication: &Authorized<Publication<'_>>,
        perhaps: Option<u32>,
        sources: &mut Sources<'_>,
    ) -> Option<&mut Route> {
        let number = self.number(publication.get().topic, perhaps);
        let route = self.made.get_mut(number as usize)?;
        let validity = sources.validity();
        if route.validity != validity {
            let before = route.recipients.len();
            rebuild(route, validity, sources);
            self.recipients = (self.recipients + route.recipients.len()).saturating_sub(before);
        }
        Some(route)
    }

    fn number(&mut self, topic: TopicRef<'_>, perhaps: Option<u32>) -> u32 {
        if let Some(number) = self.find(topic, perhaps) {
            return number;
        }
        if self.made.len() >= ROUTES_MAX || self.recipients >= RECIPIENTS_MAX {
            self.by_topic.clear();
            self.made.clear();
            self.recipients = 0;
        }
        let name = topic.to_name();
        let number = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        self.by_topic.insert(name.clone(), number);
        self.made.push(Route {
            topic: name,
            recipients: Vec::new(),
            remote: ShardMask::default(),
            kept: ShardMask::default(),
            groups: Vec::new(),
            denied: 0,
            validity: Validity { local: 0, exchange: 0, policy: PolicyGeneration(0) },
        });
        number
    }
}

/// One Session's matching subscriptions, put together (MQTT-3.3.4-2: one copy with the highest QoS).
struct Merged {
    qos: QoS,
    retain_as_published: bool,
    no_local: bool,
    identifiers: Vec<NonZeroU32>,
}

fn rebuild(route: &mut Route, validity: Validity, sources: &mut Sources<'_>) {
    let beyond = sources.exchange.beyond(route.topic.as_ref());
    route.remote = beyond.shards.without(sources.shard);
    route.kept = beyond.kept.without(sources.shard);
    route.groups = beyond.groups;
    let mut merged: Vec<(u32, Merged)> = Vec::new();
    let mut places: FxHashMap<u32, usize> = FxHashMap::default();
    sources.subscriptions.for_each_match(route.topic.as_ref(), |subscriber| {
        let at = *places.entry(subscriber.session).or_insert_with(|| {
            let empty = Merged {
                qos: QoS::AtMostOnce,
                retain_as_published: false,
                no_local: false,
                identifiers: Vec::new(),
            };
            merged.push((subscriber.session, empty));
            merged.len() - 1
        });
        if let Some((_, one)) = merged.get_mut(at) {
            let wish = subscriber.wish;
            one.qos = one.qos.max(wish.qos);
            one.retain_as_published |= wish.retain_as_published;
            one.no_local |= wish.no_local;
            one.identifiers.extend(wish.identifier);
        }
    });
    route.recipients.clear();
    route.denied = 0;
    for (slot, one) in merged {
        let Some(session) = sources.sessions.get_mut(slot) else { continue };
        match sources.admit.receive(session, &route.topic) {
            Some(seat) => route.recipients.push(Recipient {
                seat,
                qos: one.qos,
                retain_as_published: one.retain_as_published,
                no_local: one.no_local,
                identifiers: (!one.identifiers.is_empty()).then(|| one.identifiers.into_boxed_slice()),
            }),
            None => route.denied += 1,
        }
    }
    route.validity = validity;
}
