//! The lines of a mosquitto.conf, and which listener each belongs to.

use std::path::{Path, PathBuf};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// `FILE:LINE`.
    pub(super) place: String,
    pub(super) key: String,
    pub(super) value: String,
}

impl Setting {
    /// The lines of a file's text.
    pub(super) fn all(text: &str, file: &Path) -> Vec<Self> {
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let settings = lines.map(|(at, line)| {
            let (key, value) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            Self {
                place: format!("{}:{}", file.display(), at + 1),
                key: key.to_owned(),
                value: value.trim().to_owned(),
            }
        });
        settings.collect()
    }

    /// Whether it is `true`; mosquitto takes `1` as well.
    pub(super) fn is_true(&self) -> bool {
        matches!(self.value.as_str(), "true" | "1")
    }
}

/// Settings that belong together; the last of a kind counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(pub(super) Vec<Setting>);

impl Settings {
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().rev().find(|setting| setting.key == key)
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(Setting::is_true)
    }

    /// A file that a line names, from the directory of the configuration where its path is relative.
    pub(super) fn path(&self, key: &str, dir: &Path) -> Option<PathBuf> {
        self.get(key).map(|setting| dir.join(&setting.value))
    }
}

/// Settings that mosquitto has for each listener, whatever `per_listener_settings` says.
pub(super) const OF_LISTENERS: [&str; 28] = [
    "bind_interface",
    "cafile",
    "capath",
    "certfile",
    "ciphers",
    "ciphers_tls1.3",
    "crlfile",
    "dhparamfile",
    "http_dir",
    "keyfile",
    "max_connections",
    "max_qos",
    "max_topic_alias",
    "mount_point",
    "protocol",
    "psk_hint",
    "require_certificate",
    "socket_domain",
    "tls_engine",
    "tls_engine_kpass_sha1",
    "tls_keyform",
    "tls_version",
    "use_identity_as_username",
    "use_subject_as_username",
    "use_username_as_clientid",
    "websockets_headers_size",
    "websockets_log_level",
    "websockets_origin",
];

/// Settings that are for each listener with `per_listener_settings true`.
pub(super) const OF_SECURITY: [&str; 8] = [
    "acl_file",
    "allow_anonymous",
    "allow_zero_length_clientid",
    "auth_plugin",
    "auto_id_prefix",
    "password_file",
    "plugin",
    "psk_file",
];
