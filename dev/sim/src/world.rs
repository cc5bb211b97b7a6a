//! The world around the shards: connections, the messages between shards, time, and the random walk through it all.

mod disk;
mod resting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use motte_access::{ClientPrincipal, Methods, Security};
use motte_broker::{Broker, CloseCause, ConnId, Input, Link, Now, Output, ShardId, ShardMessage, Verdict};
use motte_session::SessionLimits;
use motte_store::disk::SimulatedDisk;
use motte_store::{Batch, Journal};
use motte_wire::{
    Connect, DecodeRules, Disconnect, PacketId, ProtocolVersion, QoS, ReasonCode, Subscribe, SubscribeEntry,
    SubscribeOptions, Unsubscribe, decode, frame,
};

use crate::client::Client;
use crate::model::{Ledger, Sent, Violation};
use crate::parts::{Asked, limits, publish_bytes};
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
    /// In how many of a thousand steps the power is cut.
    pub power_cuts: usize,
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
    /// Times the power was cut.
    pub power_cuts: usize,
}

const TOPICS: [&str; 6] = ["a", "a/b", "a/c", "b/c/d", "secret/x", "b"];
const FILTERS: [&str; 8] = ["a", "a/#", "a/+", "+/c/d", "#", "secret/#", "b/#", "a/b"];

/// A SUBSCRIBE that is not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Asking {
    filter: &'static str,
    qos: u8,
    /// The policy was closed when it was sent.
    is_closed: bool,
}

struct World {
    random: Random,
    now: Now,
    shards: Vec<(Broker, Asked)>,
    home_key: [u64; 2],
    disk: SimulatedDisk,
    /// `None` only while the power is off.
    journal: Option<Journal<SimulatedDisk>>,
    /// Batches on their way to the journal, in the order of submission.
    submitted: VecDeque<(ShardId, u64, Batch)>,
    /// Batches that are kept, and of which the shards do not know yet.
    kept: VecDeque<(ShardId, u64)>,
    power_cuts: usize,
    inboxes: Vec<VecDeque<ShardMessage>>,
    clients: Vec<Client>,
    ledgers: Vec<Ledger>,
    sent: Vec<Sent>,
    slots: u32,
    limits: Arc<SessionLimits>,
    closed: bool,
    generation: u64,
    outcome: Outcome,
    /// What each client asked for and waits to hear of.
    asked: BTreeMap<usize, Asking>,
}

/// Runs a simulation to its end.
///
/// # Errors
/// The first broken promise.
pub fn run(setup: Setup) -> Result<Outcome, Violation> {
    let mut world = World::new(setup).map_err(|what| Violation { step: 0, what })?;
    for step in 0..setup.steps {
        world.step().map_err(|what| Violation { step, what })?;
    }
    world.rest().map_err(|what| Violation { step: setup.steps, what })?;
    Ok(world.outcome)
}

impl World {
    fn new(setup: Setup) -> Result<Self, String> {
        let mut random = Random::new(setup.seed);
        let home_key = [random.bits(), random.bits()];
        let clients = (0..setup.clients)
            .map(|index| {
                let version = if random.chance(50) { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
                Client::new(index, random.chance(70), version)
            })
            .collect();
        let mut world = Self {
            shards: Vec::new(),
            home_key,
            disk: SimulatedDisk::new(),
            journal: None,
            submitted: VecDeque::new(),
            kept: VecDeque::new(),
            power_cuts: setup.power_cuts,
            random,
            now: Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 },
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
        };
        world.power_on(setup.shards)?;
        Ok(world)
    }

    fn step(&mut self) -> Result<(), String> {
        self.now.mono_ms += self.random.bits() % 50;
        let client = self.random.below(self.clients.len());
        if self.random.below(1_000) < self.power_cuts {
            return self.cut_power();
        }
        if self.random.chance(40) {
            self.some_commits()?;
        }
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
        let loads = std::mem::take(&mut asked.loads);
        let submitted = std::mem::take(&mut asked.submitted);
        self.submitted.extend(submitted.into_iter().map(|(tag, batch)| (shard, tag, batch)));
        for request in loads {
            self.load(shard, request)?;
        }
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
                token: None,
                certificate: None,
                methods: Methods::ANONYMOUS,
                listener: Arc::from("simulation"),
                security: Security::Local,
                address: None,
                credential: 0,
            });
            self.handle(
                shard,
                Input::Verdict { conn, verdict: Verdict::Accepted { principal, data: None, advice: None } },
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
        let is_unsure = self.clients.get(index).is_some_and(|client| client.is_unsure);
        let clean = is_unsure || !resume && self.random.chance(15);
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
        client.is_connecting = true;
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
        self.read(index)
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
                let Some(sent) = usize::try_from(number).ok().and_then(|n| self.sent.get_mut(n)) else {
                    continue;
                };
                sent.is_resent = true;
                let sent = sent.clone();
                publish_bytes(version, &sent, qos, Some(packet_id), true, number, &mut bytes);
                if qos == QoS::AtLeastOnce {
                    self.owe(number, &sent);
                } else {
                    // Whoever had a right to it before the server ended still has.
                    for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.let_go.contains(&number)) {
                        if !self.closed || !sent.topic.starts_with("secret/") {
                            ledger.published(number, &sent);
                        }
                    }
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
            // A lower QoS may hold before its SUBACK is read.
            if ledger.subscriptions.get(filter).is_some_and(|old| *old > qos) {
                ledger.unsubscribed(filter, &self.sent);
            }
        }
        self.asked.insert(index, Asking { filter, qos, is_closed: self.closed });
        self.send(index, &bytes)?;
        self.read(index)
    }

    fn unsubscribe(&mut self, index: usize) -> Result<(), String> {
        self.read(index)?;
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if !client.accepted || self.asked.contains_key(&index) {
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
        let sent = Sent { topic, qos: qos as u8, publisher: index, is_resent: false };
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
}
