//! The world of a worker, as its broker shard sees it through [`Effects`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use motte_access::{Methods, Principal};
use motte_broker::{
    CloseCause, ConnId, Effects, Handover, LoadRequest, Now, Output, Question, ShardId, ShardMessage, Verdict,
};
use motte_event::Event;
use motte_store::Batch;
use motte_wire::{ProtocolVersion, ReasonCode};

use crate::asking::{Asked, Asking, ask};
use crate::buffers::Buffers;
use crate::connection::{NEVER, Phase, Table};
use crate::handshakes::Handshakes;
use crate::holding::PutOff;
use crate::inbox::{Inbox, Letter};
use crate::log::Log;
use crate::logins::Logins;
use crate::metrics::Tally;
use crate::questions::{Asker, Questions};
use crate::store::Store;

/// How long those rest who publish to somebody who is behind but fast, in milliseconds.
const REST_MS: u64 = 1;
/// Time for a closing connection to take its last bytes, in milliseconds.
const CLOSING_MS: u64 = 5_000;

/// Everything of a worker that the broker may reach.
pub(crate) struct World {
    pub(crate) shard: ShardId,
    pub(crate) now: Now,
    /// Grows with every reload.
    pub(crate) rules_number: u64,
    pub(crate) connections: Table,
    pub(crate) buffers: Buffers,
    /// Inboxes of all workers, by shard.
    pub(crate) peers: Arc<[Inbox]>,
    /// Letters of this turn, by shard.
    pub(crate) outbox: Vec<Vec<Letter>>,
    /// Slots to flush at the end of the turn.
    pub(crate) touched: Vec<u32>,
    /// Slots to read from.
    pub(crate) queued: Vec<u32>,
    /// Connections to move at the end of the turn.
    pub(crate) moves: Vec<ConnId>,
    /// Verdicts that were known at once; they must not be delivered within the broker's own call.
    pub(crate) verdicts: VecDeque<(ConnId, Verdict)>,
    pub(crate) deadlines: BinaryHeap<Reverse<(u64, ConnId)>>,
    pub(crate) questions: Questions,
    pub(crate) handshakes: Handshakes,
    pub(crate) logins: Logins,
    /// Refusals that are told later.
    pub(crate) put_off: BinaryHeap<PutOff>,
    pub(crate) log: Log,
    pub(crate) tally: Tally,
    /// What was just handled went to somebody who is behind but fast.
    pub(crate) held_back: bool,
    /// Slots that rest, and until when.
    resting: Vec<u32>,
    resting_until_ms: u64,
    /// Bytes that wait to be written, as counted at the last flushes.
    pub(crate) backlog: usize,
    /// What keeps, if anything does.
    pub(crate) store: Option<Arc<Store>>,
    /// Batches that the disk refused, as far as this worker has heard.
    pub(crate) refusals_heard: u64,
    /// Deliveries that are wanted from there.
    pub(crate) loads: Vec<LoadRequest>,
    /// Which group of keys a device got, to be kept with the first thing that it seals.
    facts: Batch,
}

impl World {
    /// A world without connections.
    pub(crate) fn new(
        shard: ShardId,
        now: Now,
        peers: Arc<[Inbox]>,
        questions: Questions,
        handshakes: Handshakes,
        logins: Logins,
        log: Log,
    ) -> Self {
        Self {
            shard,
            now,
            rules_number: 0,
            connections: Table::default(),
            buffers: Buffers::default(),
            outbox: peers.iter().map(|_| Vec::new()).collect(),
            peers,
            touched: Vec::new(),
            queued: Vec::new(),
            moves: Vec::new(),
            verdicts: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            questions,
            handshakes,
            logins,
            put_off: BinaryHeap::new(),
            log,
            tally: Tally::default(),
            held_back: false,
            resting: Vec::new(),
            resting_until_ms: 0,
            backlog: 0,
            store: None,
            refusals_heard: 0,
            loads: Vec::new(),
            facts: Batch::new(),
        }
    }

