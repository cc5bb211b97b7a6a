//! A shard: inputs come in, effects go out, nothing else.

use std::sync::{Arc, Mutex};

use motte_access::usage::UsageRecord;
use motte_wire::{ConnAck, ControlPacket, Disconnect, FrameError, MalformedPacket, PINGRESP, ReasonCode};

use crate::acks::Acknowledgement;
use crate::connections::{Connections, Stage};
use crate::core::{Core, Settings};
use crate::counters::Counters;
use crate::deliver::Letter;
use crate::effect::Effects;
use crate::ending::{Parting, SWEEP_MS, Told};
use crate::exchange::ShardMessage;
use crate::input::{CloseCause, CommitResult, ConnId, Input, Now};
use crate::notice;
use crate::timers::Timer;

/// One shard of the broker.
#[derive(Debug)]
pub struct Broker {
    pub(crate) core: Core,
    pub(crate) connections: Connections,
}

impl Broker {
    /// A shard without connections and Sessions.
    pub fn new(settings: Settings) -> Self {
        let mut core = Core::new(settings);
        core.timers.set(SWEEP_MS, Timer::Sweep);
        Self { core, connections: Connections::default() }
    }

    /// Records from now on what rules are used for.
    pub fn record_usage(&mut self, record: Arc<Mutex<UsageRecord>>, now: Now) {
        self.core.admit.record_usage(record, now.unix_ms / 1_000);
    }

    /// Takes one input and gives its effects. Never blocks, never fails: what is wrong with an input is an effect.
    pub fn handle(&mut self, now: Now, input: Input<'_>, fx: &mut impl Effects) {
        let ended = self.core.admit.advance(now.unix_ms / 1_000);
        // All shards see it; one tells.
        for role in ended.iter().filter(|_| self.core.shard.0 == 0) {
            notice::permissive_ended(role, fx);
        }
        self.dispatch(now, input, fx);
        if self.core.admit.lenient() != self.core.counters.let_pass {
            self.core.counters.let_pass = self.core.admit.lenient();
            for one in self.core.admit.take_leniencies() {
                notice::let_pass(&one, fx);
            }
        }
    }

    fn dispatch(&mut self, now: Now, input: Input<'_>, fx: &mut impl Effects) {
        match input {
            Input::Packet { conn, packet, bytes } => self.packet(conn, packet, bytes, now, fx),
            Input::Shard(message) => self.shard_message(message, now, fx),
            Input::Drained { conn } => self.drained(conn, now, fx),
            Input::Connected { conn, link } => self.connected(conn, link),
            Input::Malformed { conn, error } => self.malformed(conn, &error, now, fx),
            Input::BadFrame { conn, error } => self.bad_frame(conn, error, now, fx),
            Input::Closed { conn, cause } => self.closed(conn, cause, now, fx),
            Input::Verdict { conn, verdict } => self.verdict(conn, verdict, now, fx),
            Input::Adopt { conn, handover } => self.adopt(conn, *handover, now, fx),
            Input::Tick => {
                self.core.tick(&mut self.connections, now, fx);
                self.core.admit.tell_usage();
                self.core.ledger.tell(self.core.exchange.memory());
            }
            Input::Inject { by, principal, publication } => {
                self.core.inject(by, &principal, publication, now, fx);
            }
            Input::Reload(reload) => self.reload(&reload, now, fx),
            Input::Expel(expelled) => self.expel(&expelled, now, fx),
            Input::Restore(restored) => self.restore(*restored, now, fx),
            Input::RestoreRetained { principal, publication } => {
                self.core.restore_retained(&principal, publication, now, fx);
            }
            Input::Loaded { session, deliveries } => self.core.loaded(session, deliveries, now, fx),
            Input::Committed { tag, result } => self.committed(tag, result, now, fx),
            Input::Arrive(arrival) => self.core.arrive(&arrival, now, fx),
            Input::TurnOver => self.core.turn_over(now, fx),
            Input::Shutdown => self.shut_down(now, fx),
        }
    }

