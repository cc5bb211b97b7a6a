//! One publisher: what it may send, and what it has sent.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use motte_wire::{PacketId, PublishHead, QoS};

use crate::job::Job;
use crate::shared::Shared;
use crate::stamp::{STAMP_BYTES, Stamp};

/// Publications with an identifier on their way at once, at most.
const IDENTIFIERS_MAX: u16 = 4_096;
/// How long a closed loop waits for deliveries before it gives them up, in nanoseconds.
const PATIENCE_NS: u64 = 1_000_000_000;

/// A publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Its number of all.
    pub(crate) number: u64,
    /// Its connection's place in the thread.
    pub(crate) connection: usize,
    /// Subscribers that get what it sends.
    pub(crate) fan: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages that it is to send, where the run ends with a count.
    pub(crate) quota: u64,
    /// Messages that are due by the schedule and not sent.
    pub(crate) owed: u64,
    /// It stands in the queue of those that may send.
    pub(crate) is_queued: bool,
    /// It waits for its socket.
    pub(crate) is_full: bool,
    /// Its connection is live.
    pub(crate) is_live: bool,
    topics: Vec<String>,
    /// For each topic, how many were sent.
    places: Vec<u64>,
    topic: usize,
    free: VecDeque<PacketId>,
    /// For each identifier, which topic it is used for.
    used_for: Vec<usize>,
    given_up: u64,
    seen: u64,
    seen_ns: u64,
}

impl Publisher {
    /// A publisher that has not connected yet.
    pub(crate) fn new(job: &Job, number: u64) -> Self {
        let topics: Vec<String> =
            (0..u64::from(job.plan.options.topics)).map(|topic| job.topology.topic(number, topic)).collect();
        Self {
            number,
            connection: usize::MAX,
            fan: job.fan(number),
            sent: 0,
            quota: job.plan.quota(number, job.plan.publishers),
            owed: 0,
            is_queued: false,
            is_full: false,
            is_live: false,
            places: vec![0; topics.len()],
            topics,
            topic: 0,
            free: VecDeque::new(),
            used_for: Vec::new(),
            given_up: 0,
            seen: 0,
            seen_ns: 0,
        }
    }

    /// Takes over how many publications with identifiers the broker receives at once.
    pub(crate) fn receive_maximum(&mut self, job: &Job, maximum: u16) {
        if job.plan.options.qos == QoS::AtMostOnce {
            return;
        }
        let loop_max = if job.schedule.is_some() { u64::MAX } else { job.plan.in_flight };
        let most = u64::from(maximum.min(IDENTIFIERS_MAX)).min(loop_max);
        self.free = (0..u16::try_from(most).unwrap_or(IDENTIFIERS_MAX)).map(PacketId::from_index).collect();
        self.used_for = vec![0; self.free.len()];
    }

    /// Whether one more may be sent now.
    pub(crate) fn may_send(&self, job: &Job, shared: &Shared) -> bool {
        if !self.is_live
            || self.sent >= self.quota
            || job.plan.options.qos != QoS::AtMostOnce && self.free.is_empty()
        {
            return false;
        }
        if job.schedule.is_some() {
            return self.owed > 0;
        }
        self.outstanding(shared) < job.plan.in_flight.saturating_mul(self.fan.max(1))
    }

    /// Appends one message that was due at this moment.
    pub(crate) fn encode(&mut self, job: &Job, due_ns: u64, out: &mut Vec<u8>) {
        let options = &job.plan.options;
        let packet_id = if options.qos == QoS::AtMostOnce { None } else { self.free.pop_front() };
        if let Some(used) = packet_id.and_then(|id| self.used_for.get_mut(usize::from(id.value()) - 1)) {
            *used = self.topic;
        }
        let place = self.places.get_mut(self.topic).map_or(0, |place| {
            *place += 1;
            *place - 1
        });
        let topic = u64::try_from(self.topic).unwrap_or(0);
        let stamp = Stamp { stream: job.topology.stream(self.number, topic), place, due_ns };
        let head = PublishHead {
            version: options.protocol,
            dup: false,
            qos: options.qos,
            retain: false,
            topic: self.topics.get(self.topic).map_or("", String::as_str),
            packet_id,
            alias: None,
            message_expiry_s: None,
            subscription_identifiers: &[],
            forwarded: &[],
            payload_len: job.filler.len() + STAMP_BYTES,
        };
        head.encode(out);
        out.extend_from_slice(&stamp.encode());
        out.extend_from_slice(&job.filler);
        self.topic = if self.topic + 1 < self.topics.len() { self.topic + 1 } else { 0 };
        self.sent += 1;
        self.owed = self.owed.saturating_sub(1);
    }

    /// A publication is done with; its identifier is free again. Gives its topic.
    pub(crate) fn acknowledged(&mut self, id: PacketId) -> &str {
        let topic = self.used_for.get(usize::from(id.value()) - 1).copied();
        if topic.is_some() {
            self.free.push_back(id);
        }
        topic.and_then(|topic| self.topics.get(topic)).map_or("", String::as_str)
    }

    /// In a closed loop, gives up deliveries that do not come, so that the loop goes on. How many publications.
    pub(crate) fn give_up(&mut self, job: &Job, shared: &Shared, now_ns: u64) -> u64 {
        let credit = self.credit(shared);
        let outstanding = self.outstanding(shared);
        if credit != self.seen || outstanding == 0 {
            (self.seen, self.seen_ns) = (credit, now_ns);
            return 0;
        }
        let is_blocked = outstanding >= job.plan.in_flight.saturating_mul(self.fan.max(1));
        if !is_blocked || now_ns.saturating_sub(self.seen_ns) < PATIENCE_NS {
            return 0;
        }
        self.given_up += outstanding;
        self.seen_ns = now_ns;
        outstanding
    }

    /// Deliveries that are still to come.
    fn outstanding(&self, shared: &Shared) -> u64 {
        (self.sent * self.fan).saturating_sub(self.credit(shared) + self.given_up)
    }

    fn credit(&self, shared: &Shared) -> u64 {
        let index = usize::try_from(self.number).unwrap_or(usize::MAX);
        shared.credits.get(index).map_or(0, |credit| credit.load(Ordering::Relaxed))
    }
}
