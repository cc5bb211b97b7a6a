//! A configuration as meant.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use motte_event::Severity;

use crate::attempts::LoginAttempts;
use crate::checks::{check_names, check_services, workers};
use crate::control::Control;
use crate::error::{ConfigErrors, Faults};
use crate::hook::Hook;
use crate::jwt::TokenIssuer;
use crate::ldap::Ldap;
use crate::limits::Limits;
use crate::listener::{Endpoint, Listener};
use crate::method::AuthMethod;
use crate::metrics::metrics;
use crate::outward::Egress;
use crate::passwords::{self, Passwords};
use crate::reading::{Places, read};
use crate::sandbox::Sandbox;
use crate::store::{Durability, StoreKey};
use crate::written::{ConfigWritten, DevelopmentWritten, LogWritten, RolesWritten, SysWritten};

/// How events are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects, one a line.
    Json,
}

/// Where private keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a process of their own.
    Process,
    /// In the process that serves.
    Inside,
}

/// Everything that a broker is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Directory for what outlives the process; `None`: nothing does.
    pub state_dir: Option<PathBuf>,
    /// Where the key comes from that opens the vault of the state directory.
    pub store_key: StoreKey,
    /// Worker threads; 0: one for each core.
    pub workers: u16,
    /// Listeners.
    pub listeners: Vec<Listener>,
    /// Password file.
    pub password_file: Option<PathBuf>,
    /// Threads that check passwords.
    pub hash_threads: u16,
    /// Threads for TLS handshakes, 0 to 64; 0: one for two workers.
    pub handshake_threads: u16,
    /// Password checks that may wait.
    pub hash_queue: u32,
    /// How failed logins are held back.
    pub attempts: LoginAttempts,
    /// Memory of all password checks together, in MiB.
    pub hash_memory_mib: u32,
    /// What passwords must be.
    pub passwords: Passwords,
    /// Policy files; none: nothing is permitted.
    pub policy_files: Vec<PathBuf>,
    /// Whether it is recorded in the state directory what rules are used for.
    pub record_usage: bool,
    /// Limits of the process, and defaults for listeners.
    pub limits: Limits,
    /// How events are written.
    pub log_format: LogFormat,
    /// Least severity that is written.
    pub log_level: Severity,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<Endpoint>,
    /// Seconds between publications of `$SYS/` topics; 0: none.
    pub sys_interval_s: u32,
    /// How the process confines itself.
    pub sandbox: Sandbox,
    /// Where private keys are.
    pub keys: KeyPlace,
    /// What holds for everything that connects out.
    pub egress: Egress,
    /// The service that is asked who a client is.
    pub auth_http: Option<Hook>,
    /// The directory that is asked who a client is.
    pub auth_ldap: Option<Ldap>,
    /// Whose tokens are taken, in the order written.
    pub tokens: Vec<TokenIssuer>,
    /// Where operators ask, and who may.
    pub control: Control,
    /// Where the configuration names its files.
    pub places: Places,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: None,
            store_key: StoreKey::Beside,
            workers: 0,
            listeners: Vec::new(),
            password_file: None,
            hash_threads: 1,
            handshake_threads: 0,
            hash_queue: 1_024,
            attempts: LoginAttempts::default(),
            hash_memory_mib: 64,
            passwords: Passwords::default(),
            policy_files: Vec::new(),
            record_usage: false,
            limits: Limits::default(),
            log_format: LogFormat::Text,
            log_level: Severity::Info,
            metrics: None,
            sys_interval_s: 10,
            sandbox: Sandbox::default(),
            keys: KeyPlace::Process,
            egress: Egress::default(),
            auth_http: None,
            auth_ldap: None,
            tokens: Vec::new(),
            control: Control::default(),
            places: Places::default(),
        }
    }
}

