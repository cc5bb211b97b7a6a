//! From a configuration to rules: every file it names is read, checked and put together. All faults are reported at once.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_access::{CompiledPolicy, Methods, Policy, PolicyGeneration};
use motte_config::{
    AuthMethod, ClientCertificates, Config, Listener, ListenerTls, PasswordProfile, Places, StaleList,
    TlsVersion,
};
use motte_event::{Event, life};
use motte_identity::{Ageing, Authenticator, CertificateRules, Learned, PasswordFile, Requirements};
use motte_roles::{CertificateStatus, FileFault, KeyId, password_file_fault, read_open};
use motte_transport::{ClientAuth, Revocation, ServerTls, Stages, TlsOptions, WebSocketOptions};
use rustls_pki_types::CertificateDer;

use crate::admission::Bounds;
use crate::clock::unix_ms;
use crate::keyring::{Keyring, Keys};
use crate::ocsp::Responders;
use crate::remote_service::RemoteServices;
use crate::revocation::{List, newest};
use crate::rules::{ListenerRules, Rules};
use crate::token_keys::TokenKeys;

/// Days before expiry from which a certificate is warned about.
const EXPIRY_WARNING_DAYS: u64 = 30;

/// What keeps a configuration from being used: every fault with its file, place and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct AssembleError(pub Vec<String>);

/// Rules with what is worth telling about them.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) rules: Rules,
    pub(crate) events: Vec<Event>,
    /// Keys that are used and kept elsewhere.
    pub(crate) keys: Vec<KeyId>,
    /// Certificates that listeners show.
    pub(crate) certificates: Vec<CertificateStatus>,
}

/// Opens a file that a configuration names: the system's own way, or what another process has opened already.
pub type OpenFile = Box<dyn FnMut(&Path) -> std::io::Result<std::fs::File> + Send>;

/// The system's own way.
pub(crate) fn from_disk() -> OpenFile {
    Box::new(|path| std::fs::File::open(path))
}

/// What is wrong so far, and the way to files.
pub(crate) struct Faults<'c> {
    places: &'c Places,
    open: &'c mut OpenFile,
    found: Vec<String>,
    /// Certificates that are sound.
    certificates: Vec<CertificateStatus>,
}

impl Faults<'_> {
    pub(crate) fn push(&mut self, fault: String) {
        self.found.push(fault);
    }

    /// About a file: said with the place where the configuration names it.
    pub(crate) fn about(&mut self, path: &Path, fault: &str) {
        let place = self.places.of_path(path).map(|place| format!("{place}: ")).unwrap_or_default();
        self.found.push(format!("{place}{fault}"));
    }
}

/// Reads everything for the first time.
pub(crate) fn begin(
    config: &Config,
    workers: usize,
    policy: Result<Arc<CompiledPolicy>, PolicyGeneration>,
    keyring: &mut Keyring,
    open: &mut OpenFile,
    fetched: &TokenKeys,
) -> Result<Assembled, AssembleError> {
    assemble(config, workers, policy, keyring, open, fetched, None)
}

