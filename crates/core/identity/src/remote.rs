//! A service or a directory of the operator's that says who a client is: what it is asked, and what its answer comes to.

use std::sync::Arc;

use motte_access::{CertificateFacts, ClientPrincipal, DirectoryFacts, Methods};
use serde::{Deserialize, Serialize};

use crate::certificate::is_name;
use crate::token::is_token;
use crate::verdict::{Credentials, Refusal, Requirements, Verdict};

/// Who answers for a client.
#[derive(Debug)]
pub enum Answerer {
    /// Not the service: the credentials as they came.
    Local(Credentials),
    /// The service, to whom this question goes.
    Service(Box<RemoteQuestion>),
    /// Nobody need be asked.
    Known(Verdict),
}

/// What the service is asked. Holds all it needs, so that it can go to another thread.
#[derive(Debug)]
pub struct RemoteQuestion {
    pub(crate) credentials: Credentials,
    client_id: String,
    /// What its word is called: [`Methods::HTTP`] or [`Methods::LDAP`].
    method: Methods,
    /// The identity that a certificate has proved already, where both are wanted.
    certified: Option<String>,
}

/// What the service said, apart from failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteAnswer {
    /// This one.
    Allow {
        /// The identity; `None`: the name that was asked about.
        identity: Option<String>,
        /// For how many seconds this may be relied on without asking again.
        valid_s: Option<u64>,
        /// When the permission ends, in seconds since 1970, and the connection with it; `None`: not by itself.
        ends_s: Option<u64>,
        /// What a directory says of it.
        directory: Option<Arc<DirectoryFacts>>,
    },
    /// Nobody; why, for the log.
    Deny(&'static str),
}

/// The word of a service, for the log.
const NO: &str = "the service says no";

#[derive(Serialize)]
struct Request<'a> {
    version: u8,
    listener: &'a str,
    security: &'a str,
    address: Option<String>,
    client_id: &'a str,
    user_name: Option<&'a str>,
    password: Option<&'a str>,
    password_hex: Option<String>,
    certificate: Option<Certificate<'a>>,
}

#[derive(Serialize)]
struct Certificate<'a> {
    cn: Option<&'a str>,
    ou: Option<&'a str>,
    o: Option<&'a str>,
    dns_names: &'a [String],
    uris: &'a [String],
    serial: &'a str,
    fingerprint: &'a str,
}

