//! From the broker's question who a client is to identity's answer.

use std::sync::Arc;
use std::time::Instant;

use motte_broker::{Question, Verdict};
use motte_event::gate;
use motte_identity::{Answerer, Authenticator, Credentials, Refusal, RemoteQuestion, Step, answerer};
use motte_seal::SecretBytes;
use motte_wire::{Connect, ReasonCode};

use crate::connection::Connection;
use crate::hook::{Judged, unavailable};
use crate::lane::Lane;
use crate::log::Log;
use crate::logins::{Logins, Ticket};
use crate::notice::address_text;
use crate::rules::ListenerRules;

/// How a question was taken.
pub(crate) enum Asked {
    /// The answer is known.
    Known(Verdict),
    /// This finds out, slowly, and with so much memory.
    Slow {
        /// In KiB.
        memory_kib: u32,
        /// What finds out.
        work: Box<dyn FnOnce() -> Verdict + Send>,
    },
    /// This asks a service, in its lane.
    Remote(Lane, Box<dyn FnOnce() -> Verdict + Send>),
}

/// Who a failed login is reported for.
struct Attempt {
    client_id: String,
    address: String,
    listener: Arc<str>,
    authenticator: Authenticator,
    now_s: u64,
    log: Log,
}

/// The method of enhanced authentication by which a code comes in a packet of its own.
const TOTP: &str = "TOTP";
/// What the client is asked for; the same whoever it says it is.
const CODE_PLEASE: &[u8] = b"code";

/// An exchange that waits for the client's code. Nothing was checked yet.
#[derive(Debug)]
pub(crate) struct Exchange {
    client_id: String,
    credentials: Credentials,
}

/// Asks identity. What is needed is copied out of the packet, the password into a type that is wiped and never printed.
pub(crate) fn ask(
    connection: &mut Connection,
    question: &Question<'_>,
    now_s: u64,
    logins: &Logins,
    log: &Log,
) -> Asked {
    let exchange = match question {
        Question::Connect(connect) => {
            let exchange = Exchange {
                client_id: connect.client_id.to_owned(),
                credentials: credentials(connection, connect, now_s),
            };
            match connect.properties.authentication_method {
                None => exchange,
                Some(TOTP) if connection.rules.takes_passwords() => {
                    connection.exchange = Some(Box::new(exchange));
                    return Asked::Known(Verdict::Continue { data: CODE_PLEASE.to_vec() });
                }
                Some(_) => return Asked::Known(unknown_method()),
            }
        }
        Question::Continue(auth) => {
            let Some(mut exchange) = connection.exchange.take() else {
                return Asked::Known(unknown_method());
            };
            exchange.credentials.add_code(auth.data.unwrap_or_default());
            *exchange
        }
        // A client that is in cannot authenticate again: it comes anew.
        Question::Again(_) => return Asked::Known(unknown_method()),
    };
    begin(connection, exchange, now_s, logins, log)
}

fn begin(connection: &mut Connection, exchange: Exchange, now_s: u64, logins: &Logins, log: &Log) -> Asked {
    let Exchange { client_id, credentials } = exchange;
    // Whoever is held or banned costs no password check.
    let ticket = match logins.begin(connection, &client_id, &credentials) {
        Ok(ticket) => ticket,
        Err(verdict) => return Asked::Known(verdict),
    };
    let rules = &connection.rules;
    let attempt = Attempt {
        client_id,
        address: address_text(&connection.stream),
        listener: Arc::clone(&rules.name),
        authenticator: rules.authenticator.clone(),
        now_s,
        log: log.clone(),
    };
    let credentials = match remote(rules, credentials, &attempt.client_id) {
        Answerer::Local(credentials) => credentials,
        Answerer::Known(verdict) => return Asked::Known(answer(ticket.settled(verdict), &attempt)),
        Answerer::Service(question) => return ask_service(rules, *question, attempt, ticket),
    };
    match rules.authenticator.begin(credentials, &rules.requirements, now_s) {
        Step::Done(verdict) => Asked::Known(answer(ticket.settled(verdict), &attempt)),
        Step::Ask(question) => Asked::Slow {
            memory_kib: question.memory_kib(),
            work: Box::new(move || match ticket.held_meanwhile() {
                Some(held) => held,
                None => answer(ticket.settled(Authenticator::finish(question.answer())), &attempt),
            }),
        },
    }
}

/// Who answers: the service of the listener, if it has one and nothing else decides.
fn remote(rules: &ListenerRules, credentials: Credentials, client_id: &str) -> Answerer {
    if rules.hook.is_none() {
        return Answerer::Local(credentials);
    }
    answerer(credentials, client_id, &rules.requirements, |name| rules.authenticator.knows(name))
}

fn ask_service(rules: &ListenerRules, question: RemoteQuestion, attempt: Attempt, ticket: Ticket) -> Asked {
    let Some(hook) = rules.hook.clone() else {
        return Asked::Known(unavailable("there is no service to ask".to_owned()));
    };
    let (lane, asked) = (hook.lane().clone(), Instant::now());
    let beside_accounts = rules.takes_passwords();
    let work = move || {
        if let Some(held) = ticket.held_meanwhile() {
            return held;
        }
        match hook.judge(question, asked, &attempt.log) {
            Judged::Verdict(verdict) if beside_accounts => {
                answer(ticket.settled(attempt.authenticator.beside_accounts(verdict)), &attempt)
            }
            Judged::Verdict(verdict) => answer(ticket.settled(verdict), &attempt),
            // Nobody said that the password is wrong: nothing is counted.
            Judged::Unavailable(cause) => unavailable(cause),
        }
    };
    Asked::Remote(lane, Box::new(work))
}

fn credentials(connection: &Connection, connect: &Connect<'_>, now_s: u64) -> Credentials {
    let shown = connection.certificate_facts(now_s);
    Credentials {
        user_name: connect.user_name.map(str::to_owned),
        password: connect.password.map(|password| SecretBytes::new(password.to_vec())),
        certificate: shown.map(Arc::new),
        listener: Arc::clone(&connection.rules.name),
        security: connection.rules.security(),
        address: connection.stream.peer().map(|peer| peer.ip()),
    }
}

fn unknown_method() -> Verdict {
    Verdict::Refused {
        reason: ReasonCode::BAD_AUTHENTICATION_METHOD,
        cause: "this method of enhanced authentication is not offered here".to_owned(),
    }
}

fn answer(verdict: motte_identity::Verdict, attempt: &Attempt) -> Verdict {
    match verdict {
        motte_identity::Verdict::Accepted(principal) => {
            let days = attempt.authenticator.ageing_days(&principal, attempt.now_s);
            let advice = days.map(|days| {
                attempt.log.event(gate::password_ageing(&principal.identity, &attempt.client_id, days));
                format!("this password must be changed within {days} days").into_boxed_str()
            });
            Verdict::Accepted { principal, data: None, advice }
        }
        motte_identity::Verdict::Refused { refusal, name, cause } => {
            let Attempt { client_id, address, listener, log, .. } = attempt;
            log.event(gate::login_failed(&name, client_id, address, listener, cause));
            let reason = match refusal {
                Refusal::BadCredentials => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                Refusal::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
            };
            Verdict::Refused { reason, cause: cause.to_owned() }
        }
    }
}
