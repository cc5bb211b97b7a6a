//! Arbitrary packets as their encoders write them, in any version.

use std::num::{NonZeroU16, NonZeroU32};

use motte_wire::{
    Ack, Auth, ConnAck, Connect, Disconnect, PINGREQ, PINGRESP, PacketId, PayloadFormat, ProtocolVersion,
    PublishHead, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeEntry, SubscribeOptions,
    TopicRef, UnsubAck, Unsubscribe, UserProperties, Will,
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
    prop_oneof![1_u32..300, 16_000_u32..17_000, 1_u32..=268_435_455]
        .prop_map(|id| NonZeroU32::new(id).unwrap())
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
    (
        option::of(any::<bool>()),
        option::of(words()),
        option::of(topic()),
        option::of(data()),
        vec((words(), words()), 0..3),
    )
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

/// What a CONNECT borrows from.
#[derive(Debug, Clone)]
pub(crate) struct OwnedConnect {
    version: ProtocolVersion,
    flags: (bool, bool, bool, bool),
    client_id: String,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    will: Option<OwnedWill>,
    numbers: (u16, Option<u32>, Option<NonZeroU16>, Option<NonZeroU32>, u16),
    method: Option<(String, Option<Vec<u8>>)>,
    users: Users,
}

#[derive(Debug, Clone)]
struct OwnedWill {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    delay_s: u32,
    message_expiry_s: Option<u32>,
    forwarded: (Vec<u8>, Option<PayloadFormat>),
}

pub(crate) fn connect() -> impl Strategy<Value = OwnedConnect> {
    let will = (topic(), data(), qos(), any::<bool>(), any::<u32>(), any::<Option<u32>>(), forwarded())
        .prop_map(|(topic, payload, qos, retain, delay_s, message_expiry_s, forwarded)| OwnedWill {
            topic,
            payload,
            qos,
            retain,
            delay_s,
            message_expiry_s,
            forwarded,
        });
    let numbers = (any::<u16>(), any::<Option<u32>>(), positive_u16(), positive_u32(), any::<u16>());
    (
        version(),
        any::<(bool, bool, bool, bool)>(),
        words(),
        option::of(words()),
        option::of(data()),
        option::of(will),
        numbers,
        option::of((words(), option::of(data()))),
        users(),
    )
        .prop_map(|(version, flags, client_id, user_name, password, will, numbers, method, users)| {
            let password = if user_name.is_none() && version != V5 { None } else { password };
            OwnedConnect { version, flags, client_id, user_name, password, will, numbers, method, users }
        })
}

impl OwnedConnect {
    pub(crate) fn borrow(&self) -> Connect<'_> {
        let mut connect = Connect::new(self.version, &self.client_id);
        (connect.clean_start, connect.bridge) = (self.flags.0, self.flags.1);
        connect.keep_alive_s = self.numbers.0;
        connect.user_name = self.user_name.as_deref();
        connect.password = self.password.as_deref();
        connect.will = self.will.as_ref().map(|from| {
            let topic = TopicRef::parse(&from.topic).unwrap();
            let mut will = Will::new(topic, &from.payload, from.qos, from.retain);
            if self.version == V5 {
                (will.delay_s, will.message_expiry_s) = (from.delay_s, from.message_expiry_s);
                will.payload_format = from.forwarded.1;
                will = will.with_forwarded(&from.forwarded.0);
            }
            will
        });
        if self.version == V5 {
            let to = &mut connect.properties;
            (to.request_response_information, to.request_problem_information) = (self.flags.2, self.flags.3);
            let (_, expiry, receive, size, alias) = self.numbers;
            (to.session_expiry_s, to.receive_maximum, to.maximum_packet_size) = (expiry, receive, size);
            to.topic_alias_maximum = alias;
            to.authentication_method = self.method.as_ref().map(|method| method.0.as_str());
            to.authentication_data = self.method.as_ref().and_then(|method| method.1.as_deref());
            to.user = self.users.borrow();
        }
        connect
    }
}

