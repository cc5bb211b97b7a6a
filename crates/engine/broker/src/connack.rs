//! CONNACK of a client that is let in: what the server grants and limits.

use motte_session::{ConnectRequest, SessionLimits};
use motte_wire::{ConnAck, QoS};

use crate::effect::Effects;
use crate::input::{ADVICE_MAX, ConnId};

/// What CONNACK says beside the limits.
pub(crate) struct Known<'a> {
    pub(crate) assigned: bool,
    pub(crate) present: bool,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) advice: Option<&'a str>,
}

/// CONNACK with everything the client must know of the limits (5.0 section 3.2.2.3).
pub(crate) fn send_connack(
    conn: ConnId,
    limits: &SessionLimits,
    request: &ConnectRequest,
    known: &Known<'_>,
    fx: &mut impl Effects,
) {
    let Known { assigned, present, data, advice } = *known;
    let Some(output) = fx.output(conn) else { return };
    let mut ack = ConnAck::accepted(present);
    let properties = &mut ack.properties;
    properties.session_expiry_s = request.expiry_lowered.then(|| request.expiry.seconds());
    properties.receive_maximum = (limits.receive_maximum != u16::MAX)
        .then_some(limits.receive_maximum)
        .and_then(std::num::NonZeroU16::new);
    properties.maximum_qos = (limits.maximum_qos != QoS::ExactlyOnce).then_some(limits.maximum_qos);
    properties.retain_available = limits.retain_available;
    properties.maximum_packet_size = std::num::NonZeroU32::new(limits.packet_bytes_max);
    properties.assigned_client_id = assigned.then_some(request.client_id.as_str());
    properties.topic_alias_maximum = limits.topic_alias_maximum;
    properties.wildcard_available = limits.wildcard_available;
    properties.subscription_identifiers_available = limits.subscription_identifiers_available;
    properties.shared_available = limits.shared_available;
    properties.server_keep_alive_s = request.keep_alive.announced();
    properties.authentication_method = request.authentication_method.as_deref();
    properties.authentication_data = data;
    // MQTT-3.2.2-19: not where it would make the packet larger than the client takes.
    let has_room = request.maximum_packet_size as usize >= ADVICE_MAX * 4;
    properties.reason_string = advice.filter(|text| has_room && text.len() <= ADVICE_MAX);
    ack.encode(request.version, output.buffer());
}
