//! From CONNECT to CONNACK: checks, the question who it is, the Session on its shard.

use std::sync::Arc;

use motte_access::{ClientPrincipal, Methods, Principal, assigned_client_id};
use motte_session::{ConnectRequest, Durability, Outbound, OutboundAliases, SessionLimits};
use motte_wire::{Auth, ConnAck, Connect, Disconnect, ProtocolVersion, ReasonCode};

use crate::broker::Broker;
use crate::connack::{Known, send_connack};
use crate::connections::{Asked, Contention, Live, Stage};
use crate::effect::{Effects, Question};
use crate::ending::{put_will, remove_will};
use crate::input::{CloseCause, ConnId, Handover, Link, Now, Verdict};
use crate::memory::Pressure;
use crate::notice;
use crate::publication::Delivery;
use crate::sessions::{Session, SessionKey};
use crate::timers::{MaybeMs, Timer};

/// Tries for an assigned Client Identifier whose home is this shard.
const ASSIGN_TRIES: usize = 1_024;

impl Broker {
    pub(crate) fn connected(&mut self, conn: ConnId, link: Link) {
        self.connections.insert(conn, Stage::Awaiting(Box::new(link)));
    }

    /// CONNECT, the first packet (MQTT-3.1.0-1).
    pub(crate) fn connect(&mut self, conn: ConnId, connect: &Connect<'_>, now: Now, fx: &mut impl Effects) {
        let Some(Stage::Awaiting(link)) = self.connections.get_mut(conn) else {
            // MQTT-3.1.0-2: a second CONNECT is a protocol error.
            self.protocol_error(conn, ReasonCode::PROTOCOL_ERROR, "a second CONNECT", now, fx);
            return;
        };
        let link = (**link).clone();
        if self.core.stopping {
            return self.refuse(
                conn,
                &link,
                (connect.version, connect.client_id),
                ReasonCode::SERVER_UNAVAILABLE,
                "the server is stopping",
                fx,
            );
        }
        match ConnectRequest::accept(connect, &link.limits) {
            Ok(request) => {
                let asked = Asked { link, request, exchanging: false };
                self.connections.insert(conn, Stage::Asked(Box::new(asked)));
                fx.authenticate(conn, Question::Connect(connect));
            }
            Err(refusal) => self.refuse(
                conn,
                &link,
                (connect.version, connect.client_id),
                refusal.reason,
                refusal.cause,
                fx,
            ),
        }
    }

    /// The answer to who it is.
    pub(crate) fn verdict(&mut self, conn: ConnId, verdict: Verdict, now: Now, fx: &mut impl Effects) {
        match self.connections.get_mut(conn) {
            Some(Stage::Asked(asked)) => match verdict {
                Verdict::Accepted { principal, data, advice } => {
                    let asked = std::mem::replace(asked, Box::new(placeholder(asked)));
                    self.accept(conn, *asked, *principal, (data, advice), now, fx);
                }
                Verdict::Continue { data } => {
                    asked.exchanging = true;
                    let method = asked.request.authentication_method.clone().unwrap_or_default();
                    send_auth(conn, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data, fx);
                }
                Verdict::Refused { reason, cause } => {
                    let (link, version) = (asked.link.clone(), asked.request.version);
                    let client_id = asked.request.client_id.clone();
                    self.refuse(conn, &link, (version, &client_id), reason, &cause, fx);
                }
            },
            Some(Stage::Live(_)) => self.verdict_again(conn, verdict, now, fx),
            Some(Stage::Awaiting(_)) | None => {}
        }
    }

    /// AUTH from the client: a step of the exchange, or the wish to authenticate again.
    pub(crate) fn auth(&mut self, conn: ConnId, auth: &Auth<'_>, now: Now, fx: &mut impl Effects) {
        let (method, expected) = match self.connections.get_mut(conn) {
            Some(Stage::Asked(asked)) if asked.exchanging => {
                asked.exchanging = false;
                (
                    asked.request.authentication_method.clone().map(String::into_boxed_str),
                    ReasonCode::CONTINUE_AUTHENTICATION,
                )
            }
            Some(Stage::Live(live)) if live.reauthentication.is_under_way() => {
                (live.method.clone(), ReasonCode::CONTINUE_AUTHENTICATION)
            }
            Some(Stage::Live(live)) => (live.method.clone(), ReasonCode::RE_AUTHENTICATE),
            Some(Stage::Asked(_) | Stage::Awaiting(_)) | None => (None, auth.reason),
        };
        // MQTT-4.12.0-5 and MQTT-4.12.1-1: the method of CONNECT, and none means no AUTH at all.
        if method.is_none() || auth.method != method.as_deref() || auth.reason != expected {
            self.protocol_error(
                conn,
                ReasonCode::PROTOCOL_ERROR,
                "AUTH out of place or with another method",
                now,
                fx,
            );
            return;
        }
        if expected == ReasonCode::CONTINUE_AUTHENTICATION {
            return fx.authenticate(conn, Question::Continue(auth));
        }
        let Some(live) = self.connections.live(conn) else { return };
        let principal = Arc::clone(&live.principal);
        let Some(client) = principal.client() else { return };
        if !live.reauthentication.begin(now.mono_ms) {
            notice::reauthentication_refused(&principal, "it authenticates again too often", fx);
            return self.goodbye(conn, ReasonCode::MESSAGE_RATE_TOO_HIGH, CloseCause::Revoked, now, fx);
        }
        self.core.watch_reauthentication(conn, now);
        fx.authenticate(conn, Question::Again { auth, client });
    }

