//! The connections of a shard, by slot.

use std::sync::Arc;

use motte_access::{Grant, Principal};
use motte_session::{ConnectRequest, InboundAliases};
use motte_wire::ProtocolVersion;

use crate::input::{ConnId, Link};
use crate::reauthenticating::Reauthentication;
use crate::sessions::SessionKey;

/// Grants remembered for one connection: the topics it published to last.
const GRANTS: usize = 8;

/// A connection before and after its client is known.
#[derive(Debug)]
pub enum Stage {
    /// CONNECT is awaited.
    Awaiting(Box<Link>),
    /// Somebody is asked who this is.
    Asked(Box<Asked>),
    /// The client is in.
    Live(Box<Live>),
}

/// A connection whose CONNECT waits for a verdict.
#[derive(Debug)]
pub struct Asked {
    /// The connection's facts.
    pub link: Link,
    /// What it asked for.
    pub request: ConnectRequest,
    /// A step of an exchange was sent to the client, AUTH is awaited.
    pub exchanging: bool,
}

/// A connection with a Session.
#[derive(Debug)]
pub struct Live {
    /// Its Session.
    pub session: SessionKey,
    /// Who it is.
    pub principal: Arc<Principal>,
    /// Protocol version.
    pub version: ProtocolVersion,
    /// Since when it has its Session, in monotonic milliseconds.
    pub since_ms: u64,
    /// When the last packet came, in monotonic milliseconds.
    pub seen_ms: u64,
    /// Silence allowed, in milliseconds.
    pub silence_ms: Option<u32>,
    /// Topic Aliases set by the client.
    pub aliases: InboundAliases,
    /// The Authentication Method of CONNECT (MQTT-4.12.0-5: it stays).
    pub method: Option<Box<str>>,
    /// Whether the client wants to know more than a Reason Code (MQTT-3.1.2-29).
    pub problem_information: bool,
    /// How it authenticates again.
    pub reauthentication: Reauthentication,
    /// When to look whether what it proved itself with has ended, in monotonic milliseconds; 0: never.
    pub credential_ms: u64,
    /// What it was granted lately.
    pub grants: Grants,
    /// How often its Session was taken over lately.
    pub contention: Contention,
}

/// The grants of the routes that a connection published to last.
#[derive(Debug, Default)]
pub struct Grants(Option<Box<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// The route asked about last.
    lately: u32,
    grants: [Option<Grant>; GRANTS],
}

impl Grants {
    /// The route that was asked about last: most clients publish to the same topic again.
    pub fn lately(&self) -> Option<u32> {
        Some(self.0.as_ref()?.lately)
    }

    /// The grant remembered for a route, with the principal it was given to.
    pub fn get(&mut self, route: u32) -> Option<&Grant> {
        let remembered = self.0.as_mut()?;
        remembered.lately = route;
        remembered.grants.get(route as usize % GRANTS)?.as_ref()
    }

    /// Remembers a grant for a route in place of an older one.
    pub fn remember(&mut self, route: u32, grant: Grant) {
        let remembered = self.0.get_or_insert_default();
        remembered.lately = route;
        if let Some(slot) = remembered.grants.get_mut(route as usize % GRANTS) {
            *slot = Some(grant);
        }
    }
}

impl Live {
    /// A connection that just got its Session.
    pub fn new(
        session: SessionKey,
        principal: Arc<Principal>,
        request: &ConnectRequest,
        now_ms: u64,
    ) -> Self {
        Self {
            session,
            principal,
            version: request.version,
            since_ms: now_ms,
            seen_ms: now_ms,
            silence_ms: request.keep_alive.silence_ms(),
            aliases: InboundAliases::default(),
            method: request.authentication_method.as_deref().map(Box::from),
            problem_information: request.problem_information,
            reauthentication: Reauthentication::default(),
            credential_ms: 0,
            grants: Grants::default(),
            contention: Contention::default(),
        }
    }
}

/// Time in which takeovers of one Session are counted, in seconds.
const CONTENTION_S: u32 = 60;
/// So many in that time are two clients that take the Session from each other.
const CONTENTION_TAKEOVERS: u32 = 5;

/// How often a Session was taken over lately.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contention {
    since_s: u32,
    takeovers: u32,
}

impl Contention {
    /// With one more; true once in a while when it is many.
    pub fn one_more(self, now_ms: u64) -> (Self, bool) {
        let second = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
        let fresh = self.takeovers > 0 && second.saturating_sub(self.since_s) < CONTENTION_S;
        let next = if fresh {
            Self { takeovers: self.takeovers.saturating_add(1), ..self }
        } else {
            Self { since_s: second, takeovers: 1 }
        };
        (next, next.takeovers == CONTENTION_TAKEOVERS)
    }
}

const _: () = assert!(size_of::<Live>() <= 128, "what an idle connection costs in memory");

/// All connections of a shard.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<(u32, Stage)>>,
    count: usize,
}

impl Connections {
    /// Takes a connection in, in its first stage; whatever had the slot is forgotten.
    pub fn insert(&mut self, conn: ConnId, stage: Stage) {
        let index = conn.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.count += usize::from(slot.is_none());
            *slot = Some((conn.epoch, stage));
        }
    }

    /// The connection's stage, if it is still the one of this epoch.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Stage> {
        match self.slots.get_mut(conn.slot as usize)? {
            Some((epoch, stage)) if *epoch == conn.epoch => Some(stage),
            _ => None,
        }
    }

    /// The same, to look at.
    pub fn get(&self, conn: ConnId) -> Option<&Stage> {
        let (epoch, stage) = self.slots.get(conn.slot as usize)?.as_ref()?;
        (*epoch == conn.epoch).then_some(stage)
    }

    /// The connection, if it has a Session.
    pub fn live(&mut self, conn: ConnId) -> Option<&mut Live> {
        match self.get_mut(conn)? {
            Stage::Live(live) => Some(live),
            Stage::Awaiting(_) | Stage::Asked(_) => None,
        }
    }

    /// Forgets a connection.
    pub fn remove(&mut self, conn: ConnId) -> Option<Stage> {
        let slot = self.slots.get_mut(conn.slot as usize)?;
        if slot.as_ref().is_none_or(|(epoch, _)| *epoch != conn.epoch) {
            return None;
        }
        self.count -= 1;
        slot.take().map(|(_, stage)| stage)
    }

    /// All connections.
    pub fn ids(&self) -> Vec<ConnId> {
        let id = |(slot, entry): (usize, &Option<(u32, Stage)>)| {
            let (epoch, _) = entry.as_ref()?;
            Some(ConnId { slot: u32::try_from(slot).ok()?, epoch: *epoch })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }
}
