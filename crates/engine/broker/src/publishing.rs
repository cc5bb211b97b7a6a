//! PUBLISH from a client: its topic, the decision, the flows of QoS 1 and 2.

use std::num::NonZeroU16;
use std::sync::Arc;

use motte_access::AccessDecision;
use motte_session::{Durability, Received, SessionLimits};
use motte_store::Group;
use motte_topic::{TopicName, TopicRef};
use motte_wire::{PacketId, ProtocolVersion, Publish, QoS, ReasonCode};

use crate::acks;
use crate::admit::Admit;
use crate::broker::Broker;
use crate::connections::{Grants, Live};
use crate::core::Core;
use crate::deliver::Reach;
use crate::durable::Mark;
use crate::effect::Effects;
use crate::ending::Told;
use crate::input::{CloseCause, ConnId, Now};
use crate::memory::Pressure;
use crate::notice;
use crate::publication::Publication;
use crate::sessions::SessionKey;

/// Why a PUBLISH ends the connection.
struct Offence {
    reason: ReasonCode,
    cause: &'static str,
}

/// The disk refuses what would have to be kept: told where the version has words for it, else the connection ends.
const NOT_KEPT: &str = "the server's disk refuses; what would have to be kept is not taken";

impl Broker {
    pub(crate) fn publish(&mut self, conn: ConnId, packet: &Publish<'_>, now: Now, fx: &mut impl Effects) {
        let Self { core, connections } = self;
        let Some(live) = connections.live(conn) else { return };
        core.counters.publications_received += 1;
        let alias_topic;
        let topic = match (packet.topic, packet.properties.topic_alias) {
            (Some(topic), None) => topic,
            (topic, Some(alias)) => match resolve(core, live, topic, alias) {
                Ok(name) => {
                    alias_topic = name;
                    alias_topic.as_ref()
                }
                Err(offence) => return self.protocol_error(conn, offence.reason, offence.cause, now, fx),
            },
            (None, None) => {
                let cause = "PUBLISH with neither topic nor alias";
                return self.protocol_error(conn, ReasonCode::PROTOCOL_ERROR, cause, now, fx);
            }
        };
        match accept(core, live, conn, packet, topic, now, fx) {
            Ok(()) => {}
            Err(Offence { reason, cause: NOT_KEPT }) => {
                let told = Told { reason, words: Some(NOT_KEPT) };
                self.goodbye(conn, told, CloseCause::NotKept, now, fx);
            }
            Err(offence) => self.protocol_error(conn, offence.reason, offence.cause, now, fx),
        }
    }
}

/// Sets or follows a Topic Alias (MQTT-3.3.2-8 to 3.3.2-12).
fn resolve(
    core: &mut Core,
    live: &mut Live,
    topic: Option<TopicRef<'_>>,
    alias: NonZeroU16,
) -> Result<TopicName, Offence> {
    let maximum = core.sessions.by_key(live.session).map_or(0, |s| s.limits.topic_alias_maximum);
    let invalid = |cause| Offence { reason: ReasonCode::TOPIC_ALIAS_INVALID, cause };
    if let Some(topic) = topic
        && !live.aliases.set(alias, topic, maximum)
    {
        return Err(invalid("the Topic Alias is above the announced maximum"));
    }
    match live.aliases.resolve(alias) {
        Some(name) => Ok(name.clone()),
        None if alias.get() > maximum => Err(invalid("the Topic Alias is above the announced maximum")),
        None => Err(Offence { reason: ReasonCode::PROTOCOL_ERROR, cause: "the Topic Alias was never set" }),
    }
}