/// Reads everything; `former` are the rules that these will replace.
pub(crate) fn assemble(
    config: &Config,
    workers: usize,
    policy: Result<Arc<CompiledPolicy>, PolicyGeneration>,
    keyring: &mut Keyring,
    open: &mut OpenFile,
    fetched: &TokenKeys,
    former: Option<&Rules>,
) -> Result<Assembled, AssembleError> {
    let mut faults = Faults { places: &config.places, open, found: Vec::new(), certificates: Vec::new() };
    let mut events = Vec::new();
    let mut keys = keyring.keys(config).map_err(|fault| AssembleError(vec![fault]))?;
    let mut policy_text = String::new();
    let policy = match policy {
        Ok(fixed) => {
            events.extend(config.listeners.iter().map(|l| motte_event::rule::permitted_everything(&l.name)));
            Some(fixed)
        }
        Err(generation) => read_policy(config, generation, &mut events, &mut faults, &mut policy_text),
    };
    let passwords = read_passwords(config, &mut events, &mut faults);
    let is_read = passwords.is_some() || config.password_file.is_none();
    let passwords = passwords.unwrap_or_default();
    let exposed = passwords.accounts().filter(|(_, account)| account.is_exposed());
    events.extend(exposed.map(|(identity, _)| motte_event::device::password_exposed(identity)));
    // What logins taught is about people, not about rules.
    let learned = former.and_then(|rules| rules.listeners.first()).map(|first| first.authenticator.learned());
    let learned = learned.unwrap_or_else(|| Arc::new(Learned::nothing(unix_ms() / 1_000)));
    let tokens = crate::tokens::read(config, policy.as_deref(), fetched, &mut faults);
    let authenticator =
        Authenticator::new(Arc::new(passwords), learned).with_ageing(ageing(config)).with_tokens(tokens);
    if is_read {
        crate::step_up::check_accounts(config, &authenticator, &mut faults);
    }
    let services = RemoteServices::new(config, fetched.client()).unwrap_or_else(|error| {
        faults.push(format!("the system has no random bytes: {error}"));
        RemoteServices::default()
    });
    crate::tokens::check_group_roles(config, policy.as_deref(), &mut faults);
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        if let Some(until) = listener.plaintext_until {
            events.push(life::plaintext_exception(&listener.name, &until.to_string()));
        }
        let Some(certificates) = crate::certificate_rules::read(listener, &mut faults) else { continue };
        if let Some(stages) = stages(listener, &mut keys, &mut events, &mut faults) {
            let (stages, lists) = stages;
            listeners.push(Arc::new(ListenerRules {
                lists,
                service: services.of(listener),
                responders: Responders::new(config, listener, fetched.client(), former),
                ..listener_rules(listener, stages, &authenticator, certificates, fetched)
            }));
        }
    }
    let limits = &config.limits;
    match policy {
        Some(policy) if faults.found.is_empty() => {
            let rules = Rules {
                policy,
                policy_text: policy_text.into(),
                second_factor: config.control.second_factor.as_slice().into(),
                listeners,
                bounds: Bounds {
                    connections: limits.connections_max,
                    per_address: limits.connections_per_address_max,
                    per_identity: limits.connections_per_identity_max,
                },
                limits: Arc::new(crate::limits::session_limits(limits)),
                backlog_max: backlog_max(limits.memory_bytes_max, workers),
                memory_max: limits.memory_bytes_max,
            };
            Ok(Assembled { rules, events, keys: keys.used(), certificates: faults.certificates })
        }
        _ => Err(AssembleError(faults.found)),
    }
}

fn ageing(config: &Config) -> Option<Ageing> {
    match config.passwords.profile {
        PasswordProfile::Nist => None,
        PasswordProfile::Classic { max_age_days, grace_days, .. } => Some(Ageing {
            max_age_s: u64::from(max_age_days) * 86_400,
            grace_s: u64::from(grace_days) * 86_400,
        }),
    }
}

/// A quarter of the memory budget may wait in outputs, spread over the workers.
fn backlog_max(memory_bytes_max: u64, workers: usize) -> usize {
    usize::try_from(memory_bytes_max / 4).unwrap_or(usize::MAX) / workers.max(1)
}

fn listener_rules(
    listener: &Listener,
    stages: Stages,
    authenticator: &Authenticator,
    certificates: CertificateRules,
    fetched: &TokenKeys,
) -> ListenerRules {
    ListenerRules {
        name: Arc::from(listener.name.as_str()),
        limits: Arc::new(crate::limits::session_limits(&listener.limits)),
        stages: Arc::new(stages),
        requirements: requirements(listener, certificates),
        authenticator: authenticator.clone(),
        connect_timeout_ms: u64::from(listener.limits.connect_timeout_s) * 1_000,
        lists: Vec::new(),
        service: None,
        token_keys: fetched.clone(),
        responders: Responders::default(),
        written: listener.clone(),
    }
}

fn requirements(listener: &Listener, certificates: CertificateRules) -> Requirements {
    if listener.anonymous {
        return Requirements::anonymous();
    }
    let methods = |list: &[AuthMethod]| {
        list.iter().fold(Methods::default(), |all, method| {
            all.and(match method {
                AuthMethod::Certificate => Methods::CERTIFICATE,
                AuthMethod::Password => Methods::PASSWORD,
                AuthMethod::Http => Methods::HTTP,
                AuthMethod::Ldap => Methods::LDAP,
                AuthMethod::Totp => Methods::TOTP,
                AuthMethod::Jwt => Methods::TOKEN,
            })
        })
    };
    Requirements {
        any_of: methods(&listener.methods),
        all_of: methods(&listener.all_of),
        certificates: Arc::new(certificates),
    }
}