    /// When [`Input::Tick`] is wanted, in monotonic milliseconds.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        self.core.timers.next_ms().into_iter().chain(self.core.durable.next_ms()).min()
    }

    /// Whether more is gathered than the disk takes: then nothing more should be read.
    pub fn is_behind(&self) -> bool {
        self.core.durable.is_behind()
    }

    /// Whether nothing waits for the disk or another shard.
    pub fn is_settled(&self) -> bool {
        self.core.durable.is_settled()
    }

    /// What was counted so far, and how much there is now.
    pub fn counters(&self) -> Counters {
        Counters {
            connections: self.connections.len() as u64,
            sessions: self.core.sessions.len() as u64,
            subscriptions: self.core.subscriptions.len() as u64,
            ..self.core.counters
        }
    }

    fn packet(
        &mut self,
        conn: ConnId,
        packet: &ControlPacket<'_>,
        bytes: usize,
        now: Now,
        fx: &mut impl Effects,
    ) {
        self.core.counters.packets_received += 1;
        self.core.counters.bytes_received += bytes as u64;
        match self.connections.get_mut(conn) {
            Some(Stage::Live(live)) => live.seen_ms = now.mono_ms,
            Some(_) if matches!(packet, ControlPacket::Connect(_) | ControlPacket::Auth(_)) => {}
            // MQTT-3.1.0-1: CONNECT is the first packet; anything else ends the connection without an answer.
            Some(_) => {
                return self.protocol_error(
                    conn,
                    ReasonCode::PROTOCOL_ERROR,
                    "a packet before CONNECT",
                    now,
                    fx,
                );
            }
            None => return,
        }
        match packet {
            ControlPacket::Publish(publish) => self.publish(conn, publish, now, fx),
            ControlPacket::PubAck(ack) => self.acknowledged(conn, Acknowledgement::Received, ack, now, fx),
            ControlPacket::PubRec(ack) => self.acknowledged(conn, Acknowledgement::Recorded, ack, now, fx),
            ControlPacket::PubComp(ack) => self.acknowledged(conn, Acknowledgement::Completed, ack, now, fx),
            ControlPacket::PubRel(ack) => self.released(conn, ack, fx),
            ControlPacket::Subscribe(subscribe) => self.subscribe(conn, subscribe, now, fx),
            ControlPacket::Unsubscribe(unsubscribe) => self.unsubscribe(conn, unsubscribe, fx),
            ControlPacket::PingReq => ping_response(conn, fx),
            ControlPacket::Connect(connect) => self.connect(conn, connect, now, fx),
            ControlPacket::Disconnect(disconnect) => self.disconnected(conn, disconnect, now, fx),
            ControlPacket::Auth(auth) => self.auth(conn, auth, now, fx),
            ControlPacket::ConnAck(_)
            | ControlPacket::SubAck(_)
            | ControlPacket::UnsubAck(_)
            | ControlPacket::PingResp => {
                let cause = "a packet that only a server sends";
                self.protocol_error(conn, ReasonCode::PROTOCOL_ERROR, cause, now, fx);
            }
        }
    }

    /// DISCONNECT from the client.
    fn disconnected(&mut self, conn: ConnId, packet: &Disconnect<'_>, now: Now, fx: &mut impl Effects) {
        let Some(live) = self.connections.live(conn) else { return };
        let key = live.session;
        let Some(session) = self.core.sessions.by_key(key) else { return };
        let expiry = match packet.session_expiry_s {
            // MQTT-3.14.2-2 with 5.0 section 3.14.2.2.2: from zero it cannot grow.
            Some(asked) if asked > 0 && !session.expiry.outlives_connection() => {
                let cause = "DISCONNECT raises a Session Expiry Interval of zero";
                return self.protocol_error(conn, ReasonCode::PROTOCOL_ERROR, cause, now, fx);
            }
            Some(asked) => {
                Some(motte_session::SessionExpiry::from_interval(asked, session.limits.session_expiry_s_max))
            }
            None => None,
        };
        let will_deleted = packet.reason == ReasonCode::NORMAL_DISCONNECTION;
        notice::disconnected(&live.principal, CloseCause::Disconnected, fx);
        self.connections.remove(conn);
        fx.close(conn, CloseCause::Disconnected);
        self.core.part(key, Parting { will_deleted, expiry }, now, fx);
    }

    /// The transport is gone without DISCONNECT.
    fn closed(&mut self, conn: ConnId, cause: CloseCause, now: Now, fx: &mut impl Effects) {
        if let Some(Stage::Live(live)) = self.connections.remove(conn) {
            notice::disconnected(&live.principal, cause, fx);
            if self.core.sessions.by_key(live.session).is_some_and(|s| s.conn == Some(conn)) {
                self.core.part(live.session, Parting::ABRUPT, now, fx);
            }
        }
    }

    pub(crate) fn goodbye<'a>(
        &mut self,
        conn: ConnId,
        told: impl Into<Told<'a>>,
        cause: CloseCause,
        now: Now,
        fx: &mut impl Effects,
    ) {
        self.core.say_goodbye(&mut self.connections, conn, told, cause, now, fx);
    }

    /// The peer broke the protocol: answer as its version has it, log once, close.
    pub(crate) fn protocol_error(
        &mut self,
        conn: ConnId,
        reason: ReasonCode,
        cause: &str,
        now: Now,
        fx: &mut impl Effects,
    ) {
        self.core.counters.protocol_errors += 1;
        if let Some(stage) = self.connections.get_mut(conn) {
            notice::protocol_error(stage, cause, fx);
        }
        self.goodbye(conn, Told { reason, words: Some(cause) }, CloseCause::Protocol, now, fx);
    }

    fn malformed(&mut self, conn: ConnId, error: &MalformedPacket, now: Now, fx: &mut impl Effects) {
        self.core.counters.protocol_errors += 1;
        let Some(stage) = self.connections.get_mut(conn) else { return };
        notice::malformed(stage, error, fx);
        // A CONNECT that cannot be read may be answered when its version is known (MQTT-3.1.2-2, MQTT-3.1.4-1).
        if let (Stage::Awaiting(_), Some((version, reason))) = (stage, error.connect_answer())
            && let Some(output) = fx.output(conn)
        {
            ConnAck::refusal(reason).encode(version, output.buffer());
        }
        let words = error.to_string();
        let told = Told { reason: error.reason, words: Some(&words) };
        self.goodbye(conn, told, CloseCause::Protocol, now, fx);
    }

    fn bad_frame(&mut self, conn: ConnId, error: FrameError, now: Now, fx: &mut impl Effects) {
        self.core.counters.protocol_errors += 1;
        let Some(stage) = self.connections.get_mut(conn) else { return };
        notice::bad_frame(stage, error, fx);
        let reason = match error {
            FrameError::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
            FrameError::MalformedLength => ReasonCode::MALFORMED_PACKET,
        };
        let words = error.to_string();
        self.goodbye(conn, Told { reason, words: Some(&words) }, CloseCause::Protocol, now, fx);
    }

    fn shard_message(&mut self, message: ShardMessage, now: Now, fx: &mut impl Effects) {
        match message {
            ShardMessage::Publish { publication, transit } => {
                self.core.deliver_here(&publication, transit, None, now, fx);
            }
            ShardMessage::Shared { publication, key, session, attempt, transit } => {
                let mut letter = Letter::on_its_way(&publication, transit);
                if !self.core.deliver_to_member(&mut letter, &key, session, now, fx) {
                    match self.core.exchange.group(&key) {
                        Some(group) => {
                            self.core.deliver_shared(&mut letter, &group, attempt, now, fx);
                        }
                        None => self.core.durable.arrived(letter.transit.take()),
                    }
                }
            }
        }
    }

    /// What became of what was to be kept.
    fn committed(&mut self, tag: u64, result: CommitResult, now: Now, fx: &mut impl Effects) {
        if let Some(event) = self.core.durable.committed(tag, result, now) {
            fx.event(event);
        }
        self.settle(now, fx);
    }

    /// Lets go what waited; connections that were promised what is not kept are closed without having heard of it.
    fn settle(&mut self, now: Now, fx: &mut impl Effects) {
        for (tag, conn) in self.core.durable.settle(fx) {
            if let Some(output) = fx.output(conn) {
                output.forget_held(tag);
            }
            let words = "what you sent last is not kept: the server's disk refuses; send it again";
            let told = Told { reason: ReasonCode::QUOTA_EXCEEDED, words: Some(words) };
            self.goodbye(conn, told, CloseCause::NotKept, now, fx);
        }
    }
}

fn ping_response(conn: ConnId, fx: &mut impl Effects) {
    if let Some(output) = fx.output(conn) {
        output.extend(&PINGRESP);
    }
}
