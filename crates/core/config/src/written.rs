//! A configuration as written.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::attempts::AttemptsWritten;
use crate::control::ControlWritten;
use crate::hook::HookWritten;
use crate::jwt::IssuersWritten;
use crate::ldap::LdapWritten;
use crate::limits::LimitsWritten;
use crate::listener_tls::ClientAuthorityWritten;
use crate::ocsp::OcspWritten;
use crate::outward::EgressWritten;
use crate::passwords::PasswordsWritten;
use crate::policy::GeneralPolicyWritten;
use crate::sandbox::SandboxWritten;
use crate::store::StoreWritten;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigWritten {
    pub(crate) state_dir: Option<PathBuf>,
    #[serde(default)]
    pub(crate) store: StoreWritten,
    pub(crate) workers: Option<Spanned<u16>>,
    pub(crate) handshake_threads: Option<Spanned<u16>>,
    #[serde(default)]
    pub(crate) listener: Vec<Spanned<ListenerWritten>>,
    #[serde(default)]
    pub(crate) auth: AuthWritten,
    #[serde(default)]
    pub(crate) policy: GeneralPolicyWritten,
    #[serde(default)]
    pub(crate) limits: LimitsWritten,
    #[serde(default)]
    pub(crate) log: LogWritten,
    #[serde(default)]
    pub(crate) metrics: MetricsWritten,
    #[serde(default)]
    pub(crate) sys: SysWritten,
    #[serde(default)]
    pub(crate) sandbox: SandboxWritten,
    #[serde(default)]
    pub(crate) roles: RolesWritten,
    #[serde(default)]
    pub(crate) egress: EgressWritten,
    #[serde(default)]
    pub(crate) control: ControlWritten,
}

/// What `motte dev --config` may hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevelopmentWritten {
    #[serde(default)]
    pub(crate) limits: LimitsWritten,
    #[serde(default)]
    pub(crate) log: LogWritten,
    #[serde(default)]
    pub(crate) sys: SysWritten,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthWritten {
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) hash_threads: Option<Spanned<u16>>,
    pub(crate) hash_queue: Option<Spanned<u32>>,
    pub(crate) http: Option<HookWritten>,
    pub(crate) ldap: Option<LdapWritten>,
    #[serde(default)]
    pub(crate) attempts: AttemptsWritten,
    pub(crate) hash_memory_mib: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) jwt: IssuersWritten,
    #[serde(default)]
    pub(crate) passwords: PasswordsWritten,
}

/// The policy of a listener.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyWritten {
    #[serde(default)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogWritten {
    pub(crate) format: Option<Spanned<String>>,
    pub(crate) level: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsWritten {
    pub(crate) bind: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolesWritten {
    pub(crate) keys: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SysWritten {
    pub(crate) interval_s: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerWritten {
    pub(crate) name: Spanned<String>,
    pub(crate) kind: Spanned<String>,
    pub(crate) bind: Vec<Spanned<String>>,
    pub(crate) tls: Option<Spanned<TlsWritten>>,
    pub(crate) auth: Option<ListenerAuthWritten>,
    pub(crate) policy: Option<PolicyWritten>,
    pub(crate) websocket: Option<Spanned<WebSocketWritten>>,
    pub(crate) proxy_protocol: Option<ProxyWritten>,
    #[serde(default)]
    pub(crate) allow: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) deny: Vec<Spanned<String>>,
    pub(crate) plaintext_until: Option<Spanned<String>>,
    pub(crate) limits: Option<LimitsWritten>,
    pub(crate) durability: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsWritten {
    pub(crate) certificates: Vec<CertificateWritten>,
    pub(crate) versions: Option<Vec<Spanned<String>>>,
    pub(crate) suites: Option<Vec<Spanned<String>>>,
    pub(crate) groups: Option<Vec<Spanned<String>>>,
    pub(crate) client_certificates: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) client_ca: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) authority: Vec<Spanned<ClientAuthorityWritten>>,
    #[serde(default)]
    pub(crate) crl: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) crl_url: Vec<Spanned<String>>,
    pub(crate) crl_stale: Option<Spanned<String>>,
    pub(crate) crl_refresh_s: Option<Spanned<u32>>,
    pub(crate) ocsp: Option<Spanned<OcspWritten>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateWritten {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) passphrase_credential: Option<String>,
    pub(crate) passphrase_fd: Option<u32>,
    #[serde(default)]
    pub(crate) passphrase_prompt: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerAuthWritten {
    #[serde(default)]
    pub(crate) methods: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) all_of: Vec<Spanned<String>>,
    pub(crate) certificate_identity: Option<Spanned<String>>,
    pub(crate) certificate_pins: Option<PathBuf>,
    pub(crate) anonymous: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebSocketWritten {
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) origins: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyWritten {
    pub(crate) from: Vec<Spanned<String>>,
}
