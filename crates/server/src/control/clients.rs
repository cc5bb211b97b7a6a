//! Clients and their Sessions: a page of them, one of them, and the end of a connection.

use motte_broker::ClientFacts;
use motte_roles::{CLIENTS_PAGE_MAX, ClientDetail, ClientPage, ClientSummary, CoreAnswer};
use motte_wire::ProtocolVersion;

use super::{Control, overloaded};
use crate::clock::unix_ms;

/// Bytes of Client Identifiers and identities on one page; the page ends there.
const PAGE_BYTES_MAX: usize = 256 * 1_024;
/// Topic Filters that are told of one client.
const FILTERS_MAX: usize = 1_000;
/// Bytes of them.
const FILTERS_BYTES_MAX: usize = 512 * 1_024;

impl Control {
    pub(super) fn clients(&self, after: Option<String>, connected: bool, most: u16) -> CoreAnswer {
        let most = usize::from(most.clamp(1, CLIENTS_PAGE_MAX));
        // One more than is told, to know whether there are more.
        let found = self.visit(move |worker| {
            // What is not taken of it is not made into text.
            worker.broker.clients(after.as_deref(), connected, most + 1)
        });
        let Some(found) = found else { return overloaded() };
        let mut facts: Vec<ClientFacts> = found.into_iter().flatten().collect();
        facts.sort_unstable_by(|one, other| one.client_id.cmp(&other.client_id));
        let all = facts.len();
        let mut bytes = 0;
        let taken = facts.into_iter().take(most).enumerate().take_while(|(number, facts)| {
            bytes += facts.client_id.len() + facts.identity.len();
            *number == 0 || bytes <= PAGE_BYTES_MAX
        });
        let clients: Vec<ClientSummary> = taken.map(|(_, facts)| self.summary(facts)).collect();
        let more = clients.len() < all;
        CoreAnswer::Clients { page: ClientPage { clients, more } }
    }

    pub(super) fn client(&self, client_id: &str) -> CoreAnswer {
        let asked = client_id.to_owned();
        let Some(found) = self.visit(move |worker| worker.broker.client(&asked, FILTERS_MAX)) else {
            return overloaded();
        };
        let Some((facts, mut filters)) = found.into_iter().flatten().next() else {
            return unknown(client_id);
        };
        let mut bytes = 0;
        filters.retain(|filter| {
            bytes += filter.len();
            bytes <= FILTERS_BYTES_MAX
        });
        let protocol = facts.version.map_or(0, |version| match version {
            ProtocolVersion::V31 => 3,
            ProtocolVersion::V311 => 4,
            ProtocolVersion::V5 => 5,
        });
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (in_flight, queued_bytes) = (number(facts.in_flight), facts.held_bytes as u64);
        let detail =
            ClientDetail { summary: self.summary(facts), protocol, in_flight, queued_bytes, filters };
        CoreAnswer::Client { client: Box::new(detail) }
    }

    pub(super) fn disconnect(&self, client_id: &str) -> CoreAnswer {
        let asked = client_id.to_owned();
        let ended = self.visit(move |worker| {
            let now = worker.world.now;
            worker.broker.disconnect(&asked, now, &mut worker.world)
        });
        match ended {
            None => overloaded(),
            Some(ended) if ended.contains(&true) => CoreAnswer::Done,
            Some(_) => unknown(client_id),
        }
    }

    fn summary(&self, facts: ClientFacts) -> ClientSummary {
        let now = (self.sources().clock.now().mono_ms, unix_ms());
        let since = |since_ms: u64| now.1.saturating_sub(now.0.saturating_sub(since_ms));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        ClientSummary {
            client_id: facts.client_id,
            identity: facts.identity,
            connected: facts.conn.is_some(),
            listener: facts.listener,
            address: facts.address,
            since_unix_ms: facts.since_ms.map_or(0, since),
            subscriptions: number(facts.subscriptions),
            queued: number(facts.queued),
        }
    }
}

fn unknown(client_id: &str) -> CoreAnswer {
    // Written by whoever asked; cut, for it goes into the log.
    let named: String = client_id.chars().take(80).flat_map(char::escape_default).collect();
    let cause = format!("no client `{named}` is connected\n  remedy: see `motte clients list`");
    CoreAnswer::Refused { cause }
}
