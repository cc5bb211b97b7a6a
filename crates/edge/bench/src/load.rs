//! What one thread does with packets: it answers them, counts them, and lets publishers go on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use motte_client::ClientFault;
use motte_wire::{
    Ack, ConnAck, ControlPacket, PacketId, Publish, QoS, ReasonCode, SubAck, Subscribe, SubscribeEntry,
    SubscribeOptions,
};

use crate::arrivals::Arrival;
use crate::connection::{Connection, Role, Stage};
use crate::fault::Fault;
use crate::job::Job;
use crate::publisher::Publisher;
use crate::shared::{Lane, Shared, Window};
use crate::stamp::Stamp;
use crate::tally::Tally;

/// Topic Filters in one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 64;
/// Messages that a publisher appends before others have their turn.
const BURST: usize = 32;
/// Bytes that may wait for a socket before its publisher waits too.
const WAITING_MAX: usize = 64 * 1024;

/// The load of one thread, apart from its connections.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) job: &'a Job,
    pub(crate) shared: &'a Shared,
    /// The phases, as they stood at the beginning of the turn.
    pub(crate) window: Window,
    /// The publishers of this thread, by number.
    pub(crate) publishers: Vec<Publisher>,
    /// Those that may be able to send.
    pub(crate) runnable: VecDeque<usize>,
    pub(crate) tally: Tally,
    thread: usize,
    /// Threads whose publishers got credit this turn.
    credited: Vec<bool>,
    /// The publisher and message whose turn it is by the schedule.
    next: (usize, u64),
}

/// What becomes of the connection after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It stays.
    Stay,
    /// It was let in; for a visitor this is the end.
    Accepted,
}

impl<'a> Load<'a> {
    /// For the thread of this number.
    pub(crate) fn new(job: &'a Job, shared: &'a Shared, thread: usize) -> Self {
        Self {
            job,
            shared,
            window: shared.window(),
            publishers: Vec::new(),
            runnable: VecDeque::new(),
            tally: Tally::new(),
            thread,
            credited: shared.lanes.iter().map(|_| false).collect(),
            next: (0, 0),
        }
    }

