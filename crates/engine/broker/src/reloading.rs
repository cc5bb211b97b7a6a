//! New rules reach live Sessions: rights, credentials and limits, without dropping anybody who is still allowed.

use motte_access::Principal;
use motte_wire::ReasonCode;

use crate::broker::Broker;
use crate::connections::Stage;
use crate::effect::Effects;
use crate::input::{CloseCause, Expelled, Now, Reload};
use crate::notice;

impl Broker {
    pub(crate) fn reload(&mut self, reload: &Reload, now: Now, fx: &mut impl Effects) {
        // The generation moves: every remembered decision, every route and every waiting delivery is decided again
        // before its next use.
        self.core.admit.replace(std::sync::Arc::clone(&reload.policy));
        for key in self.core.sessions.keys() {
            let Some(session) = self.core.sessions.by_key(key) else { continue };
            let Principal::Client(client) = &*session.principal else { continue };
            let valid = (reload.still_valid)(client).and_then(|()| {
                self.core.admit.client_id(client).map(|_| ()).map_err(|denial| denial.to_string())
            });
            if let Some(limits) = (reload.limits)(&client.listener) {
                // A connected client keeps to what it was told in CONNACK, and is held to that until it comes again.
                session.limits = match session.conn {
                    Some(_) => session.limits.renewed(&limits),
                    None => limits,
                };
            }
            let (conn, came_from) = (session.conn, self.core.admit.source(client));
            let ends = valid.is_err();
            // Whoever is away may come from elsewhere next time, so an address ends the connection and not the Session.
            let stray = conn.and_then(|_| came_from.err()).map(|denial| denial.to_string());
            let Some(cause) = valid.err().or(stray) else { continue };
            notice::revoked(&session.principal, &cause, fx);
            if let Some(conn) = conn {
                self.core.say_goodbye(
                    &mut self.connections,
                    conn,
                    ReasonCode::NOT_AUTHORIZED,
                    CloseCause::Revoked,
                    now,
                    fx,
                );
            }
            if !ends {
                continue;
            }
            // What was kept for somebody who may no longer connect goes with the right to it; the Will was decided by
            // the new policy when the connection ended.
            self.core.end(key, now, fx);
        }
        for conn in self.connections.ids() {
            if let Some(Stage::Awaiting(link)) = self.connections.get_mut(conn)
                && let Some(limits) = (reload.limits)(&link.listener)
            {
                link.limits = limits;
            }
        }
    }

    /// Disconnects clients that may not stay. Their Sessions remain for when they come back.
    pub(crate) fn expel(&mut self, expelled: &Expelled, now: Now, fx: &mut impl Effects) {
        for key in self.core.sessions.keys() {
            let Some(session) = self.core.sessions.by_key(key) else { continue };
            let (Some(conn), Principal::Client(client)) = (session.conn, &*session.principal) else {
                continue;
            };
            let Err(cause) = (expelled.may_stay)(client) else { continue };
            notice::revoked(&session.principal, &cause, fx);
            let reason = ReasonCode::ADMINISTRATIVE_ACTION;
            self.core.say_goodbye(&mut self.connections, conn, reason, CloseCause::Revoked, now, fx);
        }
    }

    /// The server stops: goodbye to everybody. Sessions that outlive their connection are exported afterwards.
    pub(crate) fn shut_down(&mut self, now: Now, fx: &mut impl Effects) {
        self.core.stopping = true;
        self.core.admit.tell_usage();
        for conn in self.connections.ids() {
            let reason = ReasonCode::SERVER_SHUTTING_DOWN;
            self.core.say_goodbye(&mut self.connections, conn, reason, CloseCause::Shutdown, now, fx);
        }
    }
}
