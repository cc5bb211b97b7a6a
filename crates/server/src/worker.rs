//! A worker: one thread, one event loop, one shard of the broker, its connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::{Events, Interest, Poll, Token};
use motte_broker::{Broker, CommitResult, ConnId, Exchange, Input, LoadRequest, Now, Pressure, ShardId};
use motte_event::keep;
use motte_store::BlockCache;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::connection::{NEVER, Phase};
use crate::door::Door;
use crate::inbox::{Inbox, Letter};
use crate::metrics::{Report, Reports};
use crate::moving::Moved;
use crate::notice;
use crate::rules::Rules;
use crate::shutdown::Step;
use crate::system_topics::SystemTopics;
use crate::world::World;

/// The token of the first listener.
const DOORS: usize = 1;
/// The token of the first connection; listeners are far fewer.
const CONNECTIONS: usize = 1 << 16;
/// Events taken from the system at once.
const EVENTS_MAX: usize = 1_024;
/// Bytes read at once; a turn reads at most half of it from one connection and then looks at the next.
const SCRATCH_BYTES: usize = 256 * 1024;
/// How long reading pauses while others cannot follow, in milliseconds. Then one turn is read all the same: a client
/// that never takes its bytes must not stop those that do.
const PAUSE_MS: u64 = 10;
/// A client that took nothing of its waiting bytes for this long is closed when memory is short, in milliseconds.
pub(crate) const STALLED_MS: u64 = 20_000;

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) poll: Poll,
    pub(crate) clock: Clock,
    pub(crate) broker: Broker,
    pub(crate) world: World,
    pub(crate) inbox: Inbox,
    pub(crate) doors: Vec<Door>,
    pub(crate) admission: Admission,
    pub(crate) reports: Reports,
    pub(crate) backlog_max: usize,
    pub(crate) exchange: Exchange,
}

/// The running worker.
pub(crate) struct Worker {
    pub(crate) poll: Poll,
    clock: Clock,
    pub(crate) broker: Broker,
    pub(crate) world: World,
    inbox: Inbox,
    spare: Vec<Letter>,
    pub(crate) doors: Vec<Door>,
    pub(crate) admission: Admission,
    reports: Reports,
    pub(crate) scratch: Vec<u8>,
    pub(crate) backlog_max: usize,
    paused_since_ms: Option<u64>,
    pub(crate) system_topics: Option<SystemTopics>,
    exchange: Exchange,
    /// The rules of the last reload, if there was one.
    pub(crate) rules: Option<Arc<Rules>>,
    /// The step that waits for connections to be gone, and until when.
    pub(crate) finishing: Option<(Step, u64)>,
    pub(crate) stopping: bool,
    pub(crate) over: bool,
    /// Blocks of the journal that were read.
    cache: BlockCache,
}

