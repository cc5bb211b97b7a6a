//! TLS of a listener, from what is written.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::listener::{Certificate, ClientCertificates, Kind, ListenerTls, TlsVersion};
use crate::meant::{list, quoted};
use crate::ocsp::{Ocsp, OcspWritten};
use crate::outward::url;
use crate::url::Url;
use crate::written::{CertificateWritten, TlsWritten};

/// How often revocation lists are fetched, where nothing is said.
const REFRESH_S: u32 = 3_600;

/// What a revocation list that is missing or past its end means for the certificates that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StaleList {
    /// They are refused: nobody knows which were revoked since.
    #[default]
    Refuse,
    /// They are taken, unless the list that is there names them.
    Accept,
}

/// An authority as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientAuthorityWritten {
    name: Option<String>,
    file: PathBuf,
    identities: Vec<Spanned<String>>,
    ocsp: Option<OcspWritten>,
}

/// An authority of client certificates, and for whom it may speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuthority {
    /// Its name, unique in its listener; it stands in the log, and policies can ask for it.
    pub name: String,
    /// PEM file with its certificates.
    pub file: PathBuf,
    /// The identities that it may speak for; `*` stands for any text.
    pub identities: Vec<String>,
    /// Who is asked about its certificates, in place of the responder of the listener.
    pub ocsp: Option<Ocsp>,
}

/// Whether a file of a directory of revocation lists is one, by its name: `.pem` or `.crl`.
pub fn is_list_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pem" || extension == "crl")
}

/// Reads and checks `[listener.tls]`.
pub(crate) fn tls(
    written: Option<&Spanned<TlsWritten>>,
    kind: Kind,
    kind_at: usize,
    faults: &mut Faults<'_>,
) -> Option<ListenerTls> {
    let written = match (written, kind.is_encrypted()) {
        (Some(written), true) => written,
        (None, true) => {
            let what = format!("kind = \"{}\" needs a certificate", kind.name());
            faults.add(
                kind_at,
                what,
                "add [listener.tls] with certificates = [{ chain = \"…\", key = \"…\" }]",
            );
            return None;
        }
        (Some(written), false) => {
            let what = "[listener.tls] on a listener without TLS";
            faults.add(written.span().start, what, "set kind to tls or wss, or remove it");
            return None;
        }
        (None, false) => return None,
    };
    let (at, body) = (written.span().start, written.get_ref());
    if body.certificates.is_empty() {
        faults.add(at, "certificates is empty", "name at least one chain and key");
    }
    let versions = versions(body, faults);
    let client_certificates = client_certificates(body, faults);
    let authorities = authorities(&body.authority, faults);
    if client_certificates != ClientCertificates::None && body.client_ca.is_empty() && authorities.is_empty()
    {
        faults.add(
            at,
            "client certificates without an authority to check them",
            "name its certificate in client_ca",
        );
    }
    if body.certificates.iter().any(|one| {
        [
            one.passphrase_file.is_some(),
            one.passphrase_credential.is_some(),
            one.passphrase_fd.is_some(),
            one.passphrase_prompt,
        ]
        .iter()
        .filter(|given| **given)
        .count()
            > 1
    }) {
        faults.add(at, "a key with several sources of its passphrase", "keep one of them");
    }
    let ocsp = body.ocsp.as_ref().and_then(|ocsp| {
        if client_certificates == ClientCertificates::None {
            let remedy = "set client_certificates, or remove ocsp";
            faults.add(ocsp.span().start, "ocsp where clients show no certificates", remedy);
        }
        Ocsp::from_written(ocsp.get_ref(), faults)
    });
    Some(ListenerTls {
        certificates: body.certificates.iter().map(certificate).collect(),
        versions,
        suites: body.suites.iter().flatten().map(|suite| suite.get_ref().clone()).collect(),
        groups: body.groups.iter().flatten().map(|group| group.get_ref().clone()).collect(),
        client_certificates,
        client_ca: body.client_ca.clone(),
        authorities,
        crl: body.crl.clone(),
        crl_url: crl_url(body, faults),
        crl_stale: crl_stale(body, faults),
        crl_refresh_s: crl_refresh_s(body, faults),
        ocsp,
    })
}

