//! The verdict: who a client is, by what its listener takes.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, Methods, Security};
use motte_seal::{PasswordHash, SecretBytes};

use crate::certificate::{CertificateName, identity, is_name};
use crate::password_file::PasswordFile;

/// What a listener takes as proof.
#[derive(Debug, Clone)]
pub struct Requirements {
    /// Methods of which one must prove the identity; the certificate is tried first.
    pub any_of: Methods,
    /// Methods that must all prove the same identity; empty: `any_of` is enough.
    pub all_of: Methods,
    /// Which name of a certificate is the identity.
    pub certificate_name: CertificateName,
}

impl Requirements {
    /// Nobody is asked anything. For development on this machine.
    pub fn anonymous() -> Self {
        Self {
            any_of: Methods::ANONYMOUS,
            all_of: Methods::default(),
            certificate_name: CertificateName::default(),
        }
    }
}

impl Requirements {
    /// Whether what a client proved once would be enough now.
    pub fn satisfied_by(&self, proved: Methods) -> bool {
        let one_of = |method| self.any_of.has(method) && proved.has(method);
        if self.all_of == Methods::default() {
            [Methods::ANONYMOUS, Methods::CERTIFICATE, Methods::PASSWORD, Methods::HTTP]
                .into_iter()
                .any(one_of)
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

/// Why a client is refused; what it is told is only this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// User name or password is wrong.
    BadCredentials,
    /// Nothing that the listener takes was presented.
    NotAuthorized,
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
    Ask(PasswordQuestion),
}

/// Is this the password? Holds all it needs, so that it can go to another thread.
#[derive(Debug)]
pub struct PasswordQuestion {
    credentials: Credentials,
    identity: String,
    hash: PasswordHash,
    known: bool,
    /// What the certificate has proved already.
    proved: Methods,
}

/// The answer.
#[derive(Debug)]
pub struct PasswordAnswer {
    question: PasswordQuestion,
    right: bool,
}

impl PasswordQuestion {
    /// Checks the password. Slow by design; the same work for unknown names.
    pub fn answer(mut self) -> PasswordAnswer {
        let right = match self.credentials.password.take() {
            Some(password) => self.hash.verify(password.expose()),
            None => false,
        };
        PasswordAnswer { right: right && self.known, question: self }
    }
}

/// Judges credentials by the password file and a listener's requirements.
#[derive(Debug, Clone)]
pub struct Authenticator {
    passwords: Arc<PasswordFile>,
}

impl Authenticator {
    /// By this password file.
    pub fn new(passwords: Arc<PasswordFile>) -> Self {
        Self { passwords }
    }

    /// Whether the password file has an entry of this name.
    pub fn knows(&self, identity: &str) -> bool {
        self.passwords.hash(identity).is_some()
    }

    /// Begins with what is quick.
    pub fn begin(&self, credentials: Credentials, wanted: &Requirements) -> Step {
        if wanted.any_of.has(Methods::ANONYMOUS) {
            return Step::Done(accept(credentials, "anonymous".into(), Methods::ANONYMOUS));
        }
        let both = wanted.any_of.and(wanted.all_of);
        let by_certificate = credentials
            .certificate
            .as_deref()
            .filter(|_| both.has(Methods::CERTIFICATE))
            .map(|facts| identity(facts, wanted.certificate_name).map(str::to_owned));
        let proved = match by_certificate {
            Some(Some(name)) => Some(name),
            Some(None) => {
                return refuse(credentials, Refusal::NotAuthorized, "the certificate has no usable name");
            }
            None => None,
        };
        let needs_password = wanted.all_of.has(Methods::PASSWORD);
        match proved {
            Some(name) if !needs_password => Step::Done(accept(credentials, name, Methods::CERTIFICATE)),
            Some(name) => {
                // Both factors must name the same identity; the user name may be left out.
                if credentials.user_name.as_deref().is_some_and(|user| user != name) {
                    return refuse(credentials, Refusal::BadCredentials, "certificate and user name differ");
                }
                self.ask(credentials, name, Methods::CERTIFICATE)
            }
            None if wanted.all_of.has(Methods::CERTIFICATE) => {
                refuse(credentials, Refusal::NotAuthorized, "no client certificate was presented")
            }
            None if both.has(Methods::PASSWORD) => match credentials.user_name.clone() {
                Some(name) => self.ask(credentials, name, Methods::default()),
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
        let PasswordAnswer { question, right } = answer;
        if right {
            return accept(question.credentials, question.identity, question.proved.and(Methods::PASSWORD));
        }
        let cause = if question.known { "the password is wrong" } else { "there is no such identity" };
        Verdict::Refused { refusal: Refusal::BadCredentials, name: question.identity, cause }
    }

    /// Whether a client that is in could come in again: its password entry still exists.
    ///
    /// # Errors
    /// Why not.
    pub fn still_valid(&self, client: &ClientPrincipal) -> Result<(), String> {
        if client.methods.has(Methods::PASSWORD) && self.passwords.hash(&client.identity).is_none() {
            return Err("its entry in the password file is gone".into());
        }
        Ok(())
    }

    fn ask(&self, credentials: Credentials, identity: String, proved: Methods) -> Step {
        let found = self.passwords.hash(&identity).filter(|_| is_name(&identity)).cloned();
        let known = found.is_some();
        let hash = found.unwrap_or_else(PasswordHash::decoy);
        Step::Ask(PasswordQuestion { credentials, identity, hash, known, proved })
    }
}

fn accept(credentials: Credentials, identity: String, methods: Methods) -> Verdict {
    let certificate = credentials.certificate.filter(|_| methods.has(Methods::CERTIFICATE));
    Verdict::Accepted(Box::new(ClientPrincipal {
        identity: Arc::from(identity),
        client_id: Arc::from(""),
        user_name: credentials.user_name.map(Arc::from),
        certificate,
        methods,
        listener: credentials.listener,
        security: credentials.security,
        address: credentials.address,
    }))
}

fn refuse(credentials: Credentials, refusal: Refusal, cause: &'static str) -> Step {
    Step::Done(Verdict::Refused { refusal, name: credentials.user_name.unwrap_or_default(), cause })
}

#[cfg(test)]
mod tests {
    use motte_seal::HashParameters;

    use super::*;

    fn authenticator() -> Authenticator {
        let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
        let mut file = PasswordFile::default();
        assert!(file.set("dev-1", PasswordHash::create(b"right", cheap).unwrap()));
        Authenticator::new(Arc::new(file))
    }

    fn credentials(user: Option<&str>, password: Option<&str>, cn: Option<&str>) -> Credentials {
        Credentials {
            user_name: user.map(str::to_owned),
            password: password.map(|p| SecretBytes::new(p.as_bytes().to_vec())),
            certificate: cn
                .map(|cn| Arc::new(CertificateFacts { cn: Some(cn.into()), ..CertificateFacts::default() })),
            listener: Arc::from("main"),
            security: Security::Tls,
            address: None,
        }
    }

    fn wanted(any_of: Methods, all_of: Methods) -> Requirements {
        Requirements { any_of, all_of, certificate_name: CertificateName::CommonName }
    }

    fn verdict(step: Step) -> Result<(String, Methods), &'static str> {
        let verdict = match step {
            Step::Done(verdict) => verdict,
            Step::Ask(question) => Authenticator::finish(question.answer()),
        };
        match verdict {
            Verdict::Accepted(client) => Ok((client.identity.to_string(), client.methods)),
            Verdict::Refused { cause, .. } => Err(cause),
        }
    }

    #[test]
    fn a_password_or_a_certificate_is_enough_where_either_is_taken() {
        let (a, either) =
            (authenticator(), wanted(Methods::PASSWORD.and(Methods::CERTIFICATE), Methods::default()));
        let ask = |user, password, cn| verdict(a.begin(credentials(user, password, cn), &either));
        assert_eq!(ask(Some("dev-1"), Some("right"), None), Ok(("dev-1".into(), Methods::PASSWORD)));
        assert_eq!(ask(None, None, Some("dev-2")), Ok(("dev-2".into(), Methods::CERTIFICATE)));
        assert_eq!(ask(Some("dev-1"), Some("wrong"), None), Err("the password is wrong"));
        assert_eq!(ask(Some("dev-1"), None, None), Err("the password is wrong"));
        assert_eq!(ask(Some("nobody"), Some("right"), None), Err("there is no such identity"));
        assert_eq!(ask(None, None, None), Err("neither certificate nor user name was presented"));
        assert_eq!(ask(None, None, Some("#")), Err("the certificate has no usable name"));
    }

    #[test]
    fn both_factors_must_name_the_same_identity_where_both_are_wanted() {
        let both = Methods::PASSWORD.and(Methods::CERTIFICATE);
        let (a, wanted) = (authenticator(), wanted(both, both));
        let ask = |user, password, cn| verdict(a.begin(credentials(user, password, cn), &wanted));
        assert_eq!(ask(Some("dev-1"), Some("right"), Some("dev-1")), Ok(("dev-1".into(), both)));
        assert_eq!(ask(None, Some("right"), Some("dev-1")), Ok(("dev-1".into(), both)));
        assert_eq!(ask(Some("dev-1"), Some("right"), Some("dev-2")), Err("certificate and user name differ"));
        assert_eq!(ask(Some("dev-1"), Some("right"), None), Err("no client certificate was presented"));
        assert_eq!(ask(Some("dev-1"), Some("wrong"), Some("dev-1")), Err("the password is wrong"));
    }

    #[test]
    fn an_unknown_name_is_asked_the_same_slow_question() {
        let wanted = wanted(Methods::PASSWORD, Methods::default());
        let step = authenticator().begin(credentials(Some("nobody"), Some("x"), None), &wanted);
        assert!(matches!(step, Step::Ask(PasswordQuestion { known: false, .. })));
    }
}