/// What a PUBLISH borrows from.
#[derive(Debug, Clone)]
pub(crate) struct OwnedPublish {
    pub(crate) version: ProtocolVersion,
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) alias: Option<NonZeroU16>,
    pub(crate) message_expiry_s: Option<u32>,
    pub(crate) identifiers: Vec<NonZeroU32>,
    pub(crate) forwarded: (Vec<u8>, Option<PayloadFormat>),
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn publish() -> impl Strategy<Value = OwnedPublish> {
    (
        (version(), any::<bool>(), qos(), any::<bool>(), packet_id()),
        topic(),
        any::<bool>(),
        positive_u16(),
        any::<Option<u32>>(),
        vec(identifier(), 0..4),
        forwarded(),
        data(),
    )
        .prop_map(|(head, topic, alone, alias, message_expiry_s, identifiers, forwarded, payload)| {
            let (version, dup, qos, retain, packet_id) = head;
            let alone = alone && alias.is_some() && version == V5;
            OwnedPublish {
                version,
                dup: dup && qos != QoS::AtMostOnce,
                qos,
                retain,
                topic: if alone { String::new() } else { topic },
                packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
                alias,
                message_expiry_s,
                identifiers,
                forwarded,
                payload,
            }
        })
}

impl OwnedPublish {
    pub(crate) fn head(&self) -> PublishHead<'_> {
        PublishHead {
            version: self.version,
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: self.packet_id,
            alias: self.alias,
            message_expiry_s: self.message_expiry_s,
            subscription_identifiers: &self.identifiers,
            forwarded: &self.forwarded.0,
            payload_len: self.payload.len(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.head().encode(&mut bytes);
        bytes.extend(&self.payload);
        bytes
    }
}

/// What a CONNACK of 5.0 borrows from.
#[derive(Debug, Clone)]
pub(crate) struct OwnedConnAck {
    session_present: bool,
    failure: Option<u8>,
    flags: (bool, bool, bool, bool),
    maximum_qos: Option<QoS>,
    numbers: (Option<u32>, Option<NonZeroU16>, Option<NonZeroU32>, u16, Option<u16>),
    texts: (Option<String>, Option<String>, Option<String>, Option<String>),
    method: Option<(String, Option<Vec<u8>>)>,
    users: Users,
}

pub(crate) fn connack() -> impl Strategy<Value = OwnedConnAck> {
    let maximum_qos = prop_oneof![Just(None), Just(Some(QoS::AtMostOnce)), Just(Some(QoS::AtLeastOnce))];
    let numbers = (any::<Option<u32>>(), positive_u16(), positive_u32(), any::<u16>(), any::<Option<u16>>());
    let texts = (option::of(words()), option::of(words()), option::of(words()), option::of(words()));
    let method = option::of((words(), option::of(data())));
    (
        any::<bool>(),
        option::of(0x80_u8..),
        any::<(bool, bool, bool, bool)>(),
        maximum_qos,
        numbers,
        texts,
        method,
        users(),
    )
        .prop_map(|(session_present, failure, flags, maximum_qos, numbers, texts, method, users)| {
            OwnedConnAck { session_present, failure, flags, maximum_qos, numbers, texts, method, users }
        })
}

impl OwnedConnAck {
    pub(crate) fn borrow(&self) -> ConnAck<'_> {
        let mut ack = match self.failure {
            None => ConnAck::accepted(self.session_present),
            Some(code) => ConnAck::refusal(ReasonCode(code)),
        };
        let to = &mut ack.properties;
        (to.retain_available, to.wildcard_available) = (self.flags.0, self.flags.1);
        (to.subscription_identifiers_available, to.shared_available) = (self.flags.2, self.flags.3);
        to.maximum_qos = self.maximum_qos;
        (
            to.session_expiry_s,
            to.receive_maximum,
            to.maximum_packet_size,
            to.topic_alias_maximum,
            to.server_keep_alive_s,
        ) = self.numbers;
        (to.assigned_client_id, to.reason_string) = (self.texts.0.as_deref(), self.texts.1.as_deref());
        (to.response_information, to.server_reference) = (self.texts.2.as_deref(), self.texts.3.as_deref());
        to.authentication_method = self.method.as_ref().map(|method| method.0.as_str());
        to.authentication_data = self.method.as_ref().and_then(|method| method.1.as_deref());
        to.user = self.users.borrow();
        ack
    }
}

