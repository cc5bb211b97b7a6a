//! From the broker's question who a client is to identity's answer.

use std::sync::Arc;
use std::time::Instant;

use motte_broker::{Question, Verdict};
use motte_event::gate;
use motte_identity::{
    Answerer, Authenticator, Credentials, KeyQuestion, Refusal, RemoteQuestion, ScramEnd, ScramExchange,
    Step, answerer,
};
use motte_seal::SecretBytes;
use motte_wire::ReasonCode;

use crate::clock::unix_ms;
use crate::connection::Connection;
use crate::exchanging::{Opening, go_on};
use crate::lane::Lane;
use crate::log::Log;
use crate::logins::{Logins, Ticket};
use crate::notice::address_text;
use crate::ocsp::{Judgement, Refused, Status, Watch};
use crate::remote_service::{Judged, unavailable};
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
        work: Work,
    },
    /// This asks a service, in its lane.
    Remote(Lane, Work),
}

/// What finds an answer, or the next question.
pub(crate) type Work = Box<dyn FnOnce() -> Asked + Send>;

/// A certificate that nobody knows of is asked about by its login; by itself after so many seconds, if that comes to nothing.
const ASKED_WITHIN_S: u64 = 30;

/// Who a failed login is reported for.
struct Attempt {
    client_id: String,
    address: String,
    listener: Arc<str>,
    authenticator: Authenticator,
    now_s: u64,
    log: Log,
}

/// What a client presents, and under which Client Identifier.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) client_id: String,
    pub(crate) credentials: Credentials,
}

/// What a question is asked with.
pub(crate) struct Asking<'a> {
    pub(crate) now_s: u64,
    pub(crate) logins: &'a Logins,
    pub(crate) log: &'a Log,
}

/// Asks identity. What is needed is copied out of the packet, the password into a type that is wiped and never printed.
pub(crate) fn ask(connection: &mut Connection, question: &Question<'_>, asking: &Asking<'_>) -> Asked {
    match question {
        Question::Connect(connect) => {
            let mut credentials = credentials(connection, asking.now_s);
            credentials.user_name = connect.user_name.map(str::to_owned);
            credentials.password = connect.password.map(|password| SecretBytes::new(password.to_vec()));
            let who = Presented { client_id: connect.client_id.to_owned(), credentials };
            match connect.properties.authentication_method {
                None => asking.begin(connection, who),
                Some(method) => {
                    let opening = Opening { method, data: connect.properties.authentication_data };
                    opening.at_connect(connection, who, asking)
                }
            }
        }
        Question::Continue(auth) => go_on(connection, auth.data.unwrap_or_default(), asking),
        Question::Again { auth, client } => {
            let credentials = credentials(connection, asking.now_s);
            let opening = Opening { method: auth.method.unwrap_or_default(), data: auth.data };
            opening.again(connection, client, credentials, asking)
        }
    }
}

