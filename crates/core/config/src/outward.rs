//! What connects out: every address that the configuration names, in one order, so that a number says which is meant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use motte_ldap::PlanText;
use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::jwt::{KeySource, TokenIssuer};
use crate::listener::ListenerTls;
use crate::meant::{Config, KeyPlace};
use crate::url::Url;

/// Addresses that one configuration may have.
pub const OUTWARD_MAX: usize = 64;

/// `[egress]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EgressWritten {
    #[serde(default)]
    ca: Vec<PathBuf>,
    connect_timeout_ms: Option<Spanned<u32>>,
    timeout_ms: Option<Spanned<u32>>,
}

/// What holds for everything that connects out, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// PEM files of authorities that `https` servers come from; empty: those of the system.
    pub ca: Vec<PathBuf>,
    /// Time to connect, TLS included, in milliseconds.
    pub connect_timeout_ms: u32,
    /// Time for a whole request, in milliseconds.
    pub timeout_ms: u32,
}

impl Default for Egress {
    fn default() -> Self {
        Self { ca: Vec::new(), connect_timeout_ms: 3_000, timeout_ms: 10_000 }
    }
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A revocation list is fetched from it.
    RevocationList,
    /// It is asked who a client is.
    Hook,
    /// An issuer's keys are fetched from it.
    TokenKeys,
    /// An issuer's description of itself, and then its keys from where that says.
    Discovery,
    /// It is asked whether a certificate is revoked.
    Ocsp,
    /// It is a directory, asked the same by LDAP.
    Directory,
}

/// What an issuer's description of itself has to say, and where it may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Whose description it must be.
    pub issuer: String,
    /// Origins that the keys may come from.
    pub origins: Vec<Url>,
}

/// One address, with all that bounds its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outward {
    /// Where.
    pub url: Url,
    /// What for.
    pub purpose: Purpose,
    /// PEM files of authorities that the server comes from; empty: those of the system.
    pub ca: Vec<PathBuf>,
    /// A file with headers that are secret.
    pub headers_file: Option<PathBuf>,
    /// Time to connect, TLS included, in milliseconds.
    pub connect_timeout_ms: u32,
    /// Time for a whole request, in milliseconds.
    pub timeout_ms: u32,
    /// Longest request body, in bytes.
    pub request_bytes_max: u32,
    /// Longest answer, in bytes.
    pub answer_bytes_max: u32,
    /// Requests that may be under way at once.
    pub outstanding_max: u16,
    /// Of [`Purpose::Discovery`]: what the description must say.
    pub described: Option<Described>,
    /// How it is asked, where it is a directory.
    pub directory: Option<OutwardDirectory>,
}

/// How a directory is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutwardDirectory {
    /// Nothing is encrypted; otherwise `ldap` takes StartTLS.
    pub plaintext: bool,
    /// What it is asked.
    pub plan: PlanText,
    /// A file with the password of the account that searches.
    pub password_file: Option<PathBuf>,
}

/// Longest revocation list, in bytes.
const LIST_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Longest request to a hook, in bytes.
const HOOK_REQUEST_BYTES_MAX: u32 = 32 * 1024;
/// Longest key set of an issuer, in bytes.
const KEYS_BYTES_MAX: u32 = 256 * 1024;
/// Longest answer of a hook, in bytes.
const HOOK_ANSWER_BYTES_MAX: u32 = 16 * 1024;
/// Longest question about a certificate, in bytes: two digests, a serial number and a nonce.
const OCSP_REQUEST_BYTES_MAX: u32 = 512;
/// Longest answer to it, in bytes: with the certificates of whoever signed it.
const OCSP_ANSWER_BYTES_MAX: u32 = 32 * 1024;
/// Longest question to a directory, in bytes.
const DIRECTORY_REQUEST_BYTES_MAX: u32 = 4 * 1024;
/// What a directory may answer in one conversation, in bytes.
const DIRECTORY_ANSWER_BYTES_MAX: u32 = 512 * 1024;

impl Egress {
    pub(crate) fn from_written(written: EgressWritten, faults: &mut Faults<'_>) -> Self {
        let usual = Self::default();
        Self {
            ca: written.ca,
            connect_timeout_ms: time(
                "connect_timeout_ms",
                written.connect_timeout_ms.as_ref(),
                usual.connect_timeout_ms,
                faults,
            ),
            timeout_ms: time("timeout_ms", written.timeout_ms.as_ref(), usual.timeout_ms, faults),
        }
    }