/// Reads a configuration's text; `today` ends dated exceptions.
///
/// # Errors
/// All faults that were found, each with place and remedy.
pub fn parse(text: &str, file: &str, today: Date) -> Result<Config, ConfigErrors> {
    let mut faults = Faults::new(text, file);
    let Some(written) = read::<ConfigWritten>(text, &mut faults) else {
        faults.finish()?;
        return Ok(Config::default());
    };
    let places = Places::of(text, file);
    let mut config = Config { state_dir: written.state_dir, places, ..Config::default() };
    config.store_key = StoreKey::from_written(&written.store, &mut faults);
    config.limits = config.limits.with(&written.limits, &mut faults);
    config.limits.durability = written.store.durability(&mut faults);
    config.workers = workers(written.workers.as_ref(), &mut faults);
    for listener in &written.listener {
        config.listeners.extend(Listener::from_written(listener, &config.limits, today, &mut faults));
    }
    check_names(&written.listener, &mut faults);
    if written.listener.is_empty() {
        faults.add(0, "no listener", "add [[listener]] with name, kind and bind");
    }
    apply_handshake_threads(written.handshake_threads.as_ref(), &mut config, &mut faults);
    passwords::apply(&written.auth, &mut config, &mut faults);
    config.attempts = LoginAttempts::from_written(&written.auth.attempts, &mut faults);
    written.policy.apply(&mut config, &mut faults);
    apply_log(&written.log, &mut config, &mut faults);
    apply_sys(&written.sys, &mut config);
    apply_roles(&written.roles, &mut config, &mut faults);
    if let Some(bind) = &written.metrics.bind {
        config.metrics = metrics(bind, &mut faults);
    }
    config.sandbox = Sandbox::from_written(&written.sandbox, &mut faults);
    config.egress = Egress::from_written(written.egress, &mut faults);
    config.auth_http = written.auth.http.as_ref().and_then(|hook| Hook::from_written(hook, &mut faults));
    config.auth_ldap = written.auth.ldap.as_ref().and_then(|ldap| Ldap::from_written(ldap, &mut faults));
    check_services(&written.listener, &config, &mut faults);
    config.tokens = TokenIssuer::read(&written.auth, &written.listener, &config, &mut faults);
    config.check_outward(&mut faults);
    config.control = Control::from_written(&written.control, config.keys, &mut faults);
    faults.finish()?;
    Ok(config)
}

/// Reads what `motte dev --config` may hold: limits, log and `$SYS/`.
///
/// # Errors
/// As [`parse`].
pub fn parse_development(text: &str, file: &str) -> Result<Config, ConfigErrors> {
    let mut faults = Faults::new(text, file);
    let Some(written) = read::<DevelopmentWritten>(text, &mut faults) else {
        faults.finish()?;
        return Ok(Config::default());
    };
    let mut config = Config::default();
    config.limits = config.limits.with(&written.limits, &mut faults);
    apply_log(&written.log, &mut config, &mut faults);
    apply_sys(&written.sys, &mut config);
    faults.finish()?;
    Ok(config)
}

fn apply_handshake_threads(
    written: Option<&toml::Spanned<u16>>,
    config: &mut Config,
    faults: &mut Faults<'_>,
) {
    let Some(threads) = written else { return };
    config.handshake_threads = *threads.get_ref();
    if config.handshake_threads > 64 {
        let remedy = "write 0 for one for two workers, or at most 64";
        faults.add(threads.span().start, "more than 64 threads for handshakes", remedy);
    }
}

fn apply_log(written: &LogWritten, config: &mut Config, faults: &mut Faults<'_>) {
    if let Some(format) = &written.format {
        match format.get_ref().as_str() {
            "text" => config.log_format = LogFormat::Text,
            "json" => config.log_format = LogFormat::Json,
            other => faults.add(
                format.span().start,
                format!("log format {other} is not known"),
                "use text or json",
            ),
        }
    }
    if let Some(level) = &written.level {
        match Severity::parse(level.get_ref()) {
            Some(severity) => config.log_level = severity,
            None => faults.add(
                level.span().start,
                format!("log level {} is not known", level.get_ref()),
                "use info, notice, warning, error or critical",
            ),
        }
    }
}

