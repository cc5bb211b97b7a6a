//! The world around the shards: connections, the messages between shards, time, and the random walk through it all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use motte_access::{ClientPrincipal, CompiledPolicy, Methods, Policy, PolicyGeneration, Security};
use motte_broker::{
    Broker, CloseCause, ConnId, Effects, Exchange, Handover, Input, Link, Now, Output, Question, Reload,
    RetainedLimits, Settings, ShardId, ShardMessage, Verdict,
};
use motte_session::SessionLimits;
use motte_topic::{TopicLimits, TopicRef};
use motte_wire::{
    Connect, DecodeRules, Disconnect, PacketId, ProtocolVersion, PublishHead, QoS, ReasonCode, Subscribe,
    SubscribeEntry, SubscribeOptions, TextRules, Unsubscribe, decode, frame,
};

use crate::client::{Client, Seen};
use crate::model::{Ledger, Sent, Violation};
use crate::random::Random;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Everything follows from it.
    pub seed: u64,
    /// Clients.
    pub clients: usize,
    /// Shards.
    pub shards: u16,
    /// Steps before everything is brought to rest.
    pub steps: usize,
}

/// What a run did, when nothing was broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages published.
    pub published: usize,
    /// Messages that arrived.
    pub arrived: usize,
    /// Connections made.
    pub connections: usize,
    /// Policies that came into force.
    pub reloads: usize,
}

const TOPICS: [&str; 6] = ["a", "a/b", "a/c", "b/c/d", "secret/x", "b"];
const FILTERS: [&str; 8] = ["a", "a/#", "a/+", "+/c/d", "#", "secret/#", "b/#", "a/b"];

/// Under this policy nobody receives below `secret/`.
const CLOSED: &str = r##"version = 1
[role.all]
wildcards = "allow"
rules = [
    { allow = ["publish", "retain", "subscribe", "share"], topics = ["#"] },
    { deny = ["receive"], topics = ["secret/#"] },
    { allow = ["subscribe"], topics = ["#"], narrow = true },
]
[anonymous]
roles = ["all"]
"##;

/// Under this one everybody may.
const OPEN: &str = r##"version = 1
[role.all]
wildcards = "allow"
rules = [{ allow = ["publish", "retain", "subscribe", "share"], topics = ["#"] }]
[anonymous]
roles = ["all"]
"##;

/// What a shard asked for.
#[derive(Default)]
struct Asked {
    outputs: BTreeMap<ConnId, Output>,
    closed: Vec<ConnId>,
    questions: Vec<ConnId>,
    moves: Vec<(ConnId, ShardId, Box<Handover>)>,
    messages: Vec<(ShardId, ShardMessage)>,
    random: u128,
}

impl Effects for Asked {
    fn output(&mut self, conn: ConnId) -> Option<&mut Output> {
        self.outputs.get_mut(&conn)
    }
    fn backlog(&self, conn: ConnId) -> usize {
        self.outputs.get(&conn).map_or(0, Output::len)
    }
    fn established(&mut self, _conn: ConnId, _version: ProtocolVersion, _packet_bytes_max: u32) {}
    fn close(&mut self, conn: ConnId, _cause: CloseCause) {
        self.closed.push(conn);
    }
    fn authenticate(&mut self, conn: ConnId, _question: Question<'_>) {
        self.questions.push(conn);
    }
    fn hand_over(&mut self, conn: ConnId, to: ShardId, handover: Box<Handover>) {
        self.moves.push((conn, to, handover));
    }
    fn send(&mut self, to: ShardId, message: ShardMessage) {
        self.messages.push((to, message));
    }
    fn event(&mut self, _event: motte_event::Event) {}
    fn random(&mut self) -> u128 {
        self.random += 1;
        self.random
    }
}

