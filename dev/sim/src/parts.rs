//! Parts of the world: what a shard asks for, policies, limits, packets.

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_access::{CompiledPolicy, Policy, PolicyGeneration, Principal};
use motte_broker::{
    CloseCause, ConnId, Effects, Handover, LoadRequest, Output, Question, ShardId, ShardMessage,
};
use motte_session::{Durability, SessionLimits};
use motte_store::Batch;
use motte_topic::{TopicLimits, TopicRef};
use motte_wire::{PacketId, ProtocolVersion, PublishHead, QoS, TextRules};

use crate::model::Sent;

/// Under this policy nobody receives below `secret/`.
pub(crate) const CLOSED: &str = r##"version = 1
[role.all]
wildcards = "allow"
rules = [
    { allow = ["publish", "retain", "subscribe", "share"], topics = ["#"] },
    { deny = ["receive"], topics = ["secret/#"] },
    { allow = ["subscribe"], topics = ["#"], narrow = true },
]
[anonymous]
roles = ["all"]
"##;

/// Under this one everybody may.
pub(crate) const OPEN: &str = r##"version = 1
[role.all]
wildcards = "allow"
rules = [{ allow = ["publish", "retain", "subscribe", "share"], topics = ["#"] }]
[anonymous]
roles = ["all"]
"##;

/// What a shard asked for.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) outputs: BTreeMap<ConnId, Output>,
    pub(crate) closed: Vec<ConnId>,
    pub(crate) questions: Vec<ConnId>,
    pub(crate) moves: Vec<(ConnId, ShardId, Box<Handover>)>,
    pub(crate) messages: Vec<(ShardId, ShardMessage)>,
    pub(crate) random: u128,
    /// Batches to be kept, with their tags.
    pub(crate) submitted: Vec<(u64, Batch)>,
    pub(crate) loads: Vec<LoadRequest>,
    /// The committer takes nothing at the moment.
    pub(crate) is_full: bool,
}

impl Effects for Asked {
    fn output(&mut self, conn: ConnId) -> Option<&mut Output> {
        self.outputs.get_mut(&conn)
    }
    fn backlog(&self, conn: ConnId) -> usize {
        self.outputs.get(&conn).map_or(0, Output::len)
    }
    fn established(&mut self, _conn: ConnId, _version: ProtocolVersion, _packet_bytes_max: u32) {}
    fn close(&mut self, conn: ConnId, _cause: CloseCause) {
        self.closed.push(conn);
    }
    fn authenticate(&mut self, conn: ConnId, _question: Question<'_>) {
        self.questions.push(conn);
    }
    fn hand_over(&mut self, conn: ConnId, to: ShardId, handover: Box<Handover>) {
        self.moves.push((conn, to, handover));
    }
    fn send(&mut self, to: ShardId, message: ShardMessage) {
        self.messages.push((to, message));
    }
    fn submit(&mut self, tag: u64, batch: Batch, _is_synced: bool) -> Result<Batch, Batch> {
        if self.is_full {
            return Err(batch);
        }
        self.submitted.push((tag, batch));
        Ok(Batch::new())
    }
    fn release(&mut self, conn: ConnId, tag: u64) {
        if let Some(output) = self.outputs.get_mut(&conn) {
            output.release(tag);
        }
    }
    fn load(&mut self, request: LoadRequest) {
        self.loads.push(request);
    }
    fn group(&mut self, _principal: &Principal) -> u32 {
        0
    }
    fn event(&mut self, _event: motte_event::Event) {}
    fn random(&mut self) -> u128 {
        self.random += 1;
        self.random
    }
}

/// Messages in a small queue.
pub(crate) const SMALL_QUEUE: u32 = 2;
/// Messages on their way to one client.
pub(crate) const WINDOW: u16 = 4;
/// Bytes that wait for one client before no more are written to it.
pub(crate) const WRITE_BUFFER_BYTES: usize = 4_096;

/// Limits with a small window and a small write buffer, so that both are met often.
pub(crate) fn limits(has_small_queues: bool) -> SessionLimits {
    SessionLimits {
        packet_bytes_max: 1 << 20,
        receive_maximum: 16,
        inflight_out_max: WINDOW,
        topic_alias_maximum: 0,
        topic_alias_out_maximum: 0,
        keep_alive_s_min: 0,
        keep_alive_s_max: 0,
        session_expiry_s_max: u32::MAX,
        queued_messages_max: if has_small_queues { SMALL_QUEUE } else { 1_000_000 },
        queued_bytes_max: 1 << 40,
        sessions_per_identity_max: 10_000,
        subscriptions_max: 100,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        shared_available: true,
        subscription_identifiers_available: true,
        payload_format_checked: false,
        write_buffer_bytes_max: WRITE_BUFFER_BYTES,
        durability: Durability::Disk,
        topic: TopicLimits { bytes_max: 1_000, levels_max: 20 },
        text: TextRules::default(),
    }
}

/// A policy by its text.
pub(crate) fn policy(text: &str, generation: u64) -> Arc<CompiledPolicy> {
    let policy = Policy::parse(text, "simulation").unwrap_or_default();
    Arc::new(CompiledPolicy::compile(&policy, PolicyGeneration(generation)))
}

/// How a message is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) version: ProtocolVersion,
    pub(crate) qos: QoS,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) dup: bool,
    /// Bytes of the payload at least.
    pub(crate) padding: usize,
}

/// A PUBLISH whose payload is its number.
pub(crate) fn publish_bytes(sent: &Sent, number: u64, wire: Wire, out: &mut Vec<u8>) {
    debug_assert!(TopicRef::parse(sent.topic).is_ok());
    let Wire { version, qos, packet_id, dup, padding } = wire;
    let payload = if sent.is_empty { String::new() } else { format!("{number:<padding$}") };
    let expiry_s = sent.expires.map(|(_, seconds)| seconds);
    let head = PublishHead {
        version,
        dup,
        qos,
        retain: sent.is_retained,
        topic: sent.topic,
        packet_id,
        alias: None,
        message_expiry_s: expiry_s.filter(|_| version == ProtocolVersion::V5),
        subscription_identifiers: &[],
        forwarded: &[],
        payload_len: payload.len(),
    };
    head.encode(out);
    out.extend_from_slice(payload.as_bytes());
}