/// What no client may send, whoever it is.
#[inline]
fn check(limits: &SessionLimits, packet: &Publish<'_>, topic: TopicRef<'_>) -> Result<(), Offence> {
    if packet.qos > limits.maximum_qos {
        // MQTT-3.2.2-11
        return Err(Offence {
            reason: ReasonCode::QOS_NOT_SUPPORTED,
            cause: "QoS above the announced maximum",
        });
    }
    if packet.retain && !limits.retain_available {
        // MQTT-3.2.2-14
        return Err(Offence {
            reason: ReasonCode::RETAIN_NOT_SUPPORTED,
            cause: "RETAIN where Retained Messages are not available",
        });
    }
    if limits.topic.check(topic.as_str()).is_err() {
        return Err(Offence {
            reason: ReasonCode::TOPIC_NAME_INVALID,
            cause: "the Topic Name is longer or deeper than the listener's limits",
        });
    }
    Ok(())
}

fn accept(
    core: &mut Core,
    live: &mut Live,
    conn: ConnId,
    packet: &Publish<'_>,
    topic: TopicRef<'_>,
    now: Now,
    fx: &mut impl Effects,
) -> Result<(), Offence> {
    let shard = core.shard;
    let Some(session) = core.sessions.by_key(live.session) else { return Ok(()) };
    check(&session.limits, packet, topic)?;
    // What is known already was delivered, and is kept as soon as there is room.
    let is_known = || packet.packet_id.is_some_and(|id| session.inbound.is_open(id));
    if core.durable.is_refusing() && packet.qos == QoS::ExactlyOnce && session.is_kept() && !is_known() {
        return not_kept(core, live, conn, packet, fx);
    }
    let mark = core.durable.mark();
    if let (QoS::ExactlyOnce, Some(id)) = (packet.qos, packet.packet_id) {
        match session.inbound.publish(id, session.limits.receive_maximum) {
            Received::New => {}
            Received::Again => {
                core.durable.hold(conn, fx);
                acks::send_pubrec(conn, live.version, id, ReasonCode::SUCCESS, fx);
                return Ok(());
            }
            Received::TooMany => {
                return Err(Offence {
                    reason: ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                    cause: "more unacknowledged QoS 2 publications than Receive Maximum",
                });
            }
        }
    }
    if session.limits.payload_format_checked && packet.payload_is_bad_text() {
        // MQTT-3.3.2-4 lets a receiver check; 0x99 is for the acknowledgement, QoS 0 is dropped.
        answer(core, live, conn, packet, (ReasonCode::PAYLOAD_FORMAT_INVALID, mark), fx);
        return Ok(());
    }
    let sender = session.sender(shard);
    let mut forwarded = std::mem::take(&mut core.forwarded);
    forwarded.clear();
    packet.properties.write_forwarded(&mut forwarded);
    let publication = Publication {
        topic,
        payload: packet.payload,
        qos: packet.qos,
        retain: packet.retain,
        forwarded: &forwarded,
        expires_ms: packet
            .properties
            .message_expiry_s
            .map(|s| now.mono_ms.saturating_add(u64::from(s) * 1_000)),
        source: &live.principal,
        sender,
    };
    let reason = decide_and_deliver(core, live.session, &mut live.grants, publication, now, fx);
    core.forwarded = forwarded;
    match reason {
        Some(reason) => {
            answer(core, live, conn, packet, (reason, mark), fx);
            Ok(())
        }
        None => {
            if let Some(id) = packet.packet_id {
                release(core, live, id);
            }
            not_kept(core, live, conn, packet, fx)
        }
    }
}

/// The disk refuses: told, or not acknowledged at all.
fn not_kept(
    core: &mut Core,
    live: &Live,
    conn: ConnId,
    packet: &Publish<'_>,
    fx: &mut impl Effects,
) -> Result<(), Offence> {
    if live.version != ProtocolVersion::V5 && packet.qos != QoS::AtMostOnce {
        return Err(Offence { reason: ReasonCode::QUOTA_EXCEEDED, cause: NOT_KEPT });
    }
    let mark = core.durable.mark();
    answer(core, live, conn, packet, (ReasonCode::QUOTA_EXCEEDED, mark), fx);
    Ok(())
}

