//! From a permitted publication to its recipients: the hot path.
//!
//! Per recipient there is no lock, no hash of a topic, no decision and at most one append; a message is stored only when
//! somebody must wait for it.

use std::sync::Arc;

use motte_access::{Authorized, Origin};
use motte_store::PublicationId;
use motte_topic::TopicName;
use motte_wire::QoS;

use crate::admit::Admit;
use crate::core::{Core, home};
use crate::effect::{Effects, LoadRequest};
use crate::exchange::ShardMessage;
use crate::input::{Now, ShardId};
use crate::publication::{Delivery, Publication, StoredPublication};
use crate::route::Sources;
use crate::sending::{
    Kept, Post, QUEUED_IN_MEMORY, QUEUED_LOW, Wanted, abandon, own_wish, renew, send_acknowledged, send_one,
    send_unacknowledged, write, write_newest,
};
use crate::sessions::SessionKey;
use crate::shared::{Attempt, Group, GroupKey};
use crate::transit::Transit;

/// Who got a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Somebody, here or elsewhere.
    Somebody,
    /// Nobody has a matching subscription (reason 0x10 for QoS 1 and 2).
    Nobody,
    /// There are subscribers, and none had room for it (reason 0x97).
    NoRoom,
}

/// A message on its way to one member of a group.
pub(crate) struct Letter<'a> {
    pub(crate) publication: &'a Arc<Authorized<StoredPublication>>,
    /// Its number, if it was put.
    pub(crate) number: Option<PublicationId>,
    /// The queue it waits in meanwhile.
    pub(crate) transit: Option<Transit>,
    /// It must be kept on its way to another shard.
    pub(crate) is_to_be_kept: bool,
}

impl<'a> Letter<'a> {
    /// One that comes from somewhere where it is kept, if it has to be.
    pub(crate) fn on_its_way(
        publication: &'a Arc<Authorized<StoredPublication>>,
        transit: Option<Transit>,
    ) -> Self {
        let number = transit.and_then(|transit| transit.message);
        Self { publication, number, transit, is_to_be_kept: false }
    }
}

impl Core {
    /// Delivers a permitted publication to everybody, here and on other shards; `route` is that of its topic, if it was
    /// looked for before.
    pub(crate) fn deliver(
        &mut self,
        publication: &Authorized<Publication<'_>>,
        (stored, route): (Option<Arc<Authorized<StoredPublication>>>, Option<u32>),
        now: Now,
        fx: &mut impl Effects,
    ) -> Reach {
        let mut kept = Kept { publication, stored };
        let way = Way { route, ..Way::default() };
        let Some(mut beyond) = self.deliver_locally(&mut kept, way, now, fx) else { return Reach::Nobody };
        let mut reached = beyond.reached;
        let Some(topic) = beyond.topic else {
            return match beyond {
                Beyond { refused: true, .. } => Reach::NoRoom,
                Beyond { reached: true, .. } => Reach::Somebody,
                Beyond { reached: false, .. } => Reach::Nobody,
            };
        };
        let is_acknowledged = publication.get().qos != QoS::AtMostOnce;
        for shard in beyond.remote.iter() {
            if let Some(stored) = kept.stored(&topic) {
                let is_kept = is_acknowledged && beyond.kept.has(shard) && self.durable.is_on();
                let way = (self.shard, shard);
                let transit =
                    is_kept.then(|| self.durable.send_off(way, &mut beyond.number, stored.get(), None, now));
                let message = ShardMessage::Publish { publication: Arc::clone(stored), transit };
                self.durable.send(shard, message, fx);
                reached = true;
            }
        }
        for group in &beyond.groups {
            if let Some(stored) = kept.stored(&topic).cloned() {
                let attempt = group.begin();
                let is_to_be_kept = is_acknowledged && group.is_kept() && self.durable.is_on();
                let mut letter =
                    Letter { publication: &stored, number: beyond.number, transit: None, is_to_be_kept };
                reached |= self.deliver_shared(&mut letter, group, attempt, now, fx);
                beyond.number = letter.number;
            }
        }
        if reached { Reach::Somebody } else { Reach::Nobody }
    }

    /// Whether a publication with this topic has to be kept for somebody. Asked only while the disk refuses.
    pub(crate) fn is_to_be_kept(&mut self, publication: &Authorized<Publication<'_>>) -> bool {
        let Self { shard, admit, sessions, subscriptions, exchange, routes, .. } = self;
        let mut sources = Sources { shard: *shard, subscriptions, sessions, exchange, admit };
        let Some(route) = routes.route(publication, None, &mut sources) else { return false };
        let is_kept = |slot| sessions.get(slot).is_some_and(crate::sessions::Session::is_kept);
        !route.kept.is_empty()
            || route.groups.iter().any(|group| group.is_kept())
            || route
                .recipients
                .iter()
                .any(|recipient| recipient.qos > QoS::AtMostOnce && is_kept(recipient.session()))
    }

