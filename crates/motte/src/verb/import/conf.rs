//! A mosquitto.conf, and what becomes of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::verb::Fault;
use crate::verb::import::acl::Acl;
use crate::verb::import::listener::{Asked, Way};
use crate::verb::import::passwords::Passwords;
use crate::verb::import::policy::{Holders, of_acl, without_acl};
use crate::verb::import::report::{About, Report};
use crate::verb::import::settings::{OF_LISTENERS, OF_SECURITY, Setting, Settings};
use crate::verb::import::{Written, quoted, text_of};

/// A configuration with its listeners.
#[derive(Debug)]
pub(super) struct Conf {
    dir: PathBuf,
    global: Settings,
    ways: Vec<Way>,
    per_listener: bool,
    /// Names of bridges, with their places.
    bridges: Vec<Setting>,
}

impl Conf {
    /// Reads a file and those that its `include_dir` names.
    ///
    /// # Errors
    /// Which file cannot be read.
    pub(super) fn read(file: &Path) -> Result<Self, Fault> {
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut lines = Setting::all(&text_of(file)?, file);
        let includes: Vec<PathBuf> =
            lines.iter().filter(|line| line.key == "include_dir").map(|line| dir.join(&line.value)).collect();
        for include in includes {
            let entries = std::fs::read_dir(&include).map_err(|error| {
                let what = format!("cannot read {}, which include_dir names: {error}", include.display());
                Fault::with_remedy(
                    what,
                    "make it readable, or take the line out: what is in it may be what keeps strangers out",
                )
            })?;
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
            files.sort();
            for file in files {
                lines.extend(Setting::all(&text_of(&file)?, &file));
            }
        }
        Ok(Self::of(lines, dir))
    }

    fn of(lines: Vec<Setting>, dir: PathBuf) -> Self {
        let per_listener = lines.iter().any(|line| line.key == "per_listener_settings" && line.is_true());
        let mut conf =
            Self { dir, global: Settings::default(), ways: Vec::new(), per_listener, bridges: Vec::new() };
        // What stands before the first `listener` belongs to the one that `port` opens.
        let mut first = Settings::default();
        let mut in_bridge = false;
        for line in lines {
            match line.key.as_str() {
                "listener" => {
                    in_bridge = false;
                    let mut words = line.value.split_whitespace();
                    let port = words.next().and_then(|port| port.parse().ok()).unwrap_or(0);
                    let host = words.collect::<Vec<_>>().join(" ");
                    conf.ways.push(Way {
                        port,
                        host,
                        is_local: false,
                        place: line.place,
                        settings: Settings::default(),
                    });
                }
                "connection" => {
                    in_bridge = true;
                    conf.bridges.push(line);
                }
                _ if in_bridge => {}
                key if OF_LISTENERS.contains(&key) || (per_listener && OF_SECURITY.contains(&key)) => {
                    let settings = conf.ways.last_mut().map_or(&mut first, |way| &mut way.settings);
                    settings.0.push(line);
                }
                _ => conf.global.0.push(line),
            }
        }
        let port = conf.global.get("port").cloned();
        if port.is_some() || conf.ways.is_empty() || !first.0.is_empty() {
            let number = port.as_ref().and_then(|port| port.value.parse().ok()).unwrap_or(1_883);
            let host = conf.global.get("bind_address").map(|one| one.value.clone()).unwrap_or_default();
            let place =
                port.as_ref().map_or_else(|| "the default listener".to_owned(), |port| port.place.clone());
            let is_local = port.is_none() && host.is_empty();
            conf.ways.insert(0, Way { port: number, host, is_local, place, settings: first });
        }
        conf
    }

    /// The settings about who may come in by a listener, and do what.
    fn security<'a>(&'a self, way: &'a Way) -> &'a Settings {
        if self.per_listener { &way.settings } else { &self.global }
    }

    fn allows_anonymous(&self, way: &Way) -> bool {
        match self.security(way).get("allow_anonymous") {
            Some(setting) => setting.is_true(),
            None => way.is_local,
        }
    }
}

