//! `[auth.ldap]`: a directory that is asked who a client is, and in which groups.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use motte_ldap::{Groups, Name, Plan, PlanText, Way};
use serde::Deserialize;
use toml::Spanned;

use crate::ask_bounds::{AskBounds, AskBoundsWritten};
use crate::error::Faults;
use crate::meant::{list, quoted};
use crate::url::Url;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LdapWritten {
    url: Spanned<String>,
    #[serde(default)]
    ca: Vec<PathBuf>,
    plaintext: Option<Spanned<bool>>,
    bind_as: Option<Spanned<String>>,
    search_base: Option<Spanned<String>>,
    search_filter: Option<Spanned<String>>,
    bind_dn: Option<Spanned<String>>,
    bind_password_file: Option<Spanned<PathBuf>>,
    identity_attribute: Option<Spanned<String>>,
    group_attribute: Option<Spanned<String>>,
    group_base: Option<Spanned<String>>,
    group_filter: Option<Spanned<String>>,
    #[serde(default)]
    groups: BTreeMap<Spanned<String>, Vec<String>>,
    timeout_ms: Option<Spanned<u32>>,
    outstanding: Option<Spanned<u32>>,
    queue: Option<Spanned<u32>>,
    cache_s: Option<Spanned<u32>>,
    cache_max: Option<Spanned<u32>>,
    failures: Option<Spanned<u32>>,
    pause_ms: Option<Spanned<u32>>,
}

/// As meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ldap {
    /// Where the directory is.
    pub url: Url,
    /// PEM files of authorities that it comes from; empty: those of `[egress]`, or of the system.
    pub ca: Vec<PathBuf>,
    /// Nothing is encrypted; only on this machine.
    pub plaintext: bool,
    /// How it is asked.
    pub plan: PlanText,
    /// A file with the password of the account that searches.
    pub password_file: Option<PathBuf>,
    /// Names of groups, each with the roles that it gives.
    pub groups: Vec<(String, Vec<String>)>,
    /// What bounds the asking.
    pub bounds: AskBounds,
}

impl LdapWritten {
    fn texts(&self) -> [Option<&Spanned<String>>; 8] {
        [
            self.bind_as.as_ref(),
            self.search_base.as_ref(),
            self.search_filter.as_ref(),
            self.bind_dn.as_ref(),
            self.identity_attribute.as_ref(),
            self.group_attribute.as_ref(),
            self.group_base.as_ref(),
            self.group_filter.as_ref(),
        ]
    }

    fn bounds(&self) -> AskBoundsWritten<'_> {
        AskBoundsWritten {
            timeout_ms: self.timeout_ms.as_ref(),
            outstanding: self.outstanding.as_ref(),
            queue: self.queue.as_ref(),
            cache_s: self.cache_s.as_ref(),
            cache_max: self.cache_max.as_ref(),
            failures: self.failures.as_ref(),
            pause_ms: self.pause_ms.as_ref(),
        }
    }
}

impl Ldap {
    pub(crate) fn from_written(written: &LdapWritten, faults: &mut Faults<'_>) -> Option<Self> {
        let url = url(written, faults);
        let texts = written.texts();
        let plan = PlanText::of(texts.map(|one| one.map(|one| one.get_ref().clone())));
        let keys = plan.fields().map(|(key, _)| key);
        let read = Plan::parse(&plan);
        for fault in read.as_ref().err().into_iter().flatten() {
            let place = keys.iter().position(|key| *key == fault.key).and_then(|at| texts.get(at)?.as_ref());
            let at = place.map_or(written.url.span().start, |text| text.span().start);
            faults.add(at, format!("[auth.ldap] {}: {}", fault.key, fault.what), fault.remedy);
        }
        if let Ok(plan) = &read {
            check_password(written, &plan.way, faults);
            check_groups(written, &plan.groups, faults);
        }
        let bounds = AskBounds::from_written(written.bounds(), faults);
        Some(Self {
            url: url?,
            ca: written.ca.clone(),
            plaintext: written.plaintext.as_ref().is_some_and(|one| *one.get_ref()),
            plan,
            password_file: written.bind_password_file.as_ref().map(|file| file.get_ref().clone()),
            groups: written
                .groups
                .iter()
                .map(|(name, roles)| (name.get_ref().clone(), roles.clone()))
                .collect(),
            bounds,
        })
    }

