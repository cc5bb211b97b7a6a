//! Control Packets of MQTT 3.1, 3.1.1 and 5.0 to and from bytes.
//!
//! Decoding borrows: a packet points into the bytes it was read from, and a PUBLISH is decoded without allocating.
//! Versions end here: above this crate there is one model. Never here: Sessions, policy, sockets.

mod cursor;
mod error;
mod frame;
mod packet;
mod property;
mod reason;
mod text;
mod varint;
mod version;

pub use motte_topic::TopicRef;

pub use error::{FrameError, MalformedPacket};
pub use frame::{Frame, frame};
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, ControlPacket, DecodeRules, Direction,
    Disconnect, PINGREQ, PINGRESP, PayloadFormat, Publish, PublishHead, PublishProperties, RetainHandling,
    SubAck, Subscribe, SubscribeEntry, SubscribeOptions, UnsubAck, Unsubscribe, Will, decode,
};
pub use property::{Kind, PROPERTIES, Property, UserProperties, id};
pub use reason::ReasonCode;
pub use text::TextRules;
pub use version::{PacketId, ProtocolVersion, QoS};