impl Worker {
    /// A worker ready to run.
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            poll: parts.poll,
            clock: parts.clock,
            broker: parts.broker,
            world: parts.world,
            inbox: parts.inbox,
            spare: Vec::new(),
            doors: parts.doors,
            admission: parts.admission,
            reports: parts.reports,
            scratch: vec![0; SCRATCH_BYTES],
            backlog_max: parts.backlog_max,
            paused_since_ms: None,
            system_topics: None,
            exchange: parts.exchange,
            rules: None,
            finishing: None,
            stopping: false,
            over: false,
            cache: BlockCache::new(),
        }
    }

    /// Turns until the clean stop is over.
    ///
    /// # Errors
    /// When the system refuses to watch or to wait for sockets.
    pub(crate) fn run(mut self) -> io::Result<()> {
        for (number, door) in self.doors.iter_mut().enumerate() {
            door.register(self.poll.registry(), Token(DOORS + number))?;
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.over {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.world.now = self.clock.now();
            self.notice_events(&events);
            self.turn();
        }
        Ok(())
    }

    /// How long the system may wait for something to happen.
    fn timeout(&self) -> Option<Duration> {
        let now_ms = self.world.now.mono_ms;
        let served = self.paused_since_ms.is_none()
            && (!self.world.queued.is_empty() || !self.world.touched.is_empty());
        // A door where more wait than one turn lets in gives no further sign of it.
        if served || self.doors.iter().any(Door::is_open_and_ready) {
            return Some(Duration::ZERO);
        }
        let deadline = self.world.deadlines.peek().map(|std::cmp::Reverse((at, _))| *at);
        let doors = self.doors.iter().filter_map(Door::wakes_ms).min();
        let system = self.system_topics.as_ref().map(SystemTopics::due_ms);
        let finishing = self.finishing.as_ref().map(|(_, until)| *until);
        let pause = self.paused_since_ms.map(|_| now_ms + 1);
        let resting = self.world.resting_until_ms().into_iter().chain(self.world.answer_due_ms()).min();
        let all = [self.broker.next_timeout_ms(), deadline, doors, system, finishing, pause, resting];
        let next = all.into_iter().flatten().filter(|at| *at != NEVER).min()?;
        Some(Duration::from_millis(next.saturating_sub(now_ms)))
    }

    /// Notes what the system reported. Sockets are watched for both directions once, edge-triggered: while nothing
    /// waits to be written the kernel has no edge to report, and no call is spent on changing the interest.
    fn notice_events(&mut self, events: &Events) {
        for event in events {
            let Token(token) = event.token();
            if let Some(slot) = token.checked_sub(CONNECTIONS) {
                let Ok(slot) = u32::try_from(slot) else { continue };
                let Some(connection) = self.world.connections.at(slot) else { continue };
                connection.peer_closed |= event.is_read_closed() || event.is_error();
                let opening = connection.phase == Phase::Opening;
                if event.is_readable() || event.is_read_closed() || event.is_error() || opening {
                    self.world.queue(slot);
                }
                let waits = self.world.connections.at(slot).is_some_and(|c| c.blocked);
                if event.is_writable() && waits {
                    self.world.touch(slot);
                }
            } else if let Some(door) = token.checked_sub(DOORS).and_then(|number| self.doors.get_mut(number))
            {
                door.ready = true;
            }
        }
    }

    /// Everything between two waits.
    fn turn(&mut self) {
        self.world.tally.turns += 1;
        // New rules first: they hold for whoever comes in this turn.
        self.read_mail();
        self.accept();
        self.world.wake_resting();
        if self.may_read() {
            for slot in std::mem::take(&mut self.world.queued) {
                self.serve(slot);
            }
        }
        self.tick();
        self.answer_put_off();
        self.end_overdue();
        // Handed over before anything is written, so that the disk works meanwhile; and again what writing brought.
        self.hand_over_changes();
        self.flush_touched();
        self.hand_over_changes();
        self.move_away();
        self.world.post();
        self.finish_step();
        self.tell_pressure();
        self.world.tally.backlog_bytes = self.world.backlog as u64;
        let report = Report { broker: self.broker.counters(), tally: self.world.tally };
        self.reports.publish(usize::from(self.world.shard.0), report);
    }

    pub(crate) fn hand_over_changes(&mut self) {
        if self.world.store.is_some() {
            self.input(Input::TurnOver);
        }
    }

    /// Gives the broker an input, and every verdict that was known at once.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        let now = self.world.now;
        self.broker.handle(now, input, &mut self.world);
        while let Some(request) = self.world.loads.pop() {
            self.load(request);
        }
        while let Some((conn, verdict)) = self.world.verdicts.pop_front() {
            self.verdict(conn, verdict);
        }
    }

    /// Reads deliveries that wait on disk.
    fn load(&mut self, request: LoadRequest) {
        let Some(store) = self.world.store.clone() else { return };
        let deliveries = store.load(request, &mut self.cache);
        let input = Input::Loaded { session: request.session, deliveries };
        self.broker.handle(self.world.now, input, &mut self.world);
    }

    pub(crate) fn verdict(&mut self, conn: ConnId, verdict: motte_broker::Verdict) {
        let Some(verdict) = self.put_off(conn, verdict) else { return };
        let verdict = self.asked_again(conn, verdict);
        let verdict = self.world.admitted(conn, verdict);
        self.input(Input::Verdict { conn, verdict });
        self.world.queue(conn.slot);
    }

    /// Publishes `$SYS` topics from now on.
    pub(crate) fn publish_system_topics(&mut self, topics: SystemTopics) {
        self.system_topics = Some(topics);
    }

    /// Says once when load begins to be shed, and once when it no longer is; the worker that notices says it for all.
    fn tell_pressure(&mut self) {
        let memory = self.exchange.memory();
        let Some(pressure) = memory.turned() else { return };
        self.world.log.event(match pressure {
            Pressure::None => keep::memory_relaxed(memory.used()),
            Pressure::High => keep::memory_high(memory.used(), "high"),
            Pressure::Full => keep::memory_high(memory.used(), "full"),
        });
    }

    fn tick(&mut self) {
        let Now { mono_ms, .. } = self.world.now;
        if self.broker.next_timeout_ms().is_some_and(|at| at <= mono_ms) {
            self.input(Input::Tick);
        }
        if let Some(system) = &mut self.system_topics
            && system.due_ms() <= mono_ms
        {
            for publication in system.publications(mono_ms, &self.reports) {
                let (by, principal) = SystemTopics::sender();
                self.input(Input::Inject { by, principal, publication });
            }
        }
    }

    /// Whether this turn may read: not while those it sends to cannot follow, but never longer than a moment.
    fn may_read(&mut self) -> bool {
        let now_ms = self.world.now.mono_ms;
        let congested = self.world.is_congested() || self.broker.is_behind();
        if self.world.backlog <= self.backlog_max && !congested {
            self.paused_since_ms = None;
            return true;
        }
        // A worker that is behind with its letters takes them at every turn, so this ends; its letters have no other bound.
        if congested {
            self.paused_since_ms.get_or_insert(now_ms);
            return false;
        }
        match self.paused_since_ms {
            Some(since) if now_ms.saturating_sub(since) < PAUSE_MS => false,
            Some(_) => {
                self.paused_since_ms = Some(now_ms);
                true
            }
            None => {
                self.paused_since_ms = Some(now_ms);
                false
            }
        }
    }

    fn read_mail(&mut self) {
        let mut letters = self.inbox.take(std::mem::take(&mut self.spare));
        for letter in letters.drain(..) {
            match letter {
                Letter::Shard(message) => self.input(Input::Shard(message)),
                Letter::Moved(moved) => self.move_in(*moved),
                Letter::Stepped(stepped) => self.stepped(*stepped),
                Letter::Verdict(conn, verdict) => {
                    self.verdict(conn, verdict);
                    while let Some((conn, verdict)) = self.world.verdicts.pop_front() {
                        self.verdict(conn, verdict);
                    }
                }
                Letter::Banned(subject) => self.close_banned(&subject),
                Letter::Distrusted(distrusted) => self.close_one_distrusted(&distrusted),
                Letter::Committed { tag, result } => {
                    self.world.refusals_heard += u64::from(matches!(result, CommitResult::Refused { .. }));
                    self.input(Input::Committed { tag, result });
                }
                Letter::Reload(rules) => self.reload(&rules),
                Letter::Stop(step) => self.stop(step),
                Letter::Visit(visit) => visit(self),
            }
        }
        self.spare = letters;
    }

    /// Watches a socket in both directions.
    pub(crate) fn watch(&mut self, stream: &mut motte_transport::Stream, slot: u32) -> io::Result<()> {
        let token = Token(CONNECTIONS + slot as usize);
        stream.register(self.poll.registry(), token, Interest::READABLE | Interest::WRITABLE)
    }

    fn move_in(&mut self, moved: Moved) {
        if self.stopping {
            // Everybody was told goodbye already; this one sees its connection closed and tries another time.
            return;
        }
        let Moved { mut stream, seat, rules, rules_number, unread, output, peer_closed, watch, handover } =
            moved;
        let Some(id) = self.world.connections.vacancy() else { return };
        if let Err(error) = self.watch(&mut stream, id.slot) {
            self.world.log.event(notice::not_watched(&rules, &error));
            return;
        }
        let mut connection = crate::connection::Connection::new(id, stream, rules, seat);
        connection.phase = Phase::Awaiting;
        connection.unread = unread;
        connection.output = output;
        connection.peer_closed = peer_closed;
        connection.watch = watch;
        if let Err(cause) = self.still_welcome(&mut connection, rules_number, &handover) {
            let id = &handover.request.client_id;
            let event = notice::no_longer_welcome(&connection.rules, &connection.stream, id, &cause);
            self.world.log.event(event);
            return;
        }
        if !self.world.may_move_in(&connection, &handover) {
            return;
        }
        self.world.connections.fill(connection);
        self.input(Input::Adopt { conn: id, handover });
        self.world.touch(id.slot);
        self.world.queue(id.slot);
    }

    fn move_away(&mut self) {
        for id in std::mem::take(&mut self.world.moves) {
            let Some(connection) = self.world.connections.remove(id) else { continue };
            let mut connection = *connection;
            self.world.backlog = self.world.backlog.saturating_sub(connection.counted);
            let Some(moving) = connection.moving.take() else { continue };
            let (to, rules_number, handover) = *moving;
            if let Err(error) = connection.stream.deregister(self.poll.registry()) {
                self.world.log.event(notice::not_watched(&connection.rules, &error));
                continue;
            }
            let moved = Moved {
                stream: connection.stream,
                seat: connection.seat,
                rules: connection.rules,
                rules_number,
                unread: connection.unread,
                output: connection.output,
                peer_closed: connection.peer_closed,
                watch: connection.watch,
                handover,
            };
            if let Some(batch) = self.world.outbox.get_mut(usize::from(to.0)) {
                batch.push(Letter::Moved(Box::new(moved)));
            }
        }
    }

    /// Which shard this is.
    pub(crate) fn shard(&self) -> ShardId {
        self.world.shard
    }
}
