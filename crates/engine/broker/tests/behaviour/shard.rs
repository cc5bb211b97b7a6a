//! A shard under a policy, and clients of version 5 that speak bytes.

use std::collections::HashMap;
use std::sync::Arc;

use motte_access::{ClientPrincipal, CompiledPolicy, Methods, Policy, PolicyGeneration, Principal, Security};
use motte_broker::{
    Broker, CloseCause, CommitResult, ConnId, Effects, Exchange, Handover, Input, Link, LoadRequest, Now,
    Numbers, Output, Question, Reload, RetainedLimits, Settings, ShardId, ShardMessage, Verdict, home,
};
use motte_session::{Durability, SessionLimits};
use motte_store::Batch;
use motte_topic::TopicLimits;
use motte_wire::{ControlPacket, DecodeRules, Direction, ProtocolVersion, QoS, TextRules, decode, frame};

/// What a client was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// CONNACK with its reason.
    Answer(u8),
    /// SUBACK with its reason.
    Subscribed(u8),
    /// PUBACK or PUBREC with its reason.
    Taken(u8),
    /// A message: its topic and payload.
    Message(String, String),
    /// DISCONNECT with its reason.
    Goodbye(u8),
}

/// The effects of a shard.
#[derive(Default)]
struct Effected {
    outputs: HashMap<u32, Output>,
    told: Vec<&'static str>,
    submitted: Vec<(u64, Batch)>,
    loads: Vec<LoadRequest>,
    sent: usize,
}

impl Effects for Effected {
    fn output(&mut self, conn: ConnId) -> Option<&mut Output> {
        Some(self.outputs.entry(conn.slot).or_default())
    }
    fn backlog(&self, _: ConnId) -> usize {
        0
    }
    fn established(&mut self, _: ConnId, _: ProtocolVersion, _: u32) {}
    fn close(&mut self, _: ConnId, _: CloseCause) {}
    fn authenticate(&mut self, _: ConnId, _: Question<'_>) {}
    fn hand_over(&mut self, _: ConnId, _: ShardId, _: Box<Handover>) {}
    fn send(&mut self, _: ShardId, _: ShardMessage) {
        self.sent += 1;
    }
    fn submit(&mut self, tag: u64, batch: Batch, _: bool) -> Result<Batch, Batch> {
        self.submitted.push((tag, batch));
        Ok(Batch::new())
    }
    fn release(&mut self, conn: ConnId, tag: u64) {
        if let Some(output) = self.outputs.get_mut(&conn.slot) {
            output.release(tag);
        }
    }
    fn load(&mut self, request: LoadRequest) {
        self.loads.push(request);
    }
    fn group(&mut self, _: &Principal) -> u32 {
        0
    }
    fn event(&mut self, event: motte_event::Event) {
        self.told.push(event.spec().name);
    }
    fn random(&mut self) -> u128 {
        7
    }
}

/// A connection's number.
pub(crate) type Slot = u32;

/// How a client connects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hello<'a> {
    /// Whether a Session that is there is kept.
    pub(crate) resume: bool,
    /// A Will's topic, and the seconds by which it is delayed.
    pub(crate) will: Option<(&'a str, u32)>,
    /// Whether the Will is retained.
    pub(crate) will_retained: bool,
    /// The Client Identifier, where it is not the identity.
    pub(crate) client_id: Option<&'a str>,
}

/// A shard and its clients.
pub(crate) struct Shard {
    broker: Broker,
    effects: Effected,
    pub(crate) now: Now,
    /// How sure what its clients publish is kept.
    pub(crate) durability: Durability,
    generation: u64,
    slots: u32,
}

const ALL: &str = "version = 1\n[role.all]\nwildcards = \"allow\"\nrules = [{ allow = [\"publish\", \"retain\", \"subscribe\"], topics = [\"#\"] }]\n[authenticated]\nroles = [\"all\"]\nclient_ids = [\"*\"]\n";

impl Shard {
    /// A shard under a policy.
    pub(crate) fn under(policy: &str) -> Self {
        Self::with(policy, None, (ShardId(0), 1), exchange())
    }

