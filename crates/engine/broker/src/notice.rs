//! What the broker has to tell: one function for each occasion, so that the rest of the crate reads without field lists.

use motte_access::{ClientPrincipal, Denial, Leniency, Origin, PermissiveRole, Principal};
use motte_event::{gate, keep, rule};
use motte_session::ConnectRequest;
use motte_wire::{FrameError, MalformedPacket, ReasonCode};

use crate::connections::Stage;
use crate::effect::Effects;
use crate::input::{CloseCause, Link};
use crate::sessions::{Session, client_id};

fn address_of(link: &Link) -> String {
    link.address.map_or_else(|| "local".to_owned(), |address| address.to_string())
}

/// Who a stage is about: Client Identifier and address, as far as they are known.
fn party(stage: &Stage) -> (String, String) {
    match stage {
        Stage::Awaiting(link) => (String::new(), address_of(link)),
        Stage::Asked(asked) => (asked.request.client_id.clone(), address_of(&asked.link)),
        Stage::Live(live) => {
            let address = live.principal.client().and_then(|client| client.address);
            let address = address.map_or_else(|| "local".to_owned(), |address| address.to_string());
            (client_id(&live.principal).to_owned(), address)
        }
    }
}

pub(crate) fn authenticated(
    principal: &Principal,
    request: &ConnectRequest,
    present: bool,
    fx: &mut impl Effects,
) {
    let Some(client) = principal.client() else { return };
    let address = client.address.map_or_else(|| "local".to_owned(), |address| address.to_string());
    let version = match request.version.level() {
        3 => "3.1",
        4 => "3.1.1",
        _ => "5.0",
    };
    let session = if present { "resumed" } else { "new" };
    let methods = client.methods.names();
    fx.event(gate::authenticated(
        &client.identity,
        &client.client_id,
        &address,
        &client.listener,
        &methods,
        version,
        session,
    ));
}

pub(crate) fn disconnected(principal: &Principal, cause: CloseCause, fx: &mut impl Effects) {
    let cause = match cause {
        CloseCause::Disconnected => "the client said goodbye",
        CloseCause::Lost => "the connection was lost",
        CloseCause::Protocol => "the client broke the protocol",
        CloseCause::KeepAlive => "the client was silent for too long",
        CloseCause::TakenOver => "another connection took the Session",
        CloseCause::Refused => "refused",
        CloseCause::Revoked => "its rights were taken back",
        CloseCause::Administrative => "an operator disconnected it",
        CloseCause::Shutdown => "the server stops",
        CloseCause::HandedOver => "handed to another worker",
        CloseCause::NotKept => "the disk refuses what would have to be kept",
    };
    fx.event(gate::disconnected(principal.name(), client_id(principal), cause));
}

pub(crate) fn connect_refused(
    link: &Link,
    client_id: &str,
    reason: ReasonCode,
    cause: &str,
    fx: &mut impl Effects,
) {
    let reason = format!("0x{:02x} {}", reason.0, reason.name());
    fx.event(gate::connect_refused(client_id, &address_of(link), &link.listener, &reason, cause));
}

pub(crate) fn client_id_refused(client: &ClientPrincipal, denial: &Denial, fx: &mut impl Effects) {
    fx.event(gate::client_id_refused(&client.identity, &client.client_id, &denial.to_string()));
}

pub(crate) fn source_refused(client: &ClientPrincipal, denial: &Denial, fx: &mut impl Effects) {
    let address = client.address.map_or_else(String::new, |address| address.to_string());
    let cause = denial.to_string();
    fx.event(gate::source_refused(&client.identity, &client.client_id, &address, &client.listener, &cause));
}

pub(crate) fn takeover_refused(principal: &Principal, fx: &mut impl Effects) {
    fx.event(gate::takeover_refused(principal.name(), client_id(principal)));
}

pub(crate) fn taken_over(principal: &Principal, fx: &mut impl Effects) {
    fx.event(gate::session_taken_over(principal.name(), client_id(principal)));
}

pub(crate) fn contended(principal: &Principal, fx: &mut impl Effects) {
    fx.event(gate::client_id_contended(principal.name(), client_id(principal)));
}