    /// Delivers a publication that another shard sent, to this shard's subscriptions only.
    pub(crate) fn deliver_here(
        &mut self,
        publication: &Arc<Authorized<StoredPublication>>,
        transit: Option<Transit>,
        home: Option<&Home>,
        now: Now,
        fx: &mut impl Effects,
    ) {
        if let Some(lent) = Admit::lend(publication) {
            let mut kept = Kept { publication: &lent, stored: Some(Arc::clone(publication)) };
            let number = transit.and_then(|transit| transit.message);
            let way = Way { number, home, route: None };
            self.deliver_locally(&mut kept, way, now, fx);
        }
        // In the same batch as the deliveries that it became.
        self.durable.arrived(transit);
    }

    fn deliver_locally(
        &mut self,
        kept: &mut Kept<'_, '_>,
        way: Way<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) -> Option<Beyond> {
        let Self {
            shard,
            admit,
            sessions,
            subscriptions,
            exchange,
            routes,
            shapes,
            counters,
            ledger,
            durable,
            ..
        } = self;
        let mut sources = Sources { shard: *shard, subscriptions, sessions, exchange, admit };
        let route = routes.route(kept.publication, way.route, &mut sources)?;
        counters.denied_deliveries += u64::from(route.denied);
        shapes.begin_for(route.recipients.len());
        if let Some(stored) = &kept.stored {
            shapes.set_payload(&stored.get().payload);
        }
        let mut post = Post {
            shapes,
            counters,
            durable,
            number: way.number,
            transit: None,
            is_lone: route.recipients.len() == 1 && route.groups.is_empty() && route.kept.is_empty(),
            pressure: exchange.memory().pressure(),
            held_bytes: 0,
            refused: 0,
            now,
        };
        let own = kept.publication.get().sender;
        for recipient in &route.recipients {
            let Some(session) = sessions.get_mut(recipient.session()) else { continue };
            if way.home.is_some_and(|home| !home.is_of(session.client_id())) {
                continue;
            }
            let mut wanted = Wanted {
                qos: recipient.qos,
                retain: recipient.retain_as_published && kept.publication.get().retain,
                identifiers: recipient.identifiers.as_deref().unwrap_or_default(),
            };
            let mut own_identifiers = Vec::new();
            if recipient.no_local && session.sender(*shard) == own {
                // Rare: the publisher itself, with some subscriptions that want No Local and perhaps some that do not.
                match own_wish(session, &route.topic, &mut own_identifiers) {
                    Some(qos) => {
                        wanted = Wanted { qos, retain: wanted.retain, identifiers: &own_identifiers }
                    }
                    None => continue,
                }
            }
            let topic = &route.topic;
            send_one(session, &recipient.seat, wanted, topic, kept, &mut post, fx);
        }
        let goes_on = !route.remote.is_empty() || !route.groups.is_empty();
        let beyond = Beyond {
            reached: !route.recipients.is_empty(),
            refused: post.refused > 0 && post.refused == route.recipients.len(),
            number: post.number,
            remote: route.remote,
            kept: route.kept,
            groups: route.groups.clone(),
            // Cloned only where it is needed: the count of its references is the hot path's dearest write.
            topic: goes_on.then(|| route.topic.clone()),
        };
        ledger.add(post.held_bytes, exchange.memory());
        Some(beyond)
    }

    /// Gives a message to one member of a group; true when somebody took it or may still take it.
    pub(crate) fn deliver_shared(
        &mut self,
        letter: &mut Letter<'_>,
        group: &Group,
        mut attempt: Attempt,
        now: Now,
        fx: &mut impl Effects,
    ) -> bool {
        while let Some(member) = group.next(&mut attempt) {
            let (shard, session) = (member.shard, member.session);
            if shard != self.shard {
                if letter.is_to_be_kept && letter.transit.is_none() {
                    let (way, message) = ((self.shard, shard), letter.publication.get());
                    let (number, key) = (&mut letter.number, Some(&*group.key));
                    letter.transit = Some(self.durable.send_off(way, number, message, key, now));
                }
                let (publication, key) = (Arc::clone(letter.publication), Arc::clone(&group.key));
                let transit = letter.transit.take();
                let message = ShardMessage::Shared { publication, key, session, attempt, transit };
                self.durable.send(shard, message, fx);
                return true;
            }
            if self.deliver_to_member(letter, &group.key, member.session, now, fx) {
                return true;
            }
        }
        self.durable.arrived(letter.transit.take());
        false
    }