fn read_policy(
    config: &Config,
    generation: PolicyGeneration,
    events: &mut Vec<Event>,
    faults: &mut Faults<'_>,
    said: &mut String,
) -> Option<Arc<CompiledPolicy>> {
    let before = faults.found.len();
    let general = one_policy(&config.policy_files, faults, said);
    let mut own = Vec::new();
    let mut files: Vec<String> = config.policy_files.iter().map(|path| path.display().to_string()).collect();
    for listener in &config.listeners {
        let Some(named) = &listener.policy_files else { continue };
        own.push((listener.name.clone(), one_policy(named, faults, said)));
        files.extend(named.iter().map(|path| format!("{} (listener {})", path.display(), listener.name)));
    }
    if faults.found.len() > before {
        return None;
    }
    events.push(motte_event::rule::policy_loaded(&files.join(", "), generation.0));
    let compiled = CompiledPolicy::compile_all(&general, &own, generation);
    let now_s = unix_ms() / 1_000;
    let permissive = compiled.permissive_roles().into_iter().filter(|role| now_s < role.until.end_s);
    events.extend(permissive.map(|role| motte_event::rule::role_permissive(&role.name, &role.until.day())));
    Some(Arc::new(compiled))
}

/// The policy that some files are together; what they say is put behind `said`, each cut off from the next.
fn one_policy(files: &[PathBuf], faults: &mut Faults<'_>, said: &mut String) -> Policy {
    let mut policy = Policy::default();
    for path in files {
        let Some(text) = text(path, "policy file", faults) else { continue };
        if let Err(error) = policy.read(&text, &path.display().to_string()) {
            faults.push(error.to_string());
        }
        said.push_str(&text);
        said.push('\0');
    }
    policy
}

fn read_passwords(config: &Config, events: &mut Vec<Event>, faults: &mut Faults<'_>) -> Option<PasswordFile> {
    let path = config.password_file.as_ref()?;
    let opened = (faults.open)(path);
    let own = rustix::process::geteuid().as_raw();
    match opened.as_ref().ok().and_then(|file| password_file_fault(file, path, own)) {
        Some(FileFault::Writable(fault)) => {
            faults.push(fault);
            return None;
        }
        Some(FileFault::Readable(fault)) => {
            let cause = fault.lines().map(str::trim).collect::<Vec<_>>().join("; ");
            events.push(motte_event::device::password_file_open(&path.display().to_string(), &cause));
        }
        None => {}
    }
    let text = read_open(opened, path, "password file").map_err(|fault| faults.about(path, &fault)).ok()?;
    match PasswordFile::parse(&text) {
        Ok(passwords) => {
            let (needed_kib, identity) = passwords.memory_kib_max();
            if needed_kib > config.hash_memory_mib.saturating_mul(1_024) {
                let (file, needed) = (path.display(), needed_kib.div_ceil(1_024));
                let whose = if identity.is_empty() { String::new() } else { format!(" of `{identity}`") };
                let remedy =
                    "raise hash_memory_mib in [auth], or set the password anew with `motte user passwd`";
                faults.push(format!("{file}: checking the password{whose} takes {needed} MiB, more than hash_memory_mib\n  remedy: {remedy}"));
                return None;
            }
            Some(passwords)
        }
        Err(error) => {
            faults.push(format!(
                "{}:{}: {}\n  remedy: {}",
                path.display(),
                error.line,
                error.what,
                error.remedy
            ));
            None
        }
    }
}

fn stages(
    listener: &Listener,
    keys: &mut Keys<'_>,
    events: &mut Vec<Event>,
    faults: &mut Faults<'_>,
) -> Option<(Stages, Vec<List>)> {
    let tls = match &listener.tls {
        Some(written) => tls(&listener.name, written, keys, events, faults).map(Some)?,
        None => None,
    };
    let (tls, lists) = tls.map_or((None, Vec::new()), |(tls, lists)| (Some(tls), lists));
    let websocket = listener.websocket.as_ref().map(|written| {
        Arc::new(WebSocketOptions { path: written.path.clone(), origins: written.origins.clone() })
    });
    let proxies = listener.proxy_protocol.as_ref().map(|proxy| proxy.from.iter().copied().collect());
    Some((Stages { proxies, tls, websocket }, lists))
}