    /// Its files.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.ca.iter_mut().chain(&mut self.password_file)
    }

    pub(crate) fn to_toml(&self) -> String {
        let ca = list(self.ca.iter().map(|path| path.display().to_string()));
        let mut out = format!("\n[auth.ldap]\nurl = {}\nca = {ca}\n", quoted(self.url.as_str()));
        if self.plaintext {
            out.push_str("plaintext = true\n");
        }
        for (key, text) in self.plan.fields() {
            if let Some(text) = text {
                out.push_str(&format!("{key} = {}\n", quoted(text)));
            }
        }
        if let Some(file) = &self.password_file {
            out.push_str(&format!("bind_password_file = {}\n", quoted(&file.display().to_string())));
        }
        out.push_str(&self.bounds.to_toml());
        if !self.groups.is_empty() {
            out.push_str("\n[auth.ldap.groups]");
        }
        for (name, roles) in &self.groups {
            out.push_str(&format!("\n{} = {}", quoted(name), list(roles.iter().cloned())));
        }
        out
    }
}

fn url(written: &LdapWritten, faults: &mut Faults<'_>) -> Option<Url> {
    let at = written.url.span().start;
    let url = match Url::parse_ldap(written.url.get_ref()) {
        Ok(url) => url,
        Err(what) => {
            let remedy = "write it as ldaps://host or ldap://host:port";
            faults.add(at, format!("`{}` is not an address: {what}", written.url.get_ref()), remedy);
            return None;
        }
    };
    if let Some(plaintext) = written.plaintext.as_ref().filter(|one| *one.get_ref()) {
        let at = plaintext.span().start;
        if url.is_tls() {
            faults.add(at, "plaintext, and the address is one of TLS", "remove plaintext");
        } else if !url.is_local() {
            let remedy = "remove plaintext: ldap:// then takes StartTLS; only a directory on this machine may do without";
            faults.add(at, "passwords would go over the network without encryption", remedy);
        }
    }
    Some(url)
}

fn check_password(written: &LdapWritten, way: &Way, faults: &mut Faults<'_>) {
    match (way, &written.bind_password_file) {
        (Way::Search { .. }, None) => {
            let at = written.bind_dn.as_ref().map_or(0, |one| one.span().start);
            let remedy =
                "write its password into a file that only its owner can read, and bind_password_file = \"…\"";
            faults.add(at, "the account that searches has no password", remedy);
        }
        (Way::Template(_), Some(file)) => {
            let remedy = "remove bind_password_file";
            faults.add(file.span().start, "users bind by bind_as, and nobody uses this password", remedy);
        }
        (Way::Search { .. }, Some(_)) | (Way::Template(_), None) => {}
    }
}

fn check_groups(written: &LdapWritten, groups: &Groups, faults: &mut Faults<'_>) {
    let mut known = HashSet::new();
    for (written, roles) in &written.groups {
        let (at, name) = (written.span().start, written.get_ref());
        match Name::parse(name) {
            None => {
                let remedy = "write it as the directory does: \"cn=operators,ou=groups,dc=example,dc=org\" = [\"operator\"]";
                faults.add(at, format!("`{name}` is not the name of a group"), remedy);
            }
            Some(parsed) => {
                if !known.insert(parsed) {
                    faults.add(at, format!("the group `{name}` is named twice"), "keep one of them");
                }
            }
        }
        if roles.is_empty() {
            faults.add(at, format!("the group `{name}` gives no role"), "name its roles, or remove it");
        }
    }
    let first = written.groups.keys().next().map(|one| one.span().start);
    match (groups, first) {
        (Groups::None, Some(at)) => {
            let remedy = "write group_attribute = \"memberOf\", or group_base and group_filter";
            faults.add(at, "groups give roles, and nothing says where a user's groups are found", remedy);
        }
        (Groups::Attribute(_) | Groups::Search { .. }, None) => {
            let at = written.group_attribute.as_ref().or(written.group_base.as_ref());
            let remedy = "write [auth.ldap.groups] with \"cn=…\" = [\"role\"], or remove group_attribute, group_base and group_filter";
            faults.add(
                at.map_or(0, |one| one.span().start),
                "groups are looked up, and none gives a role",
                remedy,
            );
        }
        (Groups::None, None) | (Groups::Attribute(_) | Groups::Search { .. }, Some(_)) => {}
    }
}
