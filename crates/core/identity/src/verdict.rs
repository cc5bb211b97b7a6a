//! The verdict: who a client is, by what its listener takes.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, Methods, Security, TokenFacts};
use motte_seal::{KeyedHash, SecretBytes, StoredHash};

use crate::account::{Account, Ageing, Password};
use crate::certificate::is_name;
use crate::certificate_rules::CertificateRules;
use crate::learned::{Journal, Learned};
use crate::password_file::PasswordFile;
use crate::question::{PasswordAnswer, PasswordQuestion, RefusalCost};
use crate::scram::Decoys;
use crate::token::{HeldKeys, TokenFault, TokenIssuers, is_token};

/// What a listener takes as proof.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// Methods of which one must prove the identity; the certificate is tried first.
    pub any_of: Methods,
    /// Methods that must all prove the same identity; empty: `any_of` is enough.
    pub all_of: Methods,
    /// How a certificate becomes an identity.
    pub certificates: Arc<CertificateRules>,
}

impl Requirements {
    /// Nobody is asked anything. For development on this machine.
    pub fn anonymous() -> Self {
        Self { any_of: Methods::ANONYMOUS, all_of: Methods::default(), certificates: Arc::default() }
    }
}

impl Requirements {
    /// Whether what a client proved once would be enough now.
    pub fn satisfied_by(&self, proved: Methods) -> bool {
        let one_of = |method| self.any_of.has(method) && proved.has(method);
        if self.all_of == Methods::default() {
            let asked = [Methods::HTTP, Methods::LDAP];
            let all = [Methods::ANONYMOUS, Methods::CERTIFICATE, Methods::PASSWORD, Methods::TOKEN];
            all.into_iter().chain(asked).any(one_of)
        } else {
            proved.has(self.all_of)
        }
    }
}

/// What a client presents.
#[derive(Debug)]
pub struct Credentials {
    /// User Name of CONNECT.
    pub user_name: Option<String>,
    /// Password of CONNECT.
    pub password: Option<SecretBytes>,
    /// Facts of the certificate that TLS verified.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// How the connection is protected.
    pub security: Security,
    /// The peer's address.
    pub address: Option<std::net::IpAddr>,
}

impl Credentials {
    /// A code that came apart from the password, put where it would stand behind it.
    pub fn add_code(&mut self, code: &[u8]) {
        if let Some(password) = self.password.take() {
            self.password = Some(SecretBytes::new([password.expose(), b":", code].concat()));
        }
    }
}

/// Why a client is refused; what it is told is only this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// User name or password is wrong.
    BadCredentials,
    /// Nothing that the listener takes was presented.
    NotAuthorized,
    /// Nobody can say at present: it may try again.
    Unavailable,
}

/// Who a client is.
#[derive(Debug)]
pub enum Verdict {
    /// This one. The Client Identifier is filled in by the broker.
    Accepted(Box<ClientPrincipal>),
    /// Nobody we know; the cause is for the log.
    Refused {
        /// What the client is told.
        refusal: Refusal,
        /// The name it gave, for the log.
        name: String,
        /// What was wrong, for the log.
        cause: &'static str,
    },
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Done(Verdict),
    /// Answer this question, which is slow, and call [`Authenticator::finish`].
    Ask(Box<PasswordQuestion>),
    /// Fetch keys anew, which is slow, and begin again; or refuse.
    Fetch(Box<KeyQuestion>),
}

/// A token for which keys are missing.
#[derive(Debug)]
pub struct KeyQuestion {
    keys: Arc<HeldKeys>,
    credentials: Credentials,
    refusal: Refusal,
    cause: &'static str,
}

impl KeyQuestion {
    /// The keys among which one is missing.
    pub fn keys(&self) -> &Arc<HeldKeys> {
        &self.keys
    }

    /// The verdict when no newer keys can be had.
    pub fn refuse(self) -> Verdict {
        let name = self.credentials.user_name.unwrap_or_default();
        Verdict::Refused { refusal: self.refusal, name, cause: self.cause }
    }