struct World {
    random: Random,
    now: Now,
    shards: Vec<(Broker, Asked)>,
    inboxes: Vec<VecDeque<ShardMessage>>,
    clients: Vec<Client>,
    ledgers: Vec<Ledger>,
    sent: Vec<Sent>,
    slots: u32,
    limits: Arc<SessionLimits>,
    closed: bool,
    generation: u64,
    outcome: Outcome,
    /// What each client asked for and waits to hear of: filter and QoS.
    asked: BTreeMap<usize, (&'static str, u8)>,
}

/// Runs a simulation to its end.
///
/// # Errors
/// The first broken promise.
pub fn run(setup: Setup) -> Result<Outcome, Violation> {
    let mut world = World::new(setup);
    for step in 0..setup.steps {
        world.step().map_err(|what| Violation { step, what })?;
    }
    world.rest().map_err(|what| Violation { step: setup.steps, what })?;
    Ok(world.outcome)
}

fn limits() -> SessionLimits {
    SessionLimits {
        packet_bytes_max: 1 << 20,
        receive_maximum: 16,
        inflight_out_max: 4,
        topic_alias_maximum: 0,
        topic_alias_out_maximum: 0,
        keep_alive_s_min: 0,
        keep_alive_s_max: 0,
        session_expiry_s_max: u32::MAX,
        queued_messages_max: 1_000_000,
        queued_bytes_max: 1 << 40,
        subscriptions_max: 100,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        shared_available: true,
        subscription_identifiers_available: true,
        payload_format_checked: false,
        write_buffer_bytes_max: 4_096,
        topic: TopicLimits { bytes_max: 1_000, levels_max: 20 },
        text: TextRules::default(),
    }
}

fn policy(text: &str, generation: u64) -> Arc<CompiledPolicy> {
    let policy = Policy::parse(text, "simulation").unwrap_or_default();
    Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(generation)))
}

impl World {
    fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let retained = RetainedLimits { messages_max: 1_000, bytes_max: 1 << 30 };
        let exchange = Exchange::new(retained, 1 << 40);
        let home_key = [random.bits(), random.bits()];
        let shards = (0..setup.shards).map(|shard| {
            let settings = Settings {
                shard: ShardId(shard),
                shards: setup.shards,
                home_key,
                policy: policy(OPEN, 1),
                exchange: exchange.clone(),
                report_no_subscribers: true,
            };
            (Broker::new(settings), Asked::default())
        });
        let shards = shards.collect();
        let clients = (0..setup.clients)
            .map(|index| {
                let version = if random.chance(50) { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
                Client::new(index, random.chance(70), version)
            })
            .collect();
        Self {
            random,
            now: Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 },
            shards,
            inboxes: (0..setup.shards).map(|_| VecDeque::new()).collect(),
            clients,
            ledgers: vec![Ledger::default(); setup.clients],
            sent: Vec::new(),
            slots: 0,
            limits: Arc::new(limits()),
            closed: false,
            generation: 1,
            outcome: Outcome::default(),
            asked: BTreeMap::new(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now.mono_ms += self.random.bits() % 50;
        let client = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..=11 => self.connect(client, false)?,
            12..=15 => self.lose(client),
            16..=18 => self.disconnect(client)?,
            19..=30 => self.subscribe(client)?,
            31..=34 => self.unsubscribe(client)?,
            35..=64 => self.publish(client)?,
            65..=84 => self.read(client)?,
            85..=97 => self.deliver_inbox()?,
            98 => self.reload(),
            _ => self.tick(),
        }
        Ok(())
    }