fn apply_sys(written: &SysWritten, config: &mut Config) {
    if let Some(interval) = &written.interval_s {
        config.sys_interval_s = *interval.get_ref();
    }
}

fn apply_roles(written: &RolesWritten, config: &mut Config, faults: &mut Faults<'_>) {
    let Some(keys) = &written.keys else { return };
    match keys.get_ref().as_str() {
        "process" => config.keys = KeyPlace::Process,
        "inside" => config.keys = KeyPlace::Inside,
        other => {
            let what = format!("keys = \"{other}\" is not known");
            faults.add(keys.span().start, what, "use process or inside");
        }
    }
}

impl Config {
    /// Makes relative paths relative to `base`, the directory of the configuration file.
    pub fn resolve_paths(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| {
            // A key in a token has an address, not a path.
            if path.is_relative() && !path.to_str().is_some_and(|text| text.starts_with("pkcs11:")) {
                *path = base.join(&*path);
            }
        };
        self.state_dir.iter_mut().chain(&mut self.password_file).for_each(resolve);
        self.store_key.file_mut().into_iter().for_each(resolve);
        self.passwords.list.iter_mut().for_each(resolve);
        self.policy_files.iter_mut().chain(&mut self.control.socket).for_each(resolve);
        self.places.for_each_path(resolve);
        if let Some(Endpoint::Unix(path)) = &mut self.metrics {
            resolve(path);
        }
        for listener in &mut self.listeners {
            listener.for_each_path(resolve);
        }
        self.tokens.iter_mut().flat_map(TokenIssuer::files_mut).for_each(resolve);
        self.egress.ca.iter_mut().for_each(resolve);
        if let Some(hook) = &mut self.auth_http {
            hook.ca.iter_mut().chain(&mut hook.headers_file).for_each(resolve);
        }
        self.auth_ldap.iter_mut().flat_map(Ldap::files_mut).for_each(resolve);
    }

    /// The file of the key that opens the vault, if it is in one: named, or beside the state directory under its name with
    /// `.key` behind it.
    pub fn store_key_file(&self) -> Option<PathBuf> {
        match &self.store_key {
            StoreKey::File(path) => Some(path.clone()),
            StoreKey::Beside => self.state_dir.as_deref().map(crate::store::beside),
            StoreKey::Credential(_)
            | StoreKey::PassphraseFile(_)
            | StoreKey::PassphrasePrompt
            | StoreKey::Token { .. } => None,
        }
    }

    /// How far acknowledgements have got where most is promised; [`Durability::Memory`] without a state directory.
    pub fn durability(&self) -> Durability {
        let listeners = self.listeners.iter().map(|listener| listener.limits.durability).max();
        let most = listeners.unwrap_or(self.limits.durability);
        if self.state_dir.is_some() { most } else { Durability::Memory }
    }

