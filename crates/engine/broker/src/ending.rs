//! How connections and Sessions end: Wills, expiry, takeover, goodbye.

use std::sync::Arc;

use motte_access::{AccessDecision, Origin, Principal};
use motte_session::{Durability, SessionExpiry, Will};
use motte_store::{Group, SessionId, WillRecord};
use motte_wire::{Disconnect, ProtocolVersion, QoS, ReasonCode};

use crate::admit::Admit;
use crate::connections::{Connections, Stage};
use crate::core::Core;
use crate::deliver::Letter;
use crate::durable::Durable;
use crate::effect::Effects;
use crate::input::{CloseCause, ConnId, Now};
use crate::memory::Pressure;
use crate::notice;
use crate::publication::{Sender, StoredPublication};
use crate::restoring::to_unix;
use crate::sending::QUEUED_WHILE_AWAY;
use crate::sessions::{Session, SessionKey};
use crate::timers::{MaybeMs, Timer};
use crate::transit::Transit;

/// How a connection ended, as far as its Will and its Session care.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parting {
    /// DISCONNECT 0x00 came: the Will is deleted (MQTT-3.1.2-10, MQTT-3.14.4-3).
    pub(crate) will_deleted: bool,
    /// A Session Expiry Interval in DISCONNECT replaces the one of CONNECT.
    pub(crate) expiry: Option<SessionExpiry>,
}

/// What a client is told at the end: the Reason Code, and words for whoever looks for the fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Reason Code.
    pub(crate) reason: ReasonCode,
    /// Reason String, for clients that want problem information.
    pub(crate) words: Option<&'a str>,
}

impl From<ReasonCode> for Told<'_> {
    fn from(reason: ReasonCode) -> Self {
        Self { reason, words: None }
    }
}

impl Parting {
    /// Without a word from the client.
    pub(crate) const ABRUPT: Self = Self { will_deleted: false, expiry: None };
}

impl Core {
    /// The connection of a Session is gone: its Will is scheduled, its expiry begins, or it ends.
    pub(crate) fn part(&mut self, key: SessionKey, parting: Parting, now: Now, fx: &mut impl Effects) {
        let Some(session) = self.sessions.by_key(key) else { return };
        session.conn = None;
        session.set_online(false);
        session.aliases = motte_session::OutboundAliases::default();
        session.pending_retained.clear();
        if let Some(expiry) = parting.expiry {
            session.expiry = expiry;
        }
        if parting.will_deleted && session.will.take().is_some() {
            remove_will(&mut self.durable, session);
        }
        let ends_ms = session.expiry.ends_at_ms(now.mono_ms);
        if session.ends_ms != ends_ms || parting.expiry.is_some() {
            session.ends_ms = ends_ms;
            self.durable.change(session);
        }
        let stays = session.expiry.outlives_connection();
        if let Some(will) = &session.will {
            let delay_ms = if stays { u64::from(will.delay_s) * 1_000 } else { 0 };
            // The Will goes out when its delay is over or the Session ends, whichever comes first (5.0 section 3.1.3.2.2).
            let due_ms = now.mono_ms.saturating_add(delay_ms).min(ends_ms.unwrap_or(u64::MAX));
            session.will_due_ms = MaybeMs::at(due_ms);
            if stays {
                put_will(&mut self.durable, session, now);
            }
            if due_ms > now.mono_ms {
                self.timers.set(due_ms, Timer::WillDue(key));
            }
        }
        let to_move = self.shared_to_move(key);
        if self
            .sessions
            .by_key(key)
            .is_some_and(|s| s.will_due_ms.get().is_some_and(|due| due <= now.mono_ms))
        {
            self.fire_will(key, now, fx);
        }
        let mut number = 0;
        if let Some(session) = self.sessions.by_key(key) {
            number = session.number;
            let before = session.outbound.held_bytes();
            session.spill_all_but(QUEUED_WHILE_AWAY);
            self.ledger.change(before, session.outbound.held_bytes(), self.exchange.memory());
        }
        self.redistribute(to_move, number, now, fx);
        if !stays {
            self.end(key, now, fx);
        } else if let Some(ends_ms) = ends_ms {
            self.timers.set(ends_ms, Timer::SessionEnd(key));
        }
    }

