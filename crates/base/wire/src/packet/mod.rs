//! The Control Packets: one file each, or one for those that share a shape.

pub mod acks;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod publish;
pub mod subscribe;

pub use acks::Ack;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use disconnect::{Auth, Disconnect};
pub use publish::{Publish, PublishHead, PublishProperties};
pub use subscribe::{
    RetainHandling, SubAck, Subscribe, SubscribeEntry, SubscribeOptions, UnsubAck, Unsubscribe,
};

use crate::error::MalformedPacket;
use crate::frame::Frame;
use crate::text::TextRules;
use crate::version::ProtocolVersion;

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A client.
    Client,
    /// A server.
    Server,
}

/// What a decoder needs to know beside the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeRules {
    /// Who sent the bytes.
    pub from: Direction,
    /// What may stand in text.
    pub text: TextRules,
}

impl DecodeRules {
    /// For a server, with everything the standard allows in text.
    pub fn from_client() -> Self {
        Self { from: Direction::Client, text: TextRules::default() }
    }

    /// For a client, with everything the standard allows in text.
    pub fn from_server() -> Self {
        Self { from: Direction::Server, text: TextRules::default() }
    }
}

/// What a payload is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Bytes.
    Bytes = 0,
    /// UTF-8 text.
    Utf8 = 1,
}

impl PayloadFormat {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Bytes),
            1 => Some(Self::Utf8),
            _ => None,
        }
    }
}

/// Any Control Packet, borrowed from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlPacket<'a> {
    /// CONNECT.
    Connect(Box<Connect<'a>>),
    /// CONNACK.
    ConnAck(Box<ConnAck<'a>>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(Ack<'a>),
    /// PUBREC.
    PubRec(Ack<'a>),
    /// PUBREL.
    PubRel(Ack<'a>),
    /// PUBCOMP.
    PubComp(Ack<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH.
    Auth(Auth<'a>),
}

/// PINGREQ, the same in every version.
pub const PINGREQ: [u8; 2] = [0xc0, 0];
/// PINGRESP, the same in every version.
pub const PINGRESP: [u8; 2] = [0xd0, 0];

/// Decodes one packet of a connection in `version`; CONNECT brings its own.
///
/// # Errors
/// [`MalformedPacket`] with the place, the statement and the Reason Code.
pub fn decode<'a>(
    frame: Frame<'a>,
    version: ProtocolVersion,
    rules: &DecodeRules,
) -> Result<ControlPacket<'a>, MalformedPacket> {
    let (first, body) = (frame.first, frame.body);
    let flags = first & 0x0f;
    Ok(match first >> 4 {
        1 => ControlPacket::Connect(Box::new(Connect::decode(flags, body, rules)?)),
        2 if flags == 0 => ControlPacket::ConnAck(Box::new(ConnAck::decode(body, version, rules)?)),
        3 => ControlPacket::Publish(Publish::decode(flags, body, version, rules)?),
        4 => ControlPacket::PubAck(Ack::decode("PUBACK", first, body, version, rules)?),
        5 => ControlPacket::PubRec(Ack::decode("PUBREC", first, body, version, rules)?),
        6 => ControlPacket::PubRel(Ack::decode("PUBREL", first, body, version, rules)?),
        7 => ControlPacket::PubComp(Ack::decode("PUBCOMP", first, body, version, rules)?),
        8 => ControlPacket::Subscribe(Subscribe::decode(flags, body, version, rules)?),
        9 if flags == 0 => ControlPacket::SubAck(SubAck::decode(body, version, rules)?),
        10 => ControlPacket::Unsubscribe(Unsubscribe::decode(flags, body, version, rules)?),
        11 if flags == 0 => ControlPacket::UnsubAck(UnsubAck::decode(body, version, rules)?),
        12 if flags == 0 && body.is_empty() => ControlPacket::PingReq,
        13 if flags == 0 && body.is_empty() => ControlPacket::PingResp,
        14 => ControlPacket::Disconnect(Disconnect::decode(flags, body, version, rules)?),
        15 => ControlPacket::Auth(Auth::decode(flags, body, version, rules)?),
        0 => {
            let what = "packet type 0, which is forbidden";
            return Err(MalformedPacket::new("fixed header", "packet type", what, "5.0 section 2.1.2"));
        }
        12 | 13 if flags == 0 => {
            return Err(MalformedPacket::new(
                "PING",
                "payload",
                "bytes where none may be",
                "5.0 section 3.12",
            ));
        }
        _ => {
            return Err(MalformedPacket::new("fixed header", "flags", "reserved bits set", "MQTT-2.1.3-1"));
        }
    })
}