    /// Hands an input to a shard and takes what it asks for.
    fn handle(&mut self, shard: ShardId, input: Input<'_>) -> Result<(), String> {
        let Some((broker, asked)) = self.shards.get_mut(usize::from(shard.0)) else { return Ok(()) };
        broker.handle(self.now, input, asked);
        let messages = std::mem::take(&mut asked.messages);
        let questions = std::mem::take(&mut asked.questions);
        let moves = std::mem::take(&mut asked.moves);
        for (to, message) in messages {
            if let Some(inbox) = self.inboxes.get_mut(usize::from(to.0)) {
                inbox.push_back(message);
            }
        }
        for conn in questions {
            let principal = Box::new(ClientPrincipal {
                identity: Arc::from("anonymous"),
                client_id: Arc::from(""),
                user_name: None,
                certificate: None,
                methods: Methods::ANONYMOUS,
                listener: Arc::from("simulation"),
                security: Security::Local,
                address: None,
            });
            self.handle(
                shard,
                Input::Verdict { conn, verdict: Verdict::Accepted { principal, data: None } },
            )?;
        }
        for (conn, to, handover) in moves {
            let target = self.new_conn(to);
            let output =
                self.shards.get_mut(usize::from(shard.0)).and_then(|(_, asked)| asked.outputs.remove(&conn));
            if output.is_some_and(|output| !output.is_empty()) {
                return Err("bytes were written to a connection that moves".into());
            }
            for client in &mut self.clients {
                if client.conn == Some((shard, conn)) {
                    client.conn = Some((to, target));
                }
            }
            self.handle(to, Input::Adopt { conn: target, handover })?;
        }
        Ok(())
    }

