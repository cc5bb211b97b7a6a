//! A live client authenticates again (5.0 section 4.12.1): in bounded time, not too often, and as who it is. Messages go on
//! meanwhile.

use std::sync::Arc;

use motte_access::{ClientPrincipal, Methods, Principal};
use motte_wire::ReasonCode;

use crate::broker::Broker;
use crate::connecting::send_auth;
use crate::connections::{Connections, Grants};
use crate::core::Core;
use crate::effect::Effects;
use crate::ending::Told;
use crate::input::{CloseCause, ConnId, Now, Verdict};
use crate::notice;
use crate::publication::Delivery;
use crate::timers::Timer;

/// An exchange on a live connection is over after so many milliseconds.
const EXCHANGE_MS: u64 = 30_000;
/// One exchange in so many milliseconds.
const INTERVAL_MS: u64 = 10_000;
/// So many at once.
const BURST: u64 = 4;

/// How a live client authenticates again, and how often it did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reauthentication {
    /// Since when, in monotonic milliseconds; `None`: it does not at present.
    since_ms: Option<u64>,
    /// Up to when the exchanges so far are paid for.
    paid_until_ms: u64,
}

impl Reauthentication {
    /// Whether it is under way.
    pub fn is_under_way(&self) -> bool {
        self.since_ms.is_some()
    }

    /// Begins; false when it comes too often.
    pub fn begin(&mut self, now_ms: u64) -> bool {
        let paid_until_ms = self.paid_until_ms.max(now_ms) + INTERVAL_MS;
        if paid_until_ms > now_ms + BURST * INTERVAL_MS {
            return false;
        }
        (self.paid_until_ms, self.since_ms) = (paid_until_ms, Some(now_ms));
        true
    }

    fn is_too_long(&self, now_ms: u64) -> bool {
        self.since_ms.is_some_and(|since_ms| now_ms >= since_ms + EXCHANGE_MS)
    }
}

impl Broker {
    /// The verdict on a live client that authenticated again.
    pub(crate) fn verdict_again(&mut self, conn: ConnId, verdict: Verdict, now: Now, fx: &mut impl Effects) {
        let Some(live) = self.connections.live(conn) else { return };
        if !live.reauthentication.is_under_way() {
            return;
        }
        let method = live.method.as_deref().unwrap_or_default().to_owned();
        match verdict {
            Verdict::Accepted { principal, data, .. } => {
                live.reauthentication.since_ms = None;
                let old = Arc::clone(&live.principal);
                if let Err(cause) = self.prove_again(conn, &old, *principal, now) {
                    notice::reauthentication_refused(&old, &cause, fx);
                    return self.goodbye(conn, ReasonCode::NOT_AUTHORIZED, CloseCause::Revoked, now, fx);
                }
                send_auth(conn, ReasonCode::SUCCESS, &method, &data.unwrap_or_default(), fx);
                notice::reauthenticated(&old, &method, fx);
            }
            Verdict::Continue { data } => {
                send_auth(conn, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data, fx);
            }
            Verdict::Refused { reason, cause } => {
                notice::reauthentication_refused(&live.principal, &cause, fx);
                self.goodbye(conn, in_disconnect(reason), CloseCause::Revoked, now, fx);
            }
        }
    }

    /// A client is from now on who it has just proved to be, which must be who it was.
    fn prove_again(
        &mut self,
        conn: ConnId,
        old: &Principal,
        new: ClientPrincipal,
        now: Now,
    ) -> Result<(), String> {
        let Principal::Client(old) = old else { return Err("it was no client".to_owned()) };
        let anonymous = Methods::ANONYMOUS;
        if old.identity != new.identity || old.methods.has(anonymous) != new.methods.has(anonymous) {
            return Err("the exchange ended with another identity".to_owned());
        }
        let new = ClientPrincipal { client_id: Arc::clone(&old.client_id), ..new };
        if new == *old {
            return Ok(());
        }
        // Its token may say something else than the last one.
        self.core.admit.client_id(&new).map_err(|denial| denial.to_string())?;
        let principal = Arc::new(Principal::Client(new));
        let Some(live) = self.connections.live(conn) else { return Ok(()) };
        live.principal = Arc::clone(&principal);
        live.grants = Grants::default();
        live.credential_ms = self.core.watch_credential(conn, &principal, now);
        let standing = self.core.admit.standing(Arc::clone(&principal));
        if let Some(session) = self.core.sessions.by_key(live.session) {
            self.core.durable.change(session);
            // Rights may hang on how it came: every decision made for it is made again.
            session.outbound.letters_mut().for_each(Delivery::reconsider);
            (session.principal, session.standing) = (principal, standing);
            self.core.subscriptions.touch();
        }
        Ok(())
    }
}

/// A reason of CONNACK as DISCONNECT can say it (5.0 section 3.14.2.1).
fn in_disconnect(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::SERVER_BUSY | ReasonCode::CONNECTION_RATE_EXCEEDED => reason,
        _ => ReasonCode::NOT_AUTHORIZED,
    }
}

impl Core {
    /// Looks later whether an exchange that begins now has come to an end.
    pub(crate) fn watch_reauthentication(&mut self, conn: ConnId, now: Now) {
        self.timers.set(now.mono_ms.saturating_add(EXCHANGE_MS), Timer::Reauthentication(conn));
    }

    /// Ends a connection whose client began to authenticate again and does not go on.
    pub(crate) fn check_reauthentication(
        &mut self,
        connections: &mut Connections,
        conn: ConnId,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Some(live) = connections.live(conn) else { return };
        if !live.reauthentication.is_too_long(now.mono_ms) {
            return;
        }
        notice::reauthentication_refused(&live.principal, "the exchange took too long", fx);
        let told = Told { reason: ReasonCode::NOT_AUTHORIZED, words: Some("the exchange took too long") };
        self.say_goodbye(connections, conn, told, CloseCause::Revoked, now, fx);
    }
}
