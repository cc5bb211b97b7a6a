//! How the process confines itself, and what it must still read then.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::error::Faults;
use crate::meant::Config;

/// `[sandbox]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SandboxWritten {
    mode: Option<Spanned<String>>,
    audit: Option<bool>,
}

/// What happens where the kernel cannot do what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxMode {
    /// The process does not start, and says what is missing.
    Required,
    /// The process starts and says what is not in force.
    BestEffort,
    /// The process gives nothing up.
    Off,
}

impl SandboxMode {
    const ALL: [Self; 3] = [Self::Required, Self::BestEffort, Self::Off];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
            Self::Off => "off",
        }
    }

    /// The mode of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// How the process confines itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// `None`: required where the kernel can do everything, best effort elsewhere.
    pub mode: Option<SandboxMode>,
    /// Kernel calls that would be refused are carried out and logged by the kernel.
    pub audit: bool,
}

impl Sandbox {
    pub(crate) fn from_written(written: &SandboxWritten, faults: &mut Faults<'_>) -> Self {
        let mode = written.mode.as_ref().and_then(|mode| {
            let known = SandboxMode::parse(mode.get_ref());
            if known.is_none() {
                let what = format!("sandbox mode {} is not known", mode.get_ref());
                faults.add(mode.span().start, what, "use required, best-effort or off");
            }
            known
        });
        Self { mode, audit: written.audit.unwrap_or_default() }
    }

    pub(crate) fn to_toml(self) -> String {
        let mode = self.mode.map(|mode| format!("mode = \"{}\"\n", mode.name())).unwrap_or_default();
        format!("\n[sandbox]\n{mode}audit = {}", self.audit)
    }
}

impl Config {
    /// Every file that is read at the start and again at each reload: certificates, keys and their passphrases,
    /// authorities, revocation lists, policy and passwords. Systemd credentials are not among them; their place is not
    /// written in the configuration.
    pub fn files_read(&self) -> Vec<&Path> {
        let mut files = self.files_without_secrets();
        for certificate in
            self.listeners.iter().filter_map(|one| one.tls.as_ref()).flat_map(|tls| &tls.certificates)
        {
            files.push(certificate.key.as_path());
            files.extend(certificate.passphrase_file.as_deref());
        }
        files.extend(self.outward_files());
        files
    }

    /// The same without private keys and their passphrases.
    pub fn files_without_secrets(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.password_file.iter().map(AsRef::as_ref).collect();
        files.extend(self.tokens.iter().flat_map(crate::TokenIssuer::files).map(AsRef::<Path>::as_ref));
        files.extend(self.policy_files.iter().map(AsRef::<Path>::as_ref));
        for listener in &self.listeners {
            files.extend(listener.policy_files.iter().flatten().map(AsRef::<Path>::as_ref));
            files.extend(listener.certificate_pins.as_deref());
            if let Some(tls) = &listener.tls {
                files.extend(tls.client_ca.iter().chain(&tls.crl).map(AsRef::<Path>::as_ref));
                files.extend(tls.authorities.iter().map(|one| one.file.as_path()));
                files.extend(tls.certificates.iter().map(|certificate| certificate.chain.as_path()));
            }
        }
        files
    }
}
