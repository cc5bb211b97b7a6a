//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a client proves that it knows its password without sending it, and learns that the
//! server has what is kept of it.
//!
//! Between the client's two messages nothing secret is kept and nothing was decided: the account is looked up again when the
//! proof is there. Who does not exist gets a salt that stays the same, made from his name.

mod message;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use motte_access::Methods;
use motte_seal::{ScramKeys, SecretString, SiteKey, StoredHash};

use crate::account::Account;
use crate::certificate::is_name;
use crate::learned::Learned;
use crate::password_file::PasswordFile;
use crate::verdict::{Authenticator, Credentials, Refusal, Requirements, Verdict, accept};

pub use message::SCRAM_MESSAGE_BYTES_MAX;
use message::{BindingFlag, ClientFinal, ClientFirst};

/// What a client begins with.
#[derive(Debug, Clone, Copy)]
pub struct ScramOffer<'a> {
    /// client-first-message.
    pub first: &'a [u8],
    /// The method was SCRAM-SHA-256-PLUS.
    pub plus: bool,
    /// What binds to this connection's TLS (RFC 9266); `None` where nothing does.
    pub exporter: Option<[u8; 32]>,
}

/// An exchange that waits for the client's proof; at most some 4 KiB.
#[derive(Debug)]
pub struct ScramExchange {
    credentials: Credentials,
    opening: Opening,
}

/// What was said so far.
#[derive(Debug)]
struct Opening {
    name: String,
    header: String,
    exporter: Option<[u8; 32]>,
    first_bare: String,
    server_first: String,
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

/// How an exchange ended.
#[derive(Debug)]
pub struct ScramEnd {
    /// Who it is.
    pub verdict: Verdict,
    /// server-final-message, for who is let in.
    pub server_final: Vec<u8>,
    /// The new password of a rotation was used: this is to be noted, for which the caller may have to wait.
    pub rotated: Option<ScramRotation>,
}

/// The first use of a new password.
#[derive(Debug)]
pub struct ScramRotation {
    learned: Arc<Learned>,
    credential: u64,
}

impl ScramRotation {
    /// Notes it; may write to a file.
    pub fn note(self) {
        self.learned.rotate(self.credential);
    }
}

/// What those are told who do not exist.
#[derive(Debug, Clone)]
pub(crate) struct Decoys {
    key: Option<SiteKey>,
    /// Iterations, and lengths of salts in bytes, that somebody in the file has.
    shapes: Arc<[(u32, usize)]>,
}

impl Decoys {
    /// By the key of the file, so that they stay over a restart. A file without one has nobody to hide.
    pub(crate) fn of(file: &PasswordFile) -> Self {
        let key = file.key().cloned().or_else(|| SiteKey::generate().ok());
        let shape = |keys: &ScramKeys| (keys.iterations(), keys.salt().len());
        let mut shapes: Vec<(u32, usize)> =
            file.accounts().filter_map(|(_, account)| offered(account)).map(shape).collect();
        shapes.sort_unstable();
        shapes.dedup();
        if shapes.is_empty() {
            shapes.push((ScramKeys::ITERATIONS_CHOSEN, ScramKeys::SALT_BYTES));
        }
        Self { key, shapes: shapes.into() }
    }