    /// The client is known: its name, its Will and its Session's home are settled.
    fn accept(
        &mut self,
        conn: ConnId,
        asked: Asked,
        mut client: ClientPrincipal,
        (data, advice): (Option<Vec<u8>>, Option<Box<str>>),
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Asked { link, mut request, .. } = asked;
        let version = request.version;
        let assigned = request.client_id.is_empty();
        if assigned {
            request.client_id = self.assign_client_id(&client.identity, fx);
        }
        client.client_id = Arc::from(request.client_id.as_str());
        // An assigned identifier is its identity's, now and when it comes back with it.
        if !assigned && let Err(denial) = self.core.admit.client_id(&client) {
            notice::client_id_refused(&client, &denial, fx);
            return self.refuse(
                conn,
                &link,
                (version, &request.client_id),
                ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                "this identity may not use this Client Identifier",
                fx,
            );
        }
        let principal = Arc::new(Principal::Client(client));
        if let Some(will) = &request.will {
            let mut standing = self.core.admit.standing(Arc::clone(&principal));
            if let Err(denial) = self.core.admit.set_will(&mut standing, will) {
                notice::will_refused(&principal, will.topic.as_str(), &denial, fx);
                return self.refuse(
                    conn,
                    &link,
                    (version, &request.client_id),
                    ReasonCode::NOT_AUTHORIZED,
                    "the Will is not permitted",
                    fx,
                );
            }
        }
        let home = self.core.home(&request.client_id);
        let handover = Handover { link, request, principal, assigned, data, advice };
        if home == self.core.shard {
            self.adopt(conn, handover, now, fx);
        } else {
            self.connections.remove(conn);
            fx.hand_over(conn, home, Box::new(handover));
        }
    }

    /// A client whose Session lives here, authenticated here or on another shard.
    pub(crate) fn adopt(&mut self, conn: ConnId, handover: Handover, now: Now, fx: &mut impl Effects) {
        let Handover { link, request, principal, assigned, data, advice } = handover;
        // Here, on the shard that will hold it, and no sooner: a reload that comes after this reaches it.
        if let Some(client) = principal.client()
            && let Err(denial) = self.core.admit.source(client)
        {
            notice::source_refused(client, &denial, fx);
            self.connections.insert(conn, Stage::Awaiting(Box::new(link.clone())));
            return self.refuse(
                conn,
                &link,
                (request.version, &request.client_id),
                ReasonCode::NOT_AUTHORIZED,
                "this identity may not come from this address",
                fx,
            );
        }
        let existing = self.core.sessions.find(&request.client_id);
        let mut contention = Contention::default();
        if let Some(slot) = existing {
            if !self.same_owner(slot, &principal) {
                self.connections.insert(conn, Stage::Awaiting(Box::new(link.clone())));
                notice::takeover_refused(&principal, fx);
                return self.refuse(
                    conn,
                    &link,
                    (request.version, &request.client_id),
                    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
                    "the Client Identifier is in use by another identity",
                    fx,
                );
            }
            contention = self.take_over(slot, &request, now, fx);
        } else if let Err((reason, cause)) = self.room_for(&principal, &link, &request) {
            self.connections.insert(conn, Stage::Awaiting(Box::new(link.clone())));
            return self.refuse(conn, &link, (request.version, &request.client_id), reason, cause, fx);
        }
        let (key, present) = self.open_session(conn, &link.limits, &request, &principal, now, fx);
        let mut live = Live::new(key, Arc::clone(&principal), &request, now.mono_ms);
        live.contention = contention;
        if let Some(silence_ms) = live.silence_ms {
            self.core.timers.set(now.mono_ms + u64::from(silence_ms), Timer::KeepAlive(conn));
        }
        live.credential_ms = self.core.watch_credential(conn, &principal, now);
        self.connections.insert(conn, Stage::Live(Box::new(live)));
        fx.established(conn, request.version, link.limits.packet_bytes_max);
        // Whether there is a Session has to be true after a crash, too: also that there is none any more. While the disk
        // refuses, whoever has a Session may come and take what waits all the same.
        if !self.core.durable.is_refusing() {
            self.core.durable.hold(conn, fx);
        }
        let known = Known { assigned, present, data: data.as_deref(), advice: advice.as_deref() };
        send_connack(conn, &link.limits, &request, &known, fx);
        self.core.counters.connects_accepted += 1;
        notice::authenticated(&principal, &request, present, fx);
        if present {
            self.core.resume(key, now, fx);
        }
    }

