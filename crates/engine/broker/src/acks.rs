//! Acknowledgements in both directions.

use motte_session::Completion;
use motte_wire::{Ack, PacketId, ProtocolVersion, ReasonCode};

use crate::broker::Broker;
use crate::effect::Effects;
use crate::input::{ConnId, Now};
use crate::publication::Delivery;

pub(crate) fn send_puback(
    conn: ConnId,
    version: ProtocolVersion,
    id: PacketId,
    reason: ReasonCode,
    fx: &mut impl Effects,
) {
    if let Some(output) = fx.output(conn) {
        Ack::new(id, reason).encode_puback(version, output.buffer());
    }
}

pub(crate) fn send_pubrec(
    conn: ConnId,
    version: ProtocolVersion,
    id: PacketId,
    reason: ReasonCode,
    fx: &mut impl Effects,
) {
    if let Some(output) = fx.output(conn) {
        Ack::new(id, reason).encode_pubrec(version, output.buffer());
    }
}

pub(crate) fn send_release(conn: ConnId, version: ProtocolVersion, id: PacketId, fx: &mut impl Effects) {
    send_pubrel(conn, version, id, ReasonCode::SUCCESS, fx);
}

fn send_pubrel(
    conn: ConnId,
    version: ProtocolVersion,
    id: PacketId,
    reason: ReasonCode,
    fx: &mut impl Effects,
) {
    if let Some(output) = fx.output(conn) {
        Ack::new(id, reason).encode_pubrel(version, output.buffer());
    }
}

fn send_pubcomp(
    conn: ConnId,
    version: ProtocolVersion,
    id: PacketId,
    reason: ReasonCode,
    fx: &mut impl Effects,
) {
    if let Some(output) = fx.output(conn) {
        Ack::new(id, reason).encode_pubcomp(version, output.buffer());
    }
}

/// Which acknowledgement of a delivery arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    /// PUBACK.
    Received,
    /// PUBREC.
    Recorded,
    /// PUBCOMP.
    Completed,
}

impl Broker {
    /// PUBACK, PUBREC or PUBCOMP from the client.
    pub(crate) fn acknowledged(
        &mut self,
        conn: ConnId,
        kind: Acknowledgement,
        ack: &Ack<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Some(live) = self.connections.live(conn) else { return };
        let (key, version) = (live.session, live.version);
        let Some(session) = self.core.sessions.by_key(key) else { return };
        let before = session.outbound.held_bytes();
        let completion: Completion<Delivery> = match kind {
            Acknowledgement::Received => session.outbound.puback(ack.packet_id),
            Acknowledgement::Recorded => session.outbound.pubrec(ack.packet_id, !ack.reason.is_failure()),
            Acknowledgement::Completed => session.outbound.pubcomp(ack.packet_id),
        };
        let held = session.outbound.held_bytes();
        let waits =
            !session.has_no_queue() || session.outbound.has_again() || !session.pending_retained.is_empty();
        let number = session.number;
        self.core.ledger.change(before, held, self.core.exchange.memory());
        match completion {
            Completion::Done(Delivery { seq, .. }) | Completion::Complete(seq) => {
                self.core.durable.remove_delivery(number, seq);
                if waits {
                    self.core.go_on(key, now, fx);
                }
            }
            Completion::Release { mark, is_new } => {
                if is_new && mark != 0 {
                    let id = ack.packet_id.value();
                    self.core
                        .durable
                        .put(session, |batch, _, number| batch.set_state(number, mark, id, true));
                }
                if mark != 0 {
                    // After PUBCOMP the client knows nothing of the identifier: the message must not be sent again then.
                    self.core.durable.hold(conn, fx);
                }
                send_release(conn, version, ack.packet_id, fx);
            }
            // 5.0 section 3.6.2.1: 0x92 tells the client that we do not know this flow; it cannot go wrong twice.
            Completion::Unknown if kind == Acknowledgement::Recorded && !ack.reason.is_failure() => {
                send_pubrel(conn, version, ack.packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, fx);
            }
            Completion::Unknown => {}
            Completion::OutOfStep => {
                let cause = "an acknowledgement that does not belong to the QoS of its publication";
                self.protocol_error(conn, ReasonCode::PROTOCOL_ERROR, cause, now, fx);
            }
        }
    }

    /// PUBREL from the client: the flow ends with PUBCOMP (MQTT-4.3.3-11).
    pub(crate) fn released(&mut self, conn: ConnId, ack: &Ack<'_>, fx: &mut impl Effects) {
        let Some(live) = self.connections.live(conn) else { return };
        let version = live.version;
        let Some(session) = self.core.sessions.by_key(live.session) else { return };
        let known = session.inbound.release(ack.packet_id);
        if session.is_kept() {
            if known {
                let id = ack.packet_id.value();
                self.core.durable.put(session, |batch, _, number| batch.remove_inbound(number, id));
            }
            // After PUBCOMP the client uses the identifier for another message, which must not be taken for this one.
            self.core.durable.hold(conn, fx);
        }
        let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        send_pubcomp(conn, version, ack.packet_id, reason, fx);
    }

    /// The connection takes more again.
    pub(crate) fn drained(&mut self, conn: ConnId, now: Now, fx: &mut impl Effects) {
        let Some(live) = self.connections.live(conn) else { return };
        let key = live.session;
        let Some(session) = self.core.sessions.by_key(key) else { return };
        session.slow_noticed = false;
        self.core.go_on(key, now, fx);
    }
}