    /// Publishes a Session's Will now, if it has one.
    pub(crate) fn fire_will(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        let shard = self.shard;
        let Some(session) = self.sessions.by_key(key) else { return };
        let Some(will) = session.will.take() else { return };
        session.will_due_ms = MaybeMs::NONE;
        remove_will(&mut self.durable, session);
        let principal = Arc::clone(&session.principal);
        let sender = session.sender(shard);
        self.publish_will(*will, &principal, sender, now, fx);
    }

    fn publish_will(
        &mut self,
        will: Will,
        source: &Arc<Principal>,
        sender: Sender,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let publication = StoredPublication {
            topic: will.topic,
            payload: crate::payload::Payload::from(&*will.payload),
            qos: will.qos,
            retain: will.retain,
            forwarded: will.forwarded.into_boxed_slice(),
            expires_ms: will.message_expiry_s.map(|s| now.mono_ms.saturating_add(u64::from(s) * 1_000)),
            source: Arc::clone(source),
            sender,
        };
        if self.inject(Origin::Will, source, publication, now, fx) {
            self.counters.wills_published += 1;
        }
    }

    /// Decides and delivers a publication that no connection sent; false when it was denied.
    pub(crate) fn inject(
        &mut self,
        by: Origin,
        principal: &Arc<Principal>,
        publication: StoredPublication,
        now: Now,
        fx: &mut impl Effects,
    ) -> bool {
        let mut standing = self.admit.standing(Arc::clone(principal));
        match self.admit.inject(by, &mut standing, publication) {
            AccessDecision::Permit(permitted) => {
                let stored = Arc::new(permitted);
                if stored.get().retain {
                    // The system says what it has to say again after a restart.
                    let is_kept = !matches!(**principal, Principal::System);
                    let durability = if is_kept { Durability::Disk } else { Durability::Memory };
                    self.retain(&stored, (durability, Group::COMMON), now, fx);
                }
                if let Some(lent) = Admit::lend(&stored) {
                    self.deliver(&lent, (Some(Arc::clone(&stored)), None), now, fx);
                }
                true
            }
            AccessDecision::Deny(publication, denial) => {
                notice::injection_denied(by, principal, publication.topic.as_str(), &denial, fx);
                false
            }
        }
    }

    /// A Session is over: its subscriptions, its messages and its name go.
    pub(crate) fn end(&mut self, key: SessionKey, now: Now, fx: &mut impl Effects) {
        self.fire_will(key, now, fx);
        let Some(mut session) = self.sessions.remove(key) else { return };
        let number = session.number;
        for own in std::mem::take(&mut session.subscriptions) {
            self.unindex(&own, key);
        }
        self.ledger.change(session.outbound.held_bytes() + session.own_bytes(), 0, self.exchange.memory());
        self.exchange.session_ended(&session.principal);
        // QoS 1 moves to another member even if it was sent; QoS 2 that was sent must not (MQTT-4.8.2-5).
        let to_move = session
            .outbound
            .take_all()
            .into_iter()
            .filter(|(delivery, sent)| {
                delivery.shared.is_some() && !(*sent && delivery.qos == QoS::ExactlyOnce)
            })
            .map(|(delivery, _)| delivery)
            .collect();
        self.redistribute(to_move, 0, now, fx);
        if number != 0 {
            self.durable.put(&session, |batch, _, number| batch.remove_session(number));
        }
    }

