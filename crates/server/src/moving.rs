//! A connection on its way to the shard where its Session lives.

use std::sync::Arc;

use motte_broker::{Handover, Output};
use motte_transport::Stream;

use crate::admission::Seat;
use crate::rules::ListenerRules;

/// Everything that goes along.
pub(crate) struct Moved {
    pub(crate) stream: Stream,
    pub(crate) seat: Seat,
    pub(crate) rules: Arc<ListenerRules>,
    /// Bytes read and not yet taken.
    pub(crate) unread: Vec<u8>,
    /// Bytes not yet written: the last step of an authentication exchange.
    pub(crate) output: Option<Box<Output>>,
    pub(crate) peer_closed: bool,
    pub(crate) handover: Box<Handover>,
}