/// The files of a configuration of ours.
pub(super) fn convert(conf: &Conf, keep_open: bool, report: &mut Report) -> Result<Vec<Written>, Fault> {
    let mut files = Vec::new();
    let mut passwords = Passwords::default();
    let mut listeners = String::new();
    let mut made = Vec::new();
    let mut password_files: Vec<PathBuf> = Vec::new();
    for way in &conf.ways {
        let file = conf.security(way).path("password_file", &conf.dir);
        let names = match &file {
            Some(file) => passwords.read(&text_of(file)?, &file.display().to_string(), report),
            None => Vec::new(),
        };
        password_files.extend(file.clone().filter(|file| !password_files.contains(file)));
        let asked = Asked { allow_anonymous: conf.allows_anonymous(way), has_passwords: file.is_some() };
        if let Some(listener) = way.convert(&conf.dir, asked, report) {
            made.push((way, listener, names));
        }
    }
    let several = password_files.len() > 1;
    if several {
        let what = "there is one password file here: patterns go to the identities of each listener's own file by name";
        report.add(About::Stricter, "", what);
    }
    let any_anonymous = made.iter().any(|(_, listener, _)| listener.anonymous);
    for (way, listener, names) in &made {
        listeners.push_str(&listener.toml);
        if !conf.per_listener {
            continue;
        }
        let holders = Holders { anonymous: listener.anonymous, only: several.then(|| names.clone()) };
        let name = format!("policy-{}.toml", listener.name);
        let _ = writeln!(listeners, "[listener.policy]\nfiles = [{}]", quoted(&name));
        let text = policy(conf, &way.settings, &way.place, &holders, keep_open, report)?;
        files.push(Written { name, text, is_secret: false });
    }
    if !conf.per_listener {
        let holders = Holders { anonymous: any_anonymous, only: None };
        let text = policy(conf, &conf.global, "the configuration", &holders, keep_open, report)?;
        files.push(Written { name: "policy.toml".into(), text, is_secret: false });
    }
    let mut toml = "# Converted from a configuration of mosquitto by `motte import`.\n".to_owned();
    if conf.global.is_true("persistence") {
        toml.push_str("state_dir = \"state\"\n");
        report.add(
            About::NotTaken,
            "",
            "what mosquitto stored (mosquitto.db): Sessions and Retained Messages begin anew",
        );
    }
    if !passwords.is_empty() {
        let (name, text) = passwords.written(report);
        if name == "passwords" {
            toml.push_str("\n[auth]\npassword_file = \"passwords\"\n");
        }
        files.push(Written { name: name.into(), text, is_secret: true });
    }
    if !conf.per_listener {
        toml.push_str("\n[policy]\nfiles = [\"policy.toml\"]\n");
    }
    limits(conf, &mut toml, report);
    toml.push_str(&listeners);
    rest(conf, report);
    files.insert(0, Written { name: "motte.toml".into(), text: toml, is_secret: false });
    Ok(files)
}

fn policy(
    conf: &Conf,
    settings: &Settings,
    place: &str,
    holders: &Holders,
    keep_open: bool,
    report: &mut Report,
) -> Result<String, Fault> {
    let plugin = settings.get("plugin").or_else(|| settings.get("auth_plugin"));
    if let Some(plugin) = plugin {
        report.add(About::NotTaken, &plugin.place, "a plugin: what it permits and denies is not known here");
    }
    let Some(file) = settings.path("acl_file", &conf.dir) else {
        // A plugin may have denied what mosquitto alone permits.
        return Ok(without_acl(place, holders, keep_open && plugin.is_none(), report));
    };
    let name = file.display().to_string();
    Ok(of_acl(&Acl::parse(&text_of(&file)?, &name)?, &name, holders, report))
}