    /// Marks a connection to be flushed.
    pub(crate) fn touch(&mut self, slot: u32) {
        if let Some(connection) = self.connections.at(slot)
            && !connection.touched
        {
            connection.touched = true;
            self.touched.push(slot);
        }
    }

    /// Marks a connection to be read.
    pub(crate) fn queue(&mut self, slot: u32) {
        if let Some(connection) = self.connections.at(slot)
            && !connection.queued
        {
            connection.queued = true;
            self.queued.push(slot);
        }
    }

    /// Reads nothing more from a connection for a moment.
    pub(crate) fn rest(&mut self, slot: u32) {
        if self.resting.is_empty() {
            self.resting_until_ms = self.now.mono_ms.saturating_add(REST_MS);
        }
        self.resting.push(slot);
    }

    /// When the moment is over.
    pub(crate) fn resting_until_ms(&self) -> Option<u64> {
        (!self.resting.is_empty()).then_some(self.resting_until_ms)
    }

    /// Ends the moment early: somebody has caught up.
    pub(crate) fn caught_up(&mut self) {
        self.resting_until_ms = 0;
        if let Some(own) = self.peers.get(usize::from(self.shard.0)) {
            own.hold_back_until(0);
        }
    }

    /// Goes on with those that rested long enough.
    pub(crate) fn wake_resting(&mut self) {
        if self.resting_until_ms <= self.now.mono_ms {
            for slot in std::mem::take(&mut self.resting) {
                self.queue(slot);
            }
        }
    }

    /// Sets a connection's deadline in place of the one it had.
    pub(crate) fn set_deadline(&mut self, id: ConnId, at_ms: u64) {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.deadline_ms != at_ms
        {
            connection.deadline_ms = at_ms;
            if at_ms != NEVER {
                self.deadlines.push(Reverse((at_ms, id)));
            }
        }
    }

    /// The next connection whose deadline has come.
    pub(crate) fn due(&mut self) -> Option<ConnId> {
        while let Some(Reverse((at_ms, id))) = self.deadlines.peek().copied() {
            if at_ms > self.now.mono_ms {
                return None;
            }
            self.deadlines.pop();
            if let Some(connection) = self.connections.get_mut(id)
                && connection.deadline_ms == at_ms
            {
                connection.deadline_ms = NEVER;
                return Some(id);
            }
        }
        None
    }

    /// A verdict, with bans and the bound per identity applied to it.
    pub(crate) fn admitted(&mut self, id: ConnId, verdict: Verdict) -> Verdict {
        let verdict = self.not_banned(id, verdict);
        let Some(connection) = self.connections.get_mut(id) else { return verdict };
        connection.waiting = false;
        let slot = id.slot;
        let Verdict::Accepted { principal, data, advice } = verdict else { return verdict };
        let counted = if principal.methods.has(Methods::ANONYMOUS) {
            Ok(())
        } else {
            connection.seat.count_identity(&principal.identity)
        };
        if counted.is_ok() {
            connection.entered();
        }
        self.queue(slot);
        match counted {
            Ok(()) => Verdict::Accepted { principal, data, advice },
            Err(full) => Verdict::Refused {
                reason: ReasonCode::QUOTA_EXCEEDED,
                cause: format!("the identity has as many connections as {} permits", full.key()),
            },
        }
    }

    /// Hands the letters of this turn over, a batch and a wake-up for each worker.
    pub(crate) fn post(&mut self) {
        for (batch, inbox) in self.outbox.iter_mut().zip(self.peers.iter()) {
            inbox.put_all(batch);
        }
    }

    /// Whether a worker that this one sends to is far behind.
    pub(crate) fn is_congested(&self) -> bool {
        let own = usize::from(self.shard.0);
        self.peers.iter().enumerate().any(|(shard, inbox)| shard != own && inbox.is_congested())
    }

    fn letter(&mut self, to: ShardId, letter: Letter) {
        if let Some(batch) = self.outbox.get_mut(usize::from(to.0)) {
            batch.push(letter);
        }
    }
}