    /// The same for a name as long as the same shapes are in the file.
    fn keys(&self, name: &str) -> Option<ScramKeys> {
        let key = self.key.as_ref()?;
        let turn = |(iterations, salt_bytes): &(u32, usize)| {
            let turn = key.keyed(format!("scram iterations {iterations} {salt_bytes} {name}").as_bytes());
            StoredHash::Keyed(turn).fingerprint()
        };
        // Each shape has its turn by name; another one in the file changes only those whose turn it becomes.
        let (iterations, salt_bytes) = self.shapes.iter().copied().max_by_key(turn)?;
        Some(ScramKeys::decoy(key, name, iterations, salt_bytes))
    }
}

/// The keys by which an account is spoken to, also when it is closed or has no such password any more.
fn offered(account: &Account) -> Option<&ScramKeys> {
    let present = account.passwords.iter().map(|password| &password.hash);
    present.chain(&account.former).find_map(|hash| match hash {
        StoredHash::Scram(keys) => Some(keys),
        StoredHash::Argon2id(_)
        | StoredHash::Keyed(_)
        | StoredHash::Mosquitto(_)
        | StoredHash::Wrapped(_) => None,
    })
}

impl Authenticator {
    /// Begins an exchange: what is kept until the client's proof comes, and server-first-message.
    ///
    /// # Errors
    /// The verdict, where no proof could help. It tells nothing about accounts.
    pub fn scram_begin(
        &self,
        credentials: Credentials,
        wanted: &Requirements,
        offer: ScramOffer<'_>,
    ) -> Result<(Box<ScramExchange>, Vec<u8>), Verdict> {
        let refuse = |credentials: Credentials, cause| {
            let name = credentials.user_name.unwrap_or_default();
            Err(Verdict::Refused { refusal: Refusal::BadCredentials, name, cause })
        };
        let Ok(nonce) = SecretString::generate() else {
            return refuse(credentials, "the system gave no randomness");
        };
        match self.scram_first(&credentials, wanted, offer, nonce.expose()) {
            Ok(opening) => {
                let user_name = Some(opening.name.clone());
                let credentials = Credentials { user_name, password: None, ..credentials };
                let said = opening.server_first.clone().into_bytes();
                Ok((Box::new(ScramExchange { credentials, opening }), said))
            }
            Err(cause) => refuse(credentials, cause),
        }
    }

    fn scram_first(
        &self,
        credentials: &Credentials,
        wanted: &Requirements,
        offer: ScramOffer<'_>,
        nonce: &str,
    ) -> Result<Opening, &'static str> {
        let first = ClientFirst::parse(offer.first)?;
        match (offer.plus, first.flag, offer.exporter) {
            (false, BindingFlag::None, _) | (false, BindingFlag::Unused, None) => {}
            (false, BindingFlag::Unused, Some(_)) => {
                return Err(
                    "the client was told that channel binding is not offered, which it is: a downgrade",
                );
            }
            (true, BindingFlag::Exporter, Some(_)) => {}
            (true, BindingFlag::Exporter, None) => {
                return Err("channel binding needs TLS 1.3 up to the broker itself");
            }
            (true, BindingFlag::None | BindingFlag::Unused, _) | (false, BindingFlag::Exporter, _) => {
                return Err("channel binding and the method's name do not go together");
            }
        }
        if credentials.user_name.as_deref().is_some_and(|user| !user.is_empty() && user != first.name) {
            return Err("user name and SCRAM name differ");
        }
        beside_password(credentials, wanted, &first.name)?;
        let account = self.file().account(&first.name).filter(|_| is_name(&first.name));
        let decoy = self.decoys().keys(&first.name).ok_or("the system gave no randomness")?;
        let keys = account.and_then(offered).unwrap_or(&decoy);
        let nonce = format!("{}{nonce}", first.nonce);
        let (salt, iterations) = (keys.salt().to_vec(), keys.iterations());
        let server_first = format!("r={nonce},s={},i={iterations}", BASE64.encode(&salt));
        Ok(Opening {
            header: first.header.to_owned(),
            exporter: offer.exporter.filter(|_| offer.plus),
            first_bare: first.bare.to_owned(),
            name: first.name,
            server_first,
            nonce,
            salt,
            iterations,
        })
    }

    /// Ends an exchange with client-final-message, at `now_s` in Unix seconds. Costs some microseconds, the same whoever it is.
    pub fn scram_finish(
        &self,
        exchange: ScramExchange,
        wanted: &Requirements,
        last: &[u8],
        now_s: u64,
    ) -> ScramEnd {
        let proved = self.scram_proved(&exchange, wanted, last, now_s);
        let ScramExchange { credentials, opening: Opening { name, .. } } = exchange;
        match proved {
            Ok((methods, credential, signature, rotates)) => ScramEnd {
                verdict: accept(credentials, name, methods, credential),
                server_final: format!("v={}", BASE64.encode(signature)).into_bytes(),
                rotated: rotates.then(|| ScramRotation { learned: self.learned(), credential }),
            },
            Err(cause) => {
                let refusal = Refusal::BadCredentials;
                let verdict = Verdict::Refused { refusal, name, cause };
                ScramEnd { verdict, server_final: Vec::new(), rotated: None }
            }
        }
    }

