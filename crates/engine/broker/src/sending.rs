//! Sending one delivery to one Session: the packet, its form for that client, and what happens when there is no room.

use std::sync::Arc;

use motte_access::{Authorized, Origin};
use motte_session::{Admission, OutboundAlias, OutboundAliases};
use motte_store::{Group, PublicationId, SessionId};
use motte_topic::TopicName;
use motte_wire::{PacketId, ProtocolVersion, QoS};

use crate::admit::Admit;
use crate::counters::Counters;
use crate::durable::Durable;
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::memory::{Pressure, difference};
use crate::notice;
use crate::publication::{Delivery, Publication, Reception, StoredPublication};
use crate::sessions::Session;
use crate::shape::{Form, Shapes, TooLarge};
use crate::transit::Transit;

/// Publications on their way to one client while the memory budget is used up.
const IN_FLIGHT_WHEN_FULL: usize = 16;

/// Deliveries of a Session with a connection that wait in memory; the rest waits on disk, where it is kept.
pub(crate) const QUEUED_IN_MEMORY: usize = 1_024;
/// Likewise of one without.
pub(crate) const QUEUED_WHILE_AWAY: usize = 32;
/// Deliveries in memory below which more are read.
pub(crate) const QUEUED_LOW: usize = 256;

/// The stored form of the publication at hand, made when somebody must wait for it.
pub(crate) struct Kept<'p, 'a> {
    pub(crate) publication: &'p Authorized<Publication<'a>>,
    pub(crate) stored: Option<Arc<Authorized<StoredPublication>>>,
}

impl<'s> Post<'s> {
    /// For deliveries whose room was found before.
    pub(crate) fn new(
        shapes: &'s mut Shapes,
        counters: &'s mut Counters,
        durable: &'s mut Durable,
        now: Now,
    ) -> Self {
        let pressure = Pressure::None;
        Self {
            shapes,
            counters,
            durable,
            number: None,
            transit: None,
            is_lone: true,
            pressure,
            held_bytes: 0,
            refused: 0,
            now,
        }
    }
}

impl Kept<'_, '_> {
    pub(crate) fn stored(&mut self, topic: &TopicName) -> Option<&Arc<Authorized<StoredPublication>>> {
        if self.stored.is_none() {
            self.stored = Admit::keep(self.publication, topic).map(Arc::new);
        }
        self.stored.as_ref()
    }
}

/// What all recipients of one publication share.
pub(crate) struct Post<'s> {
    pub(crate) shapes: &'s mut Shapes,
    pub(crate) counters: &'s mut Counters,
    pub(crate) durable: &'s mut Durable,
    /// The message's number, once it was put for one of them.
    pub(crate) number: Option<PublicationId>,
    /// Where it waits on its way from another shard, if it is to be taken out of there.
    pub(crate) transit: Option<Transit>,
    /// There is one recipient at most: the message may be sealed with its key.
    pub(crate) is_lone: bool,
    pub(crate) pressure: Pressure,
    /// How many bytes more Sessions hold than before.
    pub(crate) held_bytes: i64,
    /// Recipients that had no room for a message that waits for an acknowledgement.
    pub(crate) refused: usize,
    pub(crate) now: Now,
}

/// How a recipient wants the message at hand.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a [std::num::NonZeroU32],
}

/// The publisher's own subscriptions without No Local that match.
pub(crate) fn own_wish(
    session: &Session,
    topic: &TopicName,
    identifiers: &mut Vec<std::num::NonZeroU32>,
) -> Option<QoS> {
    let mut qos = None;
    for own in session.subscriptions.iter().filter(|own| own.share.is_none() && !own.wish.no_local) {
        if own.filter.matches(topic.as_ref()) {
            qos = qos.max(Some(own.wish.qos));
            identifiers.extend(own.wish.identifier);
        }
    }
    qos
}