impl Effects for World {
    fn output(&mut self, conn: ConnId) -> Option<&mut Output> {
        let connection = self.connections.get_mut(conn)?;
        if matches!(connection.phase, Phase::Closing | Phase::Lingering) {
            return None;
        }
        if !connection.touched {
            connection.touched = true;
            self.touched.push(conn.slot);
        }
        if !self.held_back && connection.keeps_up(self.now.mono_ms) {
            self.held_back = true;
            if let Some(own) = self.peers.get(usize::from(self.shard.0)) {
                own.hold_back_until(self.now.mono_ms.saturating_add(REST_MS));
            }
        }
        let buffers = &mut self.buffers;
        Some(connection.output.get_or_insert_with(|| buffers.take()))
    }

    fn backlog(&self, conn: ConnId) -> usize {
        self.connections.get(conn).map_or(0, crate::connection::Connection::backlog)
    }

    fn established(&mut self, conn: ConnId, version: ProtocolVersion, packet_bytes_max: u32) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.phase = Phase::Open;
        connection.version = version;
        connection.packet_bytes_max = packet_bytes_max;
        connection.deadline_ms = NEVER;
        connection.stream.trust();
    }

    fn close(&mut self, conn: ConnId, _cause: CloseCause) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if matches!(connection.phase, Phase::Closing | Phase::Lingering) {
            return;
        }
        connection.phase = Phase::Closing;
        connection.unread = Vec::new();
        let at_ms = self.now.mono_ms.saturating_add(CLOSING_MS);
        self.set_deadline(conn, at_ms);
        self.touch(conn.slot);
    }

    fn authenticate(&mut self, conn: ConnId, question: Question<'_>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.waiting = true;
        let asked = Arc::new(self.rules_number);
        let wanted = Arc::downgrade(&asked);
        connection.entering().asked = Some(asked);
        let asking = Asking { now_s: self.now.unix_ms / 1_000, logins: &self.logins, log: &self.log };
        match ask(connection, &question, &asking) {
            Asked::Known(verdict) => self.verdicts.push_back((conn, verdict)),
            asked => {
                let Some(inbox) = self.peers.get(usize::from(self.shard.0)).cloned() else { return };
                let (questions, log) = (self.questions.clone(), self.log.clone());
                Asker { conn, wanted, inbox, questions, log }.hand_out(asked);
            }
        }
    }

    fn hand_over(&mut self, conn: ConnId, to: ShardId, handover: Box<Handover>) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.moving = Some(Box::new((to, self.rules_number, handover)));
            self.moves.push(conn);
        }
    }

    fn send(&mut self, to: ShardId, message: ShardMessage) {
        self.held_back |=
            self.peers.get(usize::from(to.0)).is_some_and(|inbox| inbox.holds_back(self.now.mono_ms));
        self.letter(to, Letter::Shard(message));
    }

    fn submit(&mut self, tag: u64, mut batch: Batch, is_synced: bool) -> Result<Batch, Batch> {
        let Some(store) = &self.store else { return Err(batch) };
        if !self.facts.is_empty() {
            batch.extend(&self.facts);
            self.facts.clear();
        }
        store.submit(self.shard, self.refusals_heard, (tag, batch, is_synced))
    }

    fn release(&mut self, conn: ConnId, tag: u64) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(output) = &mut connection.output {
            output.release(tag);
        }
        self.touch(conn.slot);
    }

    fn load(&mut self, request: LoadRequest) {
        self.loads.push(request);
    }

    fn group(&mut self, principal: &Principal) -> u32 {
        self.store.as_ref().map_or(0, |store| store.group(principal, &mut self.facts))
    }

    fn event(&mut self, event: Event) {
        self.log.event(event);
    }

    fn random(&mut self) -> u128 {
        let mut bytes = [0; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => u128::from_ne_bytes(bytes),
            // Without randomness the name is still unique, by the broker's own check, but it can be guessed; Linux only
            // fails here before its pool is seeded, which precedes this process.
            Err(_) => u128::from(self.now.unix_ms) << 64 | u128::from(self.tally.turns),
        }
    }
}
