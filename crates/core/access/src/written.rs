//! A policy file as written: TOML, every key known.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    pub(crate) version: Spanned<u32>,
    /// The shapes of all topics that there are.
    pub(crate) topic_registry: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) role: BTreeMap<Spanned<String>, RoleWritten>,
    #[serde(default)]
    pub(crate) identity: BTreeMap<String, IdentityWritten>,
    #[serde(default)]
    pub(crate) group: BTreeMap<String, GroupWritten>,
    /// Everybody who is authenticated.
    #[serde(default)]
    pub(crate) authenticated: RolesWritten,
    /// Everybody on an anonymous listener.
    #[serde(default)]
    pub(crate) anonymous: RolesWritten,
    /// By certificate.
    #[serde(default)]
    pub(crate) certificate: Vec<CertificateWritten>,
    #[serde(default)]
    pub(crate) bridge: BTreeMap<String, RolesWritten>,
    #[serde(default)]
    pub(crate) operator: BTreeMap<String, RolesWritten>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleWritten {
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RuleWritten>>,
    pub(crate) wildcards: Option<Spanned<String>>,
    /// The last day, in UTC, on which what no rule grants is permitted and noted.
    pub(crate) permissive_until: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleWritten {
    pub(crate) allow: Option<Vec<Spanned<String>>>,
    pub(crate) deny: Option<Vec<Spanned<String>>>,
    pub(crate) topics: Vec<Spanned<String>>,
    /// Grants the subscription even where not all of it is granted; delivery is filtered.
    #[serde(default)]
    pub(crate) narrow: bool,
    pub(crate) qos_max: Option<Spanned<u8>>,
    pub(crate) payload_bytes_max: Option<u64>,
    pub(crate) listener: Option<Vec<String>>,
    pub(crate) security: Option<Vec<Spanned<String>>>,
    pub(crate) method: Option<Vec<Spanned<String>>>,
    pub(crate) from: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityWritten {
    #[serde(default)]
    pub(crate) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) groups: Vec<Spanned<String>>,
    pub(crate) client_ids: Option<Vec<Spanned<String>>>,
    /// The addresses that it comes from.
    pub(crate) from: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupWritten {
    #[serde(default)]
    pub(crate) roles: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolesWritten {
    #[serde(default)]
    pub(crate) roles: Vec<Spanned<String>>,
    pub(crate) client_ids: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateWritten {
    pub(crate) cn: Option<String>,
    pub(crate) ou: Option<String>,
    pub(crate) o: Option<String>,
    pub(crate) roles: Vec<Spanned<String>>,
}
