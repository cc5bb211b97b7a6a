//! How a broker is, in one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_roles::{CoreAnswer, ListenerStatus, PolicyStatus, Status};

use super::Control;

impl Control {
    pub(super) fn status(&self) -> CoreAnswer {
        let sources = self.sources();
        let sum = sources.reports.sum();
        let (broker, tally) = (sum.broker, sum.tally);
        let now_ms = sources.clock.now().mono_ms;
        let listeners = self.listeners();
        let (retained_messages, retained_bytes) = {
            let retained = sources.exchange.retained();
            (retained.len() as u64, retained.bytes() as u64)
        };
        let facts = self.facts();
        let (since_ms, received, sent) = facts.samples.front().copied().unwrap_or_default();
        let over_ms = now_ms.saturating_sub(since_ms).max(1);
        let per_ks = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(1_000_000) / over_ms;
        let unknown = || PolicyStatus { generation: 0, loaded_unix_ms: 0, by: String::new() };
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: now_ms / 1_000,
            workers: u16::try_from(sources.inboxes.len()).unwrap_or(u16::MAX),
            connections: broker.connections,
            sessions: broker.sessions,
            subscriptions: broker.subscriptions,
            retained_messages,
            retained_bytes,
            memory_used_bytes: sources.exchange.memory().used(),
            memory_max_bytes: facts.memory_max,
            backlog_bytes: tally.backlog_bytes,
            received: broker.publications_received,
            sent: broker.deliveries_sent,
            queued: broker.deliveries_queued,
            dropped: broker.dropped_slow
                + broker.dropped_full
                + broker.dropped_expired
                + broker.dropped_large,
            denied: broker.publications_denied + broker.subscriptions_denied + broker.denied_deliveries,
            received_per_ks: per_ks(broker.publications_received, received),
            sent_per_ks: per_ks(broker.deliveries_sent, sent),
            listeners,
            policy: facts.policy.clone().unwrap_or_else(unknown),
            reload: facts.reload.clone(),
            certificates: facts.certificates.clone(),
        };
        CoreAnswer::Status { status: Box::new(status) }
    }

    /// Listeners with their connections. Those are asked of the workers; while they do not answer, none are counted.
    fn listeners(&self) -> Vec<ListenerStatus> {
        let counted = self.visit(|worker| {
            let mut counts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
            for connection in worker.world.connections.iter_mut() {
                *counts.entry(Arc::clone(&connection.rules.name)).or_default() += 1;
            }
            counts
        });
        let counted = counted.unwrap_or_default();
        let kinds = self.facts().kinds.clone();
        let listener = |(name, kind): (String, String)| {
            let own = self.sources().addresses.iter().filter(|bound| bound.listener == name);
            let addresses = own.map(|bound| bound.address.to_string()).collect();
            let connections = counted.iter().filter_map(|counts| counts.get(name.as_str())).sum();
            ListenerStatus { name, kind, addresses, connections }
        };
        kinds.into_iter().map(listener).collect()
    }
}
