//! One thread: one poll over its connections, opening, reading, sending, and the end.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};
use motte_client::ClientFault;
use slab::Slab;

use crate::arrivals::Arrivals;
use crate::connection::{Connection, Credential, Role, Stage, packet};
use crate::fault::Fault;
use crate::job::Job;
use crate::link::Link;
use crate::load::{After, Load};
use crate::opening::{Opening, Seat};
use crate::process::own_cpu_ns;
use crate::publisher::Publisher;
use crate::schedule::SECOND_NS;
use crate::shape::Shape;
use crate::shared::Shared;
use crate::tally::Tally;
use crate::timer::Timer;

/// The token of the waker of a thread's poll.
pub(crate) const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// Bytes of one reading.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Readings of one connection before others have their turn.
const READINGS: usize = 8;
/// How long a thread waits at most before it looks at the phases by itself.
const GLANCE: Duration = Duration::from_millis(50);
/// How long after the end a message that was due before it may still be sent, in nanoseconds.
const LATE_NS: u64 = SECOND_NS;
/// How often Keep Alive and deliveries that do not come are looked after, in nanoseconds.
const ROUND_NS: u64 = SECOND_NS / 4;

/// One thread of the generator.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    poll: Poll,
    timer: Timer,
    connections: Slab<Connection>,
    opening: Opening,
    load: Load<'a>,
    /// Connections that may have more to read.
    unread: Vec<usize>,
    /// Connections that have something to write.
    touched: Vec<usize>,
    scratch: Vec<u8>,
    thread: usize,
    round_ns: u64,
    has_begun: bool,
    /// CPU time when the measuring began and when it ended.
    cpu_ns: (Option<u64>, Option<u64>),
}

impl<'a> Worker<'a> {
    /// The thread of this number; its waker stands on the poll already.
    ///
    /// # Errors
    /// The system refuses a timer.
    pub(crate) fn new(job: &'a Job, shared: &'a Shared, thread: usize, poll: Poll) -> io::Result<Self> {
        let timer = Timer::new(poll.registry(), TIMER)?;
        let opening = Opening::new(job, thread, shared.now_ns());
        let mut load = Load::new(job, shared, thread);
        load.publishers = opening.publishers().map(|number| Publisher::new(job, number)).collect();
        Ok(Self {
            poll,
            timer,
            connections: Slab::new(),
            opening,
            load,
            unread: Vec::new(),
            touched: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            thread,
            round_ns: 0,
            has_begun: false,
            cpu_ns: (None, None),
        })
    }