impl Asking<'_> {
    fn attempt(&self, connection: &Connection, client_id: String) -> Attempt {
        Attempt {
            client_id,
            address: address_text(&connection.stream),
            listener: Arc::clone(&connection.rules.name),
            authenticator: connection.rules.authenticator.clone(),
            now_s: self.now_s,
            log: self.log.clone(),
        }
    }

    /// A refusal for which nothing was checked, so nothing is counted.
    pub(crate) fn refused(
        &self,
        connection: &Connection,
        client_id: String,
        verdict: motte_identity::Verdict,
    ) -> Verdict {
        answer(verdict, &self.attempt(connection, client_id))
    }

    /// Judges what was presented.
    pub(crate) fn begin(&self, connection: &mut Connection, who: Presented) -> Asked {
        let Presented { client_id, credentials } = who;
        // Whoever is held or banned costs no password check.
        let ticket = match self.logins.begin(connection, &client_id, &credentials) {
            Ok(ticket) => ticket,
            Err(verdict) => return Asked::Known(verdict),
        };
        let attempt = self.attempt(connection, client_id);
        let rules = Arc::clone(&connection.rules);
        self.after_status(connection, attempt, move |attempt| check(&rules, credentials, attempt, ticket))
    }

    /// Goes on once it is known that the certificate which the peer showed, if it did, is not revoked.
    fn after_status(
        &self,
        connection: &mut Connection,
        attempt: Attempt,
        next: impl FnOnce(Attempt) -> Asked + Send + 'static,
    ) -> Asked {
        if let Err(refused) = connection.look_after(self.now_s, ASKED_WITHIN_S) {
            return attempt.refuse_certificate(None, refused);
        }
        let Some(Watch { responder, status }) = connection.watch.as_deref().cloned() else {
            return next(attempt);
        };
        match responder.judge(&status, self.now_s) {
            Judgement::Permitted => next(attempt),
            Judgement::Refused(refused) => attempt.refuse_certificate(Some(&status), refused),
            Judgement::Open => {
                let (lane, asked) = (responder.lane().clone(), Instant::now());
                let work = move || {
                    let tell = |event| attempt.log.event(event);
                    match responder.decide(&status, asked, &tell) {
                        Ok(()) => next(attempt),
                        Err(refused) => attempt.refuse_certificate(Some(&status), refused),
                    }
                };
                Asked::Remote(lane, Box::new(work))
            }
        }
    }

    /// Judges the proof of an exchange. It is a guess as a password is, and counted as one.
    pub(crate) fn prove(
        &self,
        connection: &mut Connection,
        client_id: String,
        exchange: ScramExchange,
        proof: &[u8],
    ) -> Asked {
        let ticket = match self.logins.begin(connection, &client_id, exchange.credentials()) {
            Ok(ticket) => ticket,
            Err(verdict) => return Asked::Known(verdict),
        };
        let attempt = self.attempt(connection, client_id);
        let (rules, proof) = (Arc::clone(&connection.rules), proof.to_vec());
        self.after_status(connection, attempt, move |attempt| {
            check_proof(&rules, exchange, &proof, attempt, ticket)
        })
    }
}

/// Whether the credentials are right.
fn check(rules: &Arc<ListenerRules>, credentials: Credentials, attempt: Attempt, ticket: Ticket) -> Asked {
    let credentials = match remote(rules, credentials, &attempt.client_id) {
        Answerer::Local(credentials) => credentials,
        Answerer::Known(verdict) => return Asked::Known(answer(ticket.settled(verdict), &attempt)),
        Answerer::Service(question) => return ask_service(rules, *question, attempt, ticket),
    };
    match rules.authenticator.begin(credentials, &rules.requirements, attempt.now_s) {
        Step::Done(verdict) => Asked::Known(answer(ticket.settled(verdict), &attempt)),
        Step::Fetch(question) => ask_keys(rules, *question, attempt, ticket),
        Step::Ask(question) => Asked::Slow {
            memory_kib: question.memory_kib(),
            work: Box::new(move || {
                Asked::Known(match ticket.held_meanwhile() {
                    Some(held) => held,
                    None => answer(ticket.settled(Authenticator::finish(question.answer())), &attempt),
                })
            }),
        },
    }
}

/// Whether the proof of an exchange is right.
fn check_proof(
    rules: &ListenerRules,
    exchange: ScramExchange,
    proof: &[u8],
    attempt: Attempt,
    ticket: Ticket,
) -> Asked {
    let ScramEnd { verdict, server_final, rotated } =
        rules.authenticator.scram_finish(exchange, &rules.requirements, proof, attempt.now_s);
    let told = move || match answer(ticket.settled(verdict), &attempt) {
        Verdict::Accepted { principal, advice, .. } => {
            Verdict::Accepted { principal, advice, data: Some(server_final) }
        }
        other @ (Verdict::Continue { .. } | Verdict::Refused { .. }) => other,
    };
    match rotated {
        None => Asked::Known(told()),
        // The end of a rotation is written down, for which no worker waits.
        Some(rotated) => Asked::Slow {
            memory_kib: 0,
            work: Box::new(move || {
                rotated.note();
                Asked::Known(told())
            }),
        },
    }
}

