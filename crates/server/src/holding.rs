//! Who is turned away because of a ban or comes too often, and refusals that are told later, without a thread that waits.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use motte_access::ClientPrincipal;
use motte_broker::{CloseCause, ConnId, Expelled, Handover, Input, Verdict};
use motte_event::gate;
use motte_identity::bans::BanSubject;

use crate::admission::Full;
use crate::connection::{Connection, Phase};
use crate::logins::{Unchecked, banned};
use crate::notice;
use crate::rules::ListenerRules;
use crate::worker::Worker;
use crate::world::World;

/// A refusal that is told later.
#[derive(Debug)]
pub(crate) struct PutOff {
    pub(crate) at_ms: u64,
    conn: ConnId,
    verdict: Verdict,
}

impl PartialEq for PutOff {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PutOff {}

impl PartialOrd for PutOff {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PutOff {
    /// The one that is due first is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ms, other.conn).cmp(&(self.at_ms, self.conn))
    }
}

impl World {
    /// Whether an address may come in: before anything is read of it, so before TLS.
    fn lets_in(&mut self, address: IpAddr, rules: &ListenerRules) -> bool {
        if let Some((subject, until)) = self.logins.ban_of(Some(address), "", "") {
            self.tally.banned += 1;
            self.log.event(gate::banned_refused(&subject, &address.to_string(), &rules.name, &until));
            return false;
        }
        if !self.logins.may_connect(address) {
            self.tally.turned_away += 1;
            let event = gate::connections_full(&address.to_string(), &rules.name, Full::Rate.key());
            self.log.event(event);
            return false;
        }
        true
    }

    /// When the next refusal is told that was put off, in monotonic milliseconds.
    pub(crate) fn answer_due_ms(&self) -> Option<u64> {
        self.put_off.peek().map(|next| next.at_ms)
    }

    /// A verdict, unless somebody was banned while it was found.
    pub(crate) fn not_banned(&mut self, conn: ConnId, verdict: Verdict) -> Verdict {
        let Verdict::Accepted { principal, .. } = &verdict else { return verdict };
        let note = self.connections.get(conn).and_then(Connection::note);
        let client_id = note.map_or("", |note| &note.client_id);
        match self.logins.ban_of(principal.address, &principal.identity, client_id) {
            Some(_) => {
                self.tally.banned += 1;
                banned()
            }
            None => verdict,
        }
    }

    /// Whether a connection from another worker may come in: somebody may have been banned while it was under way.
    pub(crate) fn may_move_in(&mut self, connection: &Connection, handover: &Handover) -> bool {
        let Some(client) = handover.principal.client() else { return true };
        let client_id = &handover.request.client_id;
        let ban = self.logins.ban_of(client.address, &client.identity, client_id);
        if let Some((subject, _)) = &ban {
            self.tally.banned += 1;
            let cause = format!("{subject} is banned");
            let event = notice::no_longer_welcome(&connection.rules, &connection.stream, client_id, &cause);
            self.log.event(event);
        }
        ban.is_none()
    }
}

impl Worker {
    /// Whether a connection may come in at all.
    pub(crate) fn may_come(&mut self, address: IpAddr, rules: &ListenerRules) -> bool {
        self.world.lets_in(address, rules)
    }

    /// Whether a connection may stay whose handshakes are over; behind a proxy only now its address is known.
    pub(crate) fn may_stay(&mut self, id: ConnId) -> bool {
        let Some(connection) = self.world.connections.get(id) else { return false };
        let address = connection.stream.peer().map(|peer| peer.ip());
        let (Some(address), true) = (address, connection.rules.is_behind_proxy()) else { return true };
        let rules = Arc::clone(&connection.rules);
        let stays = self.world.lets_in(address, &rules);
        if !stays {
            self.remove(id);
        }
        stays
    }

    /// A verdict that is told now; `None` when it is told later, or never.
    pub(crate) fn put_off(&mut self, conn: ConnId, verdict: Verdict) -> Option<Verdict> {
        let connection = self.world.connections.get_mut(conn)?;
        let Verdict::Refused { .. } = verdict else { return Some(verdict) };
        let Some(note) = connection.note().cloned() else { return Some(verdict) };
        match note.unchecked() {
            Some(Unchecked::Held) => self.world.tally.logins_held += 1,
            Some(Unchecked::Banned) => self.world.tally.banned += 1,
            None => {}
        }
        if note.unchecked().is_some() && self.world.logins.closes() {
            self.input(Input::Closed { conn, cause: CloseCause::Refused });
            self.remove(conn);
            return None;
        }
        let delay_ms = note.answer_delay_ms.swap(0, Relaxed);
        if delay_ms == 0 || self.stopping {
            return Some(verdict);
        }
        let at_ms = self.world.now.mono_ms.saturating_add(delay_ms);
        self.world.put_off.push(PutOff { at_ms, conn, verdict });
        None
    }

    /// Tells the refusals that are due.
    pub(crate) fn answer_put_off(&mut self) {
        while self.world.put_off.peek().is_some_and(|next| next.at_ms <= self.world.now.mono_ms) {
            if let Some(PutOff { conn, verdict, .. }) = self.world.put_off.pop() {
                self.verdict(conn, verdict);
            }
        }
    }

    /// Closes the connections that a ban is about.
    pub(crate) fn close_banned(&mut self, subject: &Arc<BanSubject>) {
        if let BanSubject::Addresses(net) = &**subject {
            let strangers: Vec<(ConnId, Phase)> = self
                .world
                .connections
                .iter_mut()
                .filter(|one| matches!(one.phase, Phase::Opening | Phase::Awaiting))
                .filter(|one| one.phase == Phase::Awaiting || !one.rules.is_behind_proxy())
                .filter(|one| one.stream.peer().is_some_and(|peer| net.contains(&peer.ip().to_canonical())))
                .map(|one| (one.id, one.phase))
                .collect();
            for (conn, phase) in strangers {
                if phase == Phase::Awaiting {
                    self.input(Input::Closed { conn, cause: CloseCause::Refused });
                }
                self.remove(conn);
            }
        }
        let subject = Arc::clone(subject);
        let may_stay = Arc::new(move |client: &ClientPrincipal| {
            let banned = match &*subject {
                BanSubject::Addresses(net) => {
                    client.address.is_some_and(|address| net.contains(&address.to_canonical()))
                }
                BanSubject::Identity(name) => *client.identity == **name,
                BanSubject::ClientId(id) => *client.client_id == **id,
            };
            if banned { Err(format!("{subject} is banned")) } else { Ok(()) }
        });
        self.input(Input::Expel(Expelled { may_stay }));
    }
}