    /// Whether there is room for one more Session. Whoever has one may always come: that is how what waits gets away.
    fn room_for(
        &self,
        principal: &Principal,
        link: &Link,
        request: &ConnectRequest,
    ) -> Result<(), (ReasonCode, &'static str)> {
        let is_kept = request.expiry.outlives_connection() && link.limits.durability > Durability::Memory;
        if is_kept && self.core.durable.is_refusing() {
            return Err((ReasonCode::QUOTA_EXCEEDED, "the disk refuses, so no new Session can be kept"));
        }
        if self.core.exchange.memory().pressure() >= Pressure::High {
            return Err((ReasonCode::SERVER_BUSY, "the memory budget is nearly used up"));
        }
        if self.core.exchange.sessions_of(principal) >= link.limits.sessions_per_identity_max {
            return Err((
                ReasonCode::QUOTA_EXCEEDED,
                "the identity has as many Sessions as sessions_per_identity_max permits",
            ));
        }
        Ok(())
    }

    fn same_owner(&self, slot: u32, principal: &Principal) -> bool {
        let Some(session) = self.core.sessions.get(slot) else { return true };
        match (&*session.principal, principal) {
            // Whoever was asked nothing is nobody's equal, whatever the name says.
            (Principal::Client(old), Principal::Client(new)) => {
                old.identity == new.identity
                    && old.methods.has(Methods::ANONYMOUS) == new.methods.has(Methods::ANONYMOUS)
            }
            _ => false,
        }
    }

    /// The Session's present connection goes (MQTT-3.1.4-3), and with Clean Start the Session too (MQTT-3.1.2-4).
    fn take_over(
        &mut self,
        slot: u32,
        request: &ConnectRequest,
        now: Now,
        fx: &mut impl Effects,
    ) -> Contention {
        let mut contention = Contention::default();
        let Some(session) = self.core.sessions.get(slot) else { return contention };
        let key = session.key;
        // Over, and nobody noticed yet: it must not be taken up (MQTT-3.1.2-23).
        let is_over = session.conn.is_none() && session.ends_ms.is_some_and(|at| at <= now.mono_ms);
        if let Some(old) = session.conn {
            notice::taken_over(&session.principal, fx);
            self.core.counters.takeovers += 1;
            if let Some(session) = self.core.sessions.by_key(key) {
                // The Session goes on with the new connection, so its expiry must not run out in between.
                session.conn = None;
            }
            if let Some(Stage::Live(live)) = self.connections.remove(old) {
                let many;
                (contention, many) = live.contention.one_more(now.mono_ms);
                if many {
                    notice::contended(&live.principal, fx);
                }
                if live.version == ProtocolVersion::V5
                    && let Some(output) = fx.output(old)
                {
                    Disconnect::new(ReasonCode::SESSION_TAKEN_OVER)
                        .encode(ProtocolVersion::V5, output.buffer());
                }
                fx.close(old, CloseCause::TakenOver);
            }
            let goes_on = !request.clean_start;
            let delayed = self.core.sessions.by_key(key).is_some_and(|s| {
                goes_on && s.expiry.outlives_connection() && s.will.as_ref().is_some_and(|w| w.delay_s > 0)
            });
            if delayed {
                // Connected again before the delay was over: the Will is not sent (MQTT-3.1.3-9).
                if let Some(session) = self.core.sessions.by_key(key) {
                    session.will = None;
                    remove_will(&mut self.core.durable, session);
                }
            } else {
                self.core.fire_will(key, now, fx);
            }
            let ended = self.core.sessions.by_key(key).is_some_and(|s| !s.expiry.outlives_connection());
            if ended {
                self.core.end(key, now, fx);
                return contention;
            }
        } else if let Some(session) = self.core.sessions.by_key(key)
            && !request.clean_start
            && !is_over
        {
            if session.will_due_ms.get().is_some_and(|due| due <= now.mono_ms) {
                // Due, and nobody noticed yet, as after a start: whoever comes back is too late to take it back.
                self.core.fire_will(key, now, fx);
            } else {
                session.will_due_ms = MaybeMs::NONE;
                if session.will.take().is_some() {
                    remove_will(&mut self.core.durable, session);
                }
            }
        }
        if request.clean_start || is_over {
            self.core.end(key, now, fx);
        }
        contention
    }