    /// A shard that keeps Sessions, where everybody may do everything.
    pub(crate) fn keeping() -> Self {
        Self::with(ALL, Some(Numbers::new()), (ShardId(0), 1), exchange())
    }

    /// Two shards of one process that keep what they do.
    pub(crate) fn two_keeping() -> [Self; 2] {
        let (numbers, exchange) = (Numbers::new(), exchange());
        [0, 1].map(|n| Self::with(ALL, Some(Arc::clone(&numbers)), (ShardId(n), 2), exchange.clone()))
    }

    /// A client whose home is this shard of two.
    pub(crate) fn at_home(&mut self, shard: u16) -> Slot {
        let mut names = (0..).map(|n| format!("client{n}"));
        let name = names.find(|name| home(name, HOME_KEY, 2) == ShardId(shard)).unwrap();
        let slot = self.connect(&name, Hello::default());
        self.keep();
        assert_eq!(self.seen(slot).first(), Some(&Seen::Answer(0)));
        slot
    }

    /// The turn is over: what was handed over to be kept.
    pub(crate) fn turn_over(&mut self) -> Vec<(u64, Batch)> {
        self.input(Input::TurnOver);
        std::mem::take(&mut self.effects.submitted)
    }

    /// How many messages left for other shards since it was asked last.
    pub(crate) fn sent(&mut self) -> usize {
        std::mem::take(&mut self.effects.sent)
    }

    /// What became of a batch.
    pub(crate) fn committed(&mut self, tag: u64, result: CommitResult) {
        self.input(Input::Committed { tag, result });
    }

    /// The turn is over, and all that was handed over is kept.
    pub(crate) fn keep(&mut self) {
        for (tag, _) in self.turn_over() {
            self.committed(tag, CommitResult::Durable);
        }
    }

    fn with(
        policy: &str,
        numbers: Option<Arc<Numbers>>,
        (shard, shards): (ShardId, u16),
        exchange: Exchange,
    ) -> Self {
        let broker = Broker::new(Settings {
            shard,
            shards,
            home_key: HOME_KEY,
            policy: compiled(policy, 1),
            exchange,
            report_no_subscribers: false,
            numbers,
        });
        let now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 };
        let durability = Durability::Disk;
        Self { broker, effects: Effected::default(), now, durability, generation: 1, slots: 0 }
    }

