//! Limits as configured, as a Session is held to them.

use motte_config::Limits;
use motte_session::{Durability, SessionLimits};
use motte_topic::TopicLimits;
use motte_wire::{QoS, TextRules};

fn durability(meant: motte_config::Durability) -> Durability {
    match meant {
        motte_config::Durability::Memory => Durability::Memory,
        motte_config::Durability::Os => Durability::Os,
        motte_config::Durability::Disk => Durability::Disk,
    }
}

/// What one Session and its connection are held to.
pub(crate) fn session_limits(limits: &Limits) -> SessionLimits {
    SessionLimits {
        packet_bytes_max: limits.packet_bytes_max,
        receive_maximum: limits.receive_maximum,
        inflight_out_max: limits.inflight_out_max,
        topic_alias_maximum: limits.topic_alias_maximum,
        topic_alias_out_maximum: limits.topic_alias_out_maximum,
        keep_alive_s_min: limits.keep_alive_s_min,
        keep_alive_s_max: limits.keep_alive_s_max,
        session_expiry_s_max: limits.session_expiry_s_max,
        sessions_per_identity_max: limits.sessions_per_identity_max,
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        subscriptions_max: limits.subscriptions_per_session_max,
        maximum_qos: QoS::from_bits(limits.maximum_qos).unwrap_or(QoS::ExactlyOnce),
        retain_available: limits.retain_available,
        wildcard_available: limits.wildcard_available,
        shared_available: limits.shared_available,
        subscription_identifiers_available: limits.subscription_identifiers_available,
        payload_format_checked: limits.payload_format_checked,
        write_buffer_bytes_max: limits.write_buffer_bytes_max as usize,
        durability: durability(limits.durability),
        topic: TopicLimits { bytes_max: limits.topic_bytes_max, levels_max: limits.topic_levels_max },
        text: TextRules {
            control_characters: !limits.control_characters_refused,
            non_characters: !limits.non_characters_refused,
        },
    }
}
