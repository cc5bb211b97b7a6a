//! Arbitrary packets as their encoders write them, in any version.

use std::num::{NonZeroU16, NonZeroU32};

use motte_wire::{
    Ack, Auth, ConnAck, Connect, Disconnect, PINGREQ, PINGRESP, PacketId, PayloadFormat, ProtocolVersion,
    PublishHead, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeEntry, SubscribeOptions, TopicRef,
    UnsubAck, Unsubscribe, UserProperties, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::bytes::{V5, V31, V311, packet, read, text};

pub(crate) fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop_oneof![Just(V31), Just(V311), Just(V5)]
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<u16>().prop_map(PacketId::from_index)
}

/// Text without U+0000, with characters of every length in UTF-8.
pub(crate) fn words() -> impl Strategy<Value = String> {
    "[a-z\u{1}-\u{7f}é€\u{feff}\u{ffff}𝄞/+#$]{0,12}"
}

pub(crate) fn topic() -> impl Strategy<Value = String> {
    "[a-z$/é€𝄞]{1,12}"
}

pub(crate) fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 100..400)]
}

fn positive_u16() -> impl Strategy<Value = Option<NonZeroU16>> {
    any::<u16>().prop_map(NonZeroU16::new)
}

fn positive_u32() -> impl Strategy<Value = Option<NonZeroU32>> {
    prop_oneof![any::<u32>(), Just(0)].prop_map(NonZeroU32::new)
}

/// A Subscription Identifier of every length.
pub(crate) fn identifier() -> impl Strategy<Value = NonZeroU32> {
    prop_oneof![1_u32..300, 16_000_u32..17_000, 1_u32..=268_435_455].prop_map(|id| NonZeroU32::new(id).unwrap())
}

/// User Properties as a decoder gives them: the bytes of a PUBLISH that has them.
#[derive(Debug, Clone)]
pub(crate) struct Users(Vec<u8>);

impl Users {
    pub(crate) fn borrow(&self) -> UserProperties<'_> {
        match read(V5, &self.0) {
            Ok(motte_wire::ControlPacket::Publish(publish)) => publish.properties.user(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn users() -> impl Strategy<Value = Users> {
    vec((words(), words()), 0..3).prop_map(|pairs| Users(publish_of(&user_section(&pairs))))
}

fn user_section(pairs: &[(String, String)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| [vec![38], text(name), text(value)].concat()).collect()
}

fn publish_of(properties: &[u8]) -> Vec<u8> {
    let whole = packet(0, &[properties]);
    // Without its first byte a packet is a length and as many bytes: a property section.
    packet(0x30, &[&text("t"), &whole[1..]])
}

/// Properties that a server forwards, and whether they say that the payload is text.
pub(crate) fn forwarded() -> impl Strategy<Value = (Vec<u8>, Option<PayloadFormat>)> {
    (option::of(any::<bool>()), option::of(words()), option::of(topic()), option::of(data()), vec((words(), words()), 0..3))
        .prop_map(|(utf8, content_type, response_topic, correlation, pairs)| {
            let mut bytes = Vec::new();
            if let Some(utf8) = utf8 {
                bytes.extend([1, u8::from(utf8)]);
            }
            for (id, value) in [
                (3, content_type.map(String::into_bytes)),
                (8, response_topic.map(String::into_bytes)),
                (9, correlation),
            ] {
                if let Some(value) = value {
                    bytes.push(id);
                    bytes.extend(text(value));
                }
            }
            bytes.extend(user_section(&pairs));
            let format = utf8.map(|utf8| if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Bytes });
            (bytes, format)
        })
}