pub(crate) fn send_one(
    session: &mut Session,
    seat: &Authorized<Reception>,
    wanted: Wanted<'_>,
    topic: &TopicName,
    kept: &mut Kept<'_, '_>,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) {
    let publication = kept.publication.get();
    let qos = publication.qos.min(wanted.qos);
    if qos == QoS::AtMostOnce {
        let Some(conn) = session.conn else { return };
        let Some(output) = fx.output(conn) else { return };
        let slow = output.len();
        if slow > session.limits.write_buffer_bytes_max || (slow > 0 && post.pressure == Pressure::Full) {
            post.counters.dropped_slow += 1;
            notice::slow_consumer(session, fx);
            return;
        }
        let (alias, alias_only) = alias_for(&mut session.aliases, topic);
        let form = Form {
            version: session.version,
            dup: false,
            qos,
            retain: wanted.retain,
            identifiers: identifiers_for(session.version, wanted.identifiers),
            alias,
            alias_only,
        };
        match post.shapes.append(
            publication,
            form,
            None,
            post.now.mono_ms,
            session.maximum_packet_size,
            output,
        ) {
            Ok(()) => post.counters.deliveries_sent += 1,
            Err(TooLarge) => too_large(&mut session.aliases, topic, form, post.counters),
        }
        return;
    }
    let Some(stored) = kept.stored(topic) else { return };
    let Some(mut delivery) = Delivery::permitted(seat, stored, qos, wanted.retain) else { return };
    if !wanted.identifiers.is_empty() {
        delivery.identifiers = Some(Box::from(wanted.identifiers));
    }
    send_acknowledged(session, delivery, post, fx);
}

/// Sends a QoS 0 delivery now; false when the client is away or too slow.
pub(crate) fn send_unacknowledged(
    session: &mut Session,
    delivery: &Delivery,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) -> bool {
    let Some(conn) = session.conn else { return false };
    if fx.backlog(conn) > session.limits.write_buffer_bytes_max {
        post.counters.dropped_slow += 1;
        return false;
    }
    write(session, conn, delivery, None, post, fx);
    true
}

/// Gathers what is to be kept of a delivery that this Session just took.
fn keep_delivery(session: &mut Session, sent: Option<PacketId>, post: &mut Post<'_>) {
    let letter = match sent {
        Some(_) => session.outbound.newest(),
        None => session.outbound.last_queued(),
    };
    let Some(delivery) = letter else { return };
    let group = if post.is_lone { Group(session.group) } else { Group::COMMON };
    let message = post.durable.put_message(&mut post.number, group, delivery.message(), post.now);
    let to = (SessionId(session.number), session.limits.durability);
    post.durable.enqueue(to, message, delivery, sent.map_or(0, PacketId::value));
    session.next_seq += 1;
}

/// Sends a QoS 1 or 2 delivery, or lets it wait; false when there is no room for it.
pub(crate) fn send_acknowledged(
    session: &mut Session,
    mut delivery: Delivery,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) -> bool {
    let is_kept = session.is_kept();
    if is_kept {
        delivery.seq = session.next_seq;
    }
    let is_exactly_once = delivery.qos == QoS::ExactlyOnce;
    let ready = match session.conn {
        Some(conn) => session.spilled.is_none() && fx.backlog(conn) <= session.limits.write_buffer_bytes_max,
        None => false,
    };
    // When memory is used up, only those who acknowledge at once get more.
    let behind = !ready || session.outbound.in_flight() >= IN_FLIGHT_WHEN_FULL;
    if behind && post.pressure == Pressure::Full {
        post.counters.dropped_full += 1;
        post.refused += 1;
        notice::queue_full(session, fx);
        return false;
    }
    let before = session.outbound.held_bytes();
    let limits = session.queue_limits();
    let taken = match session.outbound.offer(delivery, ready, limits) {
        Admission::Send(id) => {
            if is_kept {
                keep_delivery(session, Some(id), post);
            }
            if let Some(conn) = session.conn {
                if is_exactly_once && (is_kept || post.transit.is_some()) {
                    // The client will know the identifier: it must be known here after a crash, too. And who has it must not be
                    // followed by somebody else of its group.
                    post.durable.arrived(post.transit.take());
                    post.durable.hold(conn, fx);
                }
                write_newest(session, conn, id, post, fx);
            }
            true
        }
        Admission::Queued => {
            post.counters.deliveries_queued += 1;
            if is_kept {
                keep_delivery(session, None, post);
                let most = if session.conn.is_some() { QUEUED_IN_MEMORY } else { QUEUED_WHILE_AWAY };
                if session.spilled.is_some() || session.outbound.queue_len() > most {
                    session.spill_newest();
                }
            }
            true
        }
        Admission::Full(_) => {
            post.counters.dropped_full += 1;
            post.refused += 1;
            notice::queue_full(session, fx);
            false
        }
    };
    post.held_bytes += difference(before, session.outbound.held_bytes());
    taken
}

