//! `[[auth.jwt]]`: issuers whose tokens are taken in the Password field, and where their keys come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use crate::error::Faults;
use crate::listener::Listener;
use crate::meant::{Config, list, quoted};
use crate::method::AuthMethod;
use crate::outward::url;
use crate::url::Url;
use crate::written::{AuthWritten, ListenerWritten};

/// Issuers that one configuration may name.
pub const ISSUERS_MAX: usize = 8;
/// Origins beside an issuer's own from which its keys may come.
pub const ORIGINS_MAX: usize = 4;

/// Groups that may give roles to tokens of one issuer.
pub const TOKEN_GROUPS_MAX: usize = 256;

/// As written: one table, or several.
#[derive(Debug, Default)]
pub(crate) struct IssuersWritten(Vec<TokensWritten>);

impl<'de> Deserialize<'de> for IssuersWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = IssuersWritten;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an issuer as [[auth.jwt]]")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IssuersWritten, A::Error> {
                let one = TokensWritten::deserialize(MapAccessDeserializer::new(map))?;
                Ok(IssuersWritten(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, all: A) -> Result<IssuersWritten, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(all)).map(IssuersWritten)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// One as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensWritten {
    issuer: Spanned<String>,
    audience: Spanned<Vec<String>>,
    #[serde(alias = "jwks_file")]
    keys_file: Option<PathBuf>,
    keys_url: Option<Spanned<String>>,
    discover: Option<Spanned<bool>>,
    keys_origins: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    ca: Vec<PathBuf>,
    keys_refresh_s: Option<Spanned<u32>>,
    keys_stale_s: Option<Spanned<u32>>,
    identities: Option<Spanned<Vec<Spanned<String>>>>,
    identity_claim: Option<Spanned<String>>,
    roles_claim: Option<Spanned<String>>,
    roles: Option<Spanned<Vec<String>>>,
    groups_claim: Option<Spanned<String>>,
    #[serde(default)]
    groups: BTreeMap<Spanned<String>, Vec<String>>,
    topics_claim: Option<Spanned<String>>,
    leeway_s: Option<Spanned<u32>>,
    lifetime_s_max: Option<Spanned<u32>>,
    revoked_file: Option<PathBuf>,
}

/// Where an issuer's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JSON Web Key Set.
    File(PathBuf),
    /// An address of one.
    Url(Url),
    /// The issuer's own description of itself (OpenID Connect Discovery), which says where.
    Discovery {
        /// Where the description is.
        document: Url,
        /// Origins that the keys may come from; the first is the issuer's own.
        origins: Vec<Url>,
    },
}

/// An issuer whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// Its name, as in the claim `iss`.
    pub issuer: String,
    /// Whom a token must be for: one of these.
    pub audience: Vec<String>,
    /// Where its public keys come from.
    pub keys: KeySource,
    /// PEM files of authorities that the address of its keys comes from; empty: those of `[egress]`, or of the system.
    pub ca: Vec<PathBuf>,
    /// How often keys are fetched again, in seconds, 10 to 86400.
    pub keys_refresh_s: u32,
    /// How long keys are good that could not be fetched again, in seconds, `keys_refresh_s` to 2592000.
    pub keys_stale_s: u32,
    /// Patterns of the identities that it may speak for; `*` stands for any text.
    pub identities: Vec<String>,
    /// The claim that is the identity: its name, or a path that begins with `/`.
    pub identity_claim: String,
    /// The claim with roles; `None`: tokens grant none.
    pub roles_claim: Option<String>,
    /// Roles that tokens may grant.
    pub roles: Vec<String>,
    /// The claim with groups; `None`: tokens name none.
    pub groups_claim: Option<String>,
    /// Names of groups, each with the roles that it gives; at most [`TOKEN_GROUPS_MAX`].
    pub groups: Vec<(String, Vec<String>)>,
    /// The claim with topics outside of which a token grants nothing; `None`: tokens narrow nothing.
    pub topics_claim: Option<String>,
    /// How far ahead the issuer's clock may be, in seconds, 0 to 300.
    pub leeway_s: u32,
    /// How long a token may be good, in seconds, 60 to 31622400.
    pub lifetime_s_max: u32,
    /// File with the numbers (`jti`) of tokens that are not good any more.
    pub revoked_file: Option<PathBuf>,
}

