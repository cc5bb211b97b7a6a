//! New rules, and certificates that are not trusted any more: who is looked at again, and who has to go.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal};
use motte_broker::{CloseCause, ConnId, Expelled, Handover, Input};
use motte_wire::ReasonCode;
use rustc_hash::FxHashMap;

use crate::connection::{Connection, Phase};
use crate::notice;
use crate::ocsp::Distrusted;
use crate::rules::Rules;
use crate::worker::Worker;

impl Worker {
    /// Puts new rules in force.
    pub(crate) fn reload(&mut self, rules: &Arc<Rules>) {
        let now_s = self.world.now.unix_ms / 1_000;
        for door in &mut self.doors {
            if let Some(new) = rules.listener(&door.rules.name) {
                door.rules = Arc::clone(new);
            }
        }
        for connection in self.world.connections.iter_mut() {
            if let Some(new) = rules.listener(&connection.rules.name) {
                connection.rules = Arc::clone(new);
                // Whom nobody asked about yet is asked about at once; if nobody can be, that is told when it is.
                let _ = connection.look_after(now_s, 0);
            }
        }
        self.backlog_max = rules.backlog_max;
        self.rules = Some(Arc::clone(rules));
        self.world.rules_number += 1;
        self.close_distrusted();
        let shown = self.shown(rules);
        let by = Arc::clone(rules);
        let distrust = Arc::new(move |client: &ClientPrincipal| {
            let own = client.certificate.as_ref().map(|facts| facts.fingerprint.as_str());
            match own.and_then(|fingerprint| shown.get(fingerprint)) {
                Some(Err(cause)) => Err(format!("its certificate is not trusted any more: {cause}")),
                Some(Ok(facts)) => by.still_certified(client, facts),
                None => Ok(()), // Whoever is away shows it again when it comes.
            }
        });
        self.input(Input::Reload(rules.reload(distrust)));
    }

    /// Closes connections that have shown a certificate which is not trusted any more, and have not said who they are.
    fn close_distrusted(&mut self) {
        let now_s = self.world.now.unix_ms / 1_000;
        let mut distrusted = Vec::new();
        for connection in self.world.connections.iter_mut() {
            if connection.phase == Phase::Awaiting
                && let Err(cause) = connection.still_trusted(now_s)
            {
                distrusted.push((connection.id, cause));
            }
        }
        self.close_strangers(distrusted);
    }

    fn close_strangers(&mut self, strangers: Vec<(ConnId, String)>) {
        for (id, cause) in strangers {
            let Some(connection) = self.world.connections.get_mut(id) else { continue };
            let event = notice::not_trusted(&connection.rules, &connection.stream, &cause);
            self.world.log.event(event);
            self.input(Input::Closed { conn: id, cause: CloseCause::Refused });
            self.remove(id);
        }
    }

    /// Certificates of live clients as the new rules see them, by fingerprint: trusted, or why not.
    fn shown(&mut self, rules: &Rules) -> FxHashMap<String, Result<CertificateFacts, String>> {
        let now_s = self.world.now.unix_ms / 1_000;
        let mut shown = FxHashMap::default();
        for connection in self.world.connections.iter_mut() {
            if rules.listener(&connection.rules.name).is_some()
                && let Some(facts) = connection.certificate_facts(now_s)
            {
                shown.insert(facts.fingerprint.clone(), connection.still_trusted(now_s).map(|()| facts));
            }
        }
        shown
    }

    /// A verdict by rules that were replaced meanwhile holds only if the new ones agree.
    pub(crate) fn asked_again(
        &mut self,
        conn: ConnId,
        verdict: motte_broker::Verdict,
    ) -> motte_broker::Verdict {
        let now_s = self.world.now.unix_ms / 1_000;
        let Some(connection) = self.world.connections.get_mut(conn) else { return verdict };
        let by = connection.entering().asked.take().map(|number| *number);
        let revoked = connection.watch.as_ref().and_then(|watch| watch.holds(now_s).err());
        if let (motte_broker::Verdict::Accepted { .. }, Some(cause)) = (&verdict, revoked) {
            return motte_broker::Verdict::Refused { reason: ReasonCode::NOT_AUTHORIZED, cause };
        }
        let (motte_broker::Verdict::Accepted { principal, .. }, Some(rules)) = (&verdict, &self.rules) else {
            return verdict;
        };
        if by == Some(self.world.rules_number) {
            return verdict;
        }
        let certified = connection.certificate_facts(now_s);
        let certified = certified.map_or(Ok(()), |facts| rules.still_certified(principal, &facts));
        match rules.still_valid(principal).and(connection.still_trusted(now_s)).and(certified) {
            Ok(()) => verdict,
            Err(cause) => motte_broker::Verdict::Refused { reason: ReasonCode::NOT_AUTHORIZED, cause },
        }
    }

    /// Whether a connection that was on its way is still welcome, by the rules as they are now and by what is known now; it was
    /// accepted by those of this number.
    pub(crate) fn still_welcome(
        &self,
        connection: &mut Connection,
        rules_number: u64,
        handover: &Handover,
    ) -> Result<(), String> {
        let now_s = self.world.now.unix_ms / 1_000;
        let is_past = rules_number < self.world.rules_number;
        let current = self.rules.as_ref().and_then(|rules| rules.listener(&connection.rules.name));
        match current.filter(|current| is_past && !Arc::ptr_eq(current, &connection.rules)) {
            Some(current) => {
                connection.rules = Arc::clone(current);
                connection.look_after(now_s, 0).map_err(|refused| refused.cause)?;
            }
            None => connection.watch.as_ref().map_or(Ok(()), |watch| watch.holds(now_s))?,
        }
        // It was on its way while a reload came, which looked at nobody on his way; of later rules a letter is still to come.
        let Some(rules) = self.rules.as_ref().filter(|_| is_past) else { return Ok(()) };
        connection.still_trusted(now_s)?;
        let Some(client) = handover.principal.client() else { return Ok(()) };
        rules.still_valid(client)?;
        connection.certificate_facts(now_s).map_or(Ok(()), |facts| rules.still_certified(client, &facts))
    }

    /// Closes connections that have shown a certificate which may not be used any more.
    pub(crate) fn close_one_distrusted(&mut self, distrusted: &Distrusted) {
        let is_it = |one: &&mut Connection| {
            one.watch.as_ref().is_some_and(|watch| Arc::ptr_eq(&watch.status, &distrusted.status))
        };
        let (mut strangers, mut has_client) = (Vec::new(), false);
        for connection in self.world.connections.iter_mut().filter(is_it) {
            has_client |= connection.phase == Phase::Open;
            if connection.phase == Phase::Awaiting {
                strangers.push((connection.id, distrusted.cause.clone()));
            }
        }
        self.close_strangers(strangers);
        if has_client {
            let fingerprint = distrusted.status.fingerprint();
            let cause = format!("its certificate is not trusted any more: {}", distrusted.cause);
            let may_stay = Arc::new(move |client: &ClientPrincipal| {
                let shown = client.certificate.as_ref().is_some_and(|facts| facts.fingerprint == fingerprint);
                if shown { Err(cause.clone()) } else { Ok(()) }
            });
            self.input(Input::Expel(Expelled { may_stay }));
        }
    }
}