    /// The verdict by the keys that are held now, at `now_s` in Unix seconds.
    pub fn retry(self, authenticator: &Authenticator, wanted: &Requirements, now_s: u64) -> Verdict {
        let Self { credentials, refusal, cause, .. } = self;
        match authenticator.begin(credentials, wanted, now_s) {
            Step::Done(verdict) => verdict,
            Step::Fetch(question) => question.refuse(),
            // The same credentials that were a token before.
            Step::Ask(_) => Verdict::Refused { refusal, name: String::new(), cause },
        }
    }
}

/// Judges credentials by the password file and a listener's requirements.
#[derive(Debug, Clone)]
pub struct Authenticator {
    passwords: Arc<PasswordFile>,
    tokens: TokenIssuers,
    refusal: RefusalCost,
    ageing: Option<Ageing>,
    learned: Arc<Learned>,
    decoys: Decoys,
    /// When accounts end, in Unix seconds, in order.
    endings: Arc<[u64]>,
}

impl Authenticator {
    /// By this password file, and what was learned from logins before.
    pub fn new(passwords: Arc<PasswordFile>, learned: Arc<Learned>) -> Self {
        let (refusal, decoys) = (RefusalCost::of(&passwords), Decoys::of(&passwords));
        let mut endings: Vec<u64> =
            passwords.accounts().filter_map(|(_, account)| account.expires_s).collect();
        endings.sort_unstable();
        endings.dedup();
        let tokens = TokenIssuers::default();
        Self { passwords, tokens, refusal, ageing: None, learned, decoys, endings: endings.into() }
    }

    /// When the next account ends after `since_s`, in Unix seconds.
    pub fn next_ending(&self, since_s: u64) -> Option<u64> {
        let next = self.endings.partition_point(|ends_s| *ends_s <= since_s);
        self.endings.get(next).copied()
    }

    /// The password file.
    pub(crate) fn file(&self) -> &PasswordFile {
        &self.passwords
    }

    /// The rules by which tokens are judged.
    pub(crate) fn tokens(&self) -> &TokenIssuers {
        &self.tokens
    }

    pub(crate) fn decoys(&self) -> &Decoys {
        &self.decoys
    }

    /// Whether the password file has an entry of this name.
    pub fn knows(&self, identity: &str) -> bool {
        self.passwords.account(identity).is_some()
    }

    /// The same where tokens are taken, by these rules.
    #[must_use]
    pub fn with_tokens(self, tokens: TokenIssuers) -> Self {
        Self { tokens, ..self }
    }

    /// The same where passwords age.
    #[must_use]
    pub fn with_ageing(self, ageing: Option<Ageing>) -> Self {
        Self { ageing, ..self }
    }

    /// What is learned from logins, for the rules that replace these.
    pub fn learned(&self) -> Arc<Learned> {
        Arc::clone(&self.learned)
    }

    /// Learns again what a journal holds; gives back what of it still matters.
    pub fn remember(&self, journal: &str) -> String {
        self.learned.read(journal);
        self.learned.compact(&self.passwords)
    }

    /// Where everything is kept that is learned from now on.
    pub fn keep_in(&self, journal: Box<dyn Journal>) {
        self.learned.keep_in(journal);
    }

    /// Days until the password that a client came in with is too old; `None` where it is not old.
    pub fn ageing_days(&self, client: &ClientPrincipal, now_s: u64) -> Option<u64> {
        let account = self.passwords.account(&client.identity)?;
        let its_own = |password: &&Password| password.hash.fingerprint() == client.credential;
        account.passwords.iter().find(its_own)?.ageing_days(now_s, self.ageing)
    }

