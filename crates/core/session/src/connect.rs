//! CONNECT: what it asks for, checked against the standard and the listener's limits, and owned.

use motte_wire::{Connect, ProtocolVersion, ReasonCode};

use crate::expiry::SessionExpiry;
use crate::keep_alive::KeepAlive;
use crate::limits::SessionLimits;
use crate::will::Will;

/// Longest Client Identifier in 3.1, in UTF-8 bytes (MQTT V3.1 section 3.1).
const CLIENT_ID_BYTES_V31: usize = 23;

/// Longest Client Identifier taken in any version, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 1_024;

/// Why a CONNECT is refused before anybody asked who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ConnectRefusal {
    /// The Reason Code of CONNACK (mapped to a return code below 5.0).
    pub reason: ReasonCode,
    /// What is wrong, for the log and the Reason String.
    pub cause: &'static str,
}

/// An accepted CONNECT, owned, so that it can wait for a verdict and travel to another shard.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Protocol version of the connection.
    pub version: ProtocolVersion,
    /// The Client Identifier; empty when the server is to assign one.
    pub client_id: String,
    /// Clean Start, or clean session in 3.x.
    pub clean_start: bool,
    /// Keep Alive in force.
    pub keep_alive: KeepAlive,
    /// Session expiry in force.
    pub expiry: SessionExpiry,
    /// What the client asked for, if we lowered it (announced in CONNACK).
    pub expiry_lowered: bool,
    /// Publications the client takes unacknowledged (Receive Maximum); 65,535 below 5.0.
    pub receive_maximum: u16,
    /// Largest packet the client takes, in bytes.
    pub maximum_packet_size: u32,
    /// Topic Aliases the client takes.
    pub topic_alias_maximum: u16,
    /// Whether Reason String and User Properties may stand in other packets than PUBLISH, CONNACK and DISCONNECT.
    pub problem_information: bool,
    /// The connection is a bridge by the widespread convention of setting the top bit of the protocol level.
    pub bridge: bool,
    /// The Will.
    pub will: Option<Box<Will>>,
    /// Authentication Method, when the exchange of AUTH packets is asked for.
    pub authentication_method: Option<String>,
}

impl ConnectRequest {
    /// Checks and owns a CONNECT.
    ///
    /// # Errors
    /// The first thing that the standard or the limits refuse, with its Reason Code.
    pub fn accept(connect: &Connect<'_>, limits: &SessionLimits) -> Result<Self, ConnectRefusal> {
        check_client_id(connect)?;
        let will = Will::from_connect(connect).map(Box::new);
        if let Some(will) = &will {
            check_will(will, limits)?;
        }
        let properties = &connect.properties;
        let expiry = SessionExpiry::from_connect(
            connect.version,
            connect.clean_start,
            properties.session_expiry_s,
            limits.session_expiry_s_max,
        );
        Ok(Self {
            version: connect.version,
            client_id: connect.client_id.to_owned(),
            clean_start: connect.clean_start,
            keep_alive: KeepAlive::choose(connect.keep_alive_s, limits),
            expiry,
            expiry_lowered: properties.session_expiry_s.is_some_and(|asked| asked != expiry.seconds()),
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, std::num::NonZeroU16::get),
            maximum_packet_size: properties.maximum_packet_size.map_or(u32::MAX, std::num::NonZeroU32::get),
            topic_alias_maximum: properties.topic_alias_maximum.min(limits.topic_alias_out_maximum),
            problem_information: properties.request_problem_information,
            bridge: connect.bridge,
            will,
            authentication_method: properties.authentication_method.map(str::to_owned),
        })
    }

    /// The window towards this client: its Receive Maximum, lowered by our own bound.
    pub fn window(&self, limits: &SessionLimits) -> u16 {
        self.receive_maximum.min(limits.inflight_out_max).max(1)
    }
}

fn check_client_id(connect: &Connect<'_>) -> Result<(), ConnectRefusal> {
    let bytes = connect.client_id.len();
    let refuse = |cause| Err(ConnectRefusal { reason: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, cause });
    match connect.version {
        ProtocolVersion::V31 if bytes == 0 => refuse("MQTT 3.1 needs a Client Identifier of 1 to 23 bytes"),
        ProtocolVersion::V31 if bytes > CLIENT_ID_BYTES_V31 => {
            refuse("MQTT 3.1 takes at most 23 bytes as Client Identifier; use 3.1.1 or 5.0 for longer ones")
        }
        // MQTT-3.1.3-8 of 3.1.1: an empty identifier needs clean session.
        ProtocolVersion::V311 if bytes == 0 && !connect.clean_start => {
            refuse("an empty Client Identifier needs clean session 1")
        }
        _ if bytes > CLIENT_ID_BYTES_MAX => refuse("the Client Identifier is longer than 1,024 bytes"),
        _ => Ok(()),
    }
}

fn check_will(will: &Will, limits: &SessionLimits) -> Result<(), ConnectRefusal> {
    if will.qos > limits.maximum_qos {
        // MQTT-3.2.2-12
        return Err(ConnectRefusal {
            reason: ReasonCode::QOS_NOT_SUPPORTED,
            cause: "the Will asks for a QoS above the listener's maximum",
        });
    }
    if will.retain && !limits.retain_available {
        // MQTT-3.2.2-13
        return Err(ConnectRefusal {
            reason: ReasonCode::RETAIN_NOT_SUPPORTED,
            cause: "the Will asks to be retained and the listener has no Retained Messages",
        });
    }
    if limits.topic.check(will.topic.as_str()).is_err() {
        return Err(ConnectRefusal {
            reason: ReasonCode::TOPIC_NAME_INVALID,
            cause: "the Will's topic is longer or deeper than the listener's limits",
        });
    }
    Ok(())
}
