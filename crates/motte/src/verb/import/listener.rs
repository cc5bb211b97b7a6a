//! A listener of mosquitto as one of ours.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use crate::verb::import::quoted;
use crate::verb::import::report::{About, Report};
use crate::verb::import::settings::Settings;

/// A listener as mosquitto has it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Port; 0 for a Unix socket.
    pub(super) port: u16,
    /// Address, host name or path of a socket; empty: all addresses.
    pub(super) host: String,
    /// Only this machine: mosquitto without any listener.
    pub(super) is_local: bool,
    pub(super) place: String,
    pub(super) settings: Settings,
}

/// How clients of a listener show who they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) allow_anonymous: bool,
    pub(super) has_passwords: bool,
}

/// A listener as ours.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) toml: String,
    /// Clients without credentials are let in.
    pub(super) anonymous: bool,
}

impl Way {
    fn is_encrypted(&self) -> bool {
        self.settings.get("certfile").is_some()
    }

    /// The listener, or none where it cannot be one.
    pub(super) fn convert(&self, dir: &Path, asked: Asked, report: &mut Report) -> Option<Listener> {
        if let Some(point) = self.settings.get("mount_point") {
            let what =
                "a listener with mount_point is left out: its clients would see other topics than before";
            report.add(About::NotTaken, &point.place, what);
            return None;
        }
        let (encrypted, websocket) =
            (self.is_encrypted(), self.settings.get("protocol").is_some_and(|one| one.value == "websockets"));
        let kind = match (self.port, websocket, encrypted) {
            (0, ..) => "unix",
            (_, true, true) => "wss",
            (_, true, false) => "ws",
            (_, false, true) => "tls",
            (_, false, false) => "tcp",
        };
        let name = if self.port == 0 { "unix".to_owned() } else { format!("{kind}-{}", self.port) };
        let bind = self.bind(encrypted, report);
        let is_local = bind.iter().all(|one| is_loopback(one));
        let identity_of_certificate = self.settings.is_true("use_identity_as_username");
        let requires = self.settings.is_true("require_certificate");
        let anonymous = asked.allow_anonymous && !asked.has_passwords && !requires && is_local;
        let mut toml = format!("\n[[listener]]\nname = {}\nkind = \"{kind}\"\n", quoted(&name));
        let bind: Vec<String> = bind.iter().map(|one| quoted(one)).collect();
        let _ = writeln!(toml, "bind = [{}]", bind.join(", "));
        if encrypted {
            self.tls(dir, requires, &mut toml, report);
        }
        let methods = match (requires, identity_of_certificate || !asked.has_passwords) {
            (true, true) => "methods = [\"certificate\"]",
            _ if anonymous => "anonymous = true",
            _ => "methods = [\"password\"]",
        };
        let _ = writeln!(toml, "[listener.auth]\n{methods}");
        self.tell_of_access(asked, anonymous, requires, report);
        self.limits(&mut toml, report);
        self.rest(report);
        Some(Listener { name, toml, anonymous })
    }

    fn bind(&self, encrypted: bool, report: &mut Report) -> Vec<String> {
        if self.port == 0 {
            return vec![format!("unix:{}", self.host)];
        }
        let at = |addresses: &[&str]| {
            addresses.iter().map(|one| format!("{one}:{}", self.port)).collect::<Vec<_>>()
        };
        let all = at(&["0.0.0.0", "[::]"]);
        let here = at(&["127.0.0.1", "[::1]"]);
        let wanted = match self.host.as_str() {
            "" if self.is_local => here.clone(),
            "" => all,
            "localhost" => here.clone(),
            host => match host.parse::<IpAddr>() {
                Ok(IpAddr::V4(address)) => vec![format!("{address}:{}", self.port)],
                Ok(IpAddr::V6(address)) => vec![format!("[{address}]:{}", self.port)],
                Err(_) => {
                    report.add(
                        About::ToDo,
                        &self.place,
                        format!(
                            "write the address of `{host}` into bind; until then it is this machine only"
                        ),
                    );
                    here.clone()
                }
            },
        };
        if encrypted || wanted.iter().all(|one| is_loopback(one)) {
            return wanted;
        }
        report.add(
            About::Insecure,
            &self.place,
            "in the clear on the network: passwords and messages can be read and changed on the way",
        );
        let what = "this listener is for this machine only; give it TLS (docs/tls.md), or an exception that ends with plaintext_until";
        report.add(About::Stricter, &self.place, what);
        here
    }