fn certificate(written: &CertificateWritten) -> Certificate {
    Certificate {
        chain: written.chain.clone(),
        key: written.key.clone(),
        passphrase_file: written.passphrase_file.clone(),
        passphrase_credential: written.passphrase_credential.clone(),
        passphrase_fd: written.passphrase_fd,
        passphrase_prompt: written.passphrase_prompt,
    }
}

/// The name under which authorities stand that may speak for everybody.
const UNLIMITED: &str = "client_ca";

fn authorities(written: &[Spanned<ClientAuthorityWritten>], faults: &mut Faults<'_>) -> Vec<ClientAuthority> {
    let mut found: Vec<ClientAuthority> = Vec::new();
    for one in written {
        let (at, body) = (one.span().start, one.get_ref());
        let of_file = || body.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = body.name.clone().unwrap_or_else(of_file);
        if name.is_empty() || name == UNLIMITED || found.iter().any(|known| known.name == name) {
            let what = format!("an authority cannot be called `{name}`, or two of them are");
            faults.add(at, what, "give each a name of its own");
        }
        if body.identities.is_empty() {
            let remedy = "write identities = [\"site-a-*\"], or name its file in client_ca if it may speak for everybody";
            faults.add(at, "an authority that may speak for nobody", remedy);
        }
        for pattern in &body.identities {
            if pattern.get_ref().is_empty() || pattern.get_ref().contains(['+', '#']) {
                let what = format!("`{}` is no pattern of identities", pattern.get_ref());
                faults.add(
                    pattern.span().start,
                    what,
                    "`*` stands for any text; `+` and `#` are in no identity",
                );
            }
        }
        let identities = body.identities.iter().map(|pattern| pattern.get_ref().clone()).collect();
        let ocsp = body.ocsp.as_ref().and_then(|ocsp| Ocsp::from_written(ocsp, faults));
        found.push(ClientAuthority { name, file: body.file.clone(), identities, ocsp });
    }
    found
}

fn crl_url(body: &TlsWritten, faults: &mut Faults<'_>) -> Vec<Url> {
    body.crl_url.iter().filter_map(|written| url(written, faults)).collect()
}

fn crl_stale(body: &TlsWritten, faults: &mut Faults<'_>) -> StaleList {
    match body.crl_stale.as_ref().map(|word| (word.get_ref().as_str(), word.span().start)) {
        None | Some(("refuse", _)) => StaleList::Refuse,
        Some(("accept", _)) => StaleList::Accept,
        Some((other, at)) => {
            faults.add(at, format!("crl_stale = \"{other}\" is not known"), "use refuse or accept");
            StaleList::Refuse
        }
    }
}

fn crl_refresh_s(body: &TlsWritten, faults: &mut Faults<'_>) -> u32 {
    let Some(written) = &body.crl_refresh_s else { return REFRESH_S };
    if !(1..=604_800).contains(written.get_ref()) {
        let remedy = "write seconds, from 1 to 604800 (a week)";
        faults.add(written.span().start, "crl_refresh_s is out of bounds", remedy);
    }
    *written.get_ref()
}

impl ListenerTls {
    /// Responders that are asked about certificates of clients.
    pub fn responders(&self) -> impl Iterator<Item = &Ocsp> {
        self.authorities.iter().filter_map(|one| one.ocsp.as_ref()).chain(&self.ocsp)
    }

