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

/// When a principal's credential ends, in milliseconds since 1970, and what is said then; `None`: it does not end by itself.
fn ends_unix_ms(principal: &Principal) -> Option<(u64, &'static str)> {
    let client = principal.client()?;
    let token = client.token.as_ref().map(|token| (token.ends_s, "the token has ended"));
    let permission = client.ends_s.map(|ends_s| (ends_s, "the permission has ended"));
    let (ends_s, words) = token.into_iter().chain(permission).min()?;
    Some((ends_s.saturating_mul(1_000), words))
}

impl Core {
    /// Looks again when the credential of a connection ends, if it does: one entry holds for each connection, the one of the
    /// time given back.
    pub(crate) fn watch_credential(&mut self, conn: ConnId, principal: &Principal, now: Now) -> u64 {
        let Some((ends_ms, _)) = ends_unix_ms(principal) else { return 0 };
        let at_ms = now.mono_ms.saturating_add(ends_ms.saturating_sub(now.unix_ms));
        self.timers.set(at_ms, Timer::CredentialEnd(conn));
        at_ms
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
        let Some((ends_ms, words)) = ends_unix_ms(&live.principal) else { return };
        // It has proved itself anew since.
        if live.credential_ms > now.mono_ms {
            return;
        }
        if ends_ms > now.unix_ms {
            live.credential_ms = self.watch_credential(conn, &live.principal, now);
            return;
        }
        notice::credential_ended(&live.principal, fx);
        let told = Told { reason: ReasonCode::NOT_AUTHORIZED, words: Some(words) };
        self.say_goodbye(connections, conn, told, CloseCause::Revoked, now, fx);
    }
}