    /// Gives a message to a member of this shard; false when it cannot take it.
    pub(crate) fn deliver_to_member(
        &mut self,
        letter: &mut Letter<'_>,
        key: &Arc<GroupKey>,
        member: SessionKey,
        now: Now,
        fx: &mut impl Effects,
    ) -> bool {
        let publication = letter.publication;
        let Self { admit, sessions, exchange, shapes, counters, ledger, durable, .. } = self;
        let Some(session) = sessions.by_key(member) else { return false };
        let Some(index) = session.subscription(Some(&key.share), &key.filter) else { return false };
        let Some(wish) = session.subscriptions.get(index).map(|own| own.wish) else { return false };
        let message = publication.get();
        let Some(seat) = admit.receive_by(Origin::Shared, session, &message.topic) else {
            counters.denied_deliveries += 1;
            return false;
        };
        let qos = message.qos.min(wish.qos);
        if session.conn.is_none() && qos == QoS::AtMostOnce {
            return false;
        }
        let Some(mut delivery) =
            Delivery::permitted(&seat, publication, qos, wish.retain_as_published && message.retain)
        else {
            return false;
        };
        delivery.identifiers = wish.identifier.map(|id| Box::from([id]));
        delivery.shared = Some(Arc::clone(key));
        shapes.begin_for(1);
        let pressure = exchange.memory().pressure();
        let (number, transit) = (letter.number, letter.transit.take());
        let mut post = Post { number, transit, pressure, ..Post::new(shapes, counters, durable, now) };
        let taken = if qos == QoS::AtMostOnce {
            send_unacknowledged(session, &delivery, &mut post, fx)
        } else {
            send_acknowledged(session, delivery, &mut post, fx)
        };
        (letter.number, letter.transit) = (post.number, post.transit);
        ledger.add(post.held_bytes, exchange.memory());
        if taken {
            // With the delivery that takes its place in the same batch.
            self.durable.arrived(letter.transit.take());
        }
        taken
    }

    /// Sends what waits for a Session, as far as its window and its connection take it.
    pub(crate) fn pump(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        let Self { admit, sessions, exchange, shapes, counters, ledger, durable, .. } = self;
        let Some(session) = sessions.by_key(key) else { return };
        let Some(conn) = session.conn else { return };
        let before = session.outbound.held_bytes();
        let mut expired = Vec::new();
        let mut post = Post::new(shapes, counters, durable, now);
        while fx.backlog(conn) < session.limits.write_buffer_bytes_max {
            let Some((id, letter)) = session.outbound.next(now.mono_ms, &mut expired) else { break };
            let (seq, is_exactly_once) = (letter.seq, letter.qos == QoS::ExactlyOnce);
            if letter.stale(admit.generation()) {
                let mut delivery = letter.clone();
                if !renew(session, &mut delivery, admit) {
                    abandon(session, id, post.durable);
                    post.counters.denied_deliveries += 1;
                    continue;
                }
            }
            if seq != 0 {
                post.durable.put(session, |batch, _, number| batch.set_state(number, seq, id.value(), false));
                if is_exactly_once {
                    post.durable.hold(conn, fx);
                }
            }
            post.shapes.begin_for(1);
            write_newest(session, conn, id, &mut post, fx);
        }
        post.counters.dropped_expired += expired.len() as u64;
        for delivery in expired {
            post.durable.remove_delivery(session.number, delivery.seq);
        }
        if session.has_no_queue() {
            session.full_noticed = false;
        }
        ledger.change(before, session.outbound.held_bytes(), exchange.memory());
        self.load_more(key, fx);
    }

    /// Asks for more of what waits on disk when little waits in memory.
    pub(crate) fn load_more(&mut self, key: SessionKey, fx: &mut impl Effects) {
        let Some(session) = self.sessions.by_key(key) else { return };
        let waiting = session.outbound.queue_len();
        if session.conn.is_none() || waiting >= QUEUED_LOW {
            return;
        }
        let number = session.number;
        if let Some(spilled) = session.spilled.as_mut().filter(|spilled| !spilled.is_loading) {
            spilled.is_loading = true;
            let max = spilled.count.min(QUEUED_IN_MEMORY - waiting);
            fx.load(LoadRequest { session: key, number, from: spilled.from, max });
        }
    }

    /// A Session goes on with a new connection: what is unacknowledged comes first.
    pub(crate) fn resume(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        if let Some(session) = self.sessions.by_key(key) {
            session.outbound.begin_again();
        }
        self.go_on(key, now, fx);
    }

    /// Sends whatever is next for a Session: what is to be sent again, then Retained Messages, then what waits.
    pub(crate) fn go_on(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        let Some(session) = self.sessions.by_key(key) else { return };
        if session.outbound.has_again() {
            self.send_again(key, now, fx);
        }
        let Some(session) = self.sessions.by_key(key) else { return };
        if !session.pending_retained.is_empty() {
            self.pump_retained(key, now, fx);
        }
        let Some(session) = self.sessions.by_key(key) else { return };
        if !session.has_no_queue() {
            self.pump(key, now, fx);
        }
    }