impl TokenIssuer {
    /// Reads `[[auth.jwt]]`, and checks the listeners that take tokens.
    pub(crate) fn read(
        auth: &AuthWritten,
        listeners: &[Spanned<ListenerWritten>],
        config: &Config,
        faults: &mut Faults<'_>,
    ) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for one in &auth.jwt.0 {
            if all.iter().any(|known| known.issuer == *one.issuer.get_ref()) {
                let remedy = "write one [[auth.jwt]] for each issuer: `iss` of a token chooses among them";
                faults.add(one.issuer.span().start, "two entries for one issuer", remedy);
            }
            all.extend(Self::from_written(one, faults));
        }
        if let Some(over) = auth.jwt.0.get(ISSUERS_MAX) {
            let what = format!("more than {ISSUERS_MAX} issuers");
            faults.add(over.issuer.span().start, what, "remove those whose tokens nobody shows");
        }
        check(listeners, config, !auth.jwt.0.is_empty(), faults);
        all
    }

    fn from_written(written: &TokensWritten, faults: &mut Faults<'_>) -> Option<Self> {
        written.check(faults);
        let claim = |name: &str, written: Option<&Spanned<String>>, faults: &mut Faults<'_>| {
            let written = written?;
            if written.get_ref().is_empty() {
                let remedy = "write a claim's name, or its path: /realm_access/roles";
                faults.add(written.span().start, format!("{name} is empty"), remedy);
            }
            Some(written.get_ref().clone())
        };
        let number =
            |key: &str, written: Option<&Spanned<u32>>, usual: u32, bounds, faults: &mut Faults<'_>| {
                bounded(key, written, usual, bounds, faults)
            };
        let refresh_s = number("keys_refresh_s", written.keys_refresh_s.as_ref(), 600, 10..=86_400, faults);
        let stale = written.keys_stale_s.as_ref();
        let stale_s = number("keys_stale_s", stale, 86_400, 10..=2_592_000, faults);
        if stale_s < refresh_s {
            let at = stale.map_or_else(|| written.issuer.span().start, |stale| stale.span().start);
            let remedy = "write at least keys_refresh_s, better several times that";
            faults.add(at, "keys_stale_s ends before keys are fetched again", remedy);
        }
        let all = || vec!["*".to_owned()];
        let patterns = |written: &Spanned<Vec<Spanned<String>>>| {
            written.get_ref().iter().map(|pattern| pattern.get_ref().clone()).collect()
        };
        let lifetime = written.lifetime_s_max.as_ref();
        Some(Self {
            issuer: written.issuer.get_ref().clone(),
            audience: written.audience.get_ref().clone(),
            keys: written.source(faults)?,
            ca: written.ca.clone(),
            keys_refresh_s: refresh_s,
            keys_stale_s: stale_s,
            identities: written.identities.as_ref().map_or_else(all, patterns),
            identity_claim: claim("identity_claim", written.identity_claim.as_ref(), faults)
                .unwrap_or_else(|| "sub".to_owned()),
            roles_claim: claim("roles_claim", written.roles_claim.as_ref(), faults),
            roles: written.roles.as_ref().map(|roles| roles.get_ref().clone()).unwrap_or_default(),
            groups_claim: claim("groups_claim", written.groups_claim.as_ref(), faults),
            groups: written
                .groups
                .iter()
                .map(|(name, roles)| (name.get_ref().clone(), roles.clone()))
                .collect(),
            topics_claim: claim("topics_claim", written.topics_claim.as_ref(), faults),
            leeway_s: number("leeway_s", written.leeway_s.as_ref(), 30, 0..=300, faults),
            lifetime_s_max: number("lifetime_s_max", lifetime, 86_400, 60..=31_622_400, faults),
            revoked_file: written.revoked_file.clone(),
        })
    }

    /// All roles that its tokens can have, by themselves or by groups.
    pub fn all_roles(&self) -> BTreeSet<&String> {
        self.roles.iter().chain(self.groups.iter().flat_map(|(_, roles)| roles)).collect()
    }

    /// The file of its keys, if they are in one.
    pub fn keys_file(&self) -> Option<&PathBuf> {
        match &self.keys {
            KeySource::File(path) => Some(path),
            KeySource::Url(_) | KeySource::Discovery { .. } => None,
        }
    }

    /// Its files that the broker reads, none of them secret.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.keys_file().into_iter().chain(&self.revoked_file)
    }

    /// All its files, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let keys = match &mut self.keys {
            KeySource::File(path) => Some(path),
            KeySource::Url(_) | KeySource::Discovery { .. } => None,
        };
        keys.into_iter().chain(&mut self.revoked_file).chain(&mut self.ca)
    }

    pub(crate) fn to_toml(&self) -> String {
        let path = |path: &PathBuf| quoted(&path.display().to_string());
        let mut out = format!(
            "\n[[auth.jwt]]\nissuer = {}\naudience = {}\n",
            quoted(&self.issuer),
            list(self.audience.iter().cloned()),
        );
        match &self.keys {
            KeySource::File(file) => out.push_str(&format!("keys_file = {}\n", path(file))),
            KeySource::Url(url) => out.push_str(&format!("keys_url = {}\n", quoted(url.as_str()))),
            KeySource::Discovery { origins, .. } => {
                let others = list(origins.iter().skip(1).map(|origin| origin.as_str().to_owned()));
                out.push_str(&format!("discover = true\nkeys_origins = {others}\n"));
            }
        }
        if self.keys_file().is_none() {
            let ca = list(self.ca.iter().map(|path| path.display().to_string()));
            let (refresh_s, stale_s) = (self.keys_refresh_s, self.keys_stale_s);
            out.push_str(&format!("ca = {ca}\nkeys_refresh_s = {refresh_s}\nkeys_stale_s = {stale_s}\n"));
        }
        let identities = list(self.identities.iter().cloned());
        let claim = quoted(&self.identity_claim);
        out.push_str(&format!("identities = {identities}\nidentity_claim = {claim}\n"));
        if let Some(claim) = &self.roles_claim {
            let roles = list(self.roles.iter().cloned());
            out.push_str(&format!("roles_claim = {}\nroles = {roles}\n", quoted(claim)));
        }
        if let Some(claim) = &self.groups_claim {
            out.push_str(&format!("groups_claim = {}\n", quoted(claim)));
        }
        if let Some(claim) = &self.topics_claim {
            out.push_str(&format!("topics_claim = {}\n", quoted(claim)));
        }
        if let Some(file) = &self.revoked_file {
            out.push_str(&format!("revoked_file = {}\n", path(file)));
        }
        out.push_str(&format!("leeway_s = {}\nlifetime_s_max = {}", self.leeway_s, self.lifetime_s_max));
        if !self.groups.is_empty() {
            out.push_str("\n\n[auth.jwt.groups]");
        }
        for (name, roles) in &self.groups {
            out.push_str(&format!("\n{} = {}", quoted(name), list(roles.iter().cloned())));
        }
        out
    }
}