    pub(crate) fn to_toml(&self) -> String {
        let ca = crate::meant::list(self.ca.iter().map(|path| path.display().to_string()));
        format!(
            "\n[egress]\nca = {ca}\nconnect_timeout_ms = {}\ntimeout_ms = {}",
            self.connect_timeout_ms, self.timeout_ms
        )
    }
}

/// A time limit within bounds, in milliseconds.
pub(crate) fn time(key: &str, written: Option<&Spanned<u32>>, usual: u32, faults: &mut Faults<'_>) -> u32 {
    let Some(written) = written else { return usual };
    if !(10..=120_000).contains(written.get_ref()) {
        faults.add(
            written.span().start,
            format!("{key} is out of bounds"),
            "write milliseconds, from 10 to 120000",
        );
    }
    *written.get_ref()
}

/// A number within bounds, or a fault with its place.
pub(crate) fn count(
    key: &str,
    written: Option<&Spanned<u32>>,
    usual: u32,
    bounds: RangeInclusive<u32>,
    faults: &mut Faults<'_>,
) -> u32 {
    let Some(written) = written else { return usual };
    if !bounds.contains(written.get_ref()) {
        let remedy = format!("write a number from {} to {}", bounds.start(), bounds.end());
        faults.add(written.span().start, format!("{key} is out of bounds"), remedy);
    }
    *written.get_ref()
}

/// An address, or a fault with its place.
pub(crate) fn url(written: &Spanned<String>, faults: &mut Faults<'_>) -> Option<Url> {
    let read = Url::parse(written.get_ref());
    if let Err(what) = &read {
        let remedy = "write it as https://host/path or http://host:port/path";
        faults.add(
            written.span().start,
            format!("`{}` is not an address: {what}", written.get_ref()),
            remedy,
        );
    }
    read.ok()
}

impl Config {
    /// Everything that connects out, each address once for each purpose. The place in the list is the number by which it is
    /// asked for; the same configuration always gives the same list.
    pub fn outward(&self) -> Vec<Outward> {
        let mut all: Vec<Outward> = Vec::new();
        let tls = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for url in tls.flat_map(|tls| &tls.crl_url) {
            if all.iter().all(|known| known.url != *url) {
                all.push(Outward {
                    url: url.clone(),
                    purpose: Purpose::RevocationList,
                    ca: self.egress.ca.clone(),
                    headers_file: None,
                    connect_timeout_ms: self.egress.connect_timeout_ms,
                    timeout_ms: self.egress.timeout_ms,
                    request_bytes_max: 0,
                    answer_bytes_max: LIST_BYTES_MAX,
                    outstanding_max: 1,
                    described: None,
                    directory: None,
                });
            }
        }
        if let Some(hook) = &self.auth_http {
            all.push(Outward {
                url: hook.url.clone(),
                purpose: Purpose::Hook,
                ca: if hook.ca.is_empty() { self.egress.ca.clone() } else { hook.ca.clone() },
                headers_file: hook.headers_file.clone(),
                connect_timeout_ms: hook.bounds.timeout_ms.min(self.egress.connect_timeout_ms),
                timeout_ms: hook.bounds.timeout_ms,
                request_bytes_max: HOOK_REQUEST_BYTES_MAX,
                answer_bytes_max: HOOK_ANSWER_BYTES_MAX,
                outstanding_max: hook.bounds.outstanding,
                described: None,
                directory: None,
            });
        }
        if let Some(ldap) = &self.auth_ldap {
            all.push(Outward {
                url: ldap.url.clone(),
                purpose: Purpose::Directory,
                ca: if ldap.ca.is_empty() { self.egress.ca.clone() } else { ldap.ca.clone() },
                headers_file: None,
                connect_timeout_ms: ldap.bounds.timeout_ms.min(self.egress.connect_timeout_ms),
                timeout_ms: ldap.bounds.timeout_ms,
                request_bytes_max: DIRECTORY_REQUEST_BYTES_MAX,
                answer_bytes_max: DIRECTORY_ANSWER_BYTES_MAX,
                outstanding_max: ldap.bounds.outstanding,
                described: None,
                directory: Some(OutwardDirectory {
                    plaintext: ldap.plaintext,
                    plan: ldap.plan.clone(),
                    password_file: ldap.password_file.clone(),
                }),
            });
        }
        all.extend(self.tokens.iter().filter_map(|issuer| self.keys_of(issuer)));
        self.add_responders(&mut all);
        all
    }

