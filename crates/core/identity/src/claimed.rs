//! Whom a login says it is for, before anything of it is proved: what its attempt is charged to.

use motte_access::Methods;
use motte_seal::SecretBytes;

use crate::token::is_token;
use crate::verdict::{Authenticator, Credentials, Requirements};

impl Authenticator {
    /// The name that credentials claim: the User Name; else the identity of the certificate that TLS verified; else what the
    /// token says, whose signature nobody has looked at. Empty when they claim none.
    ///
    /// A token that turns out to be good is of the identity that it claimed, so what it came with is known under its own name.
    /// One that lies is what a false User Name is.
    pub fn claimed_name(&self, credentials: &Credentials, wanted: &Requirements) -> String {
        if let Some(name) = credentials.user_name.as_deref().filter(|name| !name.is_empty()) {
            return name.to_owned();
        }
        let both = wanted.any_of.and(wanted.all_of);
        let facts = credentials.certificate.as_deref().filter(|_| both.has(Methods::CERTIFICATE));
        if let Some(Ok(name)) = facts.map(|facts| wanted.certificates.identity(facts)) {
            return name;
        }
        let token = credentials.password.as_ref().map(SecretBytes::expose);
        let token = token.filter(|given| both.has(Methods::TOKEN) && is_token(given));
        token.and_then(|token| self.tokens().claimed_identity(token)).unwrap_or_default()
    }
}