    /// Sends what is unacknowledged again, in its first order (MQTT-4.4.0-1), as far as the client's Receive Maximum and its
    /// connection take it; acknowledgements call for the rest.
    fn send_again(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        use motte_session::Retransmission;
        let Self { admit, sessions, shapes, counters, ledger, exchange, durable, .. } = self;
        let Some(session) = sessions.by_key(key) else { return };
        let Some(conn) = session.conn else { return };
        let before = session.outbound.held_bytes();
        let mut post = Post::new(shapes, counters, durable, now);
        while fx.backlog(conn) < session.limits.write_buffer_bytes_max {
            let (id, mut delivery) = match session.outbound.next_again() {
                Some(Retransmission::Publish(id, delivery)) => (id, delivery.clone()),
                Some(Retransmission::Release(id)) => {
                    crate::acks::send_release(conn, session.version, id, fx);
                    continue;
                }
                None => break,
            };
            if delivery.stale(admit.generation()) && !renew(session, &mut delivery, admit) {
                abandon(session, id, post.durable);
                post.counters.denied_deliveries += 1;
                continue;
            }
            // A record from before a restart was sent or not, nobody knows: DUP says that it may have been.
            post.shapes.begin_for(1);
            write(session, conn, &delivery, Some((id, true)), &mut post, fx);
        }
        ledger.change(before, session.outbound.held_bytes(), exchange.memory());
    }

    /// Sends Retained Messages that new subscriptions wait for, as far as the connection takes them.
    pub(crate) fn pump_retained(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        let Self { admit, sessions, exchange, shapes, counters, ledger, durable, .. } = self;
        let Some(session) = sessions.by_key(key) else { return };
        let Some(conn) = session.conn else { return };
        let mut held = 0;
        while fx.backlog(conn) < session.limits.write_buffer_bytes_max {
            let Some(next) = session.pending_retained.front() else { break };
            let qos = next.message.get().qos.min(next.qos);
            // Behind what waits already, not among it: the queue has its own bounds.
            if qos != QoS::AtMostOnce && !(session.outbound.has_room() && session.has_no_queue()) {
                break;
            }
            let Some(pending) = session.pending_retained.pop_front() else { break };
            // Replaced meanwhile: the subscriber has got the newer one as a live message.
            if pending.message.get().expired(now.mono_ms) || !exchange.retained().is_current(&pending.message)
            {
                continue;
            }
            let topic = pending.message.get().topic.clone();
            let source_may = admit.source_still_may(&pending.message);
            let seat = source_may.then(|| admit.receive_by(Origin::Retained, session, &topic)).flatten();
            let Some(seat) = seat else {
                counters.denied_deliveries += 1;
                continue;
            };
            let Some(mut delivery) = Delivery::permitted(&seat, &pending.message, qos, true) else {
                continue;
            };
            delivery.identifiers = pending.identifier.map(|id| Box::from([id]));
            shapes.begin_for(1);
            let mut post = Post::new(shapes, counters, durable, now);
            if qos == QoS::AtMostOnce {
                send_unacknowledged(session, &delivery, &mut post, fx);
            } else {
                send_acknowledged(session, delivery, &mut post, fx);
            }
            held += post.held_bytes;
        }
        ledger.add(held, exchange.memory());
    }
}

/// How a message came to a shard.
#[derive(Debug, Clone, Copy, Default)]
struct Way<'a> {
    /// Its number, if it was put.
    number: Option<PublicationId>,
    /// It is for those only who had their home there.
    home: Option<&'a Home>,
    /// The route of its topic, if it was looked for before.
    route: Option<u32>,
}

/// A shard of an earlier run: who had their home there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// The shard.
    pub shard: ShardId,
    /// The key by which identifiers were spread.
    pub key: [u64; 2],
    /// Over how many shards.
    pub shards: u16,
}

impl Home {
    fn is_of(&self, client_id: &str) -> bool {
        home(client_id, self.key, self.shards) == self.shard
    }
}

/// What lies beyond the shard's own subscriptions.
struct Beyond {
    reached: bool,
    /// Every subscription of this shard wanted it acknowledged, and none had room.
    refused: bool,
    /// The message's number, if it was put.
    number: Option<PublicationId>,
    remote: crate::exchange::ShardMask,
    /// Those among them where it is kept for somebody.
    kept: crate::exchange::ShardMask,
    groups: Vec<Arc<Group>>,
    /// The topic, when it leads anywhere beyond.
    topic: Option<TopicName>,
}