    /// Adds to a figure that all threads see.
    pub(crate) fn add(&self, figure: impl Fn(&Lane) -> &AtomicU64, by: u64) {
        if let Some(lane) = self.shared.lanes.get(self.thread) {
            // This thread alone writes it, so that no exchange is needed.
            let figure = figure(lane);
            figure.store(figure.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        }
    }

    /// Lets a publisher be looked at.
    pub(crate) fn enqueue(&mut self, index: usize) {
        if let Some(publisher) = self.publishers.get_mut(index)
            && !publisher.is_queued
        {
            publisher.is_queued = true;
            self.runnable.push_back(index);
        }
    }

    /// Lets every publisher be looked at.
    pub(crate) fn enqueue_all(&mut self) {
        for index in 0..self.publishers.len() {
            self.enqueue(index);
        }
    }

    /// Notes which messages have become due, and says in how many nanoseconds the next one will.
    pub(crate) fn fall_due(&mut self, now_ns: u64) -> Option<u64> {
        let schedule = self.job.schedule?;
        let window = self.window;
        loop {
            let (index, turn) = self.next;
            let publisher = self.publishers.get_mut(index)?;
            let due_ns = window.from_ns.saturating_add(schedule.due_ns(publisher.number, turn));
            // Publishers take turns, so that after one who has sent its share nobody has to send.
            if due_ns >= window.until_ns || turn >= publisher.quota {
                return None;
            }
            if due_ns > now_ns {
                return Some(due_ns - now_ns);
            }
            publisher.owed += 1;
            self.enqueue(index);
            self.next = if index + 1 < self.publishers.len() { (index + 1, turn) } else { (0, turn + 1) };
        }
    }

    /// Whether anything that was due has still to be sent, and can be.
    pub(crate) fn owes(&mut self, now_ns: u64) -> bool {
        self.fall_due(now_ns);
        self.publishers.iter().any(|publisher| publisher.owed > 0 && publisher.is_live)
    }

    /// Appends what a publisher may send now; whether it may send still more.
    pub(crate) fn burst(&mut self, index: usize, connection: &mut Connection, now_ns: u64) -> bool {
        let (job, shared, window) = (self.job, self.shared, self.window);
        let Some(publisher) = self.publishers.get_mut(index) else { return false };
        publisher.is_queued = false;
        let (mut sent, mut more) = (0, false);
        for _ in 0..BURST {
            more = publisher.may_send(job, shared);
            if !more {
                break;
            }
            if connection.waiting() > WAITING_MAX {
                publisher.is_full = true;
                more = false;
                break;
            }
            let due_ns = match job.schedule {
                Some(schedule) => {
                    let due_ns =
                        window.from_ns.saturating_add(schedule.due_ns(publisher.number, publisher.sent));
                    if window.measures(due_ns) {
                        self.tally.lag.record(now_ns.saturating_sub(due_ns));
                    }
                    due_ns
                }
                None => now_ns,
            };
            publisher.encode(job, due_ns, &mut connection.out);
            sent += 1;
            if window.measures(due_ns) {
                self.tally.sent += 1;
                self.tally.expected += publisher.fan;
            }
        }
        let fan = publisher.fan;
        if window.measures(now_ns) {
            self.tally.sent_now += sent;
        }
        self.add(|lane| &lane.sent, sent);
        self.add(|lane| &lane.expected, sent * fan);
        more
    }

    /// Takes one packet of the broker.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn take(
        &mut self,
        connection: &mut Connection,
        packet: &ControlPacket<'_>,
        now_ns: u64,
    ) -> Result<After, Fault> {
        let version = self.job.plan.options.protocol;
        match packet {
            ControlPacket::Publish(publish) => self.delivered(connection, publish, now_ns),
            ControlPacket::PubRel(ack) => {
                Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubcomp(version, &mut connection.out);
            }
            ControlPacket::PubRec(ack) if !ack.reason.is_failure() => {
                Ack::new(ack.packet_id, ReasonCode::SUCCESS).encode_pubrel(version, &mut connection.out);
            }
            ControlPacket::PubAck(ack) | ControlPacket::PubRec(ack) | ControlPacket::PubComp(ack) => {
                self.acknowledged(connection, ack.packet_id, ack.reason)?;
            }
            ControlPacket::ConnAck(ack) => {
                self.accepted(connection, ack, now_ns)?;
                return Ok(After::Accepted);
            }
            ControlPacket::SubAck(ack) => self.subscribed(connection, ack)?,
            ControlPacket::Disconnect(packet) => {
                return Err(ClientFault::Disconnected(packet.reason).into());
            }
            ControlPacket::PingResp => {}
            ControlPacket::Connect(_)
            | ControlPacket::Subscribe(_)
            | ControlPacket::Unsubscribe(_)
            | ControlPacket::UnsubAck(_)
            | ControlPacket::PingReq
            | ControlPacket::Auth(_) => {
                let what = "a packet that a server does not send here";
                return Err(ClientFault::Protocol(what.into()).into());
            }
        }
        Ok(After::Stay)
    }

    /// Wakes the other threads whose publishers may go on.
    pub(crate) fn pass_credit(&mut self) {
        for (thread, credited) in self.credited.iter_mut().enumerate() {
            if std::mem::take(credited) {
                self.shared.wake(thread);
            }
        }
    }

    /// Counts what was due, or asked for by number, and not sent; to be called when nothing is sent any more.
    pub(crate) fn close_books(&mut self) {
        let flowed_ns = self.window.until_ns.saturating_sub(self.window.from_ns);
        for publisher in &self.publishers {
            let due = match (self.job.schedule, self.job.plan.options.count) {
                (Some(schedule), _) => {
                    schedule.count_before(publisher.number, flowed_ns).min(publisher.quota)
                }
                (None, Some(_)) => publisher.quota,
                (None, None) => 0,
            };
            self.tally.unsent += due.saturating_sub(publisher.sent);
        }
    }

