//! What a shard counts. Plain numbers: the process sums shards and exports them.

/// Totals since the start, and a few present values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Clients accepted.
    pub connects_accepted: u64,
    /// CONNECTs refused.
    pub connects_refused: u64,
    /// Control Packets received.
    pub packets_received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// PUBLISH packets received.
    pub publications_received: u64,
    /// PUBLISH packets denied by policy.
    pub publications_denied: u64,
    /// PUBLISH packets sent.
    pub deliveries_sent: u64,
    /// Deliveries that wait for an absent or slow client, in all.
    pub deliveries_queued: u64,
    /// QoS 0 deliveries dropped because the client reads too slowly.
    pub dropped_slow: u64,
    /// Deliveries dropped because the Session's queue was full.
    pub dropped_full: u64,
    /// Deliveries dropped because they expired.
    pub dropped_expired: u64,
    /// Deliveries dropped because the packet is larger than the client takes.
    pub dropped_large: u64,
    /// Deliveries not made because the recipient may not receive.
    pub denied_deliveries: u64,
    /// Subscriptions denied.
    pub subscriptions_denied: u64,
    /// Decisions that only a permissive role made a permission of.
    pub let_pass: u64,
    /// Wills published.
    pub wills_published: u64,
    /// Sessions taken over by a newer connection.
    pub takeovers: u64,
    /// Malformed packets and protocol errors.
    pub protocol_errors: u64,
    /// Connections now.
    pub connections: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
}