    /// Begins with what is quick, at `now_s` in Unix seconds.
    pub fn begin(&self, credentials: Credentials, wanted: &Requirements, now_s: u64) -> Step {
        if wanted.any_of.has(Methods::ANONYMOUS) {
            return Step::Done(accept(credentials, "anonymous".into(), Methods::ANONYMOUS, 0));
        }
        let both = wanted.any_of.and(wanted.all_of);
        let by_certificate = credentials
            .certificate
            .as_deref()
            .filter(|_| both.has(Methods::CERTIFICATE))
            .map(|facts| wanted.certificates.identity(facts));
        let proved = match by_certificate {
            Some(Ok(name)) => Some(name),
            Some(Err((cause, name))) => {
                let name = if name.is_empty() { credentials.user_name.unwrap_or_default() } else { name };
                return Step::Done(Verdict::Refused { refusal: Refusal::NotAuthorized, name, cause });
            }
            None => None,
        };
        if is_by_token(&credentials, wanted, proved.is_some()) {
            return self.by_token(credentials, proved.as_deref(), now_s);
        }
        let asked = Asked { now_s, second_factor: wanted.all_of.has(Methods::TOTP) };
        // A code stands behind a password.
        let needs_password = wanted.all_of.has(Methods::PASSWORD) || asked.second_factor;
        if wanted.all_of.has(Methods::HTTP) || wanted.all_of.has(Methods::LDAP) {
            return refuse(credentials, Refusal::NotAuthorized, "there is no service that could be asked");
        }
        match proved {
            Some(name) if !needs_password => Step::Done(accept(credentials, name, Methods::CERTIFICATE, 0)),
            Some(name) => {
                // Both factors must name the same identity; the user name may be left out.
                if credentials.user_name.as_deref().is_some_and(|user| user != name) {
                    return refuse(credentials, Refusal::BadCredentials, "certificate and user name differ");
                }
                self.ask(credentials, name, Methods::CERTIFICATE, asked)
            }
            None if wanted.all_of.has(Methods::CERTIFICATE) => {
                refuse(credentials, Refusal::NotAuthorized, "no client certificate was presented")
            }
            None if both.has(Methods::PASSWORD) => match credentials.user_name.clone() {
                Some(name) => self.ask(credentials, name, Methods::default(), asked),
                None => refuse(
                    credentials,
                    Refusal::NotAuthorized,
                    "neither certificate nor user name was presented",
                ),
            },
            None => refuse(credentials, Refusal::NotAuthorized, "no client certificate was presented"),
        }
    }

    /// Ends with the answer to the question.
    pub fn finish(answer: PasswordAnswer) -> Verdict {
        let PasswordAnswer { credentials, identity, proved, outcome } = answer;
        match outcome {
            Ok(credential) => accept(credentials, identity, proved, credential),
            Err(cause) => Verdict::Refused { refusal: Refusal::BadCredentials, name: identity, cause },
        }
    }

