//! What the process has to tell, one function for each occasion that needs more than a constructor.

use motte_event::{Event, gate, life};
use motte_transport::{Refusal, Stream};

use crate::admission::Full;
use crate::rules::ListenerRules;

/// The peer's address for the log.
pub(crate) fn address_text(stream: &Stream) -> String {
    stream.peer().map_or_else(|| "local".to_owned(), |peer| peer.ip().to_string())
}

pub(crate) fn turned_away(full: Full, rules: &ListenerRules, stream: &Stream) -> Event {
    gate::connections_full(&address_text(stream), &rules.name, full.key())
}

pub(crate) fn address_refused(rules: &ListenerRules, stream: &Stream) -> Event {
    gate::address_refused(&address_text(stream), &rules.name)
}

pub(crate) fn connect_timeout(rules: &ListenerRules, stream: &Stream) -> Event {
    gate::connect_timeout(&address_text(stream), &rules.name, stream.stage())
}

/// `None` for a peer that only went away.
pub(crate) fn handshake_failed(rules: &ListenerRules, stream: &Stream, refusal: &Refusal) -> Option<Event> {
    let address = address_text(stream);
    match refusal {
        Refusal::Proxy(cause) => Some(gate::proxy_header_refused(&address, &rules.name, cause)),
        Refusal::Tls(cause) => Some(gate::tls_failed(&address, &rules.name, cause)),
        Refusal::Unsigned(cause) => Some(gate::handshake_unsigned(&address, &rules.name, cause)),
        Refusal::WebSocket(cause) => Some(gate::websocket_refused(&address, &rules.name, cause)),
        Refusal::Gone => None,
    }
}

pub(crate) fn handshake_done(rules: &ListenerRules, stream: &Stream) -> Option<Event> {
    let tls = stream.tls_facts()?;
    Some(gate::handshake_done(&address_text(stream), &rules.name, &tls.version, &tls.suite, &tls.group))
}

pub(crate) fn not_trusted(rules: &ListenerRules, stream: &Stream, cause: &str) -> Event {
    gate::tls_failed(&address_text(stream), &rules.name, &format!("since a reload: {cause}"))
}

/// Somebody who was accepted by rules that are not in force any more.
pub(crate) fn no_longer_welcome(
    rules: &ListenerRules,
    stream: &Stream,
    client_id: &str,
    cause: &str,
) -> Event {
    gate::connect_refused(client_id, &address_text(stream), &rules.name, "0x87 Not authorized", cause)
}

pub(crate) fn not_watched(rules: &ListenerRules, error: &std::io::Error) -> Event {
    gate::accept_failed(&rules.name, &format!("the connection cannot be watched: {error}"))
}

pub(crate) fn repeated(event: &str, times: u64) -> Event {
    life::event_repeated(event, times)
}