    /// Who is asked about certificates.
    fn add_responders(&self, all: &mut Vec<Outward>) {
        let tls = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        for ocsp in tls.flat_map(ListenerTls::responders) {
            let is_it = |known: &&mut Outward| known.purpose == Purpose::Ocsp && known.url == ocsp.url;
            if let Some(known) = all.iter_mut().find(is_it) {
                // Two listeners ask it: as many, and as long, as both may.
                known.outstanding_max = known.outstanding_max.saturating_add(ocsp.outstanding).min(64);
                known.timeout_ms = known.timeout_ms.max(ocsp.timeout_ms);
                known.connect_timeout_ms = known.timeout_ms.min(self.egress.connect_timeout_ms);
                continue;
            }
            all.push(Outward {
                url: ocsp.url.clone(),
                purpose: Purpose::Ocsp,
                ca: self.egress.ca.clone(),
                headers_file: None,
                connect_timeout_ms: ocsp.timeout_ms.min(self.egress.connect_timeout_ms),
                timeout_ms: ocsp.timeout_ms,
                request_bytes_max: OCSP_REQUEST_BYTES_MAX,
                answer_bytes_max: OCSP_ANSWER_BYTES_MAX,
                outstanding_max: ocsp.outstanding,
                described: None,
                directory: None,
            });
        }
    }

    /// Where the keys of an issuer are fetched, if they are; of several issuers in the order of `tokens`.
    fn keys_of(&self, issuer: &TokenIssuer) -> Option<Outward> {
        let (url, described) = match &issuer.keys {
            KeySource::File(_) => return None,
            KeySource::Url(url) => (url, None),
            KeySource::Discovery { document, origins } => {
                (document, Some(Described { issuer: issuer.issuer.clone(), origins: origins.clone() }))
            }
        };
        Some(Outward {
            url: url.clone(),
            purpose: if described.is_some() { Purpose::Discovery } else { Purpose::TokenKeys },
            ca: if issuer.ca.is_empty() { self.egress.ca.clone() } else { issuer.ca.clone() },
            headers_file: None,
            connect_timeout_ms: self.egress.connect_timeout_ms,
            timeout_ms: self.egress.timeout_ms,
            request_bytes_max: 0,
            answer_bytes_max: KEYS_BYTES_MAX,
            outstanding_max: 1,
            described,
            directory: None,
        })
    }

    /// TCP ports that are connected to.
    pub fn outward_ports(&self) -> BTreeSet<u16> {
        let outward = self.outward();
        let origins = outward.iter().filter_map(|one| one.described.as_ref()).flat_map(|one| &one.origins);
        outward.iter().map(|one| &one.url).chain(origins).map(Url::port).collect()
    }

    /// Files of authorities and secrets for what connects out. Whoever connects gets their content, not their paths.
    pub(crate) fn outward_files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.egress.ca.iter().map(AsRef::as_ref).collect();
        if let Some(hook) = &self.auth_http {
            files.extend(hook.ca.iter().map(AsRef::<Path>::as_ref));
            files.extend(hook.headers_file.as_deref());
        }
        let issuers = self.tokens.iter().filter(|issuer| issuer.keys_file().is_none());
        files.extend(issuers.flat_map(|issuer| &issuer.ca).map(AsRef::<Path>::as_ref));
        if let Some(ldap) = &self.auth_ldap {
            files.extend(ldap.ca.iter().map(AsRef::<Path>::as_ref));
            files.extend(ldap.password_file.as_deref());
        }
        files
    }

    /// What only holds for the configuration as a whole.
    pub(crate) fn check_outward(&self, faults: &mut Faults<'_>) {
        let outward = self.outward();
        if outward.len() > OUTWARD_MAX {
            faults.add(
                0,
                format!("more than {OUTWARD_MAX} addresses to connect to"),
                "name fewer in crl_url and ocsp",
            );
        }
        if self.keys == KeyPlace::Inside && !outward.is_empty() {
            let remedy = "write roles.keys = \"process\", or remove crl_url, ocsp, [auth.http], [auth.ldap] and keys_url or discover of [[auth.jwt]]";
            faults.add(0, "something connects out, which takes a process of its own, and roles.keys = \"inside\" wants one process", remedy);
        }
    }
}
