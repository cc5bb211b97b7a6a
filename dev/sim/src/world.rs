//! The world around the shards: connections, the messages between shards, time, and the random walk through it all.

mod asking;
mod connecting;
mod disk;
mod publishing;
mod reading;
mod resting;
mod rotting;
mod rules;
mod silence;
mod wills;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use motte_access::{ClientPrincipal, Methods, Security};
use motte_broker::{
    Broker, CommitResult, ConnId, Exchange, Input, Now, Output, ShardId, ShardMessage, Verdict,
};
use motte_session::SessionLimits;
use motte_store::disk::SimulatedDisk;
use motte_store::{Batch, Journal};
use motte_wire::{DecodeRules, ProtocolVersion, decode, frame};

use crate::client::Client;
use crate::model::{Ledger, Sent, Violation};
use crate::parts::{Asked, WRITE_BUFFER_BYTES, limits};
use crate::random::Random;
use crate::retained::Register;
use crate::scenario::{Scenario, Setup};
use crate::shared::Groups;

use asking::Asking;
use wills::PendingWill;

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
    /// Times the power was cut or the broker killed.
    pub crashes: usize,
    /// Times the disk began to fail.
    pub faults: usize,
    /// Wills that were owed to somebody.
    pub wills: usize,
    /// Sessions that had expired when their client came back.
    pub expired: usize,
    /// Times the Retained Messages were compared.
    pub looks: usize,
    /// Connections that ended because their client was silent.
    pub silences: usize,
    /// Clients whose right to be there was taken away by a reload.
    pub revoked: usize,
    /// Times the memory budget was used up.
    pub pressed: usize,
    /// Bits of the disk that changed.
    pub rotten: usize,
    /// Steps done.
    pub steps: usize,
}

impl Outcome {
    /// Counts another run in.
    pub fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.arrived += other.arrived;
        self.connections += other.connections;
        self.reloads += other.reloads;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.wills += other.wills;
        self.expired += other.expired;
        self.looks += other.looks;
        self.silences += other.silences;
        self.revoked += other.revoked;
        self.pressed += other.pressed;
        self.rotten += other.rotten;
        self.steps += other.steps;
    }
}

/// Bytes that wait for one client at most: what fills its buffer, what follows at once, and acknowledgements.
const OUTPUT_BYTES_MAX: usize = 4 * WRITE_BUFFER_BYTES;

/// Bytes by which the memory budget may be passed: for each client what is on its way to it, and for each shard what it has
/// not told yet.
const SLACK_BYTES: (u64, u64) = (16 * 1024, 80 * 1024);

struct World {
    setup: Setup,
    random: Random,
    now: Now,
    /// When all shards were told the time last.
    ticked_ms: u64,
    shards: Vec<(Broker, Asked)>,
    exchange: Option<Exchange>,
    home_key: [u64; 2],
    disk: SimulatedDisk,
    /// `None` only while the power is off.
    journal: Option<Journal<SimulatedDisk>>,
    /// Batches on their way to the journal, in the order of submission.
    submitted: VecDeque<(ShardId, u64, Batch)>,
    /// Batches whose fate is decided, and of which the shards do not know yet.
    decided: VecDeque<(ShardId, u64, CommitResult)>,
    /// The disk fails, or what it failed with is not settled.
    is_faulty: bool,
    /// The clock on the wall never jumped before a start of the broker.
    is_clock_exact: bool,
    /// It jumped since the last start: what is kept says wrong dates to the next one.
    has_jumped: bool,
    /// The disk is slow: nothing is kept before this time, in monotonic milliseconds.
    slow_until_ms: u64,
    /// The memory budget was used up at the last look.
    is_pressed: bool,
    /// Retained Messages that the last look found.
    found: BTreeMap<String, u64>,
    inboxes: Vec<VecDeque<ShardMessage>>,
    absent: std::collections::BTreeSet<usize>,
    is_told: bool,
    clients: Vec<Client>,
    ledgers: Vec<Ledger>,
    groups: Groups,
    register: Register,
    pending_wills: Vec<PendingWill>,
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
    replay(&Scenario::whole(setup))
}

