//! Exchanges of AUTH packets (5.0 section 4.12): codes of a second factor, SCRAM, and tokens. At CONNECT and on a live
//! connection the steps are the same; on a live one the broker bounds their number and their time.

use motte_access::ClientPrincipal;
use motte_broker::Verdict;
use motte_identity::{Credentials, ScramExchange, ScramOffer};
use motte_seal::SecretBytes;
use motte_wire::ReasonCode;

use crate::asking::{Asked, Asking, Presented};
use crate::connection::Connection;

/// By which a code comes in a packet of its own.
const TOTP: &str = "TOTP";
/// A password that is proved and not sent (RFC 7677).
const SCRAM: &str = "SCRAM-SHA-256";
/// The same, bound to the TLS connection (RFC 5802, section 6).
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// A token, as other brokers name it.
const TOKEN: &str = "OAUTH2-JWT";
/// What the client is asked for by [`TOTP`]; the same whoever it says it is.
const CODE_PLEASE: &[u8] = b"code";

/// An exchange that waits for the client. Nothing was decided yet.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// For the code.
    Code(Presented),
    /// For the proof.
    Scram(String, Box<ScramExchange>),
}

/// A method of enhanced authentication with what came with its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) method: &'a str,
    pub(crate) data: Option<&'a [u8]>,
}

impl Opening<'_> {
    /// The first step, at CONNECT.
    pub(crate) fn at_connect(
        self,
        connection: &mut Connection,
        who: Presented,
        asking: &Asking<'_>,
    ) -> Asked {
        match self.method {
            TOTP if connection.rules.takes_passwords() => for_code(connection, who),
            SCRAM | SCRAM_PLUS if connection.rules.takes_passwords() => self.scram(connection, who, asking),
            TOKEN if connection.rules.takes_tokens() => self.token(connection, who, asking),
            _ => Asked::Known(unknown_method()),
        }
    }

    /// The first step on a live connection. What a password would be at CONNECT is in the data.
    pub(crate) fn again(
        self,
        connection: &mut Connection,
        client: &ClientPrincipal,
        credentials: Credentials,
        asking: &Asking<'_>,
    ) -> Asked {
        let user_name = client.user_name.as_deref().map(str::to_owned);
        let password = self.data.filter(|_| self.method == TOTP);
        let password = password.map(|password| SecretBytes::new(password.to_vec()));
        let credentials = Credentials { user_name, password, ..credentials };
        let who = Presented { client_id: client.client_id.as_ref().to_owned(), credentials };
        self.at_connect(connection, who, asking)
    }

    fn token(self, connection: &mut Connection, mut who: Presented, asking: &Asking<'_>) -> Asked {
        who.credentials.password = self.data.map(|token| SecretBytes::new(token.to_vec()));
        asking.begin(connection, who)
    }

    fn scram(self, connection: &mut Connection, who: Presented, asking: &Asking<'_>) -> Asked {
        let Presented { client_id, credentials } = who;
        let offer = ScramOffer {
            first: self.data.unwrap_or_default(),
            plus: self.method == SCRAM_PLUS,
            exporter: connection.stream.channel_binding(),
        };
        let rules = &connection.rules;
        match rules.authenticator.scram_begin(credentials, &rules.requirements, offer) {
            Ok((exchange, data)) => {
                // Whoever is held or banned gets no salt. This one is not counted: nothing has been guessed yet.
                if let Err(verdict) = asking.logins.begin(connection, &client_id, exchange.credentials()) {
                    return Asked::Known(verdict);
                }
                connection.entering().exchange = Some(Exchange::Scram(client_id, exchange));
                Asked::Known(Verdict::Continue { data })
            }
            Err(verdict) => Asked::Known(asking.refused(connection, client_id, verdict)),
        }
    }
}

/// The next step of an exchange.
pub(crate) fn go_on(connection: &mut Connection, data: &[u8], asking: &Asking<'_>) -> Asked {
    match connection.entering().exchange.take() {
        Some(Exchange::Code(mut who)) => {
            who.credentials.add_code(data);
            asking.begin(connection, who)
        }
        Some(Exchange::Scram(client_id, exchange)) => asking.prove(connection, client_id, *exchange, data),
        None => Asked::Known(unknown_method()),
    }
}

fn for_code(connection: &mut Connection, who: Presented) -> Asked {
    connection.entering().exchange = Some(Exchange::Code(who));
    Asked::Known(Verdict::Continue { data: CODE_PLEASE.to_vec() })
}

fn unknown_method() -> Verdict {
    Verdict::Refused {
        reason: ReasonCode::BAD_AUTHENTICATION_METHOD,
        cause: "this method of enhanced authentication is not offered here".to_owned(),
    }
}
