//! A shard without sockets and without a clock, and clients that acknowledge what they get: what the measurements of the
//! hot path and of growth have in common.
#![expect(clippy::expect_used, reason = "a fault here is one of the measurement, and ends it")]

use std::sync::Arc;

use motte_access::{ClientPrincipal, CompiledPolicy, Methods, Policy, PolicyGeneration, Principal, Security};
use motte_broker::{
    Broker, CloseCause, ConnId, Effects, Exchange, Handover, Input, Link, LoadRequest, Now, Output, Question,
    RetainedLimits, Settings, ShardId, ShardMessage, Verdict,
};
use motte_session::SessionLimits;
use motte_store::Batch;
use motte_topic::TopicLimits;
use motte_wire::{
    Ack, Connect, ControlPacket, DecodeRules, Direction, PacketId, ProtocolVersion, PublishHead, QoS,
    ReasonCode, TextRules, decode, frame,
};

/// The time never moves: nothing here depends on it.
const NOW: Now = Now { mono_ms: 1, unix_ms: 1 };

/// Everybody may do everything below `hot/`, by a rule that is asked.
const POLICY: &str = "version = 1\n[role.hot]\nrules = [{ allow = [\"publish\", \"retain\", \"subscribe\"], topics = [\"hot/#\"] }]\n[authenticated]\nroles = [\"hot\"]\n";

/// The broker and its world.
#[derive(Debug)]
pub struct Site {
    broker: Broker,
    world: World,
}

/// What the broker said to each connection, and what is left to answer.
#[derive(Debug, Default)]
struct World {
    outputs: Vec<Output>,
    names: Vec<String>,
    asked: Vec<ConnId>,
    delivered: u64,
}

impl Effects for World {
    fn output(&mut self, conn: ConnId) -> Option<&mut Output> {
        self.outputs.get_mut(conn.slot as usize)
    }
    fn backlog(&self, conn: ConnId) -> usize {
        self.outputs.get(conn.slot as usize).map_or(0, Output::len)
    }
    fn established(&mut self, _: ConnId, _: ProtocolVersion, _: u32) {}
    fn close(&mut self, _: ConnId, _: CloseCause) {}
    fn authenticate(&mut self, conn: ConnId, _: Question<'_>) {
        self.asked.push(conn);
    }
    fn hand_over(&mut self, _: ConnId, _: ShardId, _: Box<Handover>) {}
    fn send(&mut self, _: ShardId, _: ShardMessage) {}
    fn submit(&mut self, _: u64, batch: Batch, _: bool) -> Result<Batch, Batch> {
        Err(batch)
    }
    fn release(&mut self, _: ConnId, _: u64) {}
    fn load(&mut self, _: LoadRequest) {}
    fn group(&mut self, _: &Principal) -> u32 {
        0
    }
    fn event(&mut self, _: motte_event::Event) {}
    fn random(&mut self) -> u128 {
        7
    }
}

impl World {
    /// Takes what was written to everybody; gives what they answer.
    fn answers(&mut self, publisher: ConnId) -> Vec<(ConnId, Vec<u8>)> {
        let mut answers = Vec::new();
        for (slot, output) in (0_u32..).zip(&mut self.outputs) {
            if output.is_empty() {
                continue;
            }
            let mut bytes = Vec::with_capacity(output.len());
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            while !output.is_empty() {
                let count = output.slices(&mut slices);
                let before = bytes.len();
                slices.iter().take(count).for_each(|slice| bytes.extend_from_slice(slice));
                output.advance(bytes.len() - before);
                slices = [std::io::IoSlice::new(&[]); 8];
            }
            let mut answer = Vec::new();
            let mut rest = bytes.as_slice();
            while let Ok(Some(whole)) = frame(rest, u32::MAX) {
                rest = rest.get(whole.len..).unwrap_or_default();
                self.delivered += u64::from(slot != publisher.slot && whole.first >> 4 == 3);
                // Nothing is answered to QoS 0, and reading it would be counted.
                if whole.first & 0xf6 != 0x30 {
                    respond(whole, &mut answer);
                }
            }
            if !answer.is_empty() {
                answers.push((ConnId { slot, epoch: 1 }, answer));
            }
        }
        answers
    }
}

/// What a client of 3.1.1 answers to a packet.
fn respond(whole: motte_wire::Frame<'_>, answer: &mut Vec<u8>) {
    let version = ProtocolVersion::V311;
    match decode(whole, version, &DecodeRules::from_server()) {
        Ok(ControlPacket::Publish(publish)) => match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => Ack::new(id, ReasonCode::SUCCESS).encode_puback(version, answer),
            (QoS::ExactlyOnce, Some(id)) => Ack::new(id, ReasonCode::SUCCESS).encode_pubrec(version, answer),
            _ => {}
        },
        Ok(ControlPacket::PubRec(ack)) => {
            Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubrel(version, answer);
        }
        Ok(ControlPacket::PubRel(ack)) => {
            Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubcomp(version, answer);
        }
        _ => {}
    }
}

