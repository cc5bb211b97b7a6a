//! Several issuers: `iss` of a token chooses among those that are configured, before its signature is looked at, and says
//! nothing but whose rules and keys it is judged by.

use std::sync::Arc;

use motte_access::TokenFacts;

use crate::token::{Parts, TokenFault, TokenIdentity, TokenRules};

/// The issuers whose tokens are taken.
#[derive(Debug, Clone, Default)]
pub struct TokenIssuers(Arc<[TokenRules]>);

impl TokenIssuers {
    /// Each of another name.
    pub fn new(issuers: Vec<TokenRules>) -> Self {
        Self(issuers.into())
    }

    /// Their rules.
    pub fn rules(&self) -> &[TokenRules] {
        &self.0
    }

    /// Judges a token at `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// Which rule it breaks, or that keys are missing.
    pub fn judge(&self, token: &[u8], now_s: u64) -> Result<TokenIdentity, TokenFault> {
        let parts = Parts::read(token).map_err(TokenFault::Broken)?;
        self.of(parts.issuer())
            .ok_or(TokenFault::Broken("the token is of another issuer"))?
            .judge_parts(&parts, now_s)
    }

    /// Whom a token says it is for, by the rules of the issuer that it names. Nothing of that is proved.
    pub(crate) fn claimed_identity(&self, token: &[u8]) -> Option<String> {
        let parts = Parts::read(token).ok()?;
        self.of(parts.issuer())?.identity_in(&parts.claims).map(str::to_owned)
    }

    /// Whether a token that was good is still taken by these rules.
    ///
    /// # Errors
    /// Why not.
    pub fn still_good(&self, facts: &TokenFacts, identity: &str, now_s: u64) -> Result<(), &'static str> {
        let rules = self.of(Some(&facts.issuer)).ok_or("tokens of its issuer are not taken any more")?;
        rules.still_good(facts, identity, now_s)
    }

    fn of(&self, issuer: Option<&str>) -> Option<&TokenRules> {
        self.0.iter().find(|rules| Some(rules.issuer.as_str()) == issuer)
    }
}