fn tls(
    listener: &str,
    written: &ListenerTls,
    keys: &mut Keys<'_>,
    events: &mut Vec<Event>,
    faults: &mut Faults<'_>,
) -> Option<(ServerTls, Vec<List>)> {
    let before = faults.found.len();
    let own = written
        .certificates
        .iter()
        .filter_map(|one| {
            let chain = certificates(&one.chain, faults);
            let key = keys.of(one).map_err(|fault| faults.about(&one.key, &fault)).ok();
            let chain = chain?;
            events.extend(chain.first().and_then(|leaf| expiry(leaf, &one.chain, faults)));
            Some((chain, key?))
        })
        .collect();
    let client_ca =
        written.client_ca.iter().filter_map(|path| certificates(path, faults)).flatten().collect();
    let authorities = written
        .authorities
        .iter()
        .filter_map(|one| Some((one.name.clone(), certificates(&one.file, faults)?)))
        .collect();
    let lists: Vec<List> =
        written.crl.iter().filter_map(|path| lists(path, events, faults)).flatten().collect();
    if faults.found.len() > before {
        return None;
    }
    let options = TlsOptions {
        certificates: own,
        v12: written.versions.contains(&TlsVersion::V12),
        v13: written.versions.contains(&TlsVersion::V13),
        suites: written.suites.clone(),
        groups: written.groups.clone(),
        client_auth: match written.client_certificates {
            ClientCertificates::None => ClientAuth::None,
            ClientCertificates::Optional => ClientAuth::Optional,
            ClientCertificates::Required => ClientAuth::Required,
        },
        client_ca,
        authorities,
        crls: newest(lists.iter().cloned()),
        revocation: Revocation {
            is_expected: !written.crl_url.is_empty() || !written.crl.is_empty(),
            accepts_stale: written.crl_stale == StaleList::Accept,
        },
    };
    let tls = ServerTls::new(options).map_err(|error| faults.push(format!("listener {listener}: {error}")));
    tls.ok().map(|tls| (tls, lists))
}

fn certificates(path: &Path, faults: &mut Faults<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let text = text(path, "certificate file", faults)?;
    motte_pki::certificates(&text)
        .map_err(|error| faults.about(path, &format!("{}: {error}", path.display())))
        .ok()
}

/// The lists of a file, or of all files of a directory; those past their end are told of.
fn lists(path: &Path, events: &mut Vec<Event>, faults: &mut Faults<'_>) -> Option<Vec<List>> {
    let opened = (faults.open)(path);
    let files = match opened.as_ref().map_err(drop).and_then(|file| files_in(file, path).map_err(drop)) {
        Ok(Some(names)) => {
            names.iter().map(|name| (path.join(name), (faults.open)(&path.join(name)))).collect()
        }
        Ok(None) | Err(()) => vec![(path.to_owned(), opened)],
    };
    let mut all = Vec::new();
    for (file, opened) in files {
        let bytes =
            read_open(opened, &file, "revocation list").map_err(|fault| faults.about(path, &fault)).ok()?;
        let found: Vec<List> =
            motte_pki::revocation_lists(bytes.as_bytes()).into_iter().filter_map(List::read).collect();
        if found.is_empty() {
            let what = "no revocation list in it; it must hold undamaged blocks that begin with -----BEGIN X509 CRL-----";
            faults.about(path, &format!("{}: {what}", file.display()));
            return None;
        }
        if found.iter().any(|list| list.facts.is_over(unix_ms() / 1_000)) {
            events.push(life::revocation_list_expired(&file.display().to_string()));
        }
        all.extend(found);
    }
    Some(all)
}

/// Names of the files in an open directory that are lists by their names, in order; `None` when it is no directory.
fn files_in(file: &std::fs::File, path: &Path) -> std::io::Result<Option<Vec<std::ffi::OsString>>> {
    if !file.metadata()?.is_dir() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(file)? {
        let name = std::ffi::OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if motte_config::is_list_name(&path.join(&name)) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

fn expiry(leaf: &CertificateDer<'_>, path: &Path, faults: &mut Faults<'_>) -> Option<Event> {
    let file = path.display().to_string();
    let facts = motte_pki::inspect(leaf)?;
    let not_after_unix_s = facts.not_after_s;
    if faults.certificates.iter().all(|known| known.file != file) {
        faults.certificates.push(CertificateStatus { file: file.clone(), not_after_unix_s });
    }
    match facts.days_left(unix_ms() / 1_000) {
        None => Some(life::certificate_expired(&file)),
        Some(days) if days < EXPIRY_WARNING_DAYS => Some(life::certificate_expiring(&file, days)),
        Some(_) => None,
    }
}

/// The text of a file, within bounds.
pub(crate) fn text(path: &Path, what: &str, faults: &mut Faults<'_>) -> Option<String> {
    let opened = (faults.open)(path);
    read_open(opened, path, what).map_err(|fault| faults.about(path, &fault)).ok()
}