pub(crate) fn reauthentication_refused(principal: &Principal, cause: &str, fx: &mut impl Effects) {
    fx.event(gate::reauthentication_refused(principal.name(), client_id(principal), cause));
}

pub(crate) fn reauthenticated(principal: &Principal, method: &str, fx: &mut impl Effects) {
    fx.event(gate::reauthenticated(principal.name(), client_id(principal), method));
}

pub(crate) fn keep_alive_timeout(principal: &Principal, silence_ms: u64, fx: &mut impl Effects) {
    fx.event(gate::keep_alive_timeout(principal.name(), client_id(principal), silence_ms));
}

pub(crate) fn credential_ended(principal: &Principal, fx: &mut impl Effects) {
    fx.event(gate::credential_ended(principal.name(), client_id(principal)));
}

pub(crate) fn protocol_error(stage: &Stage, cause: &str, fx: &mut impl Effects) {
    let (client_id, address) = party(stage);
    fx.event(gate::protocol_error(&client_id, &address, cause));
}

pub(crate) fn malformed(stage: &Stage, error: &MalformedPacket, fx: &mut impl Effects) {
    let (client_id, address) = party(stage);
    fx.event(gate::malformed_packet(&client_id, &address, &error.to_string()));
}

pub(crate) fn bad_frame(stage: &Stage, error: FrameError, fx: &mut impl Effects) {
    let (client_id, address) = party(stage);
    fx.event(match error {
        FrameError::TooLarge { .. } => gate::packet_too_large(&client_id, &address, &error.to_string()),
        FrameError::MalformedLength => gate::malformed_packet(&client_id, &address, &error.to_string()),
    });
}

pub(crate) fn will_refused(principal: &Principal, topic: &str, denial: &Denial, fx: &mut impl Effects) {
    fx.event(rule::will_denied(principal.name(), client_id(principal), topic, &denial.to_string()));
}

pub(crate) fn publish_denied(principal: &Principal, topic: &str, denial: &Denial, fx: &mut impl Effects) {
    fx.event(rule::publish_denied(principal.name(), client_id(principal), topic, &denial.to_string()));
}

pub(crate) fn subscribe_denied(principal: &Principal, filter: &str, denial: &Denial, fx: &mut impl Effects) {
    fx.event(rule::subscribe_denied(principal.name(), client_id(principal), filter, &denial.to_string()));
}

pub(crate) fn let_pass(one: &Leniency, fx: &mut impl Effects) {
    fx.event(rule::let_pass(&one.identity, &one.client_id, one.action, &one.target, &one.denial.to_string()));
}

pub(crate) fn permissive_ended(role: &PermissiveRole, fx: &mut impl Effects) {
    fx.event(rule::permissive_ended(&role.name, &role.until.day()));
}

pub(crate) fn injection_denied(
    by: Origin,
    principal: &Principal,
    topic: &str,
    denial: &Denial,
    fx: &mut impl Effects,
) {
    fx.event(rule::injection_denied(by.name(), principal.name(), topic, &denial.to_string()));
}

pub(crate) fn revoked(principal: &Principal, cause: &str, fx: &mut impl Effects) {
    fx.event(rule::revoked(principal.name(), client_id(principal), cause));
}

pub(crate) fn queue_full(session: &mut Session, fx: &mut impl Effects) {
    if !std::mem::replace(&mut session.full_noticed, true) {
        let limit = u64::from(session.limits.queued_messages_max);
        fx.event(keep::queue_full(session.principal.name(), session.client_id(), limit));
    }
}

pub(crate) fn slow_consumer(session: &mut Session, fx: &mut impl Effects) {
    if !std::mem::replace(&mut session.slow_noticed, true) {
        fx.event(keep::slow_consumer(session.principal.name(), session.client_id()));
    }
}

pub(crate) fn retained_full(topic: &str, fx: &mut impl Effects) {
    fx.event(keep::retained_full(topic));
}

pub(crate) fn subscriptions_full(session: &Session, fx: &mut impl Effects) {
    let limit = u64::from(session.limits.subscriptions_max);
    fx.event(keep::subscriptions_full(session.principal.name(), session.client_id(), limit));
}

pub(crate) fn session_expired(session: &Session, fx: &mut impl Effects) {
    fx.event(keep::session_expired(session.principal.name(), session.client_id()));
}