    fn input(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, &mut self.effects);
    }

    /// Another policy comes into force.
    pub(crate) fn reload(&mut self, policy: &str) {
        self.generation += 1;
        let limits = Arc::new(limits());
        self.input(Input::Reload(Reload {
            policy: compiled(policy, self.generation),
            still_valid: Arc::new(|_| Ok(())),
            limits: Arc::new(move |_| Some(Arc::clone(&limits))),
        }));
    }

    /// Time passes, and what is due happens.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now.mono_ms += seconds * 1_000;
        self.now.unix_ms += seconds * 1_000;
        self.input(Input::Tick);
    }

    /// A client connects as an identity.
    pub(crate) fn connect(&mut self, identity: &str, hello: Hello<'_>) -> Slot {
        self.slots += 1;
        let conn = ConnId { slot: self.slots, epoch: 1 };
        let link = Link {
            listener: Arc::from("main"),
            address: None,
            security: Security::Tls,
            limits: Arc::new(SessionLimits { durability: self.durability, ..limits() }),
        };
        self.input(Input::Connected { conn, link });
        let mut flags = if hello.resume { 0 } else { 2 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5];
        if hello.will.is_some() {
            flags |= 4 | if hello.will_retained { 0x20 } else { 0 };
        }
        body.extend([flags, 0, 0, 5, 0x11, 0, 0, 3, 0]);
        let client_id = hello.client_id.unwrap_or(identity);
        body.extend(string(client_id));
        if let Some((topic, delay_s)) = hello.will {
            body.extend([5, 0x18]);
            body.extend(delay_s.to_be_bytes());
            body.extend(string(topic));
            body.extend(string("will"));
        }
        self.send(self.slots, 0x10, &body);
        let principal = Box::new(ClientPrincipal {
            identity: Arc::from(identity),
            client_id: Arc::from(client_id),
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
        });
        self.input(Input::Verdict {
            conn,
            verdict: Verdict::Accepted { principal, data: None, advice: None },
        });
        self.slots
    }

    /// A client that is accepted, and what it is sent at once is dropped.
    pub(crate) fn client(&mut self, identity: &str) -> Slot {
        let slot = self.connect(identity, Hello::default());
        assert_eq!(self.seen(slot).first(), Some(&Seen::Answer(0)));
        slot
    }

    /// The connection is lost.
    pub(crate) fn lose(&mut self, slot: Slot) {
        let conn = ConnId { slot, epoch: 1 };
        self.input(Input::Closed { conn, cause: CloseCause::Lost });
    }

    /// SUBSCRIBE with QoS 1; gives the reason of SUBACK, and leaves what follows to be seen.
    pub(crate) fn subscribe(&mut self, slot: Slot, filter: &str) -> u8 {
        self.seen(slot);
        let mut body = vec![0, 9, 0];
        body.extend(string(filter));
        body.push(1);
        self.send(slot, 0x82, &body);
        match self.peek(slot).iter().find(|seen| matches!(seen, Seen::Subscribed(_))) {
            Some(Seen::Subscribed(reason)) => *reason,
            _ => 0xff,
        }
    }

    /// PUBLISH with QoS 1; gives the reason of PUBACK.
    pub(crate) fn publish(&mut self, slot: Slot, topic: &str, retain: bool) -> u8 {
        self.send_publish(slot, topic, 1, retain, "live")
    }

    /// PUBLISH with QoS 1 or 2; gives the reason of PUBACK or PUBREC.
    pub(crate) fn send_publish(
        &mut self,
        slot: Slot,
        topic: &str,
        qos: u8,
        retain: bool,
        payload: &str,
    ) -> u8 {
        self.seen(slot);
        let mut body = string(topic);
        body.extend([0, 7, 0]);
        body.extend(payload.as_bytes());
        self.send(slot, 0x30 | qos << 1 | u8::from(retain), &body);
        match self.peek(slot).iter().find(|seen| matches!(seen, Seen::Taken(_))) {
            Some(Seen::Taken(reason)) => *reason,
            _ => 0xff,
        }
    }

    /// PUBLISH with QoS 1 and a Message Expiry Interval.
    pub(crate) fn publish_for(&mut self, slot: Slot, topic: &str, seconds: u8) {
        let mut body = string(topic);
        body.extend([0, 7, 5, 2, 0, 0, 0, seconds]);
        self.send(slot, 0x32, &body);
    }

    /// The messages that a client was sent since it was asked last.
    pub(crate) fn messages(&mut self, slot: Slot) -> Vec<String> {
        let topics = self.seen(slot).into_iter().filter_map(|seen| match seen {
            Seen::Message(topic, _) => Some(topic),
            Seen::Answer(_) | Seen::Subscribed(_) | Seen::Taken(_) | Seen::Goodbye(_) => None,
        });
        topics.collect()
    }

    /// Everything that a client was sent since it was asked last.
    pub(crate) fn seen(&mut self, slot: Slot) -> Vec<Seen> {
        let seen = self.peek(slot);
        if let Some(output) = self.effects.outputs.get_mut(&slot) {
            while output.is_writable() {
                let mut slices = [std::io::IoSlice::new(&[]); 64];
                let count = output.slices(&mut slices);
                let bytes = slices.iter().take(count).map(|slice| slice.len()).sum();
                output.advance(bytes);
            }
        }
        seen
    }

    /// The events told since it was asked last.
    pub(crate) fn told(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.effects.told)
    }

    /// Where what was gathered so far goes to the disk.
    pub fn kept_mark(&self) -> u64 {
        self.broker.kept_mark()
    }

    /// Whether everything before a mark is there.
    pub fn is_kept(&self, mark: u64) -> bool {
        self.broker.is_kept(mark)
    }

    /// Decisions that only a permissive role made a permission of.
    pub(crate) fn let_pass(&self) -> u64 {
        self.broker.counters().let_pass
    }

    /// Deliveries that had to wait so far.
    pub(crate) fn queued(&self) -> u64 {
        self.broker.counters().deliveries_queued
    }

    fn peek(&mut self, slot: Slot) -> Vec<Seen> {
        let Some(output) = self.effects.outputs.get(&slot) else { return Vec::new() };
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let count = output.slices(&mut slices);
        let bytes: Vec<u8> = slices.iter().take(count).flat_map(|slice| slice.to_vec()).collect();
        let mut rest = bytes.as_slice();
        let mut seen = Vec::new();
        while let Some(one) = frame(rest, u32::MAX).unwrap() {
            seen.extend(match decode(one, ProtocolVersion::V5, &DecodeRules::from_server()).unwrap() {
                ControlPacket::ConnAck(ack) => Some(Seen::Answer(ack.reason.0)),
                ControlPacket::SubAck(ack) => ack.codes().next().map(|reason| Seen::Subscribed(reason.0)),
                ControlPacket::PubAck(ack) | ControlPacket::PubRec(ack) => Some(Seen::Taken(ack.reason.0)),
                ControlPacket::Disconnect(packet) => Some(Seen::Goodbye(packet.reason.0)),
                ControlPacket::Publish(publish) => {
                    let topic = publish.topic.map(|topic| topic.as_str().to_owned()).unwrap_or_default();
                    Some(Seen::Message(topic, String::from_utf8_lossy(publish.payload).into_owned()))
                }
                _ => None,
            });
            rest = rest.get(one.len..).unwrap_or_default();
        }
        seen
    }

    /// A Control Packet of a client: the first byte and what follows its length.
    pub(crate) fn send(&mut self, slot: Slot, first: u8, body: &[u8]) {
        let mut bytes = vec![first];
        let mut left = body.len();
        loop {
            let digit = u8::try_from(left % 128).unwrap();
            left /= 128;
            bytes.push(if left > 0 { digit | 128 } else { digit });
            if left == 0 {
                break;
            }
        }
        bytes.extend(body);
        let rules = DecodeRules { from: Direction::Client, text: TextRules::default() };
        let one = frame(&bytes, u32::MAX).unwrap().unwrap();
        let packet = decode(one, ProtocolVersion::V5, &rules).unwrap();
        let conn = ConnId { slot, epoch: 1 };
        self.broker.handle(
            self.now,
            Input::Packet { conn, packet: &packet, bytes: bytes.len() },
            &mut self.effects,
        );
    }
}

const HOME_KEY: [u64; 2] = [1, 2];

fn exchange() -> Exchange {
    Exchange::new(RetainedLimits { messages_max: 100, bytes_max: 100_000 }, 1 << 20)
}

fn compiled(policy: &str, generation: u64) -> Arc<CompiledPolicy> {
    let policy = Policy::parse(policy, "policy.toml").unwrap();
    Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(generation)))
}

/// A text with its length.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// Limits that do not matter here.
pub(crate) fn limits() -> SessionLimits {
    SessionLimits {
        packet_bytes_max: 65_536,
        receive_maximum: 10,
        inflight_out_max: 10,
        topic_alias_maximum: 0,
        topic_alias_out_maximum: 0,
        keep_alive_s_min: 0,
        keep_alive_s_max: 0,
        session_expiry_s_max: 3_600,
        queued_messages_max: 10,
        queued_bytes_max: 10_000,
        sessions_per_identity_max: 1_000,
        subscriptions_max: 10,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        shared_available: true,
        subscription_identifiers_available: true,
        payload_format_checked: false,
        write_buffer_bytes_max: 65_536,
        durability: Durability::Disk,
        topic: TopicLimits::STANDARD,
        text: TextRules::default(),
    }
}