impl TokensWritten {
    /// What can be said of each key by itself.
    fn check(&self, faults: &mut Faults<'_>) {
        if self.issuer.get_ref().is_empty() {
            let remedy = "write it as it stands in the claim `iss` of a token";
            faults.add(self.issuer.span().start, "issuer is empty", remedy);
        }
        if self.audience.get_ref().iter().all(String::is_empty) {
            let remedy = "write what the issuer puts in `aud` of tokens for this broker; a token for another service must not open it";
            faults.add(self.audience.span().start, "audience is empty", remedy);
        }
        match (&self.roles_claim, &self.roles) {
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
        self.check_groups(faults);
        let Some(identities) = &self.identities else { return };
        if identities.get_ref().is_empty() {
            let remedy = "write identities = [\"site-a-*\"], or remove the key if it may speak for everybody";
            faults.add(identities.span().start, "an issuer that may speak for nobody", remedy);
        }
        for pattern in identities.get_ref() {
            if pattern.get_ref().is_empty() || pattern.get_ref().contains(['+', '#']) {
                let what = format!("`{}` is no pattern of identities", pattern.get_ref());
                let remedy = "`*` stands for any text; `+` and `#` are in no identity";
                faults.add(pattern.span().start, what, remedy);
            }
        }
    }

    fn check_groups(&self, faults: &mut Faults<'_>) {
        let first = self.groups.keys().next().map(|name| name.span().start);
        match (&self.groups_claim, first) {
            (Some(claim), None) => {
                let remedy = "write [auth.jwt.groups] with \"group\" = [\"role\"] below the entry, or remove groups_claim";
                faults.add(claim.span().start, "groups_claim, and no group that gives a role", remedy);
            }
            (None, Some(at)) => {
                let remedy = "write groups_claim, the claim that names them, or remove [auth.jwt.groups]";
                faults.add(at, "groups give roles, and no claim names them", remedy);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        for (name, roles) in &self.groups {
            let (at, name) = (name.span().start, name.get_ref());
            if name.is_empty() || name.contains('*') {
                let remedy = "write it letter by letter as the issuer does; there are no patterns of groups";
                faults.add(at, format!("`{name}` is not the name of a group"), remedy);
            }
            if roles.is_empty() {
                faults.add(at, format!("the group `{name}` gives no role"), "name its roles, or remove it");
            }
        }
        if let Some(over) = self.groups.keys().nth(TOKEN_GROUPS_MAX) {
            let what = format!("more than {TOKEN_GROUPS_MAX} groups");
            faults.add(over.span().start, what, "keep those that give roles here");
        }
    }

    /// Where the keys come from: one of three ways.
    fn source(&self, faults: &mut Faults<'_>) -> Option<KeySource> {
        let at = self.issuer.span().start;
        let discover = self.discover.as_ref().filter(|discover| *discover.get_ref());
        if let Some(origins) = self.keys_origins.as_ref().filter(|_| discover.is_none()) {
            let remedy = "write discover = true, or remove keys_origins";
            faults.add(origins.span().start, "keys_origins, and nothing is discovered", remedy);
        }
        match (&self.keys_file, &self.keys_url, discover) {
            (Some(file), None, None) => {
                let refresh = self.keys_refresh_s.as_ref().map(Spanned::span);
                if let Some(span) = refresh.or(self.keys_stale_s.as_ref().map(Spanned::span)) {
                    let remedy = "remove it: a file is read again by a reload";
                    faults.add(span.start, "keys in a file are not fetched", remedy);
                }
                Some(KeySource::File(file.clone()))
            }
            (None, Some(written), None) => {
                let url = url(written, faults)?;
                if !url.is_tls() && !url.is_local() {
                    let remedy = "use https://, or an address on this machine";
                    faults.add(
                        written.span().start,
                        "anybody on the way could put keys of their own in",
                        remedy,
                    );
                }
                Some(KeySource::Url(url))
            }
            (None, None, Some(_)) => self.discovery(faults),
            (None, None, None) => {
                let remedy = "add keys_file, keys_url or discover = true";
                faults.add(at, "an issuer without keys", remedy);
                None
            }
            _ => {
                let remedy = "keep one of keys_file, keys_url and discover = true";
                faults.add(at, "an issuer whose keys come from several places", remedy);
                None
            }
        }
    }

    fn discovery(&self, faults: &mut Faults<'_>) -> Option<KeySource> {
        let own = url(&self.issuer, faults)?;
        if !own.is_tls() || own.as_str().contains('?') {
            let remedy = "write the issuer as https://host/path, or name its keys with keys_url";
            faults.add(self.issuer.span().start, "an issuer that cannot be discovered", remedy);
            return None;
        }
        let base = self.issuer.get_ref().trim_end_matches('/');
        let document = Url::parse(&format!("{base}/.well-known/openid-configuration"));
        let document = document.map_err(|what| {
            faults.add(
                self.issuer.span().start,
                format!("an issuer that cannot be discovered: {what}"),
                "name its keys with keys_url",
            );
        });
        let mut origins = vec![own];
        let named = self.keys_origins.as_ref().map(|named| named.get_ref().as_slice()).unwrap_or_default();
        for written in named {
            let Some(origin) = url(written, faults) else { continue };
            if !origin.is_tls() || !origin.is_origin() {
                let what = format!("`{origin}` is no origin that keys may come from");
                faults.add(
                    written.span().start,
                    what,
                    "write https://host or https://host:port, without a path",
                );
            }
            origins.push(origin);
        }
        if named.len() > ORIGINS_MAX {
            let at = self.keys_origins.as_ref().map_or(0, |origins| origins.span().start);
            faults.add(at, format!("more than {ORIGINS_MAX} origins"), "name those that the keys come from");
        }
        Some(KeySource::Discovery { document: document.ok()?, origins })
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
            faults.add(
                at,
                what,
                "add [[auth.jwt]] with issuer, audience and keys_file, keys_url or discover = true",
            );
        }
        let others = [AuthMethod::Password, AuthMethod::Totp, AuthMethod::Http, AuthMethod::Ldap];
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
