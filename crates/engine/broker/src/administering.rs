//! What an operator asks of a shard: who its clients are, that one be disconnected, and that nothing be
//! left of one. Nothing here reaches a client's
//! messages.

use motte_access::Principal;
use motte_wire::{ProtocolVersion, ReasonCode};

use crate::broker::Broker;
use crate::connections::Stage;
use crate::effect::Effects;
use crate::ending::remove_will;
use crate::input::{CloseCause, ConnId, Now};
use crate::retained::RetainedMessage;
use crate::sessions::{Session, SessionKey};

/// A Session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// Its Client Identifier.
    pub client_id: String,
    /// Who it is.
    pub identity: String,
    /// The listener that it came by last.
    pub listener: String,
    /// The address it had there; empty on a Unix socket.
    pub address: String,
    /// Its connection, if it has one.
    pub conn: Option<ConnId>,
    /// Since when it has this connection, in monotonic milliseconds.
    pub since_ms: Option<u64>,
    /// Its version, while it is connected.
    pub version: Option<ProtocolVersion>,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// Messages that wait to be sent to it.
    pub queued: usize,
    /// Messages sent to it that it has not acknowledged.
    pub in_flight: usize,
    /// Bytes of both.
    pub held_bytes: usize,
}

impl Broker {
    /// The Sessions of this shard whose Client Identifiers come after `after`, the first `most` in order.
    pub fn clients(&self, after: Option<&str>, connected: bool, most: usize) -> Vec<ClientFacts> {
        let wanted = |session: &&Session| {
            after.is_none_or(|after| session.client_id() > after) && (!connected || session.conn.is_some())
        };
        let mut sessions: Vec<&Session> = self.core.sessions.iter().filter(wanted).collect();
        if sessions.len() > most {
            // The rest need no order among themselves.
            sessions.select_nth_unstable_by(most, |one, other| one.client_id().cmp(other.client_id()));
            sessions.truncate(most);
        }
        sessions.sort_unstable_by(|one, other| one.client_id().cmp(other.client_id()));
        sessions.into_iter().map(|session| self.facts(session)).collect()
    }

    /// One Session of this shard, and at most so many of its Topic Filters, each with its QoS before it.
    pub fn client(&self, client_id: &str, filters_max: usize) -> Option<(ClientFacts, Vec<String>)> {
        let session = self.core.sessions.get(self.core.sessions.find(client_id)?)?;
        let filters = session.subscriptions.iter().take(filters_max).map(|own| {
            let (qos, filter) = (own.wish.qos as u8, own.filter.as_str());
            match &own.share {
                Some(share) => format!("{qos} $share/{}/{filter}", share.as_str()),
                None => format!("{qos} {filter}"),
            }
        });
        Some((self.facts(session), filters.collect()))
    }

    /// Ends the connection of a client with 0x98 Administrative action; false when it has none here.
    pub fn disconnect(&mut self, client_id: &str, now: Now, fx: &mut impl Effects) -> bool {
        let session = self.core.sessions.find(client_id).and_then(|slot| self.core.sessions.get(slot));
        let Some(conn) = session.and_then(|session| session.conn) else { return false };
        self.goodbye(conn, ReasonCode::ADMINISTRATIVE_ACTION, CloseCause::Administrative, now, fx);
        true
    }

    /// Ends everything of an identity on this shard: its connections with 0x98 Administrative action, and its Sessions with all
    /// that waits for them. Their Wills are not published. Gives how many Sessions there were.
    pub fn forget(&mut self, identity: &str, now: Now, fx: &mut impl Effects) -> usize {
        let own = self.core.sessions.iter().filter(|session| session.principal.name() == identity);
        let keys: Vec<(SessionKey, Option<ConnId>)> =
            own.map(|session| (session.key, session.conn)).collect();
        for (key, conn) in &keys {
            if let Some(session) = self.core.sessions.by_key(*key)
                && session.will.take().is_some()
            {
                remove_will(&mut self.core.durable, session);
            }
            if let Some(conn) = conn {
                self.goodbye(*conn, ReasonCode::ADMINISTRATIVE_ACTION, CloseCause::Administrative, now, fx);
            }
            self.core.end(*key, now, fx);
        }
        keys.len()
    }

    /// Forgets the Retained Messages of an identity; gives how many there were. To be asked of one shard only.
    pub fn forget_retained(&mut self, identity: &str) -> usize {
        let of_identity = |message: &&RetainedMessage| message.get().source.name() == identity;
        let own: Vec<RetainedMessage> =
            self.core.exchange.retained().all().filter(of_identity).cloned().collect();
        for message in &own {
            self.core.forget_retained_message(message);
        }
        own.len()
    }

    /// Where what was gathered so far goes to the disk; see [`Self::is_kept`].
    pub fn kept_mark(&self) -> u64 {
        self.core.durable.tag()
    }

    /// Whether everything that was gathered before a mark is on the disk, or was refused.
    pub fn is_kept(&self, mark: u64) -> bool {
        self.core.durable.is_past(mark)
    }

    fn facts(&self, session: &Session) -> ClientFacts {
        let (listener, address) = match &*session.principal {
            Principal::Client(client) => {
                (client.listener.to_string(), client.address.map(|address| address.to_string()))
            }
            Principal::Bridge { .. }
            | Principal::Operator { .. }
            | Principal::Node { .. }
            | Principal::System => (String::new(), None),
        };
        let live = session.conn.and_then(|conn| match self.connections.get(conn)? {
            Stage::Live(live) => Some(live),
            Stage::Awaiting(_) | Stage::Asked(_) => None,
        });
        ClientFacts {
            client_id: session.client_id().to_owned(),
            identity: session.principal.name().to_owned(),
            listener,
            address: address.unwrap_or_default(),
            conn: session.conn,
            since_ms: live.map(|live| live.since_ms),
            version: live.map(|live| live.version),
            subscriptions: session.subscriptions.len(),
            queued: session.outbound.queue_len(),
            in_flight: session.outbound.in_flight(),
            held_bytes: session.outbound.held_bytes(),
        }
    }
}