    pub(crate) fn to_toml(&self) -> String {
        let certificates: Vec<String> = self
            .certificates
            .iter()
            .map(|one| {
                let mut text = format!(
                    "{{ chain = {}, key = {}",
                    quoted(&one.chain.display().to_string()),
                    quoted(&one.key.display().to_string())
                );
                if let Some(file) = &one.passphrase_file {
                    text.push_str(&format!(", passphrase_file = {}", quoted(&file.display().to_string())));
                }
                if let Some(name) = &one.passphrase_credential {
                    text.push_str(&format!(", passphrase_credential = {}", quoted(name)));
                }
                if let Some(fd) = one.passphrase_fd {
                    text.push_str(&format!(", passphrase_fd = {fd}"));
                }
                if one.passphrase_prompt {
                    text.push_str(", passphrase_prompt = true");
                }
                text + " }"
            })
            .collect();
        let versions = list(self.versions.iter().map(|version| match version {
            TlsVersion::V12 => "1.2".to_owned(),
            TlsVersion::V13 => "1.3".to_owned(),
        }));
        let clients = match self.client_certificates {
            ClientCertificates::None => "none",
            ClientCertificates::Optional => "optional",
            ClientCertificates::Required => "required",
        };
        let paths = |paths: &[PathBuf]| list(paths.iter().map(|path| path.display().to_string()));
        let mut out = format!(
            "[listener.tls]\ncertificates = [{}]\nversions = {versions}\nclient_certificates = \"{clients}\"\nclient_ca = {}\ncrl = {}\n",
            certificates.join(", "),
            paths(&self.client_ca),
            paths(&self.crl)
        );
        out.push_str(&self.revocation_to_toml());
        out.push_str(&self.ocsp.as_ref().map(Ocsp::to_toml).unwrap_or_default());
        for (key, names) in [("suites", &self.suites), ("groups", &self.groups)] {
            if !names.is_empty() {
                out.push_str(&format!("{key} = {}\n", list(names.iter().cloned())));
            }
        }
        out.push_str(&self.authorities_to_toml());
        out
    }

    pub(crate) fn authorities_to_toml(&self) -> String {
        let one = |authority: &ClientAuthority| {
            format!(
                "[[listener.tls.authority]]\nname = {}\nfile = {}\nidentities = {}\n{}",
                quoted(&authority.name),
                quoted(&authority.file.display().to_string()),
                list(authority.identities.iter().cloned()),
                authority.ocsp.as_ref().map(Ocsp::to_toml).unwrap_or_default()
            )
        };
        self.authorities.iter().map(one).collect()
    }

    pub(crate) fn revocation_to_toml(&self) -> String {
        let urls = list(self.crl_url.iter().map(ToString::to_string));
        let stale = match self.crl_stale {
            StaleList::Refuse => "refuse",
            StaleList::Accept => "accept",
        };
        format!("crl_url = {urls}\ncrl_stale = \"{stale}\"\ncrl_refresh_s = {}\n", self.crl_refresh_s)
    }
}

fn versions(body: &TlsWritten, faults: &mut Faults<'_>) -> Vec<TlsVersion> {
    let mut versions = Vec::new();
    for version in body.versions.iter().flatten() {
        match version.get_ref().as_str() {
            "1.2" => versions.push(TlsVersion::V12),
            "1.3" => versions.push(TlsVersion::V13),
            other => faults.add(
                version.span().start,
                format!("TLS version {other} is not offered"),
                "use \"1.3\" and \"1.2\"",
            ),
        }
    }
    if versions.is_empty() {
        versions = vec![TlsVersion::V13, TlsVersion::V12];
    }
    versions
}

fn client_certificates(body: &TlsWritten, faults: &mut Faults<'_>) -> ClientCertificates {
    match body.client_certificates.as_ref().map(|word| (word.get_ref().as_str(), word.span().start)) {
        None | Some(("none", _)) => ClientCertificates::None,
        Some(("optional", _)) => ClientCertificates::Optional,
        Some(("required", _)) => ClientCertificates::Required,
        Some((other, at)) => {
            faults.add(
                at,
                format!("client_certificates = \"{other}\" is not known"),
                "use none, optional or required",
            );
            ClientCertificates::None
        }
    }
}