    fn new_conn(&mut self, shard: ShardId) -> ConnId {
        self.slots += 1;
        let conn = ConnId { slot: self.slots, epoch: 1 };
        if let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) {
            asked.outputs.insert(conn, Output::default());
        }
        conn
    }

    fn send(&mut self, index: usize, bytes: &[u8]) -> Result<(), String> {
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        let (Some((shard, conn)), version) = (client.conn, client.version) else { return Ok(()) };
        let mut rest = bytes;
        while let Ok(Some(one)) = frame(rest, u32::MAX) {
            let packet =
                decode(one, version, &DecodeRules::from_client()).map_err(|error| error.to_string())?;
            self.handle(shard, Input::Packet { conn, packet, bytes: one.len })?;
            rest = rest.get(one.len..).unwrap_or_default();
        }
        Ok(())
    }

    fn connect(&mut self, index: usize, resume: bool) -> Result<(), String> {
        let clean = !resume && self.random.chance(15);
        let shard = ShardId(u16::try_from(self.random.below(self.shards.len())).unwrap_or(0));
        // The old connection dies with what was not read.
        self.forget_output(index);
        let conn = self.new_conn(shard);
        let limits = Arc::clone(&self.limits);
        let link =
            Link { listener: Arc::from("simulation"), address: None, security: Security::Local, limits };
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        client.conn = Some((shard, conn));
        client.accepted = false;
        let id = client.id.clone();
        let mut connect = Connect::new(client.version, &id);
        let keeps = client.persistent && !clean;
        connect.clean_start = !keeps;
        if keeps {
            connect.properties.session_expiry_s = Some(u32::MAX);
        }
        connect.keep_alive_s = 0;
        let mut bytes = Vec::new();
        connect.encode(&mut bytes);
        self.asked.remove(&index);
        self.handle(shard, Input::Connected { conn, link })?;
        if let (Some(ledger), Some(client)) = (self.ledgers.get_mut(index), self.clients.get_mut(index)) {
            if !keeps || !client.outlives {
                // The Session before this one ends; what the client kept of it goes too.
                ledger.end();
                client.open.clear();
                client.unacknowledged.clear();
            }
            client.outlives = keeps;
        }
        self.outcome.connections += 1;
        self.send(index, &bytes)?;
        self.read(index)?;
        self.republish(index)
    }

    /// Sends unacknowledged publications again (MQTT-4.4.0-1).
    fn republish(&mut self, index: usize) -> Result<(), String> {
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        if !client.accepted {
            return Ok(());
        }
        for (id, number, qos, released) in client.unacknowledged.clone() {
            let version = self.clients.get(index).map_or(ProtocolVersion::V5, |client| client.version);
            let mut bytes = Vec::new();
            let Some(packet_id) = PacketId::new(id) else { continue };
            if released {
                motte_wire::Ack::new(packet_id, ReasonCode::SUCCESS).encode_pubrel(version, &mut bytes);
            } else {
                let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get(n)).cloned() else {
                    continue;
                };
                publish_bytes(version, &sent, qos, Some(packet_id), true, number, &mut bytes);
                if qos == QoS::AtLeastOnce {
                    self.owe(number, &sent);
                }
            }
            self.send(index, &bytes)?;
        }
        Ok(())
    }

    fn forget_output(&mut self, index: usize) {
        let conn = self.clients.get(index).and_then(|client| client.conn);
        if let Some((shard, conn)) = conn
            && let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0))
        {
            asked.outputs.remove(&conn);
        }
    }

    /// The network loses a connection: what the client has not read is gone.
    fn lose(&mut self, index: usize) {
        let conn = self.clients.get(index).and_then(|client| client.conn);
        let Some((shard, conn)) = conn else { return };
        self.forget_output(index);
        // Losing a connection asks nothing back.
        let _ = self.handle(shard, Input::Closed { conn, cause: CloseCause::Lost });
        self.ended(index);
    }

    fn disconnect(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let Some(client) = self.clients.get(index) else { return Ok(()) };
        if !client.accepted {
            return Ok(());
        }
        let mut bytes = Vec::new();
        Disconnect::new(ReasonCode::NORMAL_DISCONNECTION).encode(client.version, &mut bytes);
        self.send(index, &bytes)?;
        self.ended(index);
        Ok(())
    }

    /// The connection is gone; a Session that does not outlive it went with it.
    fn ended(&mut self, index: usize) {
        let (Some(client), Some(ledger)) = (self.clients.get_mut(index), self.ledgers.get_mut(index)) else {
            return;
        };
        client.conn = None;
        client.accepted = false;
        self.asked.remove(&index);
        if !client.outlives {
            ledger.end();
            client.open.clear();
            client.unacknowledged.clear();
        }
    }

    fn subscribe(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let filter = FILTERS.get(self.random.below(FILTERS.len())).copied().unwrap_or("a");
        let qos = u8::try_from(self.random.below(3)).unwrap_or(0);
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted || self.asked.contains_key(&index) {
            return Ok(());
        }
        let (version, id) = (client.version, client.id());
        let Some(id) = PacketId::new(id) else { return Ok(()) };
        let mut options = SubscribeOptions::qos(QoS::from_bits(qos).unwrap_or(QoS::AtMostOnce));
        // Retained Messages would arrive a second time; they have tests of their own.
        options.retain_handling = motte_wire::RetainHandling::Never;
        let mut bytes = Vec::new();
        Subscribe::encode_new(version, id, None, &[SubscribeEntry { filter, options }], &mut bytes);
        if let Some(ledger) = self.ledgers.get_mut(index) {
            ledger.ever.insert(filter);
        }
        self.asked.insert(index, (filter, qos));
        self.send(index, &bytes)?;
        self.read(index)
    }

    fn unsubscribe(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted {
            return Ok(());
        }
        let (version, id) = (client.version, client.id());
        let (Some(id), Some(ledger)) = (PacketId::new(id), self.ledgers.get_mut(index)) else {
            return Ok(());
        };
        let Some(filter) = ledger.subscriptions.keys().next().copied() else { return Ok(()) };
        ledger.unsubscribed(filter, &self.sent);
        let mut bytes = Vec::new();
        Unsubscribe::encode_new(version, id, &[filter], &mut bytes);
        self.send(index, &bytes)
    }

    fn publish(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let topic = TOPICS.get(self.random.below(TOPICS.len())).copied().unwrap_or("a");
        let qos = QoS::from_bits(u8::try_from(self.random.below(3)).unwrap_or(0)).unwrap_or(QoS::AtMostOnce);
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        // A client keeps to the Receive Maximum of 16.
        if !client.accepted || client.unacknowledged.len() >= 8 {
            return Ok(());
        }
        let number = self.sent.len() as u64;
        let packet_id = if qos == QoS::AtMostOnce { None } else { PacketId::new(client.id()) };
        if let Some(id) = packet_id {
            client.unacknowledged.push((id.value(), number, qos, false));
        }
        let sent = Sent { topic, qos: qos as u8, publisher: index };
        let mut bytes = Vec::new();
        publish_bytes(client.version, &sent, qos, packet_id, false, number, &mut bytes);
        self.sent.push(sent.clone());
        self.outcome.published += 1;
        self.owe(number, &sent);
        self.send(index, &bytes)
    }

    fn owe(&mut self, number: u64, sent: &Sent) {
        if self.closed && sent.topic.starts_with("secret/") {
            return;
        }
        for ledger in &mut self.ledgers {
            ledger.published(number, sent);
        }
    }

    /// A client reads everything that was written to it, and answers.
    fn read(&mut self, index: usize) -> Result<(), String> {
        for _ in 0..1_000 {
            let Some((shard, conn)) = self.clients.get(index).and_then(|client| client.conn) else {
                return Ok(());
            };
            let Some((_, asked)) = self.shards.get_mut(usize::from(shard.0)) else { return Ok(()) };
            let Some(output) = asked.outputs.get_mut(&conn) else { return Ok(()) };
            let mut bytes = Vec::new();
            while !output.is_empty() {
                let mut slices = [std::io::IoSlice::new(&[]); 8];
                let count = output.slices(&mut slices);
                let before = bytes.len();
                slices.iter().take(count).for_each(|slice| bytes.extend_from_slice(slice));
                let n = bytes.len() - before;
                output.advance(n);
            }
            let closed = asked.closed.contains(&conn);
            if bytes.is_empty() && !closed {
                return Ok(());
            }
            let mut answer = Vec::new();
            let seen = match self.clients.get_mut(index) {
                Some(client) => client.read(&bytes, &mut answer)?,
                None => return Ok(()),
            };
            for one in seen {
                self.saw(index, one)?;
            }
            if closed {
                self.forget_output(index);
                self.ended(index);
                return Ok(());
            }
            self.send(index, &answer)?;
            self.handle(shard, Input::Drained { conn })?;
        }
        Err("a client and the broker talk without end".into())
    }

    fn saw(&mut self, index: usize, seen: Seen) -> Result<(), String> {
        let (Some(ledger), Some(client)) = (self.ledgers.get_mut(index), self.clients.get_mut(index)) else {
            return Ok(());
        };
        match seen {
            Seen::Accepted { present } => {
                if !present {
                    if !ledger.subscriptions.is_empty() || !ledger.missing().is_empty() {
                        return Err(format!("{} came back and its Session was gone", client.id));
                    }
                    client.open.clear();
                    client.unacknowledged.clear();
                    ledger.end();
                }
            }
            Seen::Refused(reason) => return Err(format!("{} was refused: {}", client.id, reason.name())),
            Seen::Message { topic, number, qos, dup } => {
                let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get(n)) else {
                    return Err(format!("message {number} was never sent"));
                };
                if sent.topic != topic {
                    return Err(format!("message {number} arrived on {topic} instead of {}", sent.topic));
                }
                self.outcome.arrived += 1;
                ledger.arrived(number, qos, dup, sent).map_err(|what| format!("{}: {what}", client.id))?;
            }
            Seen::Subscribed(codes) => {
                let Some((filter, qos)) = self.asked.remove(&index) else {
                    return Err("a SUBACK too many".into());
                };
                match codes.first() {
                    Some(code) if code.0 == qos => {
                        // What is between shards when a QoS is lowered arrives with the lower one.
                        if ledger.subscriptions.get(filter).is_some_and(|old| *old > qos) {
                            ledger.unsubscribed(filter, &self.sent);
                        }
                        ledger.subscriptions.insert(filter, qos);
                    }
                    other => return Err(format!("{filter} with QoS {qos} was answered with {other:?}")),
                }
            }
            Seen::Goodbye(reason) if reason == ReasonCode::SESSION_TAKEN_OVER => {}
            Seen::Goodbye(reason) => return Err(format!("{} was sent away: {}", client.id, reason.name())),
        }
        Ok(())
    }

    fn deliver_inbox(&mut self) -> Result<(), String> {
        let shard = self.random.below(self.inboxes.len());
        let Some(message) = self.inboxes.get_mut(shard).and_then(VecDeque::pop_front) else { return Ok(()) };
        self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), Input::Shard(message))
    }

    /// Another policy: while it is closed nothing below `secret/` may be written to anybody.
    fn reload(&mut self) {
        // What was written before is read before, so that anything read later was written later.
        for index in 0..self.clients.len() {
            let _ = self.read(index);
        }
        self.closed = !self.closed;
        self.generation += 1;
        self.outcome.reloads += 1;
        let policy = policy(if self.closed { CLOSED } else { OPEN }, self.generation);
        let limits = Arc::clone(&self.limits);
        let reload = |policy: &Arc<CompiledPolicy>, limits: &Arc<SessionLimits>| {
            let limits = Arc::clone(limits);
            Input::Reload(Reload {
                policy: Arc::clone(policy),
                still_valid: Arc::new(|_| Ok(())),
                limits: Arc::new(move |_| Some(Arc::clone(&limits))),
            })
        };
        for shard in 0..self.shards.len() {
            let _ = self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), reload(&policy, &limits));
        }
        if self.closed {
            for ledger in &mut self.ledgers {
                let sent = &self.sent;
                ledger.owed.retain(|number, _| {
                    let topic =
                        usize::try_from(*number).ok().and_then(|n| sent.get(n)).map_or("", |sent| sent.topic);
                    !topic.starts_with("secret/")
                });
            }
        }
    }

    fn tick(&mut self) {
        for shard in 0..self.shards.len() {
            let _ = self.handle(ShardId(u16::try_from(shard).unwrap_or(0)), Input::Tick);
        }
    }

    /// Everything comes to rest: all inboxes are emptied, everybody reads, whoever has a Session comes back for it.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            while self.inboxes.iter().any(|inbox| !inbox.is_empty()) {
                self.deliver_inbox()?;
            }
            for index in 0..self.clients.len() {
                let gone =
                    self.clients.get(index).is_some_and(|client| client.conn.is_none() && client.persistent);
                if gone {
                    self.connect(index, true)?;
                }
                self.read(index)?;
            }
        }
        for (client, ledger) in self.clients.iter().zip(&self.ledgers) {
            let missing = ledger.missing();
            if let Some(first) = missing.first() {
                let sent = usize::try_from(*first).ok().and_then(|n| self.sent.get(n));
                return Err(format!(
                    "{} never got {} messages, the first {first}: {sent:?}",
                    client.id,
                    missing.len()
                ));
            }
        }
        Ok(())
    }
}

fn publish_bytes(
    version: ProtocolVersion,
    sent: &Sent,
    qos: QoS,
    packet_id: Option<PacketId>,
    dup: bool,
    number: u64,
    out: &mut Vec<u8>,
) {
    debug_assert!(TopicRef::parse(sent.topic).is_ok());
    let payload = number.to_string();
    let head = PublishHead {
        version,
        dup,
        qos,
        retain: false,
        topic: sent.topic,
        packet_id,
        alias: None,
        message_expiry_s: None,
        subscription_identifiers: &[],
        forwarded: &[],
        payload_len: payload.len(),
    };
    head.encode(out);
    out.extend_from_slice(payload.as_bytes());
}