    /// Works until the run is finished, and gives what it counted.
    ///
    /// # Errors
    /// The system fails the poll.
    pub(crate) fn run(mut self) -> io::Result<Tally> {
        let mut events = Events::with_capacity(1_024);
        while !self.load.shared.is_finished() {
            self.wait(&mut events)?;
            self.load.window = self.load.shared.window();
            for event in &events {
                self.event(event);
            }
            for key in std::mem::take(&mut self.unread) {
                self.receive(key);
            }
            let now_ns = self.load.shared.now_ns();
            self.phase(now_ns);
            self.open(now_ns);
            self.publish(now_ns);
            self.round(now_ns);
            self.flush();
            self.load.pass_credit();
        }
        self.close_visits();
        self.load.close_books();
        let now_ns = self.load.shared.now_ns();
        let version = self.load.job.plan.options.protocol;
        for (_, connection) in &mut self.connections {
            connection.goodbye(version, now_ns);
        }
        let (from, until) = self.cpu_ns;
        let until = until.unwrap_or_else(own_cpu_ns);
        self.load.tally.cpu_ns = from.map_or(0, |from| until.saturating_sub(from));
        Ok(self.load.tally)
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now_ns = self.load.shared.now_ns();
        let is_flowing = self.is_flowing(now_ns);
        let next_message = if is_flowing { self.load.fall_due(now_ns) } else { None };
        let next_opening = self.opening.next_due(&self.load.window, now_ns);
        let busy = !self.unread.is_empty() || is_flowing && !self.load.runnable.is_empty();
        let timeout = if busy { Duration::ZERO } else { GLANCE };
        if !busy && let Some(ns) = next_message.into_iter().chain(next_opening).min() {
            self.timer.wake_in(ns)?;
        }
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            done => done,
        }
    }

    /// Whether messages may be sent. What was due by a rate before the end may be sent a little after it.
    fn is_flowing(&self, now_ns: u64) -> bool {
        let late_ns = if self.load.job.schedule.is_some() { LATE_NS } else { 0 };
        let window = &self.load.window;
        now_ns >= window.from_ns && now_ns < window.until_ns.saturating_add(late_ns)
    }

    /// Whether this thread sends no more, messages or visits.
    fn is_done(&mut self, now_ns: u64) -> bool {
        let is_past = now_ns >= self.load.window.until_ns;
        self.opening.is_through() || is_past && (!self.is_flowing(now_ns) || !self.load.owes(now_ns))
    }

    fn event(&mut self, event: &Event) {
        match event.token() {
            TIMER => {}
            // Another thread passed credit, or a phase began.
            WAKER => self.load.enqueue_all(),
            Token(key) => {
                if event.is_writable() {
                    self.stand(key);
                    self.touched.push(key);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.receive(key);
                }
            }
        }
    }

    /// Notes what the clock has begun or ended.
    fn phase(&mut self, now_ns: u64) {
        let window = self.load.window;
        if !self.has_begun && now_ns >= window.from_ns {
            self.has_begun = true;
            self.load.enqueue_all();
        }
        if self.cpu_ns.0.is_none() && now_ns >= window.measure_ns {
            self.cpu_ns.0 = Some(own_cpu_ns());
        }
        if now_ns >= window.until_ns && self.cpu_ns.1.is_none() {
            self.cpu_ns.1 = Some(own_cpu_ns());
        }
        if self.is_done(now_ns)
            && let Some(lane) = self.load.shared.lanes.get(self.thread)
        {
            lane.stopped.store(true, Ordering::Release);
        }
    }

    /// Opens what is due.
    fn open(&mut self, now_ns: u64) {
        while let Some((seat, due_ns)) = self.opening.next(&self.load.window, now_ns, self.connections.len())
        {
            if let Err(error) = self.open_one(seat, due_ns) {
                self.opening.done();
                let fault = Fault::lost(&self.load.job.target, error);
                self.fail(matches!(seat, Seat::Visitor(_)), fault);
                break;
            }
        }
    }

    fn open_one(&mut self, seat: Seat, due_ns: u64) -> io::Result<()> {
        let job = self.load.job;
        let entry = self.connections.vacant_entry();
        let (key, number) = (entry.key(), seat.number(job));
        // Visits leave their ports soon, so that one source address is enough.
        let place = if matches!(seat, Seat::Visitor(_)) { 0 } else { number };
        let link = Link::open(self.poll.registry(), Token(key), job.address, place, job.tls.as_ref())?;
        let role = match seat {
            Seat::Publisher(number) => {
                let index = usize::try_from(number / job.threads()).unwrap_or(usize::MAX);
                if let Some(publisher) = self.load.publishers.get_mut(index) {
                    publisher.connection = key;
                }
                Role::Publisher(index)
            }
            Seat::Subscriber(number) => {
                Role::Subscriber(number, Arrivals::new(&job.topology.streams(number)))
            }
            Seat::Bystander(_) => Role::Bystander,
            Seat::Visitor(_) => Role::Visitor,
        };
        let client_id = format!("{}-{number}", job.client_id);
        let credential = Credential {
            version: job.plan.options.protocol,
            client_id: &client_id,
            user_name: job.user_name.as_deref(),
            password: job.password.as_ref().map(|password| password.expose().as_bytes()),
        };
        entry.insert(Connection::new(link, role, due_ns, credential));
        Ok(())
    }

    /// Goes on with a connection whose socket has become writable.
    fn stand(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.stage != Stage::Dialing {
            return;
        }
        match connection.link.stands() {
            Ok(true) => connection.stage = Stage::Greeting,
            Ok(false) => {}
            Err(error) => self.lose(key, Fault::lost(&self.load.job.target, error)),
        }
    }

    /// Reads until nothing is there, or others should have their turn.
    fn receive(&mut self, key: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for reading in 1..=READINGS {
            let Some(connection) = self.connections.get_mut(key) else { break };
            if connection.stage == Stage::Dialing {
                break;
            }
            let outcome = match connection.read(&mut scratch) {
                Ok(None) => break,
                Ok(Some(0)) => Err(Fault::closed(&self.load.job.target, connection.link.is_shaking_hands())),
                Ok(Some(n)) => self.take(key, scratch.get(..n).unwrap_or_default()),
                Err(error) => Err(Fault::lost(&self.load.job.target, error)),
            };
            if let Err(fault) = outcome {
                self.lose(key, fault);
                break;
            }
            if reading == READINGS {
                self.unread.push(key);
            }
        }
        self.scratch = scratch;
        self.touched.push(key);
    }

    /// Takes all packets that are whole.
    fn take(&mut self, key: usize, bytes: &[u8]) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if connection.stage == Stage::Ending {
            return Ok(());
        }
        let version = self.load.job.plan.options.protocol;
        // Taken once for a reading: what is in it has waited for nothing but us.
        let now_ns = self.load.shared.now_ns();
        let mut kept = connection.take_unread();
        let mut rest = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        while let Some((len, packet)) = packet(rest, version).map_err(ClientFault::Protocol)? {
            let after = self.load.take(connection, &packet, now_ns)?;
            rest = rest.get(len..).unwrap_or_default();
            if after == After::Accepted && !matches!(connection.role, Role::Subscriber(..)) {
                self.opening.done();
                if matches!(connection.role, Role::Visitor) {
                    connection.goodbye(version, now_ns);
                    return Ok(());
                }
            } else if matches!(packet, motte_wire::ControlPacket::SubAck(_))
                && connection.stage == Stage::Live
            {
                self.opening.done();
            }
        }
        if !rest.is_empty() {
            let rest = rest.to_vec();
            connection.keep_unread(rest);
        }
        Ok(())
    }

    /// Lets publishers that may send send.
    fn publish(&mut self, now_ns: u64) {
        if !self.is_flowing(now_ns) {
            return;
        }
        self.load.fall_due(now_ns);
        for _ in 0..self.load.runnable.len() {
            let Some(index) = self.load.runnable.pop_front() else { break };
            let key = self.load.publishers.get(index).map_or(usize::MAX, |publisher| publisher.connection);
            let Some(connection) = self.connections.get_mut(key) else {
                // It is gone; nothing sends for it any more.
                if let Some(publisher) = self.load.publishers.get_mut(index) {
                    publisher.is_queued = false;
                }
                continue;
            };
            let before = connection.out.len();
            // The clock is read anew, since those before it took their time.
            let now_ns = self.load.shared.now_ns();
            if self.load.burst(index, connection, now_ns) {
                self.load.enqueue(index);
            }
            if connection.out.len() > before {
                self.write(key, now_ns);
            }
        }
    }

    fn flush(&mut self) {
        let now_ns = self.load.shared.now_ns();
        for key in std::mem::take(&mut self.touched) {
            self.write(key, now_ns);
        }
    }

    fn write(&mut self, key: usize, now_ns: u64) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.flush(now_ns) {
            Ok(true) => {
                if let Role::Publisher(index) = connection.role
                    && let Some(publisher) = self.load.publishers.get_mut(index)
                    && std::mem::take(&mut publisher.is_full)
                {
                    self.load.enqueue(index);
                }
            }
            Ok(false) => {}
            Err(error) => self.lose(key, Fault::lost(&self.load.job.target, error)),
        }
    }

    /// Looks after what the clock alone brings.
    fn round(&mut self, now_ns: u64) {
        if now_ns < self.round_ns {
            return;
        }
        self.round_ns = now_ns + ROUND_NS;
        for (key, connection) in &mut self.connections {
            if connection.ping(now_ns) {
                self.touched.push(key);
            }
        }
        if self.is_flowing(now_ns) {
            self.load.give_up(now_ns);
        }
    }

    /// A connection has ended by itself.
    fn lose(&mut self, key: usize, fault: Fault) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        if connection.stage == Stage::Ending {
            return;
        }
        if connection.stage != Stage::Live {
            self.opening.done();
        }
        if let Role::Publisher(index) = connection.role
            && let Some(publisher) = self.load.publishers.get_mut(index)
        {
            publisher.is_live = false;
            publisher.connection = usize::MAX;
        }
        self.fail(matches!(connection.role, Role::Visitor), fault);
    }

    /// A connection could not be made, or is lost: the end of the run while it is set up, a figure afterwards.
    fn fail(&mut self, is_visit: bool, fault: Fault) {
        let is_setup = self.load.window.from_ns == u64::MAX;
        let is_denied = matches!(fault, Fault::Publication { .. });
        let is_in_vain = is_visit && self.load.shared.total(|lane| &lane.accepted) == 0;
        if is_denied || is_in_vain || is_setup && self.load.job.plan.options.shape != Shape::Connect {
            self.load.shared.abort(fault);
            return;
        }
        self.load.tally.first_cause.get_or_insert_with(|| fault.to_string());
        if is_visit {
            self.load.tally.failed += 1;
        } else {
            self.load.tally.lost += 1;
            self.load.add(|lane| &lane.gone, 1);
        }
    }

    /// Of visits that were asked for by number, those that nobody answered have failed.
    fn close_visits(&mut self) {
        let unanswered = self.opening.under_way();
        if self.load.job.plan.options.count.is_some() && unanswered > 0 {
            self.load.tally.failed += unanswered;
            self.load.tally.first_cause.get_or_insert_with(|| ClientFault::TimedOut.to_string());
        }
    }
}