impl Attempt {
    /// The answer to a certificate that may not be used. Nothing was guessed, so nothing is counted.
    fn refuse_certificate(&self, status: Option<&Status>, refused: Refused) -> Asked {
        let serial = status.map_or_else(String::new, Status::serial);
        let Self { client_id, address, listener, log, .. } = self;
        log.event(gate::status_refused(&serial, client_id, address, listener, &refused.cause));
        Asked::Known(Verdict::Refused { reason: refused.reason, cause: refused.cause })
    }
}

/// Who answers: the service of the listener, if it has one and nothing else decides.
fn remote(rules: &ListenerRules, credentials: Credentials, client_id: &str) -> Answerer {
    let Some(service) = &rules.service else { return Answerer::Local(credentials) };
    let in_file = |name: &str| rules.authenticator.knows(name);
    answerer(credentials, client_id, &rules.requirements, service.method(), in_file)
}

fn ask_service(rules: &ListenerRules, question: RemoteQuestion, attempt: Attempt, ticket: Ticket) -> Asked {
    let Some(service) = rules.service.clone() else {
        return Asked::Known(unavailable("there is no service to ask".to_owned()));
    };
    let (lane, asked) = (service.lane().clone(), Instant::now());
    let beside_accounts = rules.takes_passwords();
    let verdict = move || {
        if let Some(held) = ticket.held_meanwhile() {
            return held;
        }
        match service.judge(question, asked, &attempt.log) {
            Judged::Verdict(verdict) if beside_accounts => {
                answer(ticket.settled(attempt.authenticator.beside_accounts(verdict)), &attempt)
            }
            Judged::Verdict(verdict) => answer(ticket.settled(verdict), &attempt),
            // Nobody said that the password is wrong: nothing is counted.
            Judged::Unavailable(cause) => unavailable(cause),
        }
    };
    Asked::Remote(lane, Box::new(move || Asked::Known(verdict())))
}

/// Has the keys of an issuer fetched anew for a token that names one which is missing.
fn ask_keys(rules: &Arc<ListenerRules>, question: KeyQuestion, attempt: Attempt, ticket: Ticket) -> Asked {
    let Some(lane) = rules.token_keys.way_to(question.keys()) else {
        return Asked::Known(answer(ticket.settled(question.refuse()), &attempt));
    };
    let rules = Arc::clone(rules);
    let verdict = move || {
        if let Some(held) = ticket.held_meanwhile() {
            return held;
        }
        rules.token_keys.renew(question.keys());
        let verdict = question.retry(&attempt.authenticator, &rules.requirements, unix_ms() / 1_000);
        answer(ticket.settled(verdict), &attempt)
    };
    Asked::Remote(lane, Box::new(move || Asked::Known(verdict())))
}

/// What the connection itself shows.
fn credentials(connection: &Connection, now_s: u64) -> Credentials {
    Credentials {
        user_name: None,
        password: None,
        certificate: connection.certificate_facts(now_s).map(Arc::new),
        listener: Arc::clone(&connection.rules.name),
        security: connection.rules.security(),
        address: connection.stream.peer().map(|peer| peer.ip()),
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
        // Nobody said that anything is wrong with what was shown.
        motte_identity::Verdict::Refused { refusal: Refusal::Unavailable, cause, .. } => {
            unavailable(cause.to_owned())
        }
        motte_identity::Verdict::Refused { refusal, name, cause } => {
            let Attempt { client_id, address, listener, log, .. } = attempt;
            log.event(gate::login_failed(&name, client_id, address, listener, cause));
            let reason = match refusal {
                Refusal::BadCredentials => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                Refusal::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
                Refusal::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
            };
            Verdict::Refused { reason, cause: cause.to_owned() }
        }
    }
}