    /// What was proved, by which password, what proves us to the client, and whether that ends a rotation.
    fn scram_proved(
        &self,
        exchange: &ScramExchange,
        wanted: &Requirements,
        last: &[u8],
        now_s: u64,
    ) -> Result<(Methods, u64, [u8; 32], bool), &'static str> {
        let ScramExchange { credentials, opening: exchange } = exchange;
        let last = ClientFinal::parse(last)?;
        if last.nonce != exchange.nonce {
            return Err("the nonce is not the one of this exchange");
        }
        let bound = exchange.exporter.as_ref().map(<[u8; 32]>::as_slice).unwrap_or_default();
        if last.binding.as_slice() != [exchange.header.as_bytes(), bound].concat() {
            return Err(
                "the channel binding is another: somebody stands between, or it is of another connection",
            );
        }
        let beside = beside_password(credentials, wanted, &exchange.name)?;
        let (account, closed) = self.scram_account(&exchange.name, now_s);
        let current = account.map(|account| self.current(account, now_s)).unwrap_or_default();
        let decoy = self.decoys().keys(&exchange.name).ok_or("the system gave no randomness")?;
        let message = format!("{},{},{}", exchange.first_bare, exchange.server_first, last.without_proof);
        // Two keys are tried whatever there is.
        let mut fitting = None;
        let offered = current.iter().filter_map(|hash| match hash {
            StoredHash::Scram(keys) if keys.salt() == exchange.salt => Some((hash.fingerprint(), keys)),
            _ => None,
        });
        let padding = std::iter::repeat((0, &decoy));
        for (credential, keys) in offered.chain(padding).take(2) {
            let fits = bool::from(keys.proves(message.as_bytes(), &last.proof));
            if fits && credential != 0 && keys.iterations() == exchange.iterations && fitting.is_none() {
                fitting = Some((credential, keys.signature(message.as_bytes())));
            }
        }
        let (credential, signature) = fitting.ok_or(closed.unwrap_or("the proof is wrong"))?;
        if let Some(cause) = closed {
            return Err(cause);
        }
        let first = current.first().map(StoredHash::fingerprint);
        let rotates = current.len() > 1 && first == Some(credential);
        Ok((beside.and(Methods::PASSWORD), credential, signature, rotates))
    }

    /// The account, and why nobody comes in by it.
    fn scram_account(&self, name: &str, now_s: u64) -> (Option<&Account>, Option<&'static str>) {
        let Some(account) = self.file().account(name).filter(|_| is_name(name)) else {
            return (None, Some("there is no such identity"));
        };
        let closed = match account.open(now_s) {
            Err(closed) => Some(closed.cause()),
            Ok(()) if account.second.is_some() => Some("its second factor cannot be given by SCRAM"),
            Ok(()) if !has_scram(account) => {
                Some("the password is not kept for SCRAM: motte user passwd --scram")
            }
            Ok(()) => None,
        };
        (Some(account), closed)
    }
}

/// What has proved itself beside the password, where a password alone is what is still wanted.
fn beside_password(
    credentials: &Credentials,
    wanted: &Requirements,
    name: &str,
) -> Result<Methods, &'static str> {
    if wanted.all_of.has(Methods::TOTP) {
        return Err("a second factor is wanted, which SCRAM does not carry");
    }
    if wanted.all_of.has(Methods::HTTP) || wanted.all_of.has(Methods::TOKEN) {
        return Err("a password is not all that is wanted here");
    }
    let both = wanted.any_of.and(wanted.all_of);
    let facts = credentials.certificate.as_deref().filter(|_| both.has(Methods::CERTIFICATE));
    match facts.map(|facts| wanted.certificates.identity(facts)) {
        Some(Ok(certified)) if certified == name => Ok(Methods::CERTIFICATE),
        Some(Ok(_)) => Err("certificate and SCRAM name differ"),
        Some(Err((cause, _))) => Err(cause),
        None if wanted.all_of.has(Methods::CERTIFICATE) => Err("no client certificate was presented"),
        None => Ok(Methods::default()),
    }
}

fn has_scram(account: &Account) -> bool {
    account.passwords.iter().any(|password| matches!(password.hash, StoredHash::Scram(_)))
}

impl ScramExchange {
    /// Who says to be whom, for those who count attempts.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

#[cfg(test)]
mod tests;