    /// In a closed loop, gives up what does not come.
    pub(crate) fn give_up(&mut self, now_ns: u64) {
        if self.job.schedule.is_some() {
            return;
        }
        for index in 0..self.publishers.len() {
            let Some(publisher) = self.publishers.get_mut(index) else { break };
            let given_up = publisher.give_up(self.job, self.shared, now_ns);
            if given_up > 0 {
                self.tally.given_up += given_up;
                self.enqueue(index);
            }
        }
    }

    fn delivered(&mut self, connection: &mut Connection, publish: &Publish<'_>, now_ns: u64) {
        let version = self.job.plan.options.protocol;
        if let Some(id) = publish.packet_id {
            let ack = Ack::new(id, ReasonCode::SUCCESS);
            if publish.qos == QoS::ExactlyOnce {
                ack.encode_pubrec(version, &mut connection.out);
            } else {
                ack.encode_puback(version, &mut connection.out);
            }
        }
        let Role::Subscriber(_, arrivals) = &mut connection.role else {
            self.tally.foreign += 1;
            return;
        };
        let Some(stamp) = Stamp::decode(publish.payload) else {
            self.tally.foreign += 1;
            return;
        };
        let is_measured = self.window.measures(stamp.due_ns);
        match arrivals.note(stamp.stream, stamp.place) {
            Arrival::New => {}
            Arrival::Late => self.tally.late += u64::from(is_measured),
            Arrival::Duplicate => {
                self.tally.duplicates += u64::from(is_measured);
                return;
            }
            Arrival::Foreign => {
                self.tally.foreign += 1;
                return;
            }
        }
        if is_measured {
            self.tally.delivered += 1;
            self.tally.latency.record(now_ns.saturating_sub(stamp.due_ns));
        }
        if self.window.measures(now_ns) {
            self.tally.last_ns = now_ns;
            self.tally.arrived_now += 1;
            self.tally.arrived_bytes += u64::try_from(publish.payload.len()).unwrap_or(0);
        }
        self.add(|lane| &lane.delivered, 1);
        if self.job.schedule.is_none() {
            self.credit(self.job.topology.publisher_of(stamp.stream));
        }
    }

    /// A message of this publisher has arrived: it may send another.
    fn credit(&mut self, publisher: u64) {
        let index = usize::try_from(publisher).unwrap_or(usize::MAX);
        if let Some(credit) = self.shared.credits.get(index) {
            credit.fetch_add(1, Ordering::Relaxed);
        }
        let threads = self.shared.lanes.len().max(1);
        if index % threads == self.thread {
            self.enqueue(index / threads);
        } else if let Some(credited) = self.credited.get_mut(index % threads) {
            *credited = true;
        }
    }