impl<'a> From<&'a CertificateFacts> for Certificate<'a> {
    fn from(facts: &'a CertificateFacts) -> Self {
        Self {
            cn: facts.cn.as_deref(),
            ou: facts.ou.as_deref(),
            o: facts.o.as_deref(),
            dns_names: &facts.dns_names,
            uris: &facts.uris,
            serial: &facts.serial,
            fingerprint: &facts.fingerprint,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    result: Outcome,
    identity: Option<String>,
    valid_s: Option<u64>,
    /// After so many seconds the permission ends.
    ends_in_s: Option<u64>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Allow,
    Deny,
}

/// Who answers for these credentials, where the word of a service is called `method`. A certificate that is enough, a token, and
/// a name that the password file has, are not the service's affair.
pub fn answerer(
    credentials: Credentials,
    client_id: &str,
    wanted: &Requirements,
    method: Methods,
    is_in_file: impl Fn(&str) -> bool,
) -> Answerer {
    let all = wanted.all_of.has(method);
    let any = wanted.all_of == Methods::default() && wanted.any_of.has(method);
    if !(all || any) {
        return Answerer::Local(credentials);
    }
    let shown = credentials.certificate.as_deref();
    let certified = if all && wanted.all_of.has(Methods::CERTIFICATE) {
        match shown.map(|facts| wanted.certificates.identity(facts)) {
            Some(Ok(name)) => Some(name),
            Some(Err((cause, _))) => return refused(&credentials, cause),
            None => return refused(&credentials, "no client certificate was presented"),
        }
    } else {
        None
    };
    if !all {
        let by_certificate = shown.is_some() && wanted.any_of.has(Methods::CERTIFICATE);
        let by_file =
            wanted.any_of.has(Methods::PASSWORD) && credentials.user_name.as_deref().is_some_and(is_in_file);
        let given = credentials.password.as_ref().map(motte_seal::SecretBytes::expose);
        let by_token = wanted.any_of.has(Methods::TOKEN) && given.is_some_and(is_token);
        if by_certificate || by_file || by_token {
            return Answerer::Local(credentials);
        }
    }
    if credentials.user_name.is_none() && shown.is_none() {
        return refused(&credentials, "neither certificate nor user name was presented");
    }
    let question = RemoteQuestion { credentials, client_id: client_id.to_owned(), method, certified };
    if method == Methods::LDAP
        && let Some((refusal, cause)) = question.no_login()
    {
        let name = question.name().to_owned();
        return Answerer::Known(Verdict::Refused { refusal, name, cause });
    }
    Answerer::Service(Box::new(question))
}

fn refused(credentials: &Credentials, cause: &'static str) -> Answerer {
    let name = credentials.user_name.clone().unwrap_or_default();
    Answerer::Known(Verdict::Refused { refusal: Refusal::NotAuthorized, name, cause })
}

impl RemoteQuestion {
    /// Why this cannot be a login at a directory. An empty password above all: many take a bind with one for somebody
    /// anonymous, and let it in (RFC 4513, 5.1.2).
    fn no_login(&self) -> Option<(Refusal, &'static str)> {
        let (name, password) = self.login();
        let user = self.credentials.user_name.as_deref();
        if name.is_empty() {
            return Some((Refusal::NotAuthorized, "no user name was presented"));
        }
        if self.certified.as_deref().is_some_and(|certified| user.is_some_and(|user| user != certified)) {
            return Some((Refusal::BadCredentials, "certificate and user name differ"));
        }
        if !is_name(name) {
            return Some((Refusal::BadCredentials, "the user name could be no identity"));
        }
        password.is_empty().then_some((Refusal::BadCredentials, "the password is empty"))
    }

    /// The question as the service gets it, in JSON. It holds the password.
    pub fn to_json(&self) -> Vec<u8> {
        let credentials = &self.credentials;
        let password = credentials.password.as_ref().map(motte_seal::SecretBytes::expose);
        let text = password.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = Request {
            version: 1,
            listener: &credentials.listener,
            security: credentials.security.name(),
            address: credentials.address.map(|address| address.to_string()),
            client_id: &self.client_id,
            user_name: credentials.user_name.as_deref(),
            password: text,
            password_hex: if text.is_none() { password.map(hex) } else { None },
            certificate: credentials.certificate.as_deref().map(Certificate::from),
        };
        // Nothing in it can fail to be written.
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// The name for the log.
    pub fn name(&self) -> &str {
        self.credentials.user_name.as_deref().or(self.certified.as_deref()).unwrap_or_default()
    }

    /// The verdict by an answer. An identity that no policy could speak of safely is refused.
    pub fn finish(self, answer: RemoteAnswer) -> Verdict {
        let name = self.name().to_owned();
        let no = |refusal, cause| Verdict::Refused { refusal, name: name.clone(), cause };
        let (identity, ends_s, directory) = match answer {
            RemoteAnswer::Allow { identity, ends_s, directory, .. } => (identity, ends_s, directory),
            RemoteAnswer::Deny(cause) => return no(Refusal::BadCredentials, cause),
        };
        let Some(identity) =
            identity.or_else(|| self.credentials.user_name.clone()).or_else(|| self.certified.clone())
        else {
            return no(Refusal::NotAuthorized, "the service names no identity");
        };
        if !is_name(&identity) {
            return no(Refusal::NotAuthorized, "the service names an identity that is none");
        }
        if self.certified.as_ref().is_some_and(|certified| *certified != identity) {
            return no(Refusal::BadCredentials, "certificate and service name different identities");
        }
        let methods =
            if self.certified.is_some() { self.method.and(Methods::CERTIFICATE) } else { self.method };
        let credentials = self.credentials;
        Verdict::Accepted(Box::new(ClientPrincipal {
            identity: Arc::from(identity),
            client_id: Arc::from(""),
            user_name: credentials.user_name.map(Arc::from),
            certificate: credentials.certificate,
            token: None,
            ends_s,
            directory,
            methods,
            listener: credentials.listener,
            security: credentials.security,
            address: credentials.address,
            credential: 0,
        }))
    }
}

impl RemoteAnswer {
    /// Reads an answer that came at `now_s`, in seconds since 1970; `None`: it is none, which counts as a failure of the service.
    pub fn read(status: u16, body: &[u8], now_s: u64) -> Option<Self> {
        match status {
            200 => {
                let Response { result, identity, valid_s, ends_in_s, .. } =
                    serde_json::from_slice(body).ok()?;
                Some(match result {
                    // What ends at once was never given.
                    Outcome::Allow if ends_in_s == Some(0) => Self::Deny(NO),
                    Outcome::Allow => Self::Allow {
                        identity,
                        valid_s,
                        ends_s: ends_in_s.map(|left| now_s.saturating_add(left)),
                        directory: None,
                    },
                    Outcome::Deny => Self::Deny(NO),
                })
            }
            401 | 403 => Some(Self::Deny(NO)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use motte_access::Security;
    use motte_seal::SecretBytes;

    use super::*;

    fn credentials(user: Option<&str>, password: Option<&[u8]>, cn: Option<&str>) -> Credentials {
        Credentials {
            user_name: user.map(str::to_owned),
            password: password.map(|bytes| SecretBytes::new(bytes.to_vec())),
            certificate: cn
                .map(|cn| Arc::new(CertificateFacts { cn: Some(cn.into()), ..CertificateFacts::default() })),
            listener: Arc::from("main"),
            security: Security::Tls,
            address: Some("10.0.0.7".parse().unwrap()),
        }
    }

    fn wanted(any_of: Methods, all_of: Methods) -> Requirements {
        Requirements { any_of, all_of, certificates: Arc::default() }
    }

    fn ask(
        credentials: Credentials,
        any_of: Methods,
        all_of: Methods,
    ) -> Result<Box<RemoteQuestion>, &'static str> {
        let method = if any_of.and(all_of).has(Methods::LDAP) { Methods::LDAP } else { Methods::HTTP };
        match answerer(credentials, "c-1", &wanted(any_of, all_of), method, |name| name == "local") {
            Answerer::Service(question) => Ok(question),
            Answerer::Local(_) => Err("local"),
            Answerer::Known(Verdict::Refused { cause, .. }) => Err(cause),
            Answerer::Known(Verdict::Accepted(_)) => Err("accepted"),
        }
    }

    #[test]
    fn the_service_answers_for_whom_nothing_else_does() {
        let all = Methods::CERTIFICATE.and(Methods::PASSWORD).and(Methods::HTTP);
        let none = Methods::default();
        let who = |user, cn, any_of| ask(credentials(user, Some(b"x"), cn), any_of, none).map(|_| ()).err();
        assert_eq!(who(Some("far"), None, all), None);
        assert_eq!(who(Some("local"), None, all), Some("local"));
        assert_eq!(who(Some("local"), None, Methods::HTTP), None);
        assert_eq!(who(None, Some("dev"), all), Some("local"));
        assert_eq!(who(None, Some("dev"), Methods::HTTP), None);
        assert_eq!(who(None, None, Methods::HTTP), Some("neither certificate nor user name was presented"));
        assert_eq!(who(Some("far"), None, Methods::PASSWORD), Some("local"));
        let both = Methods::CERTIFICATE.and(Methods::HTTP);
        let cause = ask(credentials(Some("far"), None, None), both, both).unwrap_err();
        assert_eq!(cause, "no client certificate was presented");
        assert_eq!(
            ask(credentials(None, None, Some("#")), both, both).unwrap_err(),
            "the certificate has no usable name"
        );
    }

    #[test]
    fn the_question_is_json_that_holds_what_the_client_said() {
        let question =
            ask(credentials(Some("u\"\n"), Some(b"p"), Some("dev")), Methods::HTTP, Methods::default())
                .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&question.to_json()).unwrap();
        assert_eq!(json["user_name"], "u\"\n");
        assert_eq!((&json["password"], &json["client_id"]), (&"p".into(), &"c-1".into()));
        assert_eq!((&json["certificate"]["cn"], &json["address"]), (&"dev".into(), &"10.0.0.7".into()));
        let bytes =
            ask(credentials(Some("u"), Some(&[0xff, 0]), None), Methods::HTTP, Methods::default()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes.to_json()).unwrap();
        assert_eq!((&json["password"], &json["password_hex"]), (&serde_json::Value::Null, &"ff00".into()));
    }

    #[test]
    fn only_an_identity_that_can_be_one_is_taken() {
        let none = Methods::default();
        let finish = |identity: Option<&str>, user: Option<&str>, cn: Option<&str>, all_of| {
            let question = ask(credentials(user, None, cn), Methods::HTTP, all_of).unwrap();
            let identity = identity.map(str::to_owned);
            match question.finish(RemoteAnswer::Allow {
                identity,
                valid_s: None,
                ends_s: Some(99),
                directory: None,
            }) {
                Verdict::Accepted(client) => Ok((client.identity.to_string(), client.methods)),
                Verdict::Refused { cause, .. } => Err(cause),
            }
        };
        let both = Methods::HTTP.and(Methods::CERTIFICATE);
        assert_eq!(finish(None, Some("u"), None, none), Ok(("u".to_owned(), Methods::HTTP)));
        assert_eq!(finish(Some("other"), Some("u"), None, none), Ok(("other".to_owned(), Methods::HTTP)));
        assert_eq!(
            finish(Some("#"), Some("u"), None, none),
            Err("the service names an identity that is none")
        );
        assert_eq!(finish(None, None, Some("dev"), none), Err("the service names no identity"));
        assert_eq!(finish(None, None, Some("dev"), both), Ok(("dev".to_owned(), both)));
        assert_eq!(
            finish(Some("x"), None, Some("dev"), both),
            Err("certificate and service name different identities")
        );
    }

    #[test]
    fn a_directory_is_asked_about_a_name_with_a_password_and_nothing_else() {
        let none = Methods::default();
        let cause = |user, password: Option<&[u8]>, cn, all_of| {
            ask(credentials(user, password, cn), Methods::LDAP, all_of).map(|one| one.name().to_owned())
        };
        assert_eq!(cause(Some("ann"), Some(b"x"), None, none), Ok("ann".to_owned()));
        assert_eq!(cause(Some("ann"), Some(b""), None, none), Err("the password is empty"));
        assert_eq!(cause(Some("ann"), None, None, none), Err("the password is empty"));
        assert_eq!(cause(Some(""), Some(b"x"), None, none), Err("no user name was presented"));
        assert_eq!(cause(Some("a/#"), Some(b"x"), None, none), Err("the user name could be no identity"));
        let both = Methods::LDAP.and(Methods::CERTIFICATE);
        assert_eq!(cause(None, Some(b"x"), Some("dev"), both), Ok("dev".to_owned()));
        assert_eq!(
            cause(Some("ann"), Some(b"x"), Some("dev"), both),
            Err("certificate and user name differ")
        );
        let question = ask(credentials(Some("ann"), Some(b"x"), None), Methods::LDAP, none).unwrap();
        let facts = Arc::new(DirectoryFacts { roles: vec!["r".to_owned()], ..DirectoryFacts::default() });
        let answer =
            RemoteAnswer::Allow { identity: None, valid_s: None, ends_s: None, directory: Some(facts) };
        let Verdict::Accepted(client) = question.finish(answer) else { panic!("refused") };
        let roles = client.directory.as_ref().map(|facts| facts.roles.concat());
        assert_eq!((&*client.identity, client.methods, roles.as_deref()), ("ann", Methods::LDAP, Some("r")));
    }

    #[test]
    fn an_answer_that_is_none_is_a_failure_and_no_permission() {
        let allow = |identity: Option<&str>, valid_s| {
            let identity = identity.map(str::to_owned);
            Some(RemoteAnswer::Allow { identity, valid_s, ends_s: None, directory: None })
        };
        assert_eq!(RemoteAnswer::read(200, br#"{"result":"allow"}"#, 1_000), allow(None, None));
        assert_eq!(
            RemoteAnswer::read(200, br#"{"result":"allow","identity":"a","valid_s":5}"#, 1_000),
            allow(Some("a"), Some(5))
        );
        assert_eq!(
            RemoteAnswer::read(200, br#"{"result":"deny","reason":"no"}"#, 1_000),
            Some(RemoteAnswer::Deny(NO))
        );
        let ending = |body: &[u8]| match RemoteAnswer::read(200, body, 1_000) {
            Some(RemoteAnswer::Allow { ends_s, .. }) => ends_s,
            _ => None,
        };
        assert_eq!(ending(br#"{"result":"allow","ends_in_s":60}"#), Some(1_060));
        assert_eq!(ending(br#"{"result":"allow","ends_in_s":18446744073709551615}"#), Some(u64::MAX));
        assert_eq!(
            RemoteAnswer::read(200, br#"{"result":"allow","ends_in_s":0}"#, 1_000),
            Some(RemoteAnswer::Deny(NO))
        );
        assert_eq!(RemoteAnswer::read(200, br#"{"result":"allow","ends_in_s":-1}"#, 1_000), None);
        assert_eq!(RemoteAnswer::read(403, b"<html>", 1_000), Some(RemoteAnswer::Deny(NO)));
        for body in [
            &b""[..],
            b"{}",
            b"true",
            b"{\"result\":\"Allow\"}",
            b"{\"result\":\"allow\",\"roles\":[]}",
            b"\xff",
        ] {
            assert_eq!(RemoteAnswer::read(200, body, 1_000), None, "{body:?}");
        }
        assert_eq!(RemoteAnswer::read(302, br#"{"result":"allow"}"#, 1_000), None);
        assert_eq!(RemoteAnswer::read(500, br#"{"result":"allow"}"#, 1_000), None);
    }
}
