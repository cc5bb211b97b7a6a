//! A connection on its way to the shard where its Session lives.

use std::sync::Arc;

use motte_broker::{Handover, Output};
use motte_transport::Stream;

use crate::admission::Seat;
use crate::ocsp::Watch;
use crate::rules::ListenerRules;

/// Everything that goes along.
pub(crate) struct Moved {
    pub(crate) stream: Stream,
    pub(crate) seat: Seat,
    pub(crate) rules: Arc<ListenerRules>,
    /// The number of the rules by which it was accepted. The same rules come again when an account ends or a key is gone.
    pub(crate) rules_number: u64,
    /// Bytes read and not yet taken.
    pub(crate) unread: Vec<u8>,
    /// Bytes not yet written: the last step of an authentication exchange.
    pub(crate) output: Option<Box<Output>>,
    pub(crate) peer_closed: bool,
    /// The certificate that it showed, where somebody is asked about it.
    pub(crate) watch: Option<Box<Watch>>,
    pub(crate) handover: Box<Handover>,
}