    fn acknowledged(
        &mut self,
        connection: &Connection,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<(), Fault> {
        let Role::Publisher(index) = connection.role else { return Ok(()) };
        let Some(publisher) = self.publishers.get_mut(index) else { return Ok(()) };
        let topic = publisher.acknowledged(id);
        if reason == ReasonCode::NOT_AUTHORIZED {
            return Err(Fault::Publication { topic: topic.to_owned(), reason });
        }
        if reason.is_failure() {
            let what = || Fault::Publication { topic: topic.to_owned(), reason }.to_string();
            self.tally.first_cause.get_or_insert_with(what);
            self.tally.refused += 1;
        }
        self.enqueue(index);
        Ok(())
    }

    fn accepted(&mut self, connection: &mut Connection, ack: &ConnAck<'_>, now_ns: u64) -> Result<(), Fault> {
        if ack.reason.is_failure() {
            let hint = ack.properties.reason_string.map(str::to_owned);
            return Err(ClientFault::Refused(ack.reason, hint).into());
        }
        if connection.stage != Stage::Greeting {
            return Err(ClientFault::Protocol("a second CONNACK".into()).into());
        }
        self.check_limits(ack)?;
        if let Some(seconds) = ack.properties.server_keep_alive_s {
            connection.set_keep_alive(seconds);
        }
        let is_visit = matches!(connection.role, Role::Visitor);
        if !is_visit || self.window.measures(connection.due_ns) {
            self.tally.handshake.record(now_ns.saturating_sub(connection.due_ns));
            self.tally.accepted += 1;
        }
        if is_visit && self.window.measures(now_ns) {
            self.tally.last_ns = now_ns;
            self.tally.accepted_now += 1;
        }
        self.add(|lane| &lane.accepted, 1);
        match &connection.role {
            Role::Subscriber(number, _) => {
                let filters = self.job.topology.filters(*number);
                connection.stage = Stage::Subscribing(self.subscribe(&filters, &mut connection.out));
            }
            Role::Publisher(index) => {
                let maximum = ack.properties.receive_maximum.map_or(u16::MAX, std::num::NonZeroU16::get);
                if let Some(publisher) = self.publishers.get_mut(*index) {
                    publisher.receive_maximum(self.job, maximum);
                    publisher.is_live = true;
                }
                self.live(connection);
            }
            Role::Bystander | Role::Visitor => self.live(connection),
        }
        Ok(())
    }

    fn live(&self, connection: &mut Connection) {
        connection.stage = Stage::Live;
        self.add(|lane| &lane.ready, 1);
    }

    /// Whether the broker takes what the options ask for.
    fn check_limits(&self, ack: &ConnAck<'_>) -> Result<(), Fault> {
        let options = &self.job.plan.options;
        if !options.shape.has_messages() {
            return Ok(());
        }
        // The fixed header, the topic and its length, the identifier and the properties come on top.
        let bytes = u64::from(options.size) + 64 + u64::try_from(options.prefix.len()).unwrap_or(0);
        if let Some(most) = ack.properties.maximum_packet_size
            && bytes > u64::from(most.get())
        {
            return Err(Fault::Limit {
                what: format!("packets of {most} bytes at most"),
                remedy: "give a smaller --size, or raise limits.packet_bytes_max on the broker",
            });
        }
        match ack.properties.maximum_qos {
            Some(most) if options.qos > most => Err(Fault::Limit {
                what: format!("QoS {} at most", most as u8),
                remedy: "give a lower --qos, or raise limits.maximum_qos on the broker",
            }),
            _ => Ok(()),
        }
    }

    /// Appends SUBSCRIBE packets for the filters; how many.
    fn subscribe(&self, filters: &[String], out: &mut Vec<u8>) -> usize {
        let options = SubscribeOptions::qos(self.job.plan.options.qos);
        let mut packets = 0;
        for chunk in filters.chunks(FILTERS_PER_PACKET) {
            let entries: Vec<SubscribeEntry<'_>> =
                chunk.iter().map(|filter| SubscribeEntry { filter, options }).collect();
            let id = PacketId::from_index(u16::try_from(packets).unwrap_or(0));
            Subscribe::encode_new(self.job.plan.options.protocol, id, None, &entries, out);
            packets += 1;
        }
        packets
    }

    fn subscribed(&mut self, connection: &mut Connection, ack: &SubAck<'_>) -> Result<(), Fault> {
        let (Role::Subscriber(number, _), Stage::Subscribing(left)) = (&connection.role, connection.stage)
        else {
            return Err(ClientFault::Protocol("a SUBACK that nobody awaits".into()).into());
        };
        if let Some((at, reason)) = ack.codes().enumerate().find(|(_, code)| code.is_failure()) {
            let before = (usize::from(ack.packet_id.value()) - 1) * FILTERS_PER_PACKET;
            let filter = self.job.topology.filters(*number).into_iter().nth(before + at).unwrap_or_default();
            return Err(Fault::Subscription { filter, reason });
        }
        if left > 1 {
            connection.stage = Stage::Subscribing(left - 1);
        } else {
            self.live(connection);
        }
        Ok(())
    }
}