/// Asks, delivers, and says what the acknowledgement is to carry; `None` if the disk refuses what would have to be kept.
fn decide_and_deliver(
    core: &mut Core,
    key: SessionKey,
    grants: &mut Grants,
    publication: Publication<'_>,
    now: Now,
    fx: &mut impl Effects,
) -> Option<ReasonCode> {
    let route = core.routes.find(publication.topic, grants.lately());
    let remembered = route.and_then(|number| grants.get(number));
    let known = remembered.is_some();
    let Some(session) = core.sessions.by_key(key) else { return Some(ReasonCode::UNSPECIFIED_ERROR) };
    let (durability, group) = (session.limits.durability, session.group);
    let permitted = match core.admit.publish(&mut session.standing, remembered, publication) {
        AccessDecision::Permit(permitted) => permitted,
        AccessDecision::Deny(publication, denial) => {
            core.counters.publications_denied += 1;
            notice::publish_denied(publication.source, publication.topic.as_str(), &denial, fx);
            return Some(ReasonCode::NOT_AUTHORIZED);
        }
    };
    if !known && let Some(number) = route {
        grants.remember(number, core.admit.grant(&session.standing, &permitted));
    }
    let is_retained = permitted.get().retain && durability > Durability::Memory && core.durable.is_on();
    if core.durable.is_refusing()
        && (is_retained || permitted.get().qos != QoS::AtMostOnce && core.is_to_be_kept(&permitted))
    {
        return None;
    }
    let mut stored = None;
    if permitted.get().retain {
        if core.exchange.memory().pressure() == Pressure::Full && !permitted.get().payload.is_empty() {
            return Some(ReasonCode::QUOTA_EXCEEDED);
        }
        let name = permitted.get().topic.to_name();
        let Some(kept) = Admit::keep(&permitted, &name).map(Arc::new) else {
            return Some(ReasonCode::UNSPECIFIED_ERROR);
        };
        // A client whose Session ends with its connection has a key for what it retains all the same.
        let group = if group == 0 && is_retained { fx.group(&kept.get().source) } else { group };
        if !core.retain(&kept, (durability, Group(group)), now, fx) {
            return Some(ReasonCode::QUOTA_EXCEEDED);
        }
        stored = Some(kept);
    }
    Some(match core.deliver(&permitted, (stored, route), now, fx) {
        Reach::Nobody if core.report_no_subscribers => ReasonCode::NO_MATCHING_SUBSCRIBERS,
        Reach::NoRoom => ReasonCode::QUOTA_EXCEEDED,
        Reach::Nobody | Reach::Somebody => ReasonCode::SUCCESS,
    })
}

/// PUBACK or PUBREC, held until what was gathered since the mark is kept.
#[inline]
fn answer(
    core: &mut Core,
    live: &Live,
    conn: ConnId,
    packet: &Publish<'_>,
    (reason, since): (ReasonCode, Mark),
    fx: &mut impl Effects,
) {
    let Some(id) = packet.packet_id else { return };
    match packet.qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => {
            if core.durable.concerns_since(since) {
                core.durable.hold(conn, fx);
            }
            acks::send_puback(conn, live.version, id, reason, fx);
        }
        QoS::ExactlyOnce => {
            if reason.is_failure() && live.version == ProtocolVersion::V5 {
                release(core, live, id);
            } else if let Some(session) = core.sessions.by_key(live.session)
                && session.is_kept()
            {
                core.durable.put(session, |batch, _, number| batch.put_inbound(number, id.value()));
            }
            if core.durable.concerns_since(since) {
                core.durable.hold(conn, fx);
            }
            acks::send_pubrec(conn, live.version, id, reason, fx);
        }
    }
}

/// PUBREC with a failure ends the flow: the identifier is free again (MQTT-4.3.3-9).
fn release(core: &mut Core, live: &Live, id: PacketId) {
    if let Some(session) = core.sessions.by_key(live.session) {
        session.inbound.release(id);
    }
}