    /// Waiting deliveries of Shared Subscriptions that another connected member could take.
    fn shared_to_move(&mut self, key: SessionKey) -> Vec<crate::publication::Delivery> {
        let (shard, exchange) = (self.shard, self.exchange.clone());
        let Some(session) = self.sessions.by_key(key) else { return Vec::new() };
        if session.online.is_none() {
            return Vec::new();
        }
        let taken = session.outbound.take_queued(|delivery| {
            delivery
                .shared
                .as_ref()
                .and_then(|group| exchange.group(group))
                .is_some_and(|group| group.others_online(shard, key))
        });
        let bytes: usize = taken.iter().map(motte_session::Letter::bytes).sum();
        self.ledger.change(bytes, 0, exchange.memory());
        taken
    }

    fn redistribute(
        &mut self,
        deliveries: Vec<crate::publication::Delivery>,
        number: u64,
        now: Now,
        fx: &mut impl Effects,
    ) {
        for delivery in deliveries {
            let Some(key) = &delivery.shared else { continue };
            let transit = (number != 0 && delivery.seq != 0).then_some(Transit {
                queue: SessionId(number),
                seq: delivery.seq,
                message: None,
            });
            let publication = Arc::clone(delivery.publication());
            if publication.get().expired(now.mono_ms) {
                self.counters.dropped_expired += 1;
                self.durable.arrived(transit);
                continue;
            }
            let mut letter = Letter::on_its_way(&publication, transit);
            let Some(group) = self.exchange.group(key) else {
                self.durable.arrived(transit);
                continue;
            };
            let attempt = group.begin();
            self.deliver_shared(&mut letter, &group, attempt, now, fx);
        }
    }

    /// Ends connections and Sessions whose time has come.
    pub(crate) fn tick(&mut self, connections: &mut Connections, now: Now, fx: &mut impl Effects) {
        while let Some(timer) = self.timers.pop_due(now.mono_ms) {
            match timer {
                Timer::KeepAlive(conn) => self.check_silence(connections, conn, now, fx),
                Timer::CredentialEnd(conn) => self.check_credential(connections, conn, now, fx),
                Timer::Reauthentication(conn) => self.check_reauthentication(connections, conn, now, fx),
                Timer::SessionEnd(key) => {
                    let due = self.sessions.by_key(key).and_then(|s| s.ends_ms);
                    if due.is_some_and(|due| due <= now.mono_ms) {
                        if let Some(session) = self.sessions.by_key(key) {
                            notice::session_expired(session, fx);
                        }
                        self.end(key, now, fx);
                    }
                }
                Timer::WillDue(key) => {
                    let due = self.sessions.by_key(key).and_then(|s| s.will_due_ms.get());
                    if due.is_some_and(|due| due <= now.mono_ms) {
                        self.fire_will(key, now, fx);
                    }
                }
                Timer::Load(key) => self.load_more(key, fx),
                Timer::Sweep => {
                    if self.shard.0 == 0 {
                        self.sweep_retained(now);
                    }
                    self.drop_expired(now);
                    self.timers.set(now.mono_ms + SWEEP_MS, Timer::Sweep);
                }
            }
        }
        let live = self.sessions.len() + connections.len();
        if self.timers.len() > 1_024 + 4 * live {
            let Self { timers, sessions, .. } = self;
            timers.compact(|at_ms, timer| match timer {
                Timer::KeepAlive(conn) => connections.live(conn).is_some(),
                Timer::CredentialEnd(conn) => {
                    connections.live(conn).is_some_and(|live| live.credential_ms == at_ms)
                }
                Timer::Reauthentication(conn) => {
                    connections.live(conn).is_some_and(|live| live.reauthentication.is_under_way())
                }
                Timer::SessionEnd(key) => sessions.by_key(key).is_some_and(|s| s.ends_ms == Some(at_ms)),
                Timer::WillDue(key) => {
                    sessions.by_key(key).is_some_and(|s| s.will_due_ms.get() == Some(at_ms))
                }
                Timer::Load(key) => sessions.by_key(key).is_some_and(|s| s.spilled.is_some()),
                Timer::Sweep => true,
            });
        }
    }