/// What mosquitto calls a limit, what it is here, and its bounds here.
const LIMITS: [(&str, &[&str], u64, u64); 9] = [
    ("max_inflight_messages", &["receive_maximum", "inflight_out_max"], 1, 65_535),
    ("max_queued_messages", &["queued_messages_max"], 1, u32::MAX as u64),
    ("max_queued_bytes", &["queued_bytes_max"], 1, u64::MAX >> 1),
    ("max_packet_size", &["packet_bytes_max"], 1_024, 268_435_460),
    ("message_size_limit", &["packet_bytes_max"], 1_024, 268_435_460),
    ("max_keepalive", &["keep_alive_s_max"], 1, 65_535),
    ("memory_limit", &["memory_bytes_max"], 1_048_576, u64::MAX >> 1),
    ("max_connections", &["connections_max"], 1, 10_000_000),
    ("global_max_connections", &["connections_max"], 1, 10_000_000),
];

fn limits(conf: &Conf, toml: &mut String, report: &mut Report) {
    let mut lines: Vec<(&str, u64)> = Vec::new();
    for (theirs, ours, min, max) in LIMITS {
        let all: Vec<&Setting> = std::iter::once(&conf.global)
            .chain(conf.ways.iter().map(|way| &way.settings))
            .filter_map(|settings| settings.get(theirs))
            .collect();
        if theirs == "max_connections" && all.len() < conf.ways.len() {
            continue;
        }
        // Listeners have their own; here they share one.
        let values: Vec<u64> = all.iter().filter_map(|setting| setting.value.parse().ok()).collect();
        let value: u64 = values.iter().fold(0, |sum, value| sum.saturating_add(*value));
        if let (Some(setting), 1..) = (all.first(), value) {
            let kept = value.clamp(min, max);
            if kept != value {
                report.add(About::NotTaken, &setting.place, format!("{theirs} {value} is {kept} here"));
            }
            for name in ours {
                if !lines.iter().any(|(known, _)| known == name) {
                    lines.push((name, kept));
                }
            }
        }
    }
    if let Some(setting) = conf.global.get("persistent_client_expiration") {
        match duration_s(&setting.value) {
            Some(seconds) => lines.push(("session_expiry_s_max", seconds.min(u32::MAX.into()))),
            None => {
                let what = "persistent_client_expiration is no duration";
                report.add(About::NotTaken, &setting.place, what);
            }
        }
    }
    let no_retain = conf.global.get("retain_available").is_some_and(|setting| !setting.is_true());
    if !lines.is_empty() || no_retain {
        toml.push_str("\n[limits]\n");
    }
    for (name, value) in lines {
        let _ = writeln!(toml, "{name} = {value}");
    }
    if no_retain {
        toml.push_str("retain_available = false\n");
    }
    let interval = conf.global.get("sys_interval").and_then(|setting| setting.value.parse::<u32>().ok());
    if let Some(interval) = interval {
        let _ = writeln!(toml, "\n[sys]\ninterval_s = {}", interval.min(3_600));
    }
}

/// `14d` in seconds: hours, days, weeks, months of 30 days and years.
fn duration_s(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "m" => 2_592_000,
        "y" => 31_536_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_s)
}

/// What has no place here.
fn rest(conf: &Conf, report: &mut Report) {
    for bridge in &conf.bridges {
        report.add(
            About::NotTaken,
            &bridge.place,
            format!("the bridge {}: bridges are not taken", bridge.value),
        );
    }
    let told = [
        (
            "clientid_prefixes",
            About::Stricter,
            "a client's identifier is its identity, or begins with it and `-`; see client_ids in docs/policy.md",
        ),
        ("log_dest", About::NotTaken, "events go to standard error, see docs/operating.md"),
        ("log_type", About::NotTaken, "see [log] in docs/operating.md"),
        ("user", About::NotTaken, "the service manager sets the user, see docs/hardening.md"),
        ("pid_file", About::NotTaken, "there is none; the service manager knows the process"),
        ("queue_qos0_messages", About::NotTaken, "messages of QoS 0 do not wait for absent clients"),
        ("upgrade_outgoing_qos", About::NotTaken, "a delivery has the lower of both QoS"),
    ];
    for (key, about, what) in told {
        if let Some(setting) = conf.global.get(key) {
            report.add(about, &setting.place, format!("{key}: {what}"));
        }
    }
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