    /// A service's verdict where the password file is asked as well: who has an account there comes in by it, or not at all.
    #[must_use]
    pub fn beside_accounts(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Accepted(client) if self.knows(&client.identity) => Verdict::Refused {
                refusal: Refusal::BadCredentials,
                name: client.user_name.as_deref().unwrap_or_default().to_owned(),
                cause: "the service names an identity of the password file",
            },
            Verdict::Accepted(_) | Verdict::Refused { .. } => verdict,
        }
    }

    /// Whether a client that is in may stay: its account is there and open, and what it came in with was neither exposed
    /// nor of an account that had its name before. A password that was merely changed since lets it stay.
    ///
    /// # Errors
    /// Why not.
    pub fn still_valid(&self, client: &ClientPrincipal, now_s: u64) -> Result<(), String> {
        if client.methods.has(Methods::TOKEN) {
            let facts = client.token.as_ref().ok_or("nothing is known of its token")?;
            self.tokens.still_good(facts, &client.identity, now_s)?;
        }
        if !client.methods.has(Methods::PASSWORD) {
            return Ok(());
        }
        let Some(account) = self.passwords.account(&client.identity) else {
            return Err("its entry in the password file is gone".into());
        };
        account.open(now_s).map_err(|closed| closed.cause().to_owned())?;
        let credential = client.credential;
        if account.exposed.contains(&credential) {
            return Err("the password that it came in with was exposed".into());
        }
        let mut had = account.passwords.iter().map(|password| &password.hash).chain(&account.former);
        if credential != 0 && !had.any(|hash| hash.fingerprint() == credential) {
            return Err("the password that it came in with is of an account that is gone".into());
        }
        Ok(())
    }

    /// Ends with a token. A signature is checked in some ten microseconds, so nobody else is asked.
    fn by_token(&self, mut credentials: Credentials, proved: Option<&str>, now_s: u64) -> Step {
        let Some(token) = credentials.password.take() else {
            return refuse(credentials, Refusal::NotAuthorized, "no token was presented");
        };
        let verified = match self.tokens.judge(token.expose(), now_s) {
            Ok(verified) => verified,
            Err(fault) => {
                let (cause, refusal) = match &fault {
                    TokenFault::NoKeys(_) => (fault.cause(), Refusal::Unavailable),
                    TokenFault::Broken(_) | TokenFault::UnknownKey(_) => {
                        (fault.cause(), Refusal::BadCredentials)
                    }
                };
                return match fault {
                    TokenFault::NoKeys(keys) | TokenFault::UnknownKey(keys) if keys.is_fetched() => {
                        credentials.password = Some(token);
                        Step::Fetch(Box::new(KeyQuestion { keys, credentials, refusal, cause }))
                    }
                    _ => refuse(credentials, refusal, cause),
                };
            }
        };
        if proved.is_some_and(|name| name != verified.identity) {
            return refuse(
                credentials,
                Refusal::BadCredentials,
                "certificate and token name different identities",
            );
        }
        // Clients of MQTT 3 cannot send a password without a user name: it may be empty, but never somebody else's.
        if credentials.user_name.as_deref().is_some_and(|user| !user.is_empty() && user != verified.identity)
        {
            return refuse(credentials, Refusal::BadCredentials, "token and user name differ");
        }
        let by_certificate = if proved.is_some() { Methods::CERTIFICATE } else { Methods::default() };
        let verdict = accept(credentials, verified.identity, by_certificate.and(Methods::TOKEN), 0);
        Step::Done(with_token(verdict, verified.facts))
    }

    /// A generated password is checked here and now. Everything else, and every refusal, is a question.
    fn ask(&self, mut credentials: Credentials, identity: String, proved: Methods, asked: Asked) -> Step {
        let account = self.passwords.account(&identity).filter(|_| is_name(&identity));
        let open = match account.map(|account| account.open(asked.now_s).map(|()| account)) {
            Some(Ok(account)) if asked.second_factor && account.second.is_none() => {
                Err("a second factor is wanted, and the identity has none")
            }
            Some(Ok(account)) => Ok(account),
            Some(Err(closed)) => Err(closed.cause()),
            None => Err("there is no such identity"),
        };
        let (candidates, closed) = match open {
            Ok(account) => {
                let current = self.current(account, asked.now_s);
                let closed = current.is_empty().then_some("its password is too old and has not been changed");
                (current, closed)
            }
            Err(cause) => (Vec::new(), Some(cause)),
        };
        let rotating = candidates.first().filter(|_| candidates.len() > 1).map(StoredHash::fingerprint);
        let second = open.ok().and_then(|account| account.second.clone());
        // The end of a rotation is written down, for which no worker waits.
        let plain = second.is_none() && rotating.is_none();
        let quick = self.quick(&credentials, &candidates);
        if let Some(credential) = quick.filter(|_| plain) {
            credentials.password = None;
            return Step::Done(accept(credentials, identity, proved.and(Methods::PASSWORD), credential));
        }
        let key = self.passwords.key().filter(|_| !plain).cloned();
        Step::Ask(Box::new(PasswordQuestion {
            credentials,
            identity,
            proved,
            candidates,
            closed,
            rotating,
            second,
            key,
            now_s: asked.now_s,
            learned: Arc::clone(&self.learned),
            refusal: self.refusal,
        }))
    }

    /// What a password may fit now: once the new one of a rotation was used, not the old one.
    pub(crate) fn current(&self, account: &Account, now_s: u64) -> Vec<StoredHash> {
        let first = account.passwords.first().map(|password| password.hash.fingerprint());
        let over = first.is_some_and(|new| self.learned.is_rotated(new));
        let most = if over { 1 } else { account.passwords.len() };
        let is_current = |password: &&Password| password.is_current(now_s, self.ageing);
        account.passwords.iter().take(most).filter(is_current).map(|password| password.hash.clone()).collect()
    }

    /// The fingerprint of the keyed hash that the password fits. The work is the same for every name, known or not.
    fn quick(&self, credentials: &Credentials, candidates: &[StoredHash]) -> Option<u64> {
        let found = self.passwords.key()?.keyed(credentials.password.as_ref()?.expose());
        let decoy = StoredHash::Keyed(KeyedHash::decoy());
        let keyed = |hash: &&StoredHash| matches!(hash, StoredHash::Keyed(_));
        let first = candidates.iter().find(keyed).unwrap_or(&decoy);
        let second = candidates.iter().filter(keyed).nth(1).unwrap_or(&decoy);
        let fits = |hash: &&StoredHash| matches!(hash, StoredHash::Keyed(hash) if found == *hash);
        [first, second].into_iter().find(fits).map(StoredHash::fingerprint)
    }
}

