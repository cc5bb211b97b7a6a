//! `$SYS`: a few retained figures about the broker, for clients that may read them. Shard 0 publishes them; a figure that
//! did not change is not published again.

use std::sync::Arc;

use motte_access::{Origin, Principal};
use motte_broker::{Exchange, Sender, StoredPublication};
use motte_topic::TopicName;
use motte_wire::QoS;
use rustc_hash::FxHashMap;

use crate::metrics::Reports;

/// What the broker says of itself in `$SYS/broker/version`.
const VERSION: &str = concat!("motte ", env!("CARGO_PKG_VERSION"));

/// The figures and when they are due.
#[derive(Debug)]
pub(crate) struct SystemTopics {
    every_ms: u64,
    due_ms: u64,
    exchange: Exchange,
    durability: &'static str,
    last: FxHashMap<&'static str, String>,
}

impl SystemTopics {
    /// Publishes at every interval; `None` when the interval is zero, which turns the topics off.
    pub(crate) fn new(interval_s: u32, exchange: Exchange, durability: &'static str) -> Option<Self> {
        let every_ms = u64::from(interval_s) * 1_000;
        (every_ms > 0).then(|| Self { every_ms, due_ms: 0, exchange, durability, last: FxHashMap::default() })
    }

    /// When they are due, in monotonic milliseconds.
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// The way in and the principal of these publications.
    pub(crate) fn sender() -> (Origin, Arc<Principal>) {
        (Origin::System, Arc::new(Principal::System))
    }

    /// The figures that changed.
    pub(crate) fn publications(&mut self, now_ms: u64, reports: &Reports) -> Vec<StoredPublication> {
        self.due_ms = now_ms.saturating_add(self.every_ms);
        let report = reports.sum();
        let (messages, bytes) = {
            let retained = self.exchange.retained();
            (retained.len(), retained.bytes())
        };
        let broker = &report.broker;
        let dropped =
            broker.dropped_slow + broker.dropped_full + broker.dropped_expired + broker.dropped_large;
        let figures = [
            ("$SYS/broker/version", VERSION.to_owned()),
            ("$SYS/broker/store/durability", self.durability.to_owned()),
            ("$SYS/broker/uptime", (now_ms / 1_000).to_string()),
            ("$SYS/broker/clients/connected", broker.connections.to_string()),
            ("$SYS/broker/clients/total", broker.sessions.to_string()),
            ("$SYS/broker/clients/accepted", broker.connects_accepted.to_string()),
            ("$SYS/broker/clients/refused", broker.connects_refused.to_string()),
            ("$SYS/broker/clients/held", report.tally.logins_held.to_string()),
            ("$SYS/broker/clients/banned", report.tally.banned.to_string()),
            ("$SYS/broker/subscriptions/count", broker.subscriptions.to_string()),
            ("$SYS/broker/publish/messages/received", broker.publications_received.to_string()),
            ("$SYS/broker/publish/messages/sent", broker.deliveries_sent.to_string()),
            ("$SYS/broker/publish/messages/dropped", dropped.to_string()),
            ("$SYS/broker/bytes/received", broker.bytes_received.to_string()),
            ("$SYS/broker/bytes/sent", report.tally.bytes_sent.to_string()),
            ("$SYS/broker/retained messages/count", messages.to_string()),
            ("$SYS/broker/retained messages/bytes", bytes.to_string()),
            ("$SYS/broker/memory/used", self.exchange.memory().used().to_string()),
        ];
        figures.into_iter().filter_map(|(topic, figure)| self.changed(topic, figure)).collect()
    }

    fn changed(&mut self, topic: &'static str, figure: String) -> Option<StoredPublication> {
        if self.last.get(topic) == Some(&figure) {
            return None;
        }
        let publication = StoredPublication {
            topic: TopicName::parse(topic).ok()?,
            payload: figure.as_bytes().into(),
            qos: QoS::AtMostOnce,
            retain: true,
            forwarded: Box::default(),
            expires_ms: None,
            source: Arc::new(Principal::System),
            sender: Sender::default(),
        };
        self.last.insert(topic, figure);
        Some(publication)
    }
}