/// Runs what is left of a simulation.
///
/// # Errors
/// The first broken promise.
pub fn replay(scenario: &Scenario) -> Result<Outcome, Violation> {
    let mut world = World::new(scenario).map_err(|what| Violation { step: 0, what })?;
    for step in scenario.steps.iter().copied() {
        world.random =
            Random::new(scenario.setup.seed ^ (step as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
        world.tell(|world| format!("-- step {step}, {} ms", world.now.mono_ms));
        world.step().map_err(|what| Violation { step, what })?;
    }
    let step = scenario.setup.steps;
    world.random = Random::new(scenario.setup.seed);
    world.rest().map_err(|what| Violation { step, what })?;
    world.rot().map_err(|what| Violation { step, what })?;
    world.outcome.steps = scenario.steps.len();
    Ok(world.outcome)
}

impl World {
    fn new(scenario: &Scenario) -> Result<Self, String> {
        let setup = scenario.setup;
        let mut random = Random::new(setup.seed);
        let home_key = [random.bits(), random.bits()];
        let mut clients: Vec<_> = (0..setup.clients)
            .map(|index| {
                let version = if random.chance(50) { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
                Client::new(index, random.chance(70), version)
            })
            .collect();
        // The last one does nothing but look at Retained Messages.
        clients.push(Client::new(setup.clients, false, ProtocolVersion::V5));
        let mut world = Self {
            setup,
            shards: Vec::new(),
            exchange: None,
            home_key,
            disk: SimulatedDisk::new(),
            journal: None,
            submitted: VecDeque::new(),
            decided: VecDeque::new(),
            is_faulty: false,
            is_clock_exact: true,
            has_jumped: false,
            slow_until_ms: 0,
            is_pressed: false,
            found: BTreeMap::new(),
            random,
            now: Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000 },
            ticked_ms: 0,
            inboxes: (0..setup.shards).map(|_| VecDeque::new()).collect(),
            absent: scenario.absent.clone(),
            is_told: scenario.is_told,
            clients,
            ledgers: vec![Ledger::default(); setup.clients + 1],
            groups: Groups::default(),
            register: Register::default(),
            pending_wills: Vec::new(),
            sent: Vec::new(),
            slots: 0,
            limits: Arc::new(limits(setup.has_small_queues)),
            closed: false,
            generation: 1,
            outcome: Outcome::default(),
            asked: BTreeMap::new(),
        };
        world.power_on()?;
        Ok(world)
    }

    fn step(&mut self) -> Result<(), String> {
        self.pass(self.random.clone().bits() % 50);
        let client = self.random.below(self.setup.clients);
        if self.random.below(1_000) < self.setup.crashes {
            return self.crash();
        }
        if self.random.below(1_000) < self.setup.faults {
            self.fail();
        }
        if self.random.chance(40) {
            self.some_commits()?;
        }
        let action = self.random.below(200);
        if !self.absent.contains(&client) || action >= 168 {
            self.act(client, action)?;
        }
        self.check_bounds()
    }

    fn act(&mut self, client: usize, action: usize) -> Result<(), String> {
        let is_half_open = self.clients.get(client).is_some_and(|client| client.is_half_open);
        match action {
            34..=167 if is_half_open => Ok(()),
            0..=23 => self.connect(client, false),
            24..=30 => self.lose(client),
            31..=33 => self.goes_silent(client),
            34..=39 => self.disconnect(client),
            40..=61 => self.subscribe(client),
            62..=69 => self.unsubscribe(client),
            70..=127 => self.publish(client),
            128..=167 => self.read(client),
            168..=191 => self.deliver_inbox(),
            192 | 193 => self.reload(),
            194 => self.look(),
            195 => self.heal(),
            196 => self.long_pause(),
            197 if self.random.chance(40) => {
                self.clock_jumps();
                Ok(())
            }
            198 if self.random.chance(50) => {
                self.disk_is_slow();
                Ok(())
            }
            _ => self.tick(),
        }
    }

    fn tell(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_told {
            println!("{}", what(self));
        }
    }

    /// Time passes on both clocks.
    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.unix_ms += ms;
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
            let principal = Box::new(anonymous());
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
        let mut rest = bytes;
        if let Some(client) = self.clients.get_mut(index).filter(|_| !bytes.is_empty()) {
            client.said_ms = self.now.mono_ms;
        }
        while let Ok(Some(one)) = frame(rest, u32::MAX) {
            let Some(client) = self.clients.get(index) else { return Ok(()) };
            let (Some((shard, conn)), version) = (client.conn, client.version) else { return Ok(()) };
            let packet =
                decode(one, version, &DecodeRules::from_client()).map_err(|error| error.to_string())?;
            self.tell(|world| format!("{} ms: c{index} > {packet:?}", world.now.mono_ms));
            self.handle(shard, Input::Packet { conn, packet: &packet, bytes: one.len })?;
            rest = rest.get(one.len..).unwrap_or_default();
        }
        Ok(())
    }

    fn memory_used(&self) -> u64 {
        self.exchange.as_ref().map_or(0, |exchange| exchange.memory().used())
    }

    fn shard_of(&mut self) -> ShardId {
        ShardId(u16::try_from(self.random.below(self.shards.len())).unwrap_or(0))
    }

    /// What waits for a client is bounded, however slow it reads, and so is what all of it takes.
    fn check_bounds(&mut self) -> Result<(), String> {
        let (used, max) = (self.memory_used(), self.setup.memory_bytes_max());
        let is_pressed = std::mem::replace(&mut self.is_pressed, used >= max);
        self.outcome.pressed += usize::from(used >= max && !is_pressed);
        let slack = SLACK_BYTES.0 * self.clients.len() as u64 + SLACK_BYTES.1 * u64::from(self.setup.shards);
        if used > max + slack {
            return Err(format!("{used} bytes of memory are used, {max} are the budget"));
        }
        for (_, asked) in &self.shards {
            for (conn, output) in &asked.outputs {
                if output.len() > OUTPUT_BYTES_MAX {
                    return Err(format!("{} bytes wait for connection {}", output.len(), conn.slot));
                }
            }
        }
        Ok(())
    }
}

fn anonymous() -> ClientPrincipal {
    ClientPrincipal {
        identity: Arc::from("anonymous"),
        client_id: Arc::from(""),
        user_name: None,
        token: None,
        ends_s: None,
        directory: None,
        certificate: None,
        credential: 0,
        methods: Methods::ANONYMOUS,
        listener: Arc::from("simulation"),
        security: Security::Local,
        address: None,
    }
}