/// What is asked of an account beside its name.
#[derive(Debug, Clone, Copy)]
struct Asked {
    now_s: u64,
    /// A second factor is wanted.
    second_factor: bool,
}

/// Whether the Password field is to be judged as a token. Where passwords are taken as well, or a certificate is enough, its
/// form says whether it is one.
fn is_by_token(credentials: &Credentials, wanted: &Requirements, has_certificate: bool) -> bool {
    if wanted.all_of.has(Methods::TOKEN) {
        return has_certificate || !wanted.all_of.has(Methods::CERTIFICATE);
    }
    // A certificate that would be enough does not set aside what a token says: it may narrow.
    let is_enough = has_certificate && wanted.all_of == Methods::CERTIFICATE;
    let takes = wanted.any_of.has(Methods::TOKEN) && (wanted.all_of == Methods::default() || is_enough);
    let by_form = has_certificate || wanted.any_of.has(Methods::PASSWORD);
    let given = credentials.password.as_ref().map(SecretBytes::expose);
    takes && given.is_some_and(|given| !by_form || is_token(given))
}

/// The verdict on who has proved himself.
pub(crate) fn accept(
    credentials: Credentials,
    identity: String,
    methods: Methods,
    credential: u64,
) -> Verdict {
    // Kept also where it proved nothing: a connection that showed it ends when it is revoked.
    let certificate = credentials.certificate;
    Verdict::Accepted(Box::new(ClientPrincipal {
        identity: Arc::from(identity),
        client_id: Arc::from(""),
        user_name: credentials.user_name.map(Arc::from),
        certificate,
        token: None,
        ends_s: None,
        directory: None,
        methods,
        listener: credentials.listener,
        security: credentials.security,
        address: credentials.address,
        credential,
    }))
}

fn with_token(verdict: Verdict, facts: TokenFacts) -> Verdict {
    match verdict {
        Verdict::Accepted(client) => {
            Verdict::Accepted(Box::new(ClientPrincipal { token: Some(Arc::new(facts)), ..*client }))
        }
        refused @ Verdict::Refused { .. } => refused,
    }
}

fn refuse(credentials: Credentials, refusal: Refusal, cause: &'static str) -> Step {
    Step::Done(Verdict::Refused { refusal, name: credentials.user_name.unwrap_or_default(), cause })
}

#[cfg(test)]
mod tests;