    /// Forgets what has expired in the queues of those who are away. Looked for only when memory is short: it would be left
    /// out when its client comes anyway.
    fn drop_expired(&mut self, now: Now) {
        if self.exchange.memory().pressure() == Pressure::None {
            return;
        }
        for key in self.sessions.keys() {
            let Some(session) = self.sessions.by_key(key).filter(|session| session.conn.is_none()) else {
                continue;
            };
            let before = session.outbound.held_bytes();
            let expired = session.outbound.take_expired(now.mono_ms);
            self.counters.dropped_expired += expired.len() as u64;
            for delivery in expired {
                self.durable.remove_delivery(session.number, delivery.seq);
            }
            let held = session.outbound.held_bytes();
            self.ledger.change(before, held, self.exchange.memory());
        }
    }

    fn check_silence(
        &mut self,
        connections: &mut Connections,
        conn: ConnId,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Some(live) = connections.live(conn) else { return };
        let Some(silence_ms) = live.silence_ms.map(u64::from) else { return };
        let due_ms = live.seen_ms.saturating_add(silence_ms);
        if due_ms > now.mono_ms {
            self.timers.set(due_ms, Timer::KeepAlive(conn));
            return;
        }
        notice::keep_alive_timeout(&live.principal, silence_ms, fx);
        self.say_goodbye(connections, conn, ReasonCode::KEEP_ALIVE_TIMEOUT, CloseCause::KeepAlive, now, fx);
    }

    /// Sends DISCONNECT where the version has it, closes the connection, and parts from its Session.
    pub(crate) fn say_goodbye<'a>(
        &mut self,
        connections: &mut Connections,
        conn: ConnId,
        told: impl Into<Told<'a>>,
        cause: CloseCause,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Told { reason, words } = told.into();
        let Some(stage) = connections.remove(conn) else { return };
        if let Stage::Live(live) = stage {
            if live.version == ProtocolVersion::V5
                && let Some(output) = fx.output(conn)
            {
                let mut packet = Disconnect::new(reason);
                packet.reason_string = words.filter(|_| live.problem_information);
                let mut bytes = Vec::new();
                packet.encode(ProtocolVersion::V5, &mut bytes);
                let most = self.sessions.by_key(live.session).map_or(u32::MAX, |s| s.maximum_packet_size);
                if bytes.len() > most as usize {
                    // MQTT-3.14.2-3: words that make it too large are left out.
                    bytes.clear();
                    Disconnect::new(reason).encode(ProtocolVersion::V5, &mut bytes);
                }
                output.extend(&bytes);
            }
            fx.close(conn, cause);
            notice::disconnected(&live.principal, cause, fx);
            if self.sessions.by_key(live.session).is_some_and(|s| s.conn == Some(conn)) {
                self.part(live.session, Parting::ABRUPT, now, fx);
            }
        } else {
            fx.close(conn, cause);
        }
    }
}

/// The Will of a Session as it is kept: with the time when it is due, or what its delay is once the connection is gone.
pub(crate) fn put_will(durable: &mut Durable, session: &Session, now: Now) {
    let (Some(will), true) = (&session.will, session.number != 0) else { return };
    let record = WillRecord {
        topic: will.topic.as_str().to_owned(),
        payload: will.payload.clone(),
        qos: will.qos as u8,
        retain: will.retain,
        forwarded: will.forwarded.clone(),
        message_expiry_s: will.message_expiry_s,
        due_at_ms: match session.will_due_ms.get() {
            Some(due_ms) => to_unix(due_ms, now),
            None => WillRecord::AFTER_CONNECTION | (u64::from(will.delay_s) * 1_000),
        },
    };
    durable.put(session, |batch, group, number| batch.put_will(group, number, &record));
}

/// The Session has no Will any more.
pub(crate) fn remove_will(durable: &mut Durable, session: &Session) {
    if session.number != 0 {
        durable.put(session, |batch, _, number| batch.remove_will(number));
    }
}

/// How often expired Retained Messages are forgotten; a replay leaves them out anyway.
pub(crate) const SWEEP_MS: u64 = 60_000;