impl Site {
    /// A shard without anybody, that keeps so many Retained Messages.
    ///
    /// # Panics
    /// When the policy of this file is wrong.
    pub fn new(retained_max: usize) -> Self {
        let policy = Policy::parse(POLICY, "hot").expect("the policy is ours");
        let broker = Broker::new(Settings {
            shard: ShardId(0),
            shards: 1,
            home_key: [1, 2],
            policy: Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(1))),
            exchange: Exchange::new(
                RetainedLimits { messages_max: retained_max, bytes_max: usize::MAX },
                u64::MAX,
            ),
            report_no_subscribers: true,
            numbers: None,
        });
        Self { broker, world: World::default() }
    }

    /// A client of 3.1.1, accepted.
    pub fn connect(&mut self, client_id: &str) -> ConnId {
        let slot = u32::try_from(self.world.outputs.len()).unwrap_or(u32::MAX);
        let conn = ConnId { slot, epoch: 1 };
        self.world.outputs.push(Output::default());
        self.world.names.push(client_id.to_owned());
        let link = Link {
            listener: Arc::from("main"),
            address: None,
            security: Security::Tls,
            limits: Arc::new(limits()),
        };
        self.input(Input::Connected { conn, link });
        let connect = Connect::new(ProtocolVersion::V311, client_id);
        let packet = ControlPacket::Connect(Box::new(connect));
        self.input(Input::Packet { conn, packet: &packet, bytes: 1 });
        for conn in std::mem::take(&mut self.world.asked) {
            let name = self.world.names.get(conn.slot as usize).cloned().unwrap_or_default();
            let principal = Box::new(identity(&name));
            self.input(Input::Verdict {
                conn,
                verdict: Verdict::Accepted { principal, data: None, advice: None },
            });
        }
        conn
    }

    /// Subscribes.
    ///
    /// # Panics
    /// When the filter is longer than 120 bytes.
    pub fn subscribe(&mut self, conn: ConnId, filter: &str, qos: QoS) {
        let length = u8::try_from(filter.len()).expect("a short filter");
        let body = [&[0, 1, 0, length][..], filter.as_bytes(), &[qos as u8]].concat();
        let bytes = [&[0x82, u8::try_from(body.len()).expect("a short packet")][..], &body].concat();
        self.bytes(conn, &bytes);
    }

    /// Bytes from a client: whole packets.
    ///
    /// # Panics
    /// When a packet is malformed.
    pub fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let rules = DecodeRules { from: Direction::Client, text: TextRules::default() };
        let mut rest = bytes;
        while let Ok(Some(whole)) = frame(rest, 1 << 20) {
            rest = rest.get(whole.len..).unwrap_or_default();
            let packet = decode(whole, ProtocolVersion::V311, &rules).expect("the packet is ours");
            self.input(Input::Packet { conn, packet: &packet, bytes: whole.len });
        }
    }

    /// Gives an input to the broker.
    fn input(&mut self, input: Input<'_>) {
        self.broker.handle(NOW, input, &mut self.world);
    }

    /// Answers of everybody to what they got, until nobody has anything to say.
    pub fn answer_all(&mut self, publisher: ConnId) {
        loop {
            let answers = self.world.answers(publisher);
            if answers.is_empty() {
                return;
            }
            for (conn, bytes) in answers {
                self.bytes(conn, &bytes);
            }
        }
    }

    /// Throws away what was written to a client, without reading it.
    pub fn forget_output(&mut self, conn: ConnId) {
        if let Some(output) = self.world.outputs.get_mut(conn.slot as usize) {
            output.advance(output.len());
        }
    }

    /// Messages that subscribers got.
    pub fn delivered(&self) -> u64 {
        self.world.delivered
    }
}

fn identity(name: &str) -> ClientPrincipal {
    ClientPrincipal {
        identity: Arc::from(name),
        client_id: Arc::from(name),
        user_name: None,
        token: None,
        ends_s: None,
        directory: None,
        certificate: None,
        methods: Methods::PASSWORD,
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
        credential: 0,
    }
}

fn limits() -> SessionLimits {
    SessionLimits {
        packet_bytes_max: 1 << 20,
        receive_maximum: 1_024,
        inflight_out_max: 1_024,
        topic_alias_maximum: 0,
        topic_alias_out_maximum: 0,
        keep_alive_s_min: 0,
        keep_alive_s_max: 0,
        session_expiry_s_max: 0,
        queued_messages_max: 100_000,
        queued_bytes_max: 1 << 30,
        sessions_per_identity_max: 1_000,
        subscriptions_max: 10_000,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        shared_available: true,
        subscription_identifiers_available: true,
        payload_format_checked: false,
        write_buffer_bytes_max: 1 << 20,
        durability: motte_session::Durability::Memory,
        topic: TopicLimits { bytes_max: 1_000, levels_max: 20 },
        text: TextRules::default(),
    }
}

/// Appends a PUBLISH of 3.1.1; `number` gives its Packet Identifier.
pub fn publish(out: &mut Vec<u8>, topic: &str, (qos, retain): (QoS, bool), number: u32, payload: &[u8]) {
    let id = u16::try_from(number % 60_000 + 1).ok().and_then(PacketId::new);
    let head = PublishHead {
        version: ProtocolVersion::V311,
        dup: false,
        qos,
        retain,
        topic,
        packet_id: id.filter(|_| qos != QoS::AtMostOnce),
        alias: None,
        message_expiry_s: None,
        subscription_identifiers: &[],
        forwarded: &[],
        payload_len: payload.len(),
    };
    head.encode(out);
    out.extend_from_slice(payload);
}