    /// The configuration as TOML that gives it again, without secrets (there are none in it).
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        if let Some(dir) = &self.state_dir {
            line(format!("state_dir = {}", quoted(&dir.display().to_string())));
        }
        line(format!("workers = {}\nhandshake_threads = {}", self.workers, self.handshake_threads));
        for listener in &self.listeners {
            line(listener.to_toml(&self.limits));
        }
        line(format!("\n[store]\ndurability = \"{}\"", self.limits.durability.name()));
        let store = self.store_key.to_toml();
        if !store.is_empty() {
            line(store);
        }
        line("\n[auth]".into());
        if let Some(file) = &self.password_file {
            line(format!("password_file = {}", quoted(&file.display().to_string())));
        }
        line(format!("hash_threads = {}\nhash_queue = {}", self.hash_threads, self.hash_queue));
        line(format!("hash_memory_mib = {}", self.hash_memory_mib));
        if let Some(hook) = &self.auth_http {
            line(hook.to_toml());
        }
        if let Some(ldap) = &self.auth_ldap {
            line(ldap.to_toml());
        }
        for issuer in &self.tokens {
            line(issuer.to_toml());
        }
        line(self.attempts.to_toml());
        line(self.passwords.to_toml());
        line(format!(
            "\n[policy]\nfiles = {}",
            list(self.policy_files.iter().map(|f| f.display().to_string()))
        ));
        if self.record_usage {
            line("record = true".to_owned());
        }
        let format = if self.log_format == LogFormat::Json { "json" } else { "text" };
        line(format!("\n[log]\nformat = \"{format}\"\nlevel = \"{}\"", self.log_level.name()));
        if let Some(metrics) = &self.metrics {
            line(format!("\n[metrics]\nbind = {}", quoted(&metrics.to_string())));
        }
        line(format!("\n[sys]\ninterval_s = {}", self.sys_interval_s));
        line(self.sandbox.to_toml());
        line(self.egress.to_toml());
        let keys = if self.keys == KeyPlace::Inside { "inside" } else { "process" };
        line(format!("\n[roles]\nkeys = \"{keys}\""));
        line(self.control.to_toml());
        line(format!("\n[limits]\n{}", self.limits.to_toml()));
        out
    }
}

impl Listener {
    fn to_toml(&self, defaults: &Limits) -> String {
        let mut out = format!(
            "\n[[listener]]\nname = {}\nkind = \"{}\"\nbind = {}\n",
            quoted(&self.name),
            self.kind.name(),
            list(self.bind.iter().map(ToString::to_string))
        );
        for (key, nets) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !nets.is_empty() {
                out.push_str(&format!("{key} = {}\n", list(nets.iter().map(ToString::to_string))));
            }
        }
        if let Some(until) = self.plaintext_until {
            out.push_str(&format!("plaintext_until = \"{until}\"\n"));
        }
        if self.limits.durability != defaults.durability {
            out.push_str(&format!("durability = \"{}\"\n", self.limits.durability.name()));
        }
        if let Some(tls) = &self.tls {
            out.push_str(&tls.to_toml());
        }
        out.push_str(&self.auth_to_toml());
        if let Some(files) = &self.policy_files {
            let files = list(files.iter().map(|file| file.display().to_string()));
            out.push_str(&format!("[listener.policy]\nfiles = {files}\n"));
        }
        if let Some(websocket) = &self.websocket {
            let (path, origins) = (quoted(&websocket.path), list(websocket.origins.iter().cloned()));
            out.push_str(&format!("[listener.websocket]\npath = {path}\norigins = {origins}\n"));
        }
        if let Some(proxy) = &self.proxy_protocol {
            let from = list(proxy.from.iter().map(ToString::to_string));
            out.push_str(&format!("[listener.proxy_protocol]\nfrom = {from}\n"));
        }
        let limits = self.limits.difference_to_toml(defaults);
        if !limits.is_empty() {
            out.push_str(&format!("[listener.limits]\n{limits}"));
        }
        out
    }

    fn auth_to_toml(&self) -> String {
        if self.anonymous {
            return "[listener.auth]\nanonymous = true\n".into();
        }
        let names = |methods: &[AuthMethod]| list(methods.iter().map(|method| method.name().to_owned()));
        let identity = quoted(&self.certificate_identity.written());
        let (methods, all_of) = (names(&self.methods), names(&self.all_of));
        let pins = self.certificate_pins.as_ref().map(|path| quoted(&path.display().to_string()));
        let pins = pins.map(|path| format!("certificate_pins = {path}\n")).unwrap_or_default();
        format!(
            "[listener.auth]\nmethods = {methods}\nall_of = {all_of}\ncertificate_identity = {identity}\n{pins}"
        )
    }
}

pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}