    /// The client's Session, resumed or new; true when Session State was there (MQTT-3.2.2-2).
    fn open_session(
        &mut self,
        conn: ConnId,
        limits: &Arc<SessionLimits>,
        request: &ConnectRequest,
        principal: &Arc<Principal>,
        now: Now,
        fx: &mut impl Effects,
    ) -> (SessionKey, bool) {
        let standing = self.core.admit.standing(Arc::clone(principal));
        let existing =
            self.core.sessions.find(&request.client_id).and_then(|slot| self.core.sessions.get_mut(slot));
        let present = existing.is_some();
        let session = match existing {
            Some(session) => session,
            None => {
                self.core.exchange.session_begins(principal);
                let bytes = crate::sessions::own_bytes_of(&request.client_id);
                self.core.ledger.change(0, bytes, self.core.exchange.memory());
                let is_kept = request.expiry.outlives_connection() || request.will.is_some();
                let durability = if is_kept { limits.durability } else { Durability::Memory };
                let (number, next_seq) = self.core.durable.session_number(durability);
                let group = if number == 0 { 0 } else { fx.group(principal) };
                let owner = (Arc::clone(principal), standing.clone());
                let outbound = Outbound::new(request.window(limits));
                self.core.sessions.insert(|key| Session {
                    number,
                    next_seq,
                    group,
                    version: request.version,
                    expiry: request.expiry,
                    ..Session::new(key, owner, Arc::clone(limits), outbound)
                })
            }
        };
        let is_changed = !present
            || session.ends_ms.is_some()
            || session.version != request.version
            || session.expiry != request.expiry;
        let is_other = *session.principal != **principal;
        if is_changed || is_other {
            self.core.durable.change(session);
        }
        if is_other {
            // Rights may hang on how the client came: every decision made for it is made again.
            session.outbound.letters_mut().for_each(Delivery::reconsider);
            self.core.subscriptions.touch();
        }
        session.principal = Arc::clone(principal);
        session.standing = standing;
        session.limits = Arc::clone(limits);
        session.version = request.version;
        session.conn = Some(conn);
        session.maximum_packet_size = request.maximum_packet_size;
        session.expiry = request.expiry;
        session.ends_ms = None;
        session.will.clone_from(&request.will);
        session.will_due_ms = MaybeMs::NONE;
        session.outbound.set_window(request.window(limits));
        session.aliases = OutboundAliases::new(request.topic_alias_maximum);
        session.set_online(true);
        if session.will.is_some() {
            put_will(&mut self.core.durable, session, now);
        }
        (session.key, present)
    }

    /// An unguessable Client Identifier of this identity whose home is this shard, so that the connection need not move.
    fn assign_client_id(&self, identity: &str, fx: &mut impl Effects) -> String {
        let mut name = String::new();
        for _ in 0..ASSIGN_TRIES {
            name = assigned_client_id(identity, fx.random());
            if self.core.home(&name) == self.core.shard && self.core.sessions.find(&name).is_none() {
                break;
            }
        }
        name
    }

    /// Answers CONNECT with a refusal and closes.
    pub(crate) fn refuse(
        &mut self,
        conn: ConnId,
        link: &Link,
        (version, client_id): (ProtocolVersion, &str),
        reason: ReasonCode,
        cause: &str,
        fx: &mut impl Effects,
    ) {
        self.core.counters.connects_refused += 1;
        self.connections.remove(conn);
        notice::connect_refused(link, client_id, reason, cause, fx);
        if let Some(output) = fx.output(conn) {
            ConnAck::refusal(reason).encode(version, output.buffer());
        }
        fx.close(conn, CloseCause::Refused);
    }
}

fn placeholder(asked: &Asked) -> Asked {
    Asked { link: asked.link.clone(), request: asked.request.clone(), exchanging: false }
}

pub(crate) fn send_auth(conn: ConnId, reason: ReasonCode, method: &str, data: &[u8], fx: &mut impl Effects) {
    if let Some(output) = fx.output(conn) {
        Auth::new(reason, Some(method), Some(data)).encode(ProtocolVersion::V5, output.buffer());
    }
}
