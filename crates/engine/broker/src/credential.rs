//! What a client proved itself with may have an end: then its connection ends too.

use motte_access::Principal;
use motte_wire::ReasonCode;

use crate::connections::Connections;
use crate::core::Core;
use crate::effect::Effects;
use crate::ending::Told;
use crate::input::{CloseCause, ConnId, Now};
use crate::notice;
use crate::timers::Timer;

/// When a principal's credential ends, in milliseconds since 1970; `None`: it does not end by itself.
fn ends_unix_ms(principal: &Principal) -> Option<u64> {
    let token = principal.client()?.token.as_ref()?;
    Some(token.ends_s.saturating_mul(1_000))
}

impl Core {
    /// Looks again when the credential of a new connection ends, if it does: one entry for each connection.
    pub(crate) fn watch_credential(&mut self, conn: ConnId, principal: &Principal, now: Now) {
        if let Some(ends_ms) = ends_unix_ms(principal) {
            let left_ms = ends_ms.saturating_sub(now.unix_ms);
            self.timers.set(now.mono_ms.saturating_add(left_ms), Timer::CredentialEnd(conn));
        }
    }

    /// Ends a connection whose credential has ended. The clock may have been set back meanwhile: then it waits on.
    pub(crate) fn check_credential(
        &mut self,
        connections: &mut Connections,
        conn: ConnId,
        now: Now,
        fx: &mut impl Effects,
    ) {
        let Some(live) = connections.live(conn) else { return };
        let Some(ends_ms) = ends_unix_ms(&live.principal) else { return };
        if ends_ms > now.unix_ms {
            let principal = std::sync::Arc::clone(&live.principal);
            return self.watch_credential(conn, &principal, now);
        }
        notice::credential_ended(&live.principal, fx);
        let told = Told { reason: ReasonCode::NOT_AUTHORIZED, words: Some("the token has ended") };
        self.say_goodbye(connections, conn, told, CloseCause::Revoked, now, fx);
    }
}