/// Appends the newest delivery in the window, which has this Packet Identifier, to the client's output.
pub(crate) fn write_newest(
    session: &mut Session,
    conn: ConnId,
    id: PacketId,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) {
    let Session { outbound, aliases, version, maximum_packet_size, .. } = session;
    let Some(delivery) = outbound.newest() else { return };
    let reader = Reader { aliases, version: *version, bytes_max: *maximum_packet_size, conn };
    if let Err(TooLarge) = compose(reader, delivery, Some((id, false)), post, fx) {
        abandon(session, id, post.durable);
    }
}

/// Ends a flow that cannot be sent or may not be.
pub(crate) fn abandon(session: &mut Session, id: PacketId, durable: &mut Durable) {
    if let Some(delivery) = session.outbound.abandon(id) {
        durable.remove_delivery(session.number, delivery.seq);
    }
}

/// Appends a delivery to the client's output; `sent` is its Packet Identifier and DUP.
pub(crate) fn write(
    session: &mut Session,
    conn: ConnId,
    delivery: &Delivery,
    sent: Option<(PacketId, bool)>,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) {
    let Session { aliases, version, maximum_packet_size, .. } = session;
    let reader = Reader { aliases, version: *version, bytes_max: *maximum_packet_size, conn };
    if let Err(TooLarge) = compose(reader, delivery, sent, post, fx)
        && let Some((id, _)) = sent
    {
        abandon(session, id, post.durable);
    }
}

/// What of a Session decides the form of a packet.
struct Reader<'s> {
    aliases: &'s mut OutboundAliases,
    version: ProtocolVersion,
    bytes_max: u32,
    conn: ConnId,
}

fn compose(
    reader: Reader<'_>,
    delivery: &Delivery,
    sent: Option<(PacketId, bool)>,
    post: &mut Post<'_>,
    fx: &mut impl Effects,
) -> Result<(), TooLarge> {
    let Post { shapes, counters, now, .. } = post;
    let Reader { aliases, version, bytes_max, conn } = reader;
    let message = delivery.message();
    let Some(output) = fx.output(conn) else { return Ok(()) };
    let (alias, alias_only) = alias_for(aliases, &message.topic);
    let form = Form {
        version,
        dup: sent.is_some_and(|(_, dup)| dup),
        qos: delivery.qos,
        retain: delivery.retain,
        identifiers: identifiers_for(version, delivery.identifiers.as_deref().unwrap_or_default()),
        alias,
        alias_only,
    };
    let id = sent.map(|(id, _)| id);
    shapes.set_payload(&message.payload);
    let appended = shapes.append(&message.borrow(), form, id, now.mono_ms, bytes_max, output);
    match appended {
        Ok(()) => counters.deliveries_sent += 1,
        Err(TooLarge) => too_large(aliases, &message.topic, form, counters),
    }
    appended
}

/// A packet larger than the client takes is left out as if it had been sent (MQTT-3.1.2-25).
fn too_large(aliases: &mut OutboundAliases, topic: &TopicName, form: Form<'_>, counters: &mut Counters) {
    counters.dropped_large += 1;
    if form.alias.is_some() && !form.alias_only {
        aliases.unset(topic);
    }
}

#[inline]
fn alias_for(aliases: &mut OutboundAliases, topic: &TopicName) -> (Option<std::num::NonZeroU16>, bool) {
    if !aliases.enabled() {
        return (None, false);
    }
    match aliases.alias(topic) {
        OutboundAlias::None => (None, false),
        OutboundAlias::Set(alias) => (Some(alias), false),
        OutboundAlias::Known(alias) => (Some(alias), true),
    }
}

fn identifiers_for(
    version: ProtocolVersion,
    identifiers: &[std::num::NonZeroU32],
) -> &[std::num::NonZeroU32] {
    if version == ProtocolVersion::V5 { identifiers } else { &[] }
}

/// Asks again whether a waiting delivery may be made.
pub(crate) fn renew(session: &mut Session, delivery: &mut Delivery, admit: &Admit) -> bool {
    let topic = delivery.message().topic.clone();
    let by = match (delivery.was_decided(), &delivery.shared) {
        (false, _) => Origin::Restart,
        (true, Some(_)) => Origin::Shared,
        (true, None) => Origin::Publish,
    };
    let source_may = delivery.was_decided() || admit.source_still_may(delivery.publication());
    match source_may.then(|| admit.receive_by(by, session, &topic)).flatten() {
        Some(seat) => {
            delivery.renewed(&seat);
            true
        }
        None => false,
    }
}