    fn tls(&self, dir: &Path, requires: bool, toml: &mut String, report: &mut Report) {
        let path = |key: &str| self.settings.path(key, dir).map(|path| quoted(&path.display().to_string()));
        let (chain, key) =
            (path("certfile").unwrap_or_default(), path("keyfile").unwrap_or_else(|| quoted("")));
        let _ = writeln!(toml, "[listener.tls]\ncertificates = [{{ chain = {chain}, key = {key} }}]");
        if let Some(version) = self.settings.get("tls_version") {
            match version.value.as_str() {
                "tlsv1.3" => toml.push_str("versions = [\"1.3\"]\n"),
                "tlsv1.2" => {}
                _ => {
                    report.add(About::Insecure, &version.place, format!("{} is broken", version.value));
                    report.add(About::Stricter, &version.place, "TLS 1.2 and 1.3 alone");
                }
            }
        }
        for key in ["ciphers", "ciphers_tls1.3", "dhparamfile", "tls_engine", "tls_keyform"] {
            if let Some(setting) = self.settings.get(key) {
                let what = format!("{key}: every suite here is strong, see docs/tls.md");
                report.add(About::NotTaken, &setting.place, what);
            }
        }
        if !requires {
            return;
        }
        toml.push_str("client_certificates = \"required\"\n");
        let _ = writeln!(toml, "client_ca = [{}]", path("cafile").unwrap_or_default());
        if let Some(setting) = self.settings.get("capath") {
            report.add(About::ToDo, &setting.place, "name the files of capath in client_ca");
        }
        match path("crlfile") {
            Some(crl) => {
                let _ = writeln!(toml, "crl = [{crl}]");
            }
            None => report.add(
                About::Insecure,
                &self.place,
                "client certificates without a revocation list (crlfile)",
            ),
        }
    }

    fn tell_of_access(&self, asked: Asked, anonymous: bool, requires: bool, report: &mut Report) {
        if asked.allow_anonymous && !requires {
            report.add(
                About::Insecure,
                &self.place,
                "allow_anonymous: whoever reaches it is let in without being asked",
            );
            let what = if asked.has_passwords {
                "clients without a password are refused here"
            } else if anonymous {
                "allowed on this machine only, and a user name that nobody checks gives no rights"
            } else {
                "nobody is let in until there are credentials: `motte passwd set`, or certificates"
            };
            report.add(About::Stricter, &self.place, what);
        } else if !asked.has_passwords && !requires {
            report.add(
                About::ToDo,
                &self.place,
                "there are no credentials: `motte passwd set`, or client certificates",
            );
        }
        if requires && !self.settings.is_true("use_identity_as_username") && asked.has_passwords {
            let what = "a certificate is required and the password says who it is; all_of = [\"certificate\", \"password\"] would bind them to each other";
            report.add(About::ToDo, &self.place, what);
        }
    }

    fn limits(&self, toml: &mut String, report: &mut Report) {
        let mut lines = String::new();
        for (theirs, ours, max) in
            [("max_qos", "maximum_qos", 2), ("max_topic_alias", "topic_alias_maximum", 4_096)]
        {
            let Some(setting) = self.settings.get(theirs) else { continue };
            match setting.value.parse::<u32>() {
                Ok(value) => {
                    let _ = writeln!(lines, "{ours} = {}", value.min(max));
                }
                Err(_) => report.add(About::NotTaken, &setting.place, format!("{theirs} is not a number")),
            }
        }
        if !lines.is_empty() {
            let _ = write!(toml, "[listener.limits]\n{lines}");
        }
    }

    fn rest(&self, report: &mut Report) {
        let told = |key: &str, about: About, what: &str, report: &mut Report| {
            if let Some(setting) = self.settings.get(key) {
                report.add(about, &setting.place, format!("{key}: {what}"));
            }
        };
        told(
            "use_subject_as_username",
            About::NotTaken,
            "the identity of a certificate is a name of it, see certificate_identity",
            report,
        );
        told("bind_interface", About::NotTaken, "name its address in bind", report);
        told("http_dir", About::NotTaken, "no files are served", report);
        told("psk_hint", About::NotTaken, "no pre-shared keys; use certificates", report);
        told("psk_file", About::NotTaken, "no pre-shared keys; use certificates", report);
        told("websockets_origin", About::ToDo, "name it in origins of [listener.websocket]", report);
    }
}

fn is_loopback(bind: &str) -> bool {
    bind.starts_with("unix:")
        || bind.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}