pub(crate) fn publish_reason() -> impl Strategy<Value = ReasonCode> {
    prop::sample::select(vec![0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]).prop_map(ReasonCode)
}

pub(crate) fn options() -> impl Strategy<Value = SubscribeOptions> {
    let handling =
        prop_oneof![Just(RetainHandling::Always), Just(RetainHandling::IfNew), Just(RetainHandling::Never)];
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

/// Any packet that an encoder writes, with its version.
pub(crate) fn any_packet() -> impl Strategy<Value = (ProtocolVersion, Vec<u8>)> {
    let lists = (version(), packet_id(), option::of(identifier()), vec((topic(), options()), 1..4), 0..4)
        .prop_map(|(version, id, identifier, list, kind)| {
            let mut bytes = Vec::new();
            let entries: Vec<_> =
                list.iter().map(|(filter, options)| SubscribeEntry { filter, options: *options }).collect();
            let filters: Vec<_> = list.iter().map(|(filter, _)| filter.as_str()).collect();
            let codes: Vec<_> = list.iter().map(|(_, options)| ReasonCode::granted(options.qos)).collect();
            match kind {
                0 => Subscribe::encode_new(version, id, identifier, &entries, &mut bytes),
                1 => Unsubscribe::encode_new(version, id, &filters, &mut bytes),
                2 => SubAck::new(id, &codes).encode(version, &mut bytes),
                _ => UnsubAck::new(id, &codes).encode(version, &mut bytes),
            }
            (version, bytes)
        });
    let small = (version(), packet_id(), publish_reason(), option::of(words()), users(), 0..5).prop_map(
        |(version, id, reason, words, users, kind)| {
            let mut bytes = Vec::new();
            let ack = Ack { reason_string: words.as_deref(), user: users.borrow(), ..Ack::new(id, reason) };
            match kind {
                0 => ack.encode_puback(version, &mut bytes),
                1 => ack.encode_pubrec(version, &mut bytes),
                2 => Ack { reason: ReasonCode::SUCCESS, ..ack }.encode_pubrel(version, &mut bytes),
                3 => Disconnect {
                    reason_string: words.as_deref(),
                    ..Disconnect::new(ReasonCode::UNSPECIFIED_ERROR)
                }
                .encode(version, &mut bytes),
                _ => {
                    let method = Some(words.as_deref().unwrap_or("SCRAM"));
                    Auth::new(ReasonCode::CONTINUE_AUTHENTICATION, method, Some(b"x")).encode(V5, &mut bytes);
                    return (V5, bytes);
                }
            }
            (version, bytes)
        },
    );
    prop_oneof![
        4 => publish().prop_map(|owned| (owned.version, owned.encode())),
        4 => connect().prop_map(|owned| {
            let mut bytes = Vec::new();
            owned.borrow().encode(&mut bytes);
            (owned.borrow().version, bytes)
        }),
        2 => connack().prop_map(|owned| {
            let mut bytes = Vec::new();
            owned.borrow().encode(V5, &mut bytes);
            (V5, bytes)
        }),
        4 => lists,
        3 => small,
        1 => version().prop_map(|version| (version, PINGREQ.to_vec())),
        1 => version().prop_map(|version| (version, PINGRESP.to_vec())),
    ]
}
