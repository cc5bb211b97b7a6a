//! `[auth.jwt]`: tokens of an issuer in the Password field.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::listener::Listener;
use crate::meant::{Config, list, quoted};
use crate::method::AuthMethod;
use crate::written::{AuthWritten, ListenerWritten};

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensWritten {
    issuer: Spanned<String>,
    audience: Spanned<Vec<String>>,
    jwks_file: PathBuf,
    identity_claim: Option<Spanned<String>>,
    roles_claim: Option<Spanned<String>>,
    roles: Option<Spanned<Vec<String>>>,
    leeway_s: Option<Spanned<u32>>,
    lifetime_s_max: Option<Spanned<u32>>,
    revoked_file: Option<PathBuf>,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Who must have issued a token.
    pub issuer: String,
    /// Whom it must be for: one of these.
    pub audience: Vec<String>,
    /// File with the issuer's public keys, a JSON Web Key Set.
    pub jwks_file: PathBuf,
    /// The claim that is the identity: its name, or a path that begins with `/`.
    pub identity_claim: String,
    /// The claim with roles; `None`: tokens grant none.
    pub roles_claim: Option<String>,
    /// Roles that tokens may grant.
    pub roles: Vec<String>,
    /// How far ahead the issuer's clock may be, in seconds, 0 to 300.
    pub leeway_s: u32,
    /// How long a token may be good, in seconds, 60 to 31622400.
    pub lifetime_s_max: u32,
    /// File with the numbers (`jti`) of tokens that are not good any more.
    pub revoked_file: Option<PathBuf>,
}

impl Tokens {
    /// Reads `[auth.jwt]`, and checks the listeners that take tokens.
    pub(crate) fn read(
        auth: &AuthWritten,
        listeners: &[Spanned<ListenerWritten>],
        config: &Config,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let tokens = auth.jwt.as_ref().map(|jwt| Self::from_written(jwt, faults));
        check(listeners, config, tokens.is_some(), faults);
        tokens
    }

    fn from_written(written: &TokensWritten, faults: &mut Faults<'_>) -> Self {
        if written.issuer.get_ref().is_empty() {
            let remedy = "write it as it stands in the claim `iss` of a token";
            faults.add(written.issuer.span().start, "issuer is empty", remedy);
        }
        if written.audience.get_ref().iter().all(String::is_empty) {
            let remedy = "write what the issuer puts in `aud` of tokens for this broker; a token for another service must not open it";
            faults.add(written.audience.span().start, "audience is empty", remedy);
        }
        match (&written.roles_claim, &written.roles) {
            (Some(claim), roles) if roles.as_ref().is_none_or(|roles| roles.get_ref().is_empty()) => {
                let remedy = "list in roles those that tokens may grant, or remove roles_claim";
                faults.add(claim.span().start, "roles_claim, and no role that a token may grant", remedy);
            }
            (None, Some(roles)) if !roles.get_ref().is_empty() => {
                let remedy = "write roles_claim, the claim that names them, or remove roles";
                faults.add(roles.span().start, "roles for tokens, and no claim that names them", remedy);
            }
            _ => {}
        }
        let claim = |name: &str, written: Option<&Spanned<String>>, faults: &mut Faults<'_>| {
            let written = written?;
            if written.get_ref().is_empty() {
                let remedy = "write a claim's name, or its path: /realm_access/roles";
                faults.add(written.span().start, format!("{name} is empty"), remedy);
            }
            Some(written.get_ref().clone())
        };
        Self {
            issuer: written.issuer.get_ref().clone(),
            audience: written.audience.get_ref().clone(),
            jwks_file: written.jwks_file.clone(),
            identity_claim: claim("identity_claim", written.identity_claim.as_ref(), faults)
                .unwrap_or_else(|| "sub".to_owned()),
            roles_claim: claim("roles_claim", written.roles_claim.as_ref(), faults),
            roles: written.roles.as_ref().map(|roles| roles.get_ref().clone()).unwrap_or_default(),
            leeway_s: bounded("leeway_s", written.leeway_s.as_ref(), 30, 0..=300, faults),
            lifetime_s_max: bounded(
                "lifetime_s_max",
                written.lifetime_s_max.as_ref(),
                86_400,
                60..=31_622_400,
                faults,
            ),
            revoked_file: written.revoked_file.clone(),
        }
    }

    /// Its files, none of them secret.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.jwks_file).chain(&self.revoked_file)
    }

    /// Its files, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.jwks_file).chain(&mut self.revoked_file)
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut out = format!(
            "\n[auth.jwt]\nissuer = {}\naudience = {}\njwks_file = {}\nidentity_claim = {}\n",
            quoted(&self.issuer),
            list(self.audience.iter().cloned()),
            quoted(&self.jwks_file.display().to_string()),
            quoted(&self.identity_claim),
        );
        if let Some(claim) = &self.roles_claim {
            let roles = list(self.roles.iter().cloned());
            out.push_str(&format!("roles_claim = {}\nroles = {roles}\n", quoted(claim)));
        }
        if let Some(file) = &self.revoked_file {
            out.push_str(&format!("revoked_file = {}\n", quoted(&file.display().to_string())));
        }
        out.push_str(&format!("leeway_s = {}\nlifetime_s_max = {}", self.leeway_s, self.lifetime_s_max));
        out
    }
}

fn bounded(
    key: &str,
    written: Option<&Spanned<u32>>,
    usual: u32,
    bounds: std::ops::RangeInclusive<u32>,
    faults: &mut Faults<'_>,
) -> u32 {
    let Some(written) = written else { return usual };
    if !bounds.contains(written.get_ref()) {
        let remedy = format!("write seconds, from {} to {}", bounds.start(), bounds.end());
        faults.add(written.span().start, format!("{key} is out of bounds"), remedy);
    }
    *written.get_ref()
}

/// A listener that takes tokens needs to know whose; and there is one Password field.
fn check(written: &[Spanned<ListenerWritten>], config: &Config, is_named: bool, faults: &mut Faults<'_>) {
    let uses = |listener: &Listener, method| {
        listener.methods.iter().chain(&listener.all_of).any(|one| *one == method)
    };
    for listener in config.listeners.iter().filter(|listener| uses(listener, AuthMethod::Jwt)) {
        let named = written.iter().find(|one| *one.get_ref().name.get_ref() == listener.name);
        let at = named.map_or(0, |one| one.get_ref().name.span().start);
        if !is_named {
            let what = format!("listener {} takes method jwt, and no issuer is named", listener.name);
            faults.add(at, what, "add [auth.jwt] with issuer, audience and jwks_file");
        }
        let others = [AuthMethod::Password, AuthMethod::Totp, AuthMethod::Http];
        if listener.all_of.contains(&AuthMethod::Jwt)
            && others.iter().any(|one| listener.all_of.contains(one))
        {
            let what = format!(
                "listener {} wants a token and a password, and both come in one field",
                listener.name
            );
            faults.add(
                at,
                what,
                "ask for a certificate beside the token: all_of = [\"certificate\", \"jwt\"]",
            );
        }
    }
}
